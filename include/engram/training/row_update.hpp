// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes a step of training into a table: row -= rate * (direction + decay * row), for the rows
// that have a gradient. Rows of bf16 are computed in float and rounded at random, up or down with
// the odds of where they lie: rounded to nearest, steps below half of a last place would be lost
// for good.

#include <engram/codec/plain.hpp>
#include <engram/core/device.hpp>
#include <engram/core/prefetch.hpp>
#include <engram/core/splitmix.hpp>
#include <engram/storage/table.hpp>
#include <engram/training/row_gradient.hpp>
#include <engram/training/row_optimizer.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What to do with a gradient that is not finite.
enum class NonFinite : std::int32_t {
  fail = 0,  ///< Code::not_finite, and nothing is written
  skip = 1,  ///< that row stays as it is, its state too; RowGradients::not_finite has counted it
};

/// One step of the optimizer.
struct RowStep {
  float rate = 0;          ///< learning rate of the rows, their own multiplier included
  float decay = 0;         ///< weight decay, decoupled from the gradient, of the rows touched
  std::uint64_t step = 0;  ///< number of the step and
  std::uint64_t seed = 0;  ///< of the run: with row and element they key the random rounding
  NonFinite non_finite = NonFinite::fail;
};

/// 64 random bits for elements 4 e to 4 e + 3 of a row, 16 each.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint64_t rounding_bits(std::uint64_t seed, std::uint64_t step,
                                                           Index row, Index group) noexcept {
  const std::uint64_t of_step = seed + splitmix64_step * (step + 1);
  return splitmix64(splitmix64(of_step ^ static_cast<std::uint64_t>(row)) ^
                    static_cast<std::uint64_t>(group));
}

/// x rounded to one of its two neighbours: up with the odds `random` / 2^16 gives. What is exact
/// stays; NaN and infinity too.
ENGRAM_HD ENGRAM_ALWAYS_INLINE Bf16 round_at_random(float x, std::uint32_t random) noexcept {
  const std::uint32_t bits = to_bits(x);
  if ((bits & ~float_bits::sign) >= float_bits::infinity) return to_bf16(x);
  return {static_cast<std::uint16_t>((bits + (random & 0xFFFF)) >> 16)};
}

/// Writes elements d to d + 31 of a row, each rounded at random.
template <int Bytes>
ENGRAM_ALWAYS_INLINE void store_at_random(const HostLanes<Bytes>& lanes, Bf16* to,
                                          const typename HostLanes<Bytes>::Float& moved,
                                          const RowStep& step, Index row, Index d,
                                          Index left) noexcept {
  float lane[HostLanes<Bytes>::width];
  lanes.store(lane, moved);
  const Index count = left < lanes.width ? left : Index{lanes.width};
  for (Index group = 0; group * 4 < count; ++group) {
    std::uint64_t random = rounding_bits(step.seed, step.step, row, d / 4 + group);
    for (Index l = 4 * group; l < 4 * group + 4 && l < count; ++l, random >>= 16)
      to[l] = round_at_random(lane[l], static_cast<std::uint32_t>(random));
  }
}

/// The update of one row; the item is its place among the distinct rows. A row whose gradient is
/// not finite is left alone.
template <class Ref, class T, class Row, RowOptimizer Optimizer>
struct RowUpdateBody {
  Ref ref;
  View<const Row, 1> rows;    ///< [U]
  View<const float, 2> sums;  ///< [U, E]
  View<float, 2> state;
  Optimizer optimizer;
  RowStep step;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index width = sums.extent(1);
    if (width == 64) return move_row(lanes, item, std::integral_constant<Index, 64>());
    if (width == 32) return move_row(lanes, item, std::integral_constant<Index, 32>());
    move_row(lanes, item, width);
  }

 private:
  ENGRAM_ANY_LANES
  template <class Lanes, class Width>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void move_row(const Lanes& lanes, Index item,
                                               Width width) const noexcept {
    constexpr Index ahead = 16;
    if (item + ahead < rows.extent(0)) {
      const auto next = static_cast<Index>(rows(item + ahead));
      const std::byte* const codes = ref(next).codes;
      for (Index b = 0; b < width * Index{sizeof(T)}; b += 64) prefetch(codes + b);
      const float* const kept = state.data() + next * state.stride(0);
      for (Index i = 0; i < state.extent(1); i += 16) prefetch(kept + i);
    }
    const auto row = static_cast<Index>(rows(item));
    const float* const g = sums.data() + item * sums.stride(0);
    for (Index d = 0; d < width; d += lanes.width)
      if (!lanes.all_finite(lanes.load(g + d, width - d))) return;
    float* const kept = state.data() + row * state.stride(0);
    auto* const to = reinterpret_cast<T*>(ref(row).codes);
    const auto begun = optimizer.begin(lanes, g, kept, width);
    const auto rate = lanes.all(-step.rate);
    const auto stays = lanes.all(1.0f - step.rate * step.decay);
    for (Index d = 0; d < width; d += lanes.width) {
      const Index left = width - d;
      const auto moved = stays * lanes.load(to + d, left) +
                         rate * optimizer.direction(lanes, begun, g, kept, d, width);
      if constexpr (std::is_same_v<T, float>)
        lanes.store(to + d, moved, left);
      else
        store_at_random(lanes, to + d, moved, step, row, d, left);
    }
  }
};

ENGRAM_BEGIN_LOOPS

/// ok, or unsupported (index: the bytes): rows that are changed in place, as elements of T, begin
/// at multiples of T's size. Looks at the first two rows' addresses.
template <class T, class Ref>
Status check_row_places(const Ref& ref, Index num_rows) noexcept {
  std::uintptr_t places = 0;
  for (Index row = 0; row < 2 && row < num_rows; ++row)
    places |= reinterpret_cast<std::uintptr_t>(ref(row).codes);
  return places % sizeof(T) == 0 ? Status{} : Status{Code::unsupported, 0, Index{sizeof(T)}};
}

/// Moves the rows that have a gradient.
///
/// table      rows of float or bf16 in a store that may be written.
/// gradients  as reduce_row_gradients() found them; rows each once, in [0, num_rows()).
/// state      [num_rows(), optimizer.state_width(E)] float, row stride free; zeros at first.
/// Status     not_finite (index: the lowest such row): a gradient is NaN or infinite; bad_row
///            (index: u), shape_mismatch, invalid_config (no share, or a rate or decay that is not
///            finite), unsupported (rows that begin between two elements of T; index: its bytes).
///            Nothing has been written then.
/// Cost       one read and write of each row and its state, one read of its gradient; no
/// allocation.
template <class Row, class Store, class T, RowOptimizer Optimizer, Device Dev = CpuDevice>
Status update_rows(Table<Store, PlainCodec<T>>& table, const RowGradients<Row>& gradients,
                   View<float, 2> state, const Optimizer& optimizer, const RowStep& step,
                   const Dev& device = {}) noexcept {
  static_assert(check_mutable_store<Store>());
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, Bf16>,
                "engram: rows of float and bf16 can be trained");
  const Index count = gradients.rows.extent(0);
  const Index width = table.row_width();
  Status checked;
  if (gradients.sums.extent(0) != count)
    checked = {Code::shape_mismatch, 0, count};
  else if (gradients.sums.extent(1) != width)
    checked = {Code::shape_mismatch, 0, width};
  else if (const Index per_row = optimizer.state_width(width);
           per_row > 0 && (state.extent(0) != table.num_rows() || state.extent(1) != per_row))
    checked = {Code::shape_mismatch, 0, state.extent(1) != per_row ? per_row : table.num_rows()};
  else if (!is_finite(step.rate) || !is_finite(step.decay))
    checked = {Code::invalid_config};
  else
    checked = check_row_places<T>(table.store().mutable_ref(), table.num_rows());
  for (Index u = 0; u < count && checked.ok(); ++u) {
    const auto row = static_cast<Index>(gradients.rows(u));
    const Index before = u == 0 ? -1 : static_cast<Index>(gradients.rows(u - 1));
    if (row <= before || row >= table.num_rows()) checked = {Code::bad_row, 0, u};
  }
  if (checked.ok() && gradients.not_finite > 0 && step.non_finite == NonFinite::fail)
    checked = {Code::not_finite, 0, gradients.first_not_finite};
  if constexpr (requires { device.valid(); })
    if (checked.ok() && !device.valid()) checked = {Code::invalid_config};
  if (!device.agree(checked.ok())) return checked.ok() ? Status{Code::invalid_config} : checked;

  using Ref = decltype(table.store().mutable_ref());
  device.for_items(
      count, RowUpdateBody<Ref, T, Row, Optimizer>{table.store().mutable_ref(), gradients.rows,
                                                   gradients.sums, state, optimizer, step});
  device.wait();
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
