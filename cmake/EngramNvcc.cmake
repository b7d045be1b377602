# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# CUDA as a language of this build, for tests and benchmarks: ENGRAM_HAS_NVCC says whether it is. The
# library itself needs no more than the projects that include its headers have.
include_guard(GLOBAL)
find_program(ENGRAM_NVCC nvcc PATHS /usr/local/cuda/bin DOC "nvcc, for the tests in CUDA")
# One architecture in machine code, and its PTX, which newer cards compile when a program starts.
set(ENGRAM_CUDA_ARCHITECTURES 90 CACHE STRING "CMAKE_CUDA_ARCHITECTURES of tests and benchmarks")
set(ENGRAM_HAS_NVCC OFF)
if(ENGRAM_NVCC AND TARGET engram_cuda)
  set(CMAKE_CUDA_COMPILER ${ENGRAM_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${ENGRAM_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  set(ENGRAM_HAS_NVCC ON)
endif()
