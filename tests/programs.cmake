# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# How the folders that hold only sources become programs and ctest cases.
set(engram_skips SKIP_REGULAR_EXPRESSION "\\[skipped\\] ")

find_program(ENGRAM_BASH bash DOC "bash, for the tests that are scripts")
if(ENGRAM_DEVELOPER_MODE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(ENGRAM_NVCC nvcc PATHS /usr/local/cuda/bin DOC "nvcc, for the tests in CUDA")
endif()
mark_as_advanced(ENGRAM_BASH ENGRAM_NVCC)

# What every test program gets: the library, the wings and the BPE library where they are built.
add_library(engram_testing INTERFACE)
target_include_directories(engram_testing INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/support)
target_compile_definitions(
  engram_testing
  INTERFACE ENGRAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
            ENGRAM_TEST_DIR="${CMAKE_CURRENT_SOURCE_DIR}"
            ENGRAM_SCRATCH_DIR="${PROJECT_BINARY_DIR}/scratch"
            ENGRAM_SHARED_DATA_DIR="${shared_data}")
target_link_libraries(engram_testing INTERFACE engram::engram)
foreach(part engram_eigen engram_unicode engram_io engram_xxhash engram_uring engram_models
             engram_bpe)
  if(TARGET ${part})
    target_link_libraries(engram_testing INTERFACE ${part})
  endif()
endforeach()

# A case that says why it cannot run here.
function(engram_skipped_test name why)
  add_test(NAME "${name}" COMMAND ${CMAKE_COMMAND} -E echo "[skipped] ${why}")
  set_tests_properties("${name}" PROPERTIES ${engram_skips})
endfunction()

# engram_script_test(NAME SCRIPT ARGUMENTS...): a case that is a bash script.
function(engram_script_test name script)
  if(ENGRAM_BASH)
    add_test(NAME "${name}" COMMAND ${ENGRAM_BASH} ${CMAKE_CURRENT_SOURCE_DIR}/${script} ${ARGN})
    set_tests_properties("${name}" PROPERTIES ${engram_skips} TIMEOUT 600)
  else()
    engram_skipped_test("${name}" "bash is not installed")
  endif()
endfunction()

# engram_catch_program(NAME [OPTIONS ...] SOURCES ...): each Catch2 case is a case "NAME/case".
function(engram_catch_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "OPTIONS;SOURCES")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE engram_testing Catch2::Catch2WithMain)
  target_compile_options(${name} PRIVATE ${arg_OPTIONS})
  engram_developer_flags(${name})
  catch_discover_tests(
    ${name}
    TEST_PREFIX "${ENGRAM_TEST_PREFIX}${name}/"
    PROPERTIES ${engram_skips} TIMEOUT 600
               # A name that CMake cuts in two (at a ";") runs nothing, which Catch2 takes for a success.
               FAIL_REGULAR_EXPRESSION "No test cases matched")
endfunction()

engram_dependency(Catch2)
if(Catch2_DIR)
  include(${Catch2_DIR}/Catch.cmake)
else()
  FetchContent_GetProperties(Catch2)
  include(${catch2_SOURCE_DIR}/extras/Catch.cmake)
endif()

# Folders of unit/ that test a library of the examples, by the same name.
set(engram_example_folders program text chart trace simulate lm demo_parts knockout_parts read_bench study)

# Folders whose tests are of files, text and tables of names. The others compare fast loops with plain
# ones, and need the build type's own optimisation for it.
set(engram_folders_without_loops io models bpe unicode uring)

# Links what is called as NAME to a source's own __wrap_NAME: doubles of a library's functions.
function(engram_wrap target)
  foreach(source IN LISTS ARGN)
    file(READ ${source} text)
    string(REGEX MATCHALL "__wrap_[A-Za-z]+" doubles "${text}")
    list(REMOVE_DUPLICATES doubles)
    foreach(double IN LISTS doubles)
      string(REPLACE "__wrap_" "-Wl,--wrap=" option ${double})
      target_link_options(${target} PRIVATE ${option})
    endforeach()
  endforeach()
endfunction()

# The library's own folders.
function(engram_suite_unit)
  file(GLOB folders RELATIVE ${CMAKE_CURRENT_SOURCE_DIR}/unit CONFIGURE_DEPENDS unit/*)
  foreach(name IN LISTS folders)
    file(GLOB sources CONFIGURE_DEPENDS unit/${name}/*.cpp)
    if(name STREQUAL "uring" AND NOT TARGET engram_uring)
      engram_skipped_test("unit_uring" "built without liburing (ENGRAM_WITH_URING)")
    elseif(name STREQUAL "cublas" AND NOT TARGET engram_cublas)
      engram_skipped_test("unit_cublas" "built without cuBLAS (ENGRAM_WITH_CUBLAS)")
    elseif(name STREQUAL "cuda_runtime" AND NOT TARGET engram_cuda)
      engram_skipped_test("unit_cuda_runtime" "built without CUDA (ENGRAM_WITH_CUDA)")
    elseif(sources AND NOT name IN_LIST engram_example_folders)
      engram_catch_program(unit_${name} SOURCES ${sources})
      if(name STREQUAL "cublas")
        target_link_libraries(unit_cublas PRIVATE engram_cublas)
        engram_wrap(unit_cublas ${sources})
      elseif(name STREQUAL "cuda_runtime")
        target_link_libraries(unit_cuda_runtime PRIVATE engram_cuda)
        engram_wrap(unit_cuda_runtime ${sources})
      elseif(name STREQUAL "cuda" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
        # What a GPU's lanes compute is compared with the CPU's bits; AVX-512 contracts other sums
        # than the file's own instruction set.
        target_compile_options(unit_cuda PRIVATE -ffp-contract=off)
      endif()
      if(CMAKE_BUILD_TYPE STREQUAL "Release" AND name IN_LIST engram_folders_without_loops)
        target_compile_options(unit_${name} PRIVATE -O0)
      endif()
    endif()
  endforeach()
endfunction()

function(engram_suite_unit_examples)
  foreach(name IN LISTS engram_example_folders)
    if(TARGET engram_${name})
      file(GLOB sources CONFIGURE_DEPENDS unit/${name}/*.cpp)
      engram_catch_program(unit_${name} SOURCES ${sources})
      target_link_libraries(unit_${name} PRIVATE engram_${name})
      target_compile_options(unit_${name} PRIVATE $<TARGET_PROPERTY:engram_${name},COMPILE_OPTIONS>)
    else()
      engram_skipped_test("unit_${name}" "built without the library of this example")
    endif()
  endforeach()
endfunction()

# engram_plain_programs(SUFFIX OPTIONS...): golden/plain/NAME.cpp as golden_NAME + SUFFIX.
function(engram_plain_programs suffix)
  file(GLOB plain CONFIGURE_DEPENDS golden/plain/*.cpp)
  foreach(source IN LISTS plain)
    get_filename_component(name ${source} NAME_WE)
    set(program golden_${name}${suffix})
    set(test "${ENGRAM_TEST_PREFIX}${program}")
    add_executable(${program} ${source})
    target_link_libraries(${program} PRIVATE engram::engram)
    target_compile_options(${program} PRIVATE ${ARGN})
    engram_developer_flags(${program})
    add_test(NAME "${test}" COMMAND ${program} ${CMAKE_CURRENT_SOURCE_DIR}/golden)
    set_tests_properties("${test}" PROPERTIES ${engram_skips} TIMEOUT 600)
  endforeach()
endfunction()

function(engram_suite_golden)
  file(GLOB sources CONFIGURE_DEPENDS golden/*.cpp)
  engram_catch_program(golden SOURCES ${sources})
  engram_plain_programs("")
endfunction()

# The golden values that are computed, under a flag that breaks careless code.
function(engram_suite_golden_fast_math)
  engram_catch_program(golden_fast_math SOURCES golden/checkpoint_test.cpp golden/gguf_test.cpp
                       OPTIONS -ffast-math)
  engram_plain_programs(_fast_math -ffast-math)
endfunction()

function(engram_suite_golden_no_exceptions)
  engram_plain_programs(_no_exceptions -fno-exceptions -fno-rtti)
endfunction()

# With a file that includes every header, since names of one may hide those of another.
function(engram_suite_static)
  file(GLOB sources CONFIGURE_DEPENDS static/*.cpp)
  set(together ${CMAKE_CURRENT_BINARY_DIR}/all_headers.cpp)
  get_property(headers GLOBAL PROPERTY ENGRAM_HEADERS)
  list(TRANSFORM headers REPLACE "^(.*/)?engram/(.*)$" "#include <engram/\\2>")
  list(JOIN headers "\n" includes)
  file(CONFIGURE OUTPUT ${together} CONTENT "${includes}\n")
  add_library(static_checks OBJECT ${sources} ${together})
  target_link_libraries(static_checks PRIVATE engram_testing $<TARGET_NAME_IF_EXISTS:engram_cuda>
                                              $<TARGET_NAME_IF_EXISTS:engram_cublas>)
  engram_developer_flags(static_checks)
endfunction()

# CMake makes a file per header that includes it and nothing else.
function(engram_suite_headers)
  add_test(NAME "${ENGRAM_TEST_PREFIX}headers: each compiles alone"
           COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --target
                   all_verify_interface_header_sets)
  set_tests_properties("${ENGRAM_TEST_PREFIX}headers: each compiles alone"
                       PROPERTIES RUN_SERIAL ON TIMEOUT 600)
endfunction()

function(engram_suite_fuzz)
  file(GLOB targets CONFIGURE_DEPENDS fuzz/*.cpp)
  foreach(source IN LISTS targets)
    get_filename_component(name ${source} NAME_WE)
    set(test "${ENGRAM_TEST_PREFIX}fuzz: ${name}")
    set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
    add_executable(fuzz_${name} ${source})
    target_link_libraries(fuzz_${name} PRIVATE engram_testing)
    engram_developer_flags(fuzz_${name})
    if(ENGRAM_LIBFUZZER)
      # New inputs go to the build folder, the kept ones are only read.
      set(found ${PROJECT_BINARY_DIR}/fuzz/${name})
      file(MAKE_DIRECTORY ${found})
      if(NOT IS_DIRECTORY ${corpus})
        set(corpus)
      endif()
      target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer-no-link -O1)
      target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
      add_test(NAME "${test}" COMMAND fuzz_${name} -max_total_time=10 -timeout=10 -print_final_stats=1
                                      -artifact_prefix=${found}/ ${found} ${corpus})
      set_tests_properties("${test}" PROPERTIES TIMEOUT 180)
    else()
      target_sources(fuzz_${name} PRIVATE support/replay_main.cpp)
      add_test(NAME "${test}, kept inputs" COMMAND fuzz_${name} ${corpus})
      set_tests_properties("${test}, kept inputs" PROPERTIES ${engram_skips})
    endif()
  endforeach()
endfunction()
