// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which n-gram order a row belongs to, and whether a cache may take it. Short n-grams come back,
// long ones rarely do, and the heads of one order lie together in a table: so this is a handful of
// ranges of row ids.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/storage/read_counters.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The rows from `first_row` on, up to the next range's first or the end of the table.
struct RowRange {
  Index first_row = 0;
  int order = 0;      ///< of their n-grams, 0 (not known) to 8: where counters put them
  bool admit = true;  ///< whether they enter the cache when they were read

  friend bool operator==(const RowRange&, const RowRange&) = default;
};

/// The ranges of a table, neighbours that say the same joined. Trivially copyable.
struct RowRanges {
  static constexpr Index most = 64;

  RowRange ranges[most] = {RowRange{}};
  Index count = 1;
};

ENGRAM_BEGIN_LOOPS

/// ranges  ascending, the first begins at row 0; one for each head of a layout is fine. Empty: all
///         rows are of order 0 and enter.
///
/// Fails with invalid_config (index: the range): not ascending, beyond the table, an order that
/// there is not, or more than 64 after neighbours that say the same were joined.
inline Result<RowRanges> make_row_ranges(View<const RowRange, 1> ranges, Index num_rows) {
  RowRanges made;
  if (ranges.size() > 0) made.count = 0;
  for (Index r = 0; r < ranges.size(); ++r) {
    const RowRange& next = ranges(r);
    const Index least = r == 0 ? 0 : ranges(r - 1).first_row + 1;
    if (r == 0 ? next.first_row != 0 : next.first_row < least)
      return fail(Code::invalid_config,
                  {"row ranges: range ", r, " begins at row ", next.first_row, ", expected ",
                   r == 0 ? "" : "at least ", least},
                  r);
    if (next.first_row >= num_rows)
      return fail(
          Code::invalid_config,
          {"row ranges: range ", r, " begins at row ", next.first_row, " of a table of ", num_rows},
          r);
    if (next.order < 0 || next.order >= ReadCounters::max_orders)
      return fail(Code::invalid_config,
                  {"row ranges: range ", r, " has order ", next.order, ", expected 0 to ",
                   ReadCounters::max_orders - 1},
                  r);
    if (made.count > 0) {
      const RowRange& last = made.ranges[made.count - 1];
      if (last.order == next.order && last.admit == next.admit) continue;
    }
    if (made.count == RowRanges::most)
      return fail(Code::invalid_config,
                  {"row ranges: more than ", RowRanges::most, " that differ from their neighbours"},
                  r);
    made.ranges[made.count++] = next;
  }
  return made;
}

/// The range of a row.
inline const RowRange& range_of(const RowRanges& all, Index row) noexcept {
  Index r = all.count - 1;
  while (all.ranges[r].first_row > row) --r;
  return all.ranges[r];
}

/// Adds to counts[order] how many of the rows are of each order.
inline void count_orders(const RowRanges& all, const RowId* rows, Index n, Index* counts) noexcept {
  Index behind = 0;  // rows of the ranges behind this one
  for (Index r = all.count - 1; r > 0; --r) {
    const Index first = all.ranges[r].first_row;
    Index from_here = 0;
    for (Index i = 0; i < n; ++i) from_here += to_integer(rows[i]) >= first ? 1 : 0;
    counts[all.ranges[r].order] += from_here - behind;
    behind = from_here;
  }
  counts[all.ranges[0].order] += n - behind;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
