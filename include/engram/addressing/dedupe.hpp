// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The dedupe plan of a batch: which rows it needs, each once and in ascending order, and where each
// of them goes. Worth its cost before anything slower than memory: a disk, a link, an all-to-all.
//
// It is a radix sort of (row, position) pairs on the bits that rows of this table can have, packed
// into one 64-bit word each, followed by one pass over equal neighbours.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/core/workspace.hpp>

#include <bit>

ENGRAM_BEGIN_NAMESPACE

/// Widest digit of the sort: 2048 counters of 4 bytes stay in the first-level cache.
inline constexpr int dedupe_digit_bits = 11;

/// Scratch bytes that plan_dedupe needs for `count` row ids.
constexpr std::size_t dedupe_workspace_bytes(Index count) noexcept {
  return 2 * Workspace::bytes_for<std::uint64_t>(count) +
         Workspace::bytes_for<std::uint32_t>(Index{2} << dedupe_digit_bits);
}

ENGRAM_BEGIN_LOOPS

/// Finds the distinct rows of a batch and the place of each id among them.
///
/// rows        [T, H] row ids of one table, int32 or int64, host memory; -1: no row.
/// num_rows    rows of the table; ids are in [-1, num_rows).
/// unique      [>= T * H] written from the front: the distinct rows, ascending.
/// scatter     [T * H] written: rows(t, c) == unique(scatter(t * H + c)), or -1 for no row.
/// num_unique  written: how many rows `unique` holds.
/// workspace   dedupe_workspace_bytes(T * H) bytes, any alignment.
/// Status      bad_row (index: t * H + c), shape_mismatch, workspace_small (index: the bytes),
///             unsupported when T * H exceeds 2^31 - 1, num_rows is negative or num_rows * T * H
///             exceeds 2^63; then nothing but the workspace has been written.
/// Cost        O(T * H) per digit of 11 bits: 3 passes for 2^33 rows. Runs on the calling thread.
template <class Row>
Status plan_dedupe(std::type_identity_t<View<const Row, 2>> rows, Index num_rows,
                   View<Row, 1> unique, View<std::int32_t, 1> scatter, Index& num_unique,
                   View<std::byte, 1> workspace) noexcept {
  const Index count = rows.size();
  const Index columns = rows.extent(1);
  if (rows.extent(0) < 0 || columns < 0) return {Code::shape_mismatch, 0, 0};
  if (count > INT32_MAX) return {Code::unsupported, 0, count};
  if (scatter.extent(0) != count || unique.extent(0) < count)
    return {Code::shape_mismatch, 0, count};
  const int row_bits =
      num_rows > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(num_rows - 1))) : 1;
  const int position_bits =
      count > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count - 1))) : 1;
  if (num_rows < 0 || row_bits + position_bits > 63) return {Code::unsupported, 0, num_rows};
  const int passes = (row_bits + dedupe_digit_bits - 1) / dedupe_digit_bits;
  const int digit_bits = (row_bits + passes - 1) / passes;
  const std::uint32_t digits = std::uint32_t{1} << digit_bits;

  Workspace scratch(workspace);
  auto* from = scratch.take<std::uint64_t>(count);
  auto* to = scratch.take<std::uint64_t>(count);
  auto* counters = scratch.take<std::uint32_t>(Index{2} << dedupe_digit_bits);
  if (from == nullptr || to == nullptr || counters == nullptr)
    return {Code::workspace_small, 0, static_cast<Index>(dedupe_workspace_bytes(count))};

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

  if (kept < count)
    for (Index i = 0; i < count; ++i) scatter(i) = -1;
  const std::uint64_t position_mask = (std::uint64_t{1} << position_bits) - 1;
  std::uint64_t last = ~std::uint64_t{0};
  Index found = -1;
  for (Index i = 0; i < kept; ++i) {
    const std::uint64_t row = from[i] >> position_bits;
    found += row != last ? 1 : 0;
    last = row;
    unique(found) = static_cast<Row>(row);
    scatter(static_cast<Index>(from[i] & position_mask)) = static_cast<std::int32_t>(found);
  }
  num_unique = found + 1;
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
