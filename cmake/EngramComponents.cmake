# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A component of the library: an interface target, the headers it owns, the packages it needs.

# engram_add_component(NAME [HEADERS file...] FOLDERS folder... [NEEDS package...] [WINGS name...])
#
# Makes engram::NAME from the headers named and from every header of the folders, all below
# include/engram. A wing links engram::core, the packages it needs (EngramDependencies.cmake) and the
# other wings it builds on.
# The test "headers belong to components" fails when a header on disk is in no component.
function(engram_add_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;FOLDERS;NEEDS;WINGS")
  set(base ${PROJECT_SOURCE_DIR}/include)
  set(headers)
  set(cuda_headers)
  foreach(header IN LISTS arg_HEADERS)
    file(GLOB found CONFIGURE_DEPENDS ${base}/engram/${header})
    list(APPEND headers ${found})
  endforeach()
  foreach(folder IN LISTS arg_FOLDERS)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${base}/engram/${folder}/*.hpp)
    list(APPEND headers ${found})
    file(GLOB_RECURSE found CONFIGURE_DEPENDS ${base}/engram/${folder}/*.cuh)
    list(APPEND cuda_headers ${found})
  endforeach()

  add_library(engram_${name} INTERFACE)
  add_library(engram::${name} ALIAS engram_${name})
  target_sources(
    engram_${name}
    INTERFACE FILE_SET HEADERS BASE_DIRS ${base} FILES ${headers}
              FILE_SET cuda_headers TYPE HEADERS BASE_DIRS ${base} FILES ${cuda_headers})
  set_target_properties(
    engram_${name}
    PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ${PROJECT_IS_TOP_LEVEL}
               INTERFACE_HEADER_SETS_TO_VERIFY HEADERS) # those for CUDA compilers are tests/cuda's

  if(NOT name STREQUAL core)
    target_link_libraries(engram_${name} INTERFACE engram_core)
  endif()
  # In the build only: a downloaded package is part of this build and cannot be exported, so the
  # installed engram looks for it again (engram-config.cmake.in).
  string(TOUPPER ENGRAM_WITH_${name} option)
  foreach(package IN LISTS arg_NEEDS)
    engram_dependency(${package} needed ${option})
    target_link_libraries(engram_${name} INTERFACE $<BUILD_INTERFACE:${needed}>)
  endforeach()
  foreach(wing IN LISTS arg_WINGS)
    target_link_libraries(engram_${name} INTERFACE engram_${wing})
  endforeach()
  set_property(TARGET engram_${name} PROPERTY ENGRAM_NEEDS ${arg_NEEDS})
  set_property(TARGET engram_${name} PROPERTY ENGRAM_WINGS ${arg_WINGS})
  set_property(GLOBAL APPEND PROPERTY ENGRAM_COMPONENTS ${name})
  set_property(GLOBAL APPEND PROPERTY ENGRAM_HEADERS ${headers})
  set_property(GLOBAL APPEND PROPERTY ENGRAM_CUDA_HEADERS ${cuda_headers})
endfunction()
