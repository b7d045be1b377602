// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// gather() through a cache in the GPU's memory: what is not there is read from the base by the same
// kernel, which also puts it there.

#include <engram/cuda/cached_gather_body.hpp>
#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/row_cache.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/table.hpp>

#include <cuda/atomic>

ENGRAM_BEGIN_NAMESPACE

/// Atomics of all threads of one GPU.
struct DeviceAtomics {
  using Ref = cuda::atomic_ref<std::uint64_t, cuda::thread_scope_device>;

  __device__ static std::uint64_t add(std::uint64_t* at, std::uint64_t n) noexcept {
    return Ref(*at).fetch_add(n, cuda::memory_order_acq_rel);
  }
  /// What was there.
  __device__ static std::uint64_t compare_exchange(std::uint64_t* at, std::uint64_t expected,
                                                   std::uint64_t desired) noexcept {
    (void)Ref(*at).compare_exchange_strong(expected, desired, cuda::memory_order_acq_rel,
                                           cuda::memory_order_acquire);
    return expected;
  }
  __device__ static std::uint64_t load_acquire(const std::uint64_t* at) noexcept {
    return Ref(*const_cast<std::uint64_t*>(at)).load(cuda::memory_order_acquire);
  }
  __device__ static void store_release(std::uint64_t* at, std::uint64_t x) noexcept {
    Ref(*at).store(x, cuda::memory_order_release);
  }
};

/// Runs a CachedGatherBody.
template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block)
    gather_through_cache(Body body) {
  __shared__ CachedGatherShared<HardwareGrid::warps> shared;
  body(HardwareGrid(), shared);
}

/// What gather() (gather.cuh) gives for the same base, bit for bit, with fewer rows read from
/// there.
///
/// cache    of the base's shape, and of no other base; clear() it where the base's rows change.
/// base     PinnedStore or another whose memory the GPU reads. It does not change meanwhile.
/// row_ids, out, Status, device.wait()  as gather(); also mismatch (index: the cache's rows, or
///          bytes of a row) where the cache was made for another shape.
/// Cost     one launch, at most 4096 blocks; see CachedRows for a row's.
/// Threads  calls on several streams may use one cache. As long as they overlap without an end they
///          are one batch, in which no row gives way to another: then it is a cache that learns
///          nothing new.
template <AddressableStore Base, RowCodec Codec, class Row, class Out, class RowSpace,
          class OutSpace>
ENGRAM_HIDDEN Status cached_gather(const CudaDevice& device, RowCache& cache, const Base& base,
                                   const Codec& codec, Index width, View<Row, 2, RowSpace> row_ids,
                                   View<Out, 2, OutSpace> out) noexcept {
  static_assert(Base::space_type::device_accessible && RowSpace::device_accessible &&
                    OutSpace::device_accessible,
                "engram: a gather on the GPU reads and writes memory that the GPU reaches");
  using Id = std::remove_const_t<Row>;
  const View<const Id, 2> rows = row_ids.for_body();
  const View<Out, 2> to = out.for_body();
  if (Status s = check_gather(base, codec, width, rows, to); !s.ok()) return s;
  const RowShape& shape = cache.shape();
  if (shape.num_rows != base.num_rows()) return {Code::mismatch, 0, shape.num_rows};
  if (shape.row_bytes != base.row_bytes() || shape.scale_bytes != base.scale_bytes())
    return {Code::mismatch, 0, shape.row_bytes};
  // Each block changes the clock twice: few blocks, and each for many rows where there are many.
  constexpr Index most = 4096, warps = HardwareGrid::warps;
  const Index count = rows.size();
  const Index each = count > most * warps ? (count - 1) / most + 1 : warps;
  using Body = CachedGatherBody<CacheLanes<HardwareWarp>, DeviceAtomics, decltype(base.ref()),
                                Codec, Id, Out, ErrorWord>;
  device.launch(
      count, each, gather_through_cache<Body>,
      Body{cache.ref(), base.ref(), codec, rows, base.num_rows(), width, to, device.error_word()});
  return {};
}

/// A table that is read through a cache. Refers to both.
template <class Store, class Codec>
struct CachedTable {
  RowCache* cache;
  const Table<Store, Codec>* table;

  Index row_width() const noexcept { return table->row_width(); }
};

/// The rows of a table that is read through a cache, as cached_gather().
template <class Store, class Codec, class Row, class Out, class RowSpace, class OutSpace>
ENGRAM_HIDDEN Status gather(const CudaDevice& device, const CachedTable<Store, Codec>& rows,
                            View<Row, 2, RowSpace> row_ids, View<Out, 2, OutSpace> out) noexcept {
  return cached_gather(device, *rows.cache, rows.table->store(), rows.table->codec(),
                       rows.row_width(), row_ids, out);
}

ENGRAM_END_NAMESPACE
