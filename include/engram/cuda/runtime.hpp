// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What CUDA's runtime says, as the library says it. Needs the runtime's headers, no CUDA compiler.

#include <engram/core/status.hpp>

#include <cuda_runtime_api.h>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// The status of a runtime call. An error is taken from the runtime, which would else give it again
/// to whoever asks next.
inline Status cuda_status(cudaError_t error) noexcept {
  if (error == cudaSuccess) return {};
  (void)cudaGetLastError();
  return {error == cudaErrorMemoryAllocation ? Code::out_of_memory : Code::device,
          static_cast<std::int32_t>(error)};
}

/// The same with a sentence: "device store: cannot copy: an illegal memory access was encountered".
inline Failure cuda_failure(std::string_view action, cudaError_t error) {
  const Status status = cuda_status(error);
  return Failure{status, sentence({action, ": ", cudaGetErrorString(error)})};
}

/// How many GPUs there are, or why none can be used: no driver, one that is older than the runtime,
/// no card.
inline Result<int> cuda_device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) (void)cuda_status(error);
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0))
    return fail(Code::unsupported, "no GPU was found; the CPU does the same work");
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
      return fail(Code::unsupported, "no driver of a GPU is installed; the CPU does the same work");
    return fail(Code::unsupported, {"the GPU's driver is too old: it knows CUDA ", driver / 1000,
                                    ".", driver / 10 % 100, ", this program needs ", runtime / 1000,
                                    ".", runtime / 10 % 100});
  }
  if (error != cudaSuccess) return cuda_failure("the GPU cannot be used", error);
  return count;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
