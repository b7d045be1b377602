// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One gradient for each row that a step has read: the gradients of all places that read a row,
// summed. Rows come out in ascending order, and sums do not depend on threads or on how the step
// was cut into calls: a row's places are added in ascending order in chunks of 64, the chunks' sums
// in order. Chunks are what threads share, so a row that every token reads is not one thread's
// work.

#include <engram/addressing/row_sort.hpp>
#include <engram/core/device.hpp>
#include <engram/core/prefetch.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Places of one row that are added up at a time.
inline constexpr Index row_gradient_chunk = 64;

/// Chunks of rows that have several, of so many ids, at most.
ENGRAM_HD constexpr Index most_partials(Index ids) noexcept {
  return ids / (row_gradient_chunk / 2);
}

/// Up to 64 places of one row.
struct RowChunk {
  std::int32_t first = 0;     ///< of the sorted places
  std::int32_t unique = 0;    ///< which of the distinct rows
  std::int32_t partial = -1;  ///< where the sum waits for the row's other chunks; -1: none
};

/// The rows that a step has read and what their gradients add up to. Views of the caller's arrays.
template <class Row>
struct RowGradients {
  View<const Row, 1> rows;      ///< [U] ascending
  View<const float, 2> sums;    ///< [U, E]
  Index not_finite = 0;         ///< rows whose sum has a NaN or an infinity
  Index first_not_finite = -1;  ///< the lowest of them
};

/// What the threads of one reduction share; in the workspace.
struct RowGradientPlan {
  SortedRows sorted;
  RowChunk* chunks = nullptr;  ///< [num_chunks + 1], the last one's `first` is the end
  Index num_chunks = 0;
  Index num_unique = 0;
  Index num_partials = 0;
  Index not_finite = 0;
  Index first_not_finite = INT64_MAX;  ///< place among the distinct rows
  Status status;

  /// A row whose sum is not finite; from any thread, in any order.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void note_not_finite(Index place) noexcept {
#if defined(__CUDA_ARCH__)
    atomicAdd(reinterpret_cast<unsigned long long*>(&not_finite), 1ULL);
    atomicMin(reinterpret_cast<long long*>(&first_not_finite), static_cast<long long>(place));
#else
    __atomic_add_fetch(&not_finite, 1, __ATOMIC_RELAXED);
    Index lowest = __atomic_load_n(&first_not_finite, __ATOMIC_RELAXED);
    while (place < lowest && !__atomic_compare_exchange_n(&first_not_finite, &lowest, place, false,
                                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
#endif
  }
};

/// Bytes of workspace for the gradients of `count` row ids, T * H, of rows of `width` elements.
constexpr Index row_gradient_workspace_bytes(Index count, Index width) noexcept {
  return static_cast<Index>(row_sort_workspace_bytes(count) +
                            Workspace::bytes_for<RowGradientPlan>(1) +
                            Workspace::bytes_for<RowChunk>(count + 1) +
                            Workspace::bytes_for<float>(most_partials(count) * width));
}

/// Reads that are on the way when the first is added: several where a lane is a thread, which else
/// would wait for each; one where lanes are registers of one thread, which has none to spare.
template <class Lanes>
inline constexpr int reads_at_once = sizeof(typename Lanes::Float) == sizeof(float) ? 8 : 1;

/// The sum of a chunk's places; the item is the chunk.
struct RowChunkBody {
  RowGradientPlan* plan;
  View<const float, 2> gradients;
  Index columns;
  View<float, 2> sums;
  float* partials;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index width = sums.extent(1);
    if (width == 64) return add_up(lanes, item, std::integral_constant<Index, 64>());
    if (width == 32) return add_up(lanes, item, std::integral_constant<Index, 32>());
    add_up(lanes, item, width);
  }

 private:
  ENGRAM_HD ENGRAM_ALWAYS_INLINE const float* at(Index position, Index width) const noexcept {
    if (columns == 1 || gradients.stride(0) == columns * width)
      return gradients.data() + position * (columns == 1 ? gradients.stride(0) : width);
    return gradients.data() + position / columns * gradients.stride(0) + position % columns * width;
  }

  // Sixty-four elements at a time, which stay in registers.
  ENGRAM_ANY_LANES
  template <class Lanes, class Width>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void add_up(const Lanes& lanes, Index item,
                                             Width width) const noexcept {
    constexpr Index ahead = 24;
    const SortedRows sorted = plan->sorted;
    const RowChunk chunk = plan->chunks[item];
    const Index end = plan->chunks[item + 1].first;
    float* const to = chunk.partial < 0 ? sums.data() + chunk.unique * sums.stride(0)
                                        : partials + chunk.partial * width;
    for (Index i = chunk.first + ahead; i < end + ahead && i < sorted.count; ++i) {
      const float* const next = at(sorted.position(i), width);
      for (Index d = 0; d < width; d += 16) prefetch(next + d);
    }
    bool finite = true;
    for (Index d = 0; d < width; d += 2 * lanes.width) {
      const Index left = width - d, further = left - lanes.width;
      const float* const first = at(sorted.position(chunk.first), width) + d;
      auto low = lanes.load(first, left);
      auto high = lanes.load(first + lanes.width, further);
      Index i = chunk.first + 1;
      if constexpr (constexpr int at_once = reads_at_once<Lanes>; at_once > 1)
        for (; i + at_once <= end; i += at_once) {
          Index position[at_once];
          const float* from[at_once];
          typename Lanes::Float lows[at_once], highs[at_once];
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j) position[j] = sorted.position(i + j);
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j) from[j] = at(position[j], width) + d;
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j) {
            lows[j] = lanes.load(from[j], left);
            highs[j] = lanes.load(from[j] + lanes.width, further);
          }
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j) {
            low += lows[j];
            high += highs[j];
          }
        }
      for (; i < end; ++i) {
        const float* const from = at(sorted.position(i), width) + d;
        low += lanes.load(from, left);
        high += lanes.load(from + lanes.width, further);
      }
      lanes.store(to + d, low, left);
      lanes.store(to + d + lanes.width, high, further);
      finite = finite && lanes.all_finite(low) && lanes.all_finite(high);
    }
    if (!finite && chunk.partial < 0)
      lanes.each(1, [&](Index) { plan->note_not_finite(chunk.unique); });
  }
};

/// Adds the chunks of rows that have several, in order; the item is the chunk, and the first of a
/// row does the work.
struct RowPartialsBody {
  RowGradientPlan* plan;
  View<float, 2> sums;
  const float* partials;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const RowChunk* const chunks = plan->chunks;
    const RowChunk first = chunks[item];
    if (first.partial < 0 || (item > 0 && chunks[item - 1].unique == first.unique)) return;
    const Index width = sums.extent(1);
    float* const to = sums.data() + first.unique * sums.stride(0);
    const float* const parts = partials + first.partial * width;  // one behind the other
    const Index count = chunks_of_row(chunks, item);
    bool finite = true;
    for (Index d = 0; d < width; d += lanes.width) {
      auto sum = lanes.load(parts + d, width - d);
      Index c = 1;
      if constexpr (constexpr int at_once = reads_at_once<Lanes>; at_once > 1)
        for (; c + at_once <= count; c += at_once) {
          typename Lanes::Float more[at_once];
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j)
            more[j] = lanes.load(parts + (c + j) * width + d, width - d);
          ENGRAM_CUDA_UNROLL
          for (int j = 0; j < at_once; ++j) sum += more[j];
        }
      for (; c < count; ++c) sum += lanes.load(parts + c * width + d, width - d);
      lanes.store(to + d, sum, width - d);
      finite = lanes.all_finite(sum) && finite;
    }
    if (!finite) lanes.each(1, [&](Index) { plan->note_not_finite(first.unique); });
  }

 private:
  /// How many chunks the row has whose first one is `begin`: found by steps that double.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Index chunks_of_row(const RowChunk* chunks,
                                                     Index begin) const noexcept {
    const std::int32_t unique = chunks[begin].unique;
    const auto is_row = [&](Index c) { return c < plan->num_chunks && chunks[c].unique == unique; };
    Index count = 1, step = 1;
    for (; is_row(begin + count + step - 1); step *= 2) count += step;
    for (; step > 0; step /= 2)
      if (is_row(begin + count + step - 1)) count += step;
    return count;
  }
};

ENGRAM_BEGIN_LOOPS

/// Writes the distinct rows and cuts their places into chunks.
template <class Row>
void plan_chunks(RowGradientPlan& plan, View<Row, 1> unique) noexcept {
  const SortedRows& sorted = plan.sorted;
  Index last = -1, last_begin = 0;
  for (Index i = 0; i < sorted.count; ++i) {
    const Index row = sorted.row(i);
    const bool is_new = row != last;
    if (!is_new && (i - last_begin) % row_gradient_chunk != 0) continue;
    if (is_new) {
      unique(plan.num_unique++) = static_cast<Row>(row);
      last = row;
      last_begin = i;
    } else {
      RowChunk& before = plan.chunks[plan.num_chunks - 1];
      if (before.partial < 0) before.partial = static_cast<std::int32_t>(plan.num_partials++);
    }
    plan.chunks[plan.num_chunks++] = {static_cast<std::int32_t>(i),
                                      static_cast<std::int32_t>(plan.num_unique - 1),
                                      is_new ? -1 : static_cast<std::int32_t>(plan.num_partials++)};
  }
  plan.chunks[plan.num_chunks].first = static_cast<std::int32_t>(sorted.count);
}

/// Sums the gradients of a step by row.
///
/// rows        [T, H] the row ids of the step, int32 or int64; -1: no row.
/// gradients   [T, H * E] float, token stride free: LayerTraining::backward's to_rows.
/// num_rows    rows of the table; ids are in [-1, num_rows).
/// unique      [>= T * H] written from the front: the rows that were read, ascending.
/// sums        [>= T * H, E] written: the gradient of unique(u) at u. Row stride free.
/// found       written: the rows and sums that there are, and whether they are finite.
/// workspace   row_gradient_workspace_bytes(T * H, E) bytes, any alignment.
/// device      sums are shared among its threads, the sort is the first one's.
/// Status      bad_row (index: t * H + c), shape_mismatch, workspace_small (index: the bytes),
///             unsupported as sort_rows; then nothing but the workspace has been written.
/// Cost        a sort, and one read of the gradients in the order of their rows. No allocation.
template <class Row, Device Dev = CpuDevice>
Status reduce_row_gradients(View<Row, 2> rows, View<const float, 2> gradients, Index num_rows,
                            std::type_identity_t<View<std::remove_const_t<Row>, 1>> unique,
                            View<float, 2> sums, RowGradients<std::remove_const_t<Row>>& found,
                            View<std::byte, 1> workspace, const Dev& device = {}) noexcept {
  using Id = std::remove_const_t<Row>;
  const Index count = rows.size();
  const Index width = sums.extent(1);
  const Index needed = row_gradient_workspace_bytes(count, width);
  Status checked;
  if (gradients.extent(0) != rows.extent(0))
    checked = {Code::shape_mismatch, 0, rows.extent(0)};
  else if (width < 1 || gradients.extent(1) != rows.extent(1) * width)
    checked = {Code::shape_mismatch, 0, rows.extent(1) * width};
  else if (unique.extent(0) < count || sums.extent(0) < count)
    checked = {Code::shape_mismatch, 0, count};
  else if (workspace.size() < needed)
    checked = {Code::workspace_small, 0, needed};
  if constexpr (requires { device.valid(); })
    if (checked.ok() && !device.valid()) checked = {Code::invalid_config};
  if (!device.agree(checked.ok())) return checked.ok() ? Status{Code::invalid_config} : checked;

  Workspace memory(workspace);
  RowGradientPlan& plan = *memory.take<RowGradientPlan>(1);
  RowChunk* const chunks = memory.take<RowChunk>(count + 1);
  float* const partials = memory.take<float>(most_partials(count) * width);
  device.for_items(1, [&](const auto&, Index) {
    plan = {};
    plan.chunks = chunks;
    plan.status = sort_rows(View<const Id, 2>(rows), num_rows, plan.sorted, memory);
    if (plan.status.ok()) plan_chunks(plan, View<Id, 1>(unique));
  });
  device.wait();
  if (!plan.status.ok()) return plan.status;
  device.for_items(plan.num_chunks, RowChunkBody{&plan, gradients, rows.extent(1), sums, partials});
  if (plan.num_partials > 0)
    device.for_items(plan.num_chunks, RowPartialsBody{&plan, sums, partials});
  device.wait();
  found.rows = View<const Id, 1>(unique.data(), plan.num_unique);
  found.sums = View<const float, 2>(sums).slice(0, plan.num_unique);
  found.not_finite = plan.not_finite;
  found.first_not_finite =
      plan.not_finite == 0 ? -1 : static_cast<Index>(unique(plan.first_not_finite));
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
