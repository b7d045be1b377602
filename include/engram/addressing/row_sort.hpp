// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The row ids of a batch in ascending order, each with its place in the batch: what finding the
// distinct rows, reading them in order and summing their gradients start from.
//
// A radix sort of (row, position) pairs on the bits that rows of this table can have, packed into
// one 64-bit word each; equal rows stay in the order of their positions.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/core/workspace.hpp>

#include <bit>

ENGRAM_BEGIN_NAMESPACE

/// Widest digit of the sort: 2048 counters of 4 bytes stay in the first-level cache.
inline constexpr int row_sort_digit_bits = 11;

/// Scratch bytes that sort_rows needs for `count` row ids.
constexpr std::size_t row_sort_workspace_bytes(Index count) noexcept {
  return 2 * Workspace::bytes_for<std::uint64_t>(count) +
         Workspace::bytes_for<std::uint32_t>(Index{2} << row_sort_digit_bits);
}

/// Sorted ids, in the memory of the workspace that sort_rows was given.
struct SortedRows {
  const std::uint64_t* pairs = nullptr;
  Index count = 0;  ///< ids that are rows; those of -1 are left out
  int position_bits = 1;

  ENGRAM_HD Index row(Index i) const noexcept {
    return static_cast<Index>(pairs[i] >> position_bits);
  }
  /// Place of the id in the batch, t * H + c.
  ENGRAM_HD Index position(Index i) const noexcept {
    return static_cast<Index>(pairs[i] & ((std::uint64_t{1} << position_bits) - 1));
  }
};

ENGRAM_BEGIN_LOOPS

/// Sorts the row ids of a batch.
///
/// rows       [T, H] row ids of one table, int32 or int64, host memory; -1: no row.
/// num_rows   rows of the table; ids are in [-1, num_rows).
/// sorted     written; stays valid as long as the workspace's bytes.
/// Status     bad_row (index: t * H + c), shape_mismatch, workspace_small (index: the bytes),
///            unsupported when T * H exceeds 2^31 - 1, num_rows is negative or num_rows * T * H
///            exceeds 2^63; then nothing but the workspace has been written.
/// Cost       O(T * H) per digit of 11 bits: 3 passes for 2^33 rows. Runs on the calling thread.
template <class Row>
Status sort_rows(View<const Row, 2> rows, Index num_rows, SortedRows& sorted,
                 Workspace& workspace) noexcept {
  const Index count = rows.size();
  const Index columns = rows.extent(1);
  if (rows.extent(0) < 0 || columns < 0) return {Code::shape_mismatch, 0, 0};
  if (count > INT32_MAX) return {Code::unsupported, 0, count};
  const int row_bits =
      num_rows > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(num_rows - 1))) : 1;
  const int position_bits =
      count > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count - 1))) : 1;
  if (num_rows < 0 || row_bits + position_bits > 63) return {Code::unsupported, 0, num_rows};
  const int passes = (row_bits + row_sort_digit_bits - 1) / row_sort_digit_bits;
  const int digit_bits = (row_bits + passes - 1) / passes;
  const std::uint32_t digits = std::uint32_t{1} << digit_bits;

  auto* from = workspace.take<std::uint64_t>(count);
  auto* to = workspace.take<std::uint64_t>(count);
  auto* counters = workspace.take<std::uint32_t>(Index{2} << row_sort_digit_bits);
  if (from == nullptr || to == nullptr || counters == nullptr)
    return {Code::workspace_small, 0, static_cast<Index>(row_sort_workspace_bytes(count))};

  std::uint32_t* here = counters;            // how many ids have each digit of this pass
  std::uint32_t* ahead = counters + digits;  // and of the next, counted while this one moves them
  const auto digit = [digits](std::uint64_t pair, int shift) {
    return static_cast<std::uint32_t>(pair >> shift) & (digits - 1);
  };
  for (std::uint32_t d = 0; d < digits; ++d) here[d] = 0;
  Index kept = 0;
  Index position = 0;
  for (Index t = 0; t < rows.extent(0); ++t) {
    const Row* ids = rows.data() + t * rows.stride(0);
    for (Index c = 0; c < columns; ++c, ++position) {
      const auto row = static_cast<std::uint64_t>(Index{ids[c]});
      if (row >= static_cast<std::uint64_t>(num_rows)) {
        if (ids[c] != to_integer(no_row)) return {Code::bad_row, 0, position};
        continue;
      }
      __builtin_prefetch(to + kept, 1, 2);
      from[kept++] = row << position_bits | static_cast<std::uint64_t>(position);
      ++here[digit(row, 0)];
    }
  }
  for (int pass = 0; pass < passes; ++pass) {
    std::uint32_t sum = 0;
    for (std::uint32_t d = 0; d < digits; ++d) {
      const std::uint32_t start = sum;
      sum += here[d];
      here[d] = start;
      ahead[d] = 0;
    }
    const int shift = position_bits + pass * digit_bits;
    const int shift_ahead = pass + 1 < passes ? shift + digit_bits : shift;
    for (Index i = 0; i < kept; ++i) {
      const std::uint64_t pair = from[i];
      to[here[digit(pair, shift)]++] = pair;
      ++ahead[digit(pair, shift_ahead)];
    }
    std::uint64_t* moved = to;
    to = from;
    from = moved;
    std::uint32_t* counted = ahead;
    ahead = here;
    here = counted;
  }
  sorted = {from, kept, position_bits};
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
