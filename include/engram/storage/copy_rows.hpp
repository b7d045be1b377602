// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a store in memory to bytes one behind the other, as readers deliver them.

#include <engram/core/share.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/row_shape.hpp>
#include <engram/storage/store.hpp>

#include <cstring>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// Bytes of one row: its codes, then its scales.
ENGRAM_ALWAYS_INLINE void copy_row(RowBytes row, const RowShape& shape, std::byte* to) noexcept {
  std::memcpy(to, row.codes, static_cast<std::size_t>(shape.row_bytes));
  if (shape.scale_bytes > 0)
    std::memcpy(to + shape.row_bytes, row.scales, static_cast<std::size_t>(shape.scale_bytes));
}

/// Copies some of a batch's rows, each asked for well before it is read; those behind them are
/// asked for as well. The parts of a batch come one after the other, the first from row 0 on.
///
/// ref    row id -> RowBytes; rows in its range.
/// to     [rows, row_bytes + scale_bytes], of the whole batch.
template <class Ref>
void copy_rows(const Ref& ref, View<const RowId, 1> rows, ItemRange part, const RowShape& shape,
               std::byte* to) noexcept {
  const Index each = shape.row_bytes + shape.scale_bytes;
  const Index count = rows.size();
  const Index ahead = tokens_ahead(1, each);
  const auto ask_for = [&](Index i) {
    const RowBytes row = ref(to_integer(rows(i)));
    const bool in_one_piece = row.scales == row.codes + shape.row_bytes;
    prefetch_lines(row.codes, in_one_piece ? each : shape.row_bytes);
    if (shape.scale_bytes > 0 && !in_one_piece) prefetch_lines(row.scales, shape.scale_bytes);
  };
  for (Index i = 0; part.begin == 0 && i < ahead && i < count; ++i) ask_for(i);
  for (Index i = part.begin; i < part.end; ++i) {
    if (i + ahead < count) ask_for(i + ahead);
    const RowBytes row = ref(to_integer(rows(i)));
    if (row.scales == row.codes + shape.row_bytes)
      std::memcpy(to + i * each, row.codes, static_cast<std::size_t>(each));
    else
      copy_row(row, shape, to + i * each);
  }
}

/// Copies all rows of a batch.
template <class Ref>
void copy_rows(const Ref& ref, View<const RowId, 1> rows, const RowShape& shape,
               std::byte* to) noexcept {
  copy_rows(ref, rows, {0, rows.size()}, shape, to);
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
