// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table in host memory, the fastest place a CPU has for it and the one that training writes to.

#include <engram/storage/host_memory.hpp>
#include <engram/storage/row_shape.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/strided_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

struct HostStoreOptions {
  Index stride = 0;  ///< bytes from one row to the next; 0: default_stride()
  HostMemoryOptions memory = {};
};

/// Rows in host memory, owned; each is its codes, then its scales. All zero at first.
///
/// Moves, is not copied; refs stay valid when it moves, and what was moved from has no rows to
/// give. Const calls may run concurrently; rows of different ids may be written by different
/// threads.
class HostStore {
 public:
  using space_type = HostSpace;

  /// num_rows     at least 1.
  /// row_bytes    bytes of a row's codes, at least 1.
  /// scale_bytes  bytes of its scales, 0 for a format without.
  ///
  /// Fails with invalid_config (a size that cannot work, a stride below the bytes of a row, more
  /// than 2^63 bytes) or out_of_memory (index: the bytes). No page is touched.
  static Result<HostStore> make(Index num_rows, Index row_bytes, Index scale_bytes = 0,
                                const HostStoreOptions& options = {});

  /// The rows of a store that was made with HostMemoryOptions::shared, of the same sizes, to be
  /// read: mutable_ref() has no rows to give. See HostMemory::of_descriptor().
  ///
  /// stride  0: default_stride().
  ///
  /// Fails as make() and HostMemory::of_descriptor() do.
  static Result<HostStore> of_descriptor(int descriptor, Index num_rows, Index row_bytes,
                                         Index scale_bytes = 0, Index stride = 0);

  // Spelled out so that they are inlined: copies compiled for one processor must not be shared.
  ENGRAM_ALWAYS_INLINE HostStore(HostStore&&) = default;
  ENGRAM_ALWAYS_INLINE HostStore& operator=(HostStore&&) = default;
  ENGRAM_ALWAYS_INLINE ~HostStore() = default;

  Index num_rows() const noexcept { return num_rows_; }
  Index row_bytes() const noexcept { return row_bytes_; }
  Index scale_bytes() const noexcept { return scale_bytes_; }
  /// Bytes from one row to the next.
  Index stride() const noexcept { return stride_; }

  StridedRows ref() const noexcept { return {memory_.data(), stride_, scale_offset()}; }
  /// Null rows when the store is another's, see of_descriptor().
  MutableStridedRows mutable_ref() noexcept { return {memory_.data(), stride_, scale_offset()}; }

  /// What other processes open these rows by, see of_descriptor(); -1: not shared.
  int descriptor() const noexcept { return memory_.descriptor(); }

  /// Where the rows are; meant for after they were written. See HostMemory::report().
  ENGRAM_ALWAYS_INLINE HostMemoryReport report() const { return memory_.report(); }

 private:
  ENGRAM_ALWAYS_INLINE HostStore(HostMemory memory, Index num_rows, Index row_bytes,
                                 Index scale_bytes, Index stride)
      : memory_(std::move(memory)),
        num_rows_(num_rows),
        row_bytes_(row_bytes),
        scale_bytes_(scale_bytes),
        stride_(stride) {}

  Index scale_offset() const noexcept { return scale_bytes_ > 0 ? row_bytes_ : 0; }

  HostMemory memory_;
  Index num_rows_ = 0;
  Index row_bytes_ = 0;
  Index scale_bytes_ = 0;
  Index stride_ = 0;
};
static_assert(check_mutable_store<HostStore>());

ENGRAM_ALWAYS_INLINE Result<HostStore> HostStore::make(Index num_rows, Index row_bytes,
                                                       Index scale_bytes,
                                                       const HostStoreOptions& options) {
  const Result<Index> stride =
      row_stride("host store", {num_rows, row_bytes, scale_bytes}, options.stride, default_stride);
  if (!stride.ok()) return stride.failure();
  Result<HostMemory> memory = HostMemory::make(num_rows * stride.value(), options.memory);
  if (!memory.ok()) return memory.failure();
  return HostStore(std::move(memory.value()), num_rows, row_bytes, scale_bytes, stride.value());
}

ENGRAM_ALWAYS_INLINE Result<HostStore> HostStore::of_descriptor(int descriptor, Index num_rows,
                                                                Index row_bytes, Index scale_bytes,
                                                                Index stride) {
  const Result<Index> step =
      row_stride("host store", {num_rows, row_bytes, scale_bytes}, stride, default_stride);
  if (!step.ok()) return step.failure();
  Result<HostMemory> memory = HostMemory::of_descriptor(descriptor, num_rows * step.value());
  if (!memory.ok()) return memory.failure();
  return HostStore(std::move(memory.value()), num_rows, row_bytes, scale_bytes, step.value());
}

ENGRAM_END_NAMESPACE
