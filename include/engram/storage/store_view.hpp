// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that somebody else owns, as a store: an engine's or a framework's tensor, in host memory or
// a GPU's. Nothing is copied.

#include <engram/storage/row_shape.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/strided_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Rows at equal distances in memory of a space, not owned; each is its codes, then its scales.
/// Trivially copyable; valid as long as the memory is.
///
/// Byte: const std::byte, or std::byte for rows that may be written.
template <MemorySpace Space = HostSpace, class Byte = const std::byte>
class StoreView {
  static_assert(std::is_same_v<std::remove_const_t<Byte>, std::byte>,
                "engram: a StoreView's rows are of std::byte or const std::byte");

 public:
  using space_type = Space;

  /// rows    the first row, [num_rows, stride] bytes; the last row may end with its own bytes.
  /// shape   of the rows.
  /// stride  bytes from one row to the next; 0: the bytes of a row.
  ///
  /// Fails with invalid_config: no memory, a size that cannot work, a stride below the bytes of a
  /// row, more than 2^63 bytes.
  static Result<StoreView> make(Byte* rows, const RowShape& shape, Index stride = 0) {
    if (rows == nullptr) return fail(Code::invalid_config, "store view: no memory");
    const Result<Index> step = row_stride("store view", shape, stride, dense_stride);
    if (!step.ok()) return step.failure();
    return StoreView(rows, shape, step.value());
  }

  Index num_rows() const noexcept { return shape_.num_rows; }
  Index row_bytes() const noexcept { return shape_.row_bytes; }
  Index scale_bytes() const noexcept { return shape_.scale_bytes; }
  /// Bytes from one row to the next.
  Index stride() const noexcept { return stride_; }

  StridedRows ref() const noexcept { return {rows_, stride_, shape_.scale_offset()}; }
  MutableStridedRows mutable_ref() noexcept requires(!std::is_const_v<Byte>) {
    return {rows_, stride_, shape_.scale_offset()};
  }

 private:
  StoreView(Byte* rows, const RowShape& shape, Index stride) noexcept
      : rows_(rows), shape_(shape), stride_(stride) {}

  Byte* rows_;
  RowShape shape_;
  Index stride_;
};
static_assert(check_addressable_store<StoreView<>>());
static_assert(check_mutable_store<StoreView<HostSpace, std::byte>>());

ENGRAM_END_NAMESPACE
