// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How many rows a store has, of how many bytes, and how far apart: what every store that lays its
// rows out itself is asked for, and checks first.

#include <engram/core/status.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The sizes of a store's rows.
struct RowShape {
  Index num_rows = 0;
  Index row_bytes = 0;    ///< of a row's codes
  Index scale_bytes = 0;  ///< of its scales; 0: a format without

  /// Bytes from a row's codes to its scales behind them; 0: no scales.
  constexpr Index scale_offset() const noexcept { return scale_bytes > 0 ? row_bytes : 0; }
};

/// Bytes from one row to the next that let a row touch as few cache lines as its size allows: whole
/// lines for a row of 64 bytes or more, a power of two below, so that no row crosses into a line
/// that it could have avoided. Costs memory: 33 bytes take 64, 264 take 320.
///
/// Precondition: 1 <= bytes <= 2^63 - 64.
constexpr Index default_stride(Index bytes) noexcept {
  if (bytes >= 64) return (bytes + 63) / 64 * 64;
  Index stride = 1;
  while (stride < bytes) stride *= 2;
  return stride;
}

/// Bytes between rows on a GPU: whole multiples of 16, so that a row can be copied by threads that
/// read 16 bytes at once. V4.1's rows of 264 bytes take 272; where they are only decoded, they may
/// lie without a gap, because decoding reads 8. Precondition: that of default_stride().
constexpr Index device_stride(Index bytes) noexcept { return (bytes + 15) / 16 * 16; }

/// Rows that lie without a gap.
constexpr Index dense_stride(Index bytes) noexcept { return bytes; }

ENGRAM_BEGIN_LOOPS

/// `stride`, or for 0 what `chosen` makes of the bytes of a row, at most 2^63 - 65. `what` names
/// the store. Fails with invalid_config: a size below 1, a stride below the bytes of a row, more
/// than 2^63 bytes in all.
inline Result<Index> row_stride(std::string_view what, const RowShape& shape, Index stride,
                                Index (*chosen)(Index)) {
  const auto refuse = [what](std::initializer_list<Piece> why) {
    return fail(Code::invalid_config, {what, ": ", sentence(why)});
  };
  const Index codes = shape.row_bytes, scales = shape.scale_bytes;
  if (shape.num_rows < 1) return refuse({shape.num_rows, " rows, expected at least 1"});
  if (codes < 1) return refuse({"rows of ", codes, " bytes, expected at least 1"});
  if (scales < 0) return refuse({"scales of ", scales, " bytes, expected 0 or more"});
  if (stride < 0) return refuse({"a stride of ", stride, " bytes, expected 0 (chosen) or more"});
  const auto too_large = [&] {
    return refuse({shape.num_rows, " rows of ", codes, " and ", scales, " bytes, stride ", stride,
                   ", have more than 2^63 bytes"});
  };
  if (codes > INT64_MAX - 64 - scales) return too_large();
  const Index used = codes + scales;
  if (stride != 0 && stride < used)
    return refuse({"a stride of ", stride, " bytes, expected at least the ", used,
                   " bytes of a row (codes ", codes, ", scales ", scales, ")"});
  if (stride == 0) stride = chosen(used);
  if (shape.num_rows > INT64_MAX / stride) return too_large();
  return stride;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
