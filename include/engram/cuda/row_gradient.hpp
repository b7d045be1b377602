// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Gradients of rows on the GPU: summed by row in a fixed order, and written into the table by a row
// optimizer, in one go where a row's sum is not waited for by others. The bodies and the bits of
// training/row_gradient.hpp and row_update.hpp; no atomic sums.

#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/row_plan.hpp>
#include <engram/cuda/warp_lanes.hpp>
#include <engram/training/row_update.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Elements d to d + 31 of a row, each rounded at random by its own lane.
template <class Warp>
ENGRAM_HD ENGRAM_ALWAYS_INLINE void store_at_random(const WarpLanes<Warp>&, Bf16* to,
                                                    const typename WarpLanes<Warp>::Float& moved,
                                                    const RowStep& step, Index row, Index d,
                                                    Index left) noexcept {
  const int lane = Warp::lane();
  if (lane >= left) return;
  const std::uint64_t random = rounding_bits(step.seed, step.step, row, d / 4 + lane / 4);
  to[lane] = round_at_random(moved.own, static_cast<std::uint32_t>(random >> lane % 4 * 16));
}

/// Bytes of workspace for the row gradients of `count` row ids, T * H, of rows of `width` elements.
inline Index row_sums_workspace_bytes(Index count, Index width) noexcept {
  return static_cast<Index>(Workspace::bytes_for<float>(most_partials(count) * width));
}

/// Forgets what the sums of an earlier call of the same plan were.
struct ForgetSumsBody {
  RowGradientPlan* plan;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) {
      plan->not_finite = 0;
      plan->first_not_finite = INT64_MAX;
    });
  }
};

/// RowUpdateBody once all sums are there, unless one is not finite: then not_finite is reported,
/// and no row moves.
template <class Update, class Report>
struct UpdateIfFiniteBody {
  const RowGradientPlan* plan;
  Update update;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    if (plan->not_finite == 0) return update(lanes, item);
    const Index lowest = plan->first_not_finite;
    if (item == lowest)
      lanes.each(1, [&](Index) {
        errors.report(Code::not_finite, static_cast<Index>(update.rows(lowest)));
      });
  }
};

/// The sum of a chunk, and the step of its row where it is the only chunk.
template <class Update>
struct SumAndUpdateBody {
  RowChunkBody sum;
  Update update;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    sum(lanes, item);
    const RowChunk chunk = sum.plan->chunks[item];
    if (chunk.partial < 0) update(lanes, chunk.unique);
  }
};

/// The same for rows of several chunks; the first chunk of a row does the work.
template <class Update>
struct AddAndUpdateBody {
  RowPartialsBody add;
  Update update;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    add(lanes, item);
    const RowChunk* const chunks = add.plan->chunks;
    const RowChunk chunk = chunks[item];
    if (chunk.partial >= 0 && (item == 0 || chunks[item - 1].unique != chunk.unique))
      update(lanes, chunk.unique);
  }
};

/// shape_mismatch (index: the extent expected) or workspace_small, unless gradients fit a plan.
template <class Row>
Status check_row_sums(const DeviceRowPlan<Row>& plan, DeviceView<const float, 2> gradients,
                      DeviceView<const float, 2> sums,
                      DeviceView<const std::byte, 1> workspace) noexcept {
  const Index count = plan.most(), width = sums.extent(1);
  if (plan.columns < 1) return {Code::shape_mismatch, 0, 1};
  if (gradients.extent(0) != count / plan.columns)
    return {Code::shape_mismatch, 0, count / plan.columns};
  if (width < 1 || gradients.extent(1) != plan.columns * width)
    return {Code::shape_mismatch, 0, plan.columns * width};
  if (sums.extent(0) < count) return {Code::shape_mismatch, 0, count};
  const Index needed = row_sums_workspace_bytes(count, width);
  return workspace.size() < needed ? Status{Code::workspace_small, 0, needed} : Status{};
}

/// Sums the gradients of a step by row.
///
/// plan        of the step's rows (RowPlanner::plan()). Written: how many sums are not finite.
/// gradients   [T, H * E] float, token stride free, memory of the GPU.
/// sums        [>= T * H, E] written: the gradient of unique(u) at u. Row stride free.
/// workspace   row_sums_workspace_bytes(T * H, E) bytes of the GPU, any alignment.
/// Status      shape_mismatch, workspace_small; then nothing was launched.
/// Cost        three launches; one read of the gradients in the order of their rows. The bits are
///             the CPU's, whatever the grid, but those of a NaN. No allocation, can be captured.
template <KernelDevice Dev, class Row>
ENGRAM_HIDDEN Status
reduce_row_gradients(const Dev& device, const DeviceRowPlan<Row>& plan,
                     std::type_identity_t<DeviceView<const float, 2>> gradients,
                     DeviceView<float, 2> sums, DeviceView<std::byte, 1> workspace) noexcept {
  if (Status s = check_row_sums(plan, gradients, sums, workspace); !s.ok()) return s;
  float* const partials =
      Workspace(workspace.for_body()).take<float>(most_partials(plan.most()) * sums.extent(1));
  const RowChunkBody sum{plan.plan, gradients.for_body(), plan.columns, sums.for_body(), partials};
  device.for_items(1, ForgetSumsBody{plan.plan});
  device.for_items_up_to(plan.most(), plan.num_chunks(), sum);
  device.for_items_up_to(plan.most(), plan.num_chunks(),
                         RowPartialsBody{plan.plan, sums.for_body(), partials});
  return {};
}

/// Sums the gradients of a step by row and moves the rows, as reduce_row_gradients() and then
/// update_rows() do on the CPU. Sums have the CPU's bits; rows and state differ in their last ones
/// where a compiler joins a product and a sum (nvcc -fmad=false does not).
///
/// table      rows of float or bf16 in a store that the GPU writes.
/// state      [num_rows(), optimizer.state_width(E)] float, row stride free; zeros at first.
/// step       with NonFinite::skip a row is moved as soon as its sum is there. With
///            NonFinite::fail that waits for all sums: one that is NaN or infinite leaves all rows
///            as they are, and device.wait() says not_finite (index: the lowest such row).
/// The others as of reduce_row_gradients(); sums are written too.
/// Status     also invalid_config (a rate or decay that is not finite) and unsupported (rows that
///            begin between two elements of T; index: its bytes).
/// Cost       one read of the gradients, one read and write of each row and its state; three
///            launches, with NonFinite::fail four. No allocation, can be captured.
template <KernelDevice Dev, class Row, class Store, class T, RowOptimizer Optimizer>
ENGRAM_HIDDEN Status update_rows(const Dev& device, Table<Store, PlainCodec<T>>& table,
                                 const DeviceRowPlan<Row>& plan,
                                 std::type_identity_t<DeviceView<const float, 2>> gradients,
                                 DeviceView<float, 2> sums,
                                 std::type_identity_t<DeviceView<float, 2>> state,
                                 const Optimizer& optimizer, const RowStep& step,
                                 DeviceView<std::byte, 1> workspace) noexcept {
  static_assert(check_mutable_store<Store>());
  static_assert(Store::space_type::device_accessible,
                "engram: rows are moved where the GPU reaches them");
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, Bf16>,
                "engram: rows of float and bf16 can be trained");
  const Index width = table.row_width();
  if (sums.extent(1) != width) return {Code::shape_mismatch, 0, width};
  if (Status s = check_row_sums(plan, gradients, sums, workspace); !s.ok()) return s;
  if (const Index per_row = optimizer.state_width(width);
      per_row > 0 && (state.extent(0) != table.num_rows() || state.extent(1) != per_row))
    return {Code::shape_mismatch, 0, state.extent(1) != per_row ? per_row : table.num_rows()};
  if (!is_finite(step.rate) || !is_finite(step.decay)) return {Code::invalid_config};
  if (Status s = check_row_places<T>(table.store().mutable_ref(), table.num_rows()); !s.ok())
    return s;

  using Update = RowUpdateBody<decltype(table.store().mutable_ref()), T, Row, Optimizer>;
  const Update update{table.store().mutable_ref(),
                      plan.unique.for_body(),
                      sums.for_body(),
                      state.for_body(),
                      optimizer,
                      step};
  if (step.non_finite == NonFinite::fail) {
    if (Status s = reduce_row_gradients(device, plan, gradients, sums, workspace); !s.ok())
      return s;
    device.for_items_up_to(plan.most(), plan.num_unique(),
                           UpdateIfFiniteBody<Update, decltype(device.error_word())>{
                               plan.plan, update, device.error_word()});
    return {};
  }
  float* const partials =
      Workspace(workspace.for_body()).take<float>(most_partials(plan.most()) * width);
  const RowChunkBody sum{plan.plan, gradients.for_body(), plan.columns, sums.for_body(), partials};
  device.for_items(1, ForgetSumsBody{plan.plan});
  device.for_items_up_to(plan.most(), plan.num_chunks(), SumAndUpdateBody<Update>{sum, update});
  device.for_items_up_to(plan.most(), plan.num_chunks(),
                         AddAndUpdateBody<Update>{{plan.plan, sums.for_body(), partials}, update});
  return {};
}

ENGRAM_END_NAMESPACE
