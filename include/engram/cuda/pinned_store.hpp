// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table in host memory that the GPU reads itself, row by row, over its link: larger than the
// GPU's memory, and as fast as the link where rows are asked for early enough.

#include <engram/cuda/device_memory.hpp>
#include <engram/cuda/progress.hpp>
#include <engram/storage/host_store.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The rows of a HostStore, page-locked for every GPU of the process. Moves, is not copied; refs
/// stay valid when it moves. Unlocks when it goes: nothing that reads it may be on the way then.
/// Kernels read any of its bytes; a copy by the runtime stays within one of the pieces of a GiB in
/// which it was locked.
class PinnedStore {
 public:
  using space_type = PinnedSpace;

  /// Locks a store's memory, a GiB at a time, which takes a second for some GiB and less on large
  /// pages (HostMemoryOptions); then takes the store. When it fails the store stays the caller's.
  ///
  /// progress  called with the bytes that are locked, after each piece, on the calling thread;
  ///           false gives up with io, ECANCELED.
  ///
  /// Fails with unsupported (no GPU; one that knows host memory by other addresses than the host),
  /// invalid_config (rows that another process shares for reading), out_of_memory (more than the
  /// system lets a process lock; index: the bytes) or device. The sentence has what is locked by
  /// then and what the host has free.
  template <class Progress = Unwatched>
  static Result<PinnedStore> make(HostStore&& store, const Progress& progress = {});

  ENGRAM_ALWAYS_INLINE PinnedStore(PinnedStore&&) = default;
  ENGRAM_ALWAYS_INLINE ~PinnedStore() = default;
  PinnedStore& operator=(PinnedStore&&) = delete;

  Index num_rows() const noexcept { return store_.num_rows(); }
  Index row_bytes() const noexcept { return store_.row_bytes(); }
  Index scale_bytes() const noexcept { return store_.scale_bytes(); }
  Index stride() const noexcept { return store_.stride(); }
  StridedRows ref() const noexcept { return store_.ref(); }
  MutableStridedRows mutable_ref() noexcept { return store_.mutable_ref(); }
  HostMemoryReport report() const { return store_.report(); }

 private:
  /// Memory that is locked, in whole pieces but the last.
  class Lock {
   public:
    static constexpr Index piece_bytes = Index{1} << 30;

    explicit Lock(std::byte* base) : base_(base) {}
    Lock(Lock&& other) noexcept : base_(other.base_), bytes_(other.bytes_) { other.bytes_ = 0; }
    Lock& operator=(Lock&&) = delete;
    ~Lock() {
      for (Index at = 0; at < bytes_; at += piece_bytes)
        (void)cuda_status(cudaHostUnregister(base_ + at));
    }

    cudaError_t extend(Index bytes) {
      const cudaError_t error = cudaHostRegister(base_ + bytes_, static_cast<std::size_t>(bytes),
                                                 cudaHostRegisterPortable | cudaHostRegisterMapped);
      if (error == cudaSuccess) bytes_ += bytes;
      return error;
    }
    Index bytes() const noexcept { return bytes_; }

   private:
    std::byte* base_;
    Index bytes_ = 0;
  };

  PinnedStore(HostStore store, Lock lock) : store_(std::move(store)), lock_(std::move(lock)) {}

  HostStore store_;
  Lock lock_;  // goes first
};
static_assert(check_mutable_store<PinnedStore>());

template <class Progress>
ENGRAM_ALWAYS_INLINE Result<PinnedStore> PinnedStore::make(HostStore&& store,
                                                           const Progress& progress) {
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  int device = 0, same_addresses = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&same_addresses, cudaDevAttrCanUseHostPointerForRegisteredMem,
                                   device);
  if (error != cudaSuccess) return cuda_failure("pinned store", error);
  if (same_addresses == 0)
    return fail(Code::unsupported,
                "pinned store: this GPU knows host memory by other addresses than the host");
  std::byte* const base = store.mutable_ref().base;
  if (base == nullptr)
    return fail(Code::invalid_config,
                "pinned store: the rows are another process's, which can lock them itself");
  Lock lock(base);
  const Index all = store.num_rows() * store.stride();
  while (lock.bytes() < all) {
    const Index left = all - lock.bytes();
    error = lock.extend(left < Lock::piece_bytes ? left : Lock::piece_bytes);
    if (error != cudaSuccess) {
      const Status status = cuda_status(error);
      return fail(
          status.code,
          {"pinned store: ", lock.bytes(), " of ", all,
           " bytes are locked, the next are not: ", cudaGetErrorString(error), free_host_memory()},
          all, status.system_error);
    }
    if (!progress(lock.bytes())) return fail(Code::io, "pinned store: given up", -1, ECANCELED);
  }
  return PinnedStore(std::move(store), std::move(lock));
}

ENGRAM_END_NAMESPACE
