// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns the summed gradient of a row into its step. Only rows that were read
// have one; a row's state moves when the row does, and at no other time.

#include <engram/core/lanes.hpp>
#include <engram/core/math.hpp>

#include <concepts>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// Row optimizer: gradient and state of one row -> direction of its step; update_rows() multiplies
/// it with the rate and subtracts it.
///
/// Semantics (docs/concepts.md): `state_width(E)` floats a row, all 0 at first. `begin(lanes, g,
/// state, E)` is called once for a row and may move the state on; `direction(lanes, begun, g,
/// state, d, E)` gives the elements from d on, in ascending order, and may move their part of the
/// state on. On a GPU lanes run apart: a number of the state that is none lane's own is moved on by
/// lanes.change_one(). Nothing throws. Trivially copyable, so that kernels can hold it.
template <class O>
concept RowOptimizer = std::is_trivially_copyable_v<O> &&
    requires(const O o, const HostLanes<16> lanes, const float* g, float* state, Index n) {
  { o.state_width(n) } -> std::same_as<Index>;
  {
    o.direction(lanes, o.begin(lanes, g, state, n), g, state, n, n)
    } -> std::same_as<HostLanes<16>::Float>;
};

/// One sentence for each operation that O lacks; true when O models RowOptimizer.
template <class O>
constexpr bool check_row_optimizer() {
  static_assert(std::is_trivially_copyable_v<O>,
                "engram: a RowOptimizer must be trivially copyable");
  static_assert(
      requires(const O o, Index n) {
        { o.state_width(n) } -> std::same_as<Index>;
      },
      "engram: a RowOptimizer needs 'Index state_width(Index width) const'");
  static_assert(
      requires(const O o, const HostLanes<16> lanes, const float* g, float* state, Index n) {
        o.begin(lanes, g, state, n);
      },
      "engram: a RowOptimizer needs 'auto begin(lanes, const float* gradient, float* state, Index "
      "width) const'");
  static_assert(
      requires(const O o, const HostLanes<16> lanes, const float* g, float* state, Index n) {
        {
          o.direction(lanes, o.begin(lanes, g, state, n), g, state, n, n)
          } -> std::same_as<HostLanes<16>::Float>;
      },
      "engram: a RowOptimizer needs 'lanes::Float direction(lanes, begun, const float* gradient, "
      "float* state, Index d, Index width) const'");
  return RowOptimizer<O>;
}

/// The gradient itself. No state.
struct Sgd {
  struct Begun {};

  ENGRAM_HD constexpr Index state_width(Index) const noexcept { return 0; }
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Begun begin(const Lanes&, const float*, float*,
                                             Index) const noexcept {
    return {};
  }
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE typename Lanes::Float direction(const Lanes& lanes, Begun,
                                                                 const float* g, float*, Index d,
                                                                 Index width) const noexcept {
    return lanes.load(g + d, width - d);
  }
};
static_assert(check_row_optimizer<Sgd>());

/// Adagrad with one number a row: s += mean(g^2), direction g / (sqrt(s) + eps). What large tables
/// are trained with: its state is 1 / E of the table.
struct RowAdagrad {
  float eps = 1e-8f;

  ENGRAM_HD constexpr Index state_width(Index) const noexcept { return 1; }
  /// 1 / (sqrt(s) + eps); 0 for a row that never had a gradient.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float begin(const Lanes& lanes, const float* g, float* state,
                                             Index width) const noexcept {
    auto squares = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      const auto x = lanes.load(g + d, width - d);
      squares += x * x;
    }
    const float mean = lanes.sum(squares) / static_cast<float>(width);
    const float sum = lanes.change_one(state, [mean](float before) { return before + mean; });
    return sum > 0 ? 1.0f / (square_root(sum) + eps) : 0.0f;
  }
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE typename Lanes::Float direction(const Lanes& lanes, float scale,
                                                                 const float* g, float*, Index d,
                                                                 Index width) const noexcept {
    return lanes.all(scale) * lanes.load(g + d, width - d);
  }
};
static_assert(check_row_optimizer<RowAdagrad>());

/// Adam that touches only rows with a gradient, each corrected for its own number of steps:
/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, direction m' / (sqrt(v') + eps) with m' = m / (1
/// - b1^n), v' = v / (1 - b2^n). The state is m, v, then n, which a float counts up to 2^24, where
/// the corrections are long 1.
struct LazyAdam {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;

  struct Begun {
    float correct1, correct2;  ///< 1 / (1 - beta^n)
  };

  ENGRAM_HD constexpr Index state_width(Index width) const noexcept { return 2 * width + 1; }
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Begun begin(const Lanes& lanes, const float*, float* state,
                                             Index width) const noexcept {
    const float steps =
        lanes.change_one(state + 2 * width, [](float n) { return n < 16777216.0f ? n + 1 : n; });
    return {correction(beta1, steps), correction(beta2, steps)};
  }
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE typename Lanes::Float direction(const Lanes& lanes,
                                                                 const Begun& begun, const float* g,
                                                                 float* state, Index d,
                                                                 Index width) const noexcept {
    const Index left = width - d;
    const auto x = lanes.load(g + d, left);
    auto m = lanes.all(beta1) * lanes.load(state + d, left);
    m += lanes.all(1 - beta1) * x;
    auto v = lanes.all(beta2) * lanes.load(state + width + d, left);
    v += lanes.all(1 - beta2) * (x * x);
    lanes.store(state + d, m, left);
    lanes.store(state + width + d, v, left);
    return lanes.all(begun.correct1) * m /
           (lanes.sqrt(lanes.all(begun.correct2) * v) + lanes.all(eps));
  }

 private:
  /// 1 / (1 - beta^n), the power by squaring in double.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static float correction(float beta, float steps) noexcept {
    double power = 1, square = double{beta};
    for (auto n = static_cast<std::uint32_t>(steps); n != 0; n >>= 1, square *= square)
      if ((n & 1) != 0) power *= square;
    return static_cast<float>(1 / (1 - power));
  }
};
static_assert(check_row_optimizer<LazyAdam>());

ENGRAM_END_NAMESPACE
