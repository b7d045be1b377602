# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ICU brings no CMake files. This makes ICU::uc of the unpacked archive in ${source}: the common
# library with the archive's data file inside (ELF systems, g++ or clang).
file(GLOB icu_sources ${source}/source/common/*.cpp)
file(GLOB icu_data ${source}/source/data/in/icudt*l.dat)
get_filename_component(icu_name ${icu_data} NAME_WE)
string(REGEX REPLACE "l$" "_dat" icu_name ${icu_name})
file(CONFIGURE OUTPUT icu_data.cpp @ONLY CONTENT [[
asm(R"(.section .rodata
.globl @icu_name@
.balign 16
@icu_name@: .incbin "@icu_data@"
.text)");
]])
add_library(engram_icu STATIC ${icu_sources} ${CMAKE_CURRENT_BINARY_DIR}/icu_data.cpp)
set_target_properties(engram_icu PROPERTIES CXX_STANDARD 17 POSITION_INDEPENDENT_CODE ON)
target_compile_options(engram_icu PRIVATE -w)
target_compile_definitions(engram_icu PRIVATE U_COMMON_IMPLEMENTATION PUBLIC U_STATIC_IMPLEMENTATION)
target_include_directories(engram_icu SYSTEM PUBLIC ${source}/source/common)
target_link_libraries(engram_icu PRIVATE ${CMAKE_DL_LIBS})
add_library(ICU::uc ALIAS engram_icu)
