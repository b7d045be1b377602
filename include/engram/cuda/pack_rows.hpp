// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of any store the host can read as they will lie on the GPU, and the digest of what is sent.

#include <engram/core/device.hpp>
#include <engram/cuda/row_digest.hpp>
#include <engram/storage/copy_rows.hpp>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// Copies rows, scales behind codes, to places `stride` bytes apart; bytes between them become 0.
///
/// from    row id -> RowBytes.
/// to      [rows.end - rows.begin, stride], host memory.
/// Gives   their part of the table's digest (RowDigestBody), taken from `to` while the rows are in
///         the processor's nearest cache.
template <class Ref>
std::uint64_t pack_rows(const Ref& from, const RowShape& shape, ItemRange rows, Index stride,
                        std::byte* to) noexcept {
  constexpr Index near_bytes = Index{16} << 10;
  const Index used = shape.row_bytes + shape.scale_bytes;
  const Index at_once = stride < near_bytes ? near_bytes / stride : 1;
  std::uint64_t digest = 0;
  for (Index begin = rows.begin; begin < rows.end; begin += at_once) {
    const Index count = at_once < rows.end - begin ? at_once : rows.end - begin;
    std::byte* const packed = to + (begin - rows.begin) * stride;
    for (Index i = 0; i < count; ++i) {
      copy_row(from(begin + i), shape, packed + i * stride);
      std::memset(packed + i * stride + used, 0, static_cast<std::size_t>(stride - used));
    }
    run_items(RowDigestBody{packed, stride, used, begin, &digest}, {0, count});
  }
  return digest;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
