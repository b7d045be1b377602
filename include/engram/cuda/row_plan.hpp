// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The distinct rows of a batch on the GPU, ascending, and where each of them goes: what
// addressing/dedupe.hpp plans on the CPU, and the chunks that row gradients are summed in
// (training/row_gradient.hpp), to the same numbers. A sort and two scans, which come from a
// library (plan.cuh); here is what happens before, between and after.

#include <engram/core/workspace.hpp>
#include <engram/cuda/kernel_device.hpp>
#include <engram/training/row_gradient.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Up to a sorted id: how many distinct rows there are, and where the last of them begins.
struct RowRuns {
  std::int32_t unique = 0;
  std::int32_t begin = 0;

  ENGRAM_HD constexpr friend RowRuns operator+(const RowRuns& a, const RowRuns& b) noexcept {
    return {a.unique + b.unique, a.begin > b.begin ? a.begin : b.begin};
  }
};

/// Up to a sorted id: how many chunks begin, and how many of them are not their row's only one.
struct RowChunks {
  std::int32_t chunks = 0;
  std::int32_t partials = 0;

  ENGRAM_HD constexpr friend RowChunks operator+(const RowChunks& a, const RowChunks& b) noexcept {
    return {a.chunks + b.chunks, a.partials + b.partials};
  }
};

/// What a plan is made in; memory of the GPU.
struct RowPlanScratch {
  RowGradientPlan* plan = nullptr;
  std::uint64_t* pairs[2] = {};  ///< [count] ids with their places, as SortedRows; the sort's two
  RowRuns* runs = nullptr;       ///< [count]
  RowChunks* starts = nullptr;   ///< [count]
  RowChunk* chunks = nullptr;    ///< [count + 1]

  static Index bytes(Index count) noexcept {
    return Workspace::bytes_of([=](Workspace& memory) { (void)take(memory, count); });
  }
  static RowPlanScratch take(Workspace& memory, Index count) noexcept {
    RowPlanScratch s;
    s.plan = memory.take<RowGradientPlan>(1);
    s.pairs[0] = memory.take<std::uint64_t>(count);
    s.pairs[1] = memory.take<std::uint64_t>(count);
    s.runs = memory.take<RowRuns>(count);
    s.starts = memory.take<RowChunks>(count);
    s.chunks = memory.take<RowChunk>(count + 1);
    return s;
  }
};

/// The bodies' items are 32 ids each, a lane for each.
inline constexpr Index ids_of_an_item = 32;

/// Ids and their places as numbers to sort. No row, and what is none, which is reported as bad_row,
/// comes behind all rows, as `num_rows`.
///
/// Report: void report(Code, Index) const.
template <class Row, class Report>
struct PackRowsBody {
  View<const Row, 2> rows;
  Index num_rows;
  int position_bits;
  std::uint64_t* pairs;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index first = item * ids_of_an_item, left = rows.size() - first;
    lanes.each(left < ids_of_an_item ? left : ids_of_an_item, [&](Index l) {
      const Index i = first + l;
      auto row = static_cast<Index>(rows(i / rows.extent(1), i % rows.extent(1)));
      if (row < 0 || row >= num_rows) {
        if (row != -1) errors.report(Code::bad_row, i);
        row = num_rows;
      }
      pairs[i] = static_cast<std::uint64_t>(row) << position_bits | static_cast<std::uint64_t>(i);
    });
  }
};

/// What the bodies behind the sort share.
struct SortedIds {
  SortedRows sorted;  ///< those that are no rows included
  Index num_rows;

  ENGRAM_HD bool is_row(Index i) const noexcept {
    return i < sorted.count && sorted.row(i) < num_rows;
  }
  ENGRAM_HD bool is_first(Index i) const noexcept {
    return is_row(i) && (i == 0 || sorted.row(i - 1) != sorted.row(i));
  }
  /// Of 32 ids.
  ENGRAM_ANY_LANES
  template <class Lanes, class F>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void each(const Lanes& lanes, Index item,
                                           const F& f) const noexcept {
    const Index first = item * ids_of_an_item, left = sorted.count - first;
    lanes.each(left < ids_of_an_item ? left : ids_of_an_item, [&](Index l) { f(first + l); });
  }
};

/// Where rows begin; to be summed up.
struct MarkRunsBody {
  SortedIds ids;
  RowRuns* runs;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    ids.each(lanes, item, [&](Index i) {
      runs[i] = ids.is_first(i) ? RowRuns{1, static_cast<std::int32_t>(i)} : RowRuns();
    });
  }
};

/// Where chunks begin; to be summed up.
struct MarkChunksBody {
  SortedIds ids;
  const RowRuns* runs;
  RowChunks* starts;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    ids.each(lanes, item, [&](Index i) {
      const Index begin = runs[i].begin, next = begin + row_gradient_chunk;
      starts[i] = {};
      if (!ids.is_row(i) || (i - begin) % row_gradient_chunk != 0) return;
      const bool has_more =
          i > begin || (ids.is_row(next) && ids.sorted.row(next) == ids.sorted.row(i));
      starts[i] = {1, has_more ? 1 : 0};
    });
  }
};

/// The plan itself, from what the scans summed up.
template <class Row>
struct WritePlanBody {
  SortedIds ids;
  const RowRuns* runs;
  const RowChunks* starts;
  RowChunk* chunks;
  View<Row, 1> unique;            ///< written: the distinct rows, then -1
  View<std::int32_t, 1> scatter;  ///< [count] or empty
  RowGradientPlan* plan;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index count = ids.sorted.count;
    ids.each(lanes, item, [&](Index i) {
      const std::int32_t place = runs[i].unique - 1;
      const bool is_row = ids.is_row(i);
      if (i >= runs[count - 1].unique) unique(i) = -1;
      if (scatter.size() != 0) scatter(ids.sorted.position(i)) = is_row ? place : -1;
      if (ids.is_first(i)) unique(place) = static_cast<Row>(ids.sorted.row(i));
      const RowChunks before = i == 0 ? RowChunks() : starts[i - 1];
      if (starts[i].chunks != before.chunks)
        chunks[before.chunks] = {static_cast<std::int32_t>(i), place,
                                 starts[i].partials != before.partials ? before.partials : -1};
      if (is_row ? ids.is_row(i + 1) : i > 0) return;
      // The last row, or that there is none.
      const Index kept = is_row ? i + 1 : 0;
      RowGradientPlan made;
      made.sorted = {ids.sorted.pairs, kept, ids.sorted.position_bits};
      made.chunks = chunks;
      made.num_chunks = is_row ? starts[i].chunks : 0;
      made.num_unique = is_row ? runs[i].unique : 0;
      made.num_partials = is_row ? starts[i].partials : 0;
      chunks[made.num_chunks].first = static_cast<std::int32_t>(kept);
      *plan = made;
    });
  }
};

/// The plan of no ids.
struct EmptyPlanBody {
  RowGradientPlan* plan;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) { *plan = RowGradientPlan(); });
  }
};

/// A batch's plan in the GPU's memory, as other calls take it: nobody on the host knows yet how
/// many rows there are.
template <class Row>
struct DeviceRowPlan {
  RowGradientPlan* plan = nullptr;  ///< in the workspace
  DeviceView<const Row, 1> unique;  ///< [T * H] the distinct rows, ascending, then -1
  Index columns = 0;                ///< H

  /// T * H.
  Index most() const noexcept { return unique.extent(0); }
  /// Where the number of distinct rows is.
  const Index* num_unique() const noexcept { return &plan->num_unique; }
  const Index* num_chunks() const noexcept { return &plan->num_chunks; }
};

/// Makes a plan. See RowPlanner::plan() (plan.cuh), whose arguments are checked.
///
/// Sorter: `std::uint64_t* sort(pairs[2], count, begin_bit, end_bit, device)`, which of the two is
/// sorted; `void sum(items, count, device)`, inclusive sums in place.
template <KernelDevice Dev, class Sorter, class Row>
ENGRAM_HIDDEN DeviceRowPlan<Row> make_row_plan(const Dev& device, const Sorter& sorter,
                                               DeviceView<const Row, 2> rows, Index num_rows,
                                               DeviceView<Row, 1> unique,
                                               DeviceView<std::int32_t, 1> scatter,
                                               Workspace& memory) noexcept {
  const Index count = rows.size();
  const RowPlanScratch scratch = RowPlanScratch::take(memory, count);
  const DeviceRowPlan<Row> made{scratch.plan, unique.slice(0, count), rows.extent(1)};
  if (count == 0) {
    device.for_items(1, EmptyPlanBody{scratch.plan});
    return made;
  }
  const int position_bits =
      count > 1 ? static_cast<int>(std::bit_width(static_cast<std::uint64_t>(count - 1))) : 1;
  const int row_bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(num_rows)));
  const Index items = (count - 1) / ids_of_an_item + 1;
  device.for_items(
      items, PackRowsBody<Row, decltype(device.error_word())>{
                 rows.for_body(), num_rows, position_bits, scratch.pairs[0], device.error_word()});
  const std::uint64_t* const sorted =
      sorter.sort(scratch.pairs, count, position_bits, position_bits + row_bits, device);
  const SortedIds ids{{sorted, count, position_bits}, num_rows};
  device.for_items(items, MarkRunsBody{ids, scratch.runs});
  sorter.sum(scratch.runs, count, device);
  device.for_items(items, MarkChunksBody{ids, scratch.runs, scratch.starts});
  sorter.sum(scratch.starts, count, device);
  device.for_items(items, WritePlanBody<Row>{ids, scratch.runs, scratch.starts, scratch.chunks,
                                             unique.for_body(), scatter.for_body(), scratch.plan});
  return made;
}

/// shape_mismatch or unsupported, as plan_dedupe() says, where a plan of these is not possible.
template <class Row>
Status check_row_plan(DeviceView<const Row, 2> rows, Index num_rows, DeviceView<Row, 1> unique,
                      DeviceView<std::int32_t, 1> scatter) noexcept {
  static_assert(std::is_same_v<Row, std::int32_t> || std::is_same_v<Row, std::int64_t>,
                "engram: row ids are std::int32_t or std::int64_t");
  const Index count = rows.size();
  if (rows.extent(0) < 0 || rows.extent(1) < 1) return {Code::shape_mismatch, 0, 1};
  if (count > INT32_MAX) return {Code::unsupported, 0, count};
  if (num_rows < 0 || std::bit_width(static_cast<std::uint64_t>(num_rows)) +
                              std::bit_width(static_cast<std::uint64_t>(count)) >
                          63)
    return {Code::unsupported, 0, num_rows};
  if (unique.extent(0) < count || (scatter.size() != 0 && scatter.extent(0) != count))
    return {Code::shape_mismatch, 0, count};
  return {};
}

ENGRAM_END_NAMESPACE
