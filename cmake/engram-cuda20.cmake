# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# nvcc compiles C++17 unless told otherwise. CMake knows its C++20 flag from 3.25.2 on; before that
# the flag has to be spelled out. The answer is not exported: the installed package asks again, with
# the CMake of whoever uses it.
function(engram_require_cuda20 target)
  if(CMAKE_VERSION VERSION_LESS 3.25.2)
    set(flag "$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-std=c++20>")
    set_property(TARGET ${target} APPEND PROPERTY INTERFACE_COMPILE_OPTIONS $<BUILD_INTERFACE:${flag}>)
  else()
    set_property(TARGET ${target} APPEND PROPERTY INTERFACE_COMPILE_FEATURES $<BUILD_INTERFACE:cuda_std_20>)
  endif()
endfunction()
