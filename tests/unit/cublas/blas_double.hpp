// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the doubles of cuBLAS in blas_double.cpp were asked, and what they answer.

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

struct Calls {
  int capability = 10;  ///< the GPU's, its major number
  int products = 0;
  int searches = 0;
  std::size_t workspace_wanted = 1000;
  cublasStatus_t product_status = CUBLAS_STATUS_SUCCESS;
  cublasStatus_t search_status = CUBLAS_STATUS_SUCCESS;
  bool finds_none = false;
  std::byte* workspace = nullptr;
  std::size_t workspace_bytes = 0;
  cudaStream_t stream = nullptr;
};
inline Calls calls;

inline bool divides(std::uint32_t alignment, const void* place) {
  return reinterpret_cast<std::uintptr_t>(place) % alignment == 0;
}
