// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whether the rows on the GPU are those that were sent: the GPU's own digest of them beside the
// host's. Apart from device_store.hpp, which needs no CUDA compiler.

#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/row_digest.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Adds the rows' digest to *total, once for each warp. Body: RowDigestBody; a template, so that
/// several files of a program may have it.
template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block)
    add_row_digests(Index rows, Body body, unsigned long long* total) {
  const Index warps = Index{gridDim.x} * (threads_of_a_block / 32);
  const Index first = Index{blockIdx.x} * (threads_of_a_block / 32) + threadIdx.x / 32;
  std::uint64_t own = 0;
  body.sum = &own;
  for (Index row = first; row < rows; row += warps) body(WarpLanes<HardwareWarp>(), row);
#pragma unroll
  for (int half = 16; half > 0; half /= 2) own += __shfl_xor_sync(0xFFFFFFFFU, own, half);
  if (HardwareWarp::lane() == 0) atomicAdd(total, own);
}

/// Reads a store that copy_of() made, on the GPU, and says whether its rows have the digest of
/// those that were sent. Not for a step: allocates 8 bytes, and waits for the device's stream. What
/// calls before noted in device.errors stays there.
///
/// Fails with corrupt (the rows are others: damaged on the way, or written since), invalid_config
/// (no rows were sent: a store of make()), out_of_memory or device.
/// Cost  one read of the table.
ENGRAM_HIDDEN inline Result<void> verify_upload(const CudaDevice& device,
                                                const DeviceStore& store) {
  if (!store.sent_digest())
    return fail(Code::invalid_config, "verify upload: the store was not made by copy_of()");
  constexpr Index rows_of_a_warp = 64;
  Result<DeviceErrors> errors = DeviceErrors::make();
  if (!errors.ok()) return errors.failure();
  const Result<DeviceMemory> memory = DeviceMemory::make(sizeof(unsigned long long));
  if (!memory.ok()) return memory.failure();
  auto* const total = reinterpret_cast<unsigned long long*>(memory.value().data());
  const CudaDevice own(device.stream, errors.value(), device.most_blocks);
  unsigned long long found = 0;
  errors.value().note(cudaMemsetAsync(total, 0, sizeof *total, own.stream));
  own.launch(store.num_rows(), threads_of_a_block / 32 * rows_of_a_warp,
             add_row_digests<RowDigestBody>, store.num_rows(),
             RowDigestBody{store.ref().base, store.stride(),
                           store.row_bytes() + store.scale_bytes(), 0, nullptr},
             total);
  errors.value().note(
      cudaMemcpyAsync(&found, total, sizeof found, cudaMemcpyDeviceToHost, own.stream));
  if (const Status status = own.wait(); !status.ok())
    return Failure{status, describe(status, "verify upload")};
  if (found != *store.sent_digest())
    return fail(Code::corrupt, {"verify upload: the rows on the GPU have the digest ", found,
                                ", those sent had ", *store.sent_digest()});
  return {};
}

ENGRAM_END_NAMESPACE
