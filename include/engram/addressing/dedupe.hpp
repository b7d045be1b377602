// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The dedupe plan of a batch: which rows it needs, each once and in ascending order, and where each
// of them goes. Worth its cost before anything slower than memory: a disk, a link, an all-to-all.

#include <engram/addressing/row_sort.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Scratch bytes that plan_dedupe needs for `count` row ids.
constexpr std::size_t dedupe_workspace_bytes(Index count) noexcept {
  return row_sort_workspace_bytes(count);
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
  if (rows.extent(0) < 0 || rows.extent(1) < 0) return {Code::shape_mismatch, 0, 0};
  if (count > INT32_MAX) return {Code::unsupported, 0, count};
  if (scatter.extent(0) != count || unique.extent(0) < count)
    return {Code::shape_mismatch, 0, count};
  Workspace scratch(workspace);
  SortedRows sorted;
  if (Status status = sort_rows<Row>(rows, num_rows, sorted, scratch); !status.ok()) return status;

  if (sorted.count < count)
    for (Index i = 0; i < count; ++i) scatter(i) = -1;
  Index last = -1;
  Index found = -1;
  for (Index i = 0; i < sorted.count; ++i) {
    const Index row = sorted.row(i);
    found += row != last ? 1 : 0;
    last = row;
    unique(found) = static_cast<Row>(row);
    scatter(sorted.position(i)) = static_cast<std::int32_t>(found);
  }
  num_unique = found + 1;
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
