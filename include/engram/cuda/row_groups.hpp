// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How the threads of a grid share the rows of a gather: a group of them takes four rows at a time,
// so that four ids, then four rows are on the way at once. What becomes of a row is its caller's.

#include <engram/codec/row_bytes.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Rows that a group has on the way at once.
inline constexpr int rows_ahead = 4;

/// Some rows of a gather: items first, first + step, ..., or `first` again where there are no more.
/// What is no row is row 0, and nothing of it is to be kept.
template <class Row>
struct RowsAhead {
  Index first;
  Index step;
  Row row[rows_ahead];
  bool is_row[rows_ahead];
  std::byte* to[rows_ahead];
};

/// Ids and places of a gather's rows, for groups of Group threads; item t * H + c. An id that is
/// neither -1 nor a row is reported as bad_row with its item.
///
/// Flat: ids and output are dense.   Ref: row id -> RowBytes.
/// Report: void report(Code, Index) const.
template <int Group, bool Flat, class Ref, class Row, class Out, class Report>
struct RowGroups {
  using element_type = Out;
  static constexpr int threads = Group;

  Ref ref;
  View<const Row, 2> rows;
  Index num_rows;
  int units;  ///< 16 bytes of output each, of one row
  View<Out, 2> out;
  Report errors;

  ENGRAM_HD ENGRAM_ALWAYS_INLINE bool is_row(Row row) const noexcept {
    return static_cast<Index>(row) >= 0 && static_cast<Index>(row) < num_rows;
  }

  /// An item's id, and where its row goes to.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Row id_of(Index item, std::byte*& to) const noexcept {
    auto* const base = reinterpret_cast<std::byte*>(out.data());
    if constexpr (Flat) {
      to = base + item * units * 16;
      return rows.data()[item];
    } else {
      const Index t = item / rows.extent(1), c = item % rows.extent(1);
      to = base + t * out.stride(0) * Index{sizeof(Out)} + c * units * 16;
      return rows(t, c);
    }
  }

  /// Calls f(lane, RowsAhead) in each thread until all rows were taken: those that a grid's groups
  /// do not reach at once, later; some twice where they are no multiple of four.
  ///
  /// The four ids are loaded before any is looked at, so that their reads overlap. Grid: `static
  /// constexpr int threads`, of a block; `int thread()`, in its block; `Index block()`; `Index
  /// blocks()`.
  ENGRAM_ANY_LANES
  template <class Grid, class F>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void each(const Grid& grid, const F& f) const noexcept {
    static_assert(Grid::threads % Group == 0);
    constexpr int groups_of_a_block = Grid::threads / Group;
    const Index count = rows.extent(0) * rows.extent(1);
    const Index groups = grid.blocks() * groups_of_a_block;
    const int lane = grid.thread() % Group;
    for (Index begin = grid.block() * groups_of_a_block + grid.thread() / Group; begin < count;
         begin += groups * rows_ahead) {
      RowsAhead<Row> ahead;
      ahead.first = begin;
      ahead.step = groups;
      ENGRAM_CUDA_UNROLL
      for (int a = 0; a < rows_ahead; ++a)
        ahead.row[a] = id_of(begin + a * groups < count ? begin + a * groups : begin, ahead.to[a]);
      ENGRAM_CUDA_UNROLL
      for (int a = 0; a < rows_ahead; ++a) {
        ahead.is_row[a] = is_row(ahead.row[a]);
        if (!ahead.is_row[a] && ahead.row[a] != -1 && lane == 0)
          errors.report(Code::bad_row, begin + a * groups < count ? begin + a * groups : begin);
        if (!ahead.is_row[a]) ahead.row[a] = 0;
      }
      f(lane, ahead);
    }
  }
};

ENGRAM_END_NAMESPACE
