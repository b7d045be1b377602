// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The backward loops of the gate and the residual. With c the gradient of the score times
// r_h r_k / sqrt(D), r the reciprocal norms, w the gain, dot = sum of h w k, and m the gradient of
// gate * value:
//
//   grad gate = sum of m value          c = grad gate * scale * gate'(score) * r_h r_k / sqrt(D)
//   grad h = grad out + c (w k - h dot r_h^2 / D)      grad k = c (w h - k dot r_k^2 / D)
//   grad value = sum over branches of gate m           grad w = sum over tokens of c h k
//
// as in DeepSeek's published kernels. Sums are in float, in the order of the lanes.

#include <engram/core/device.hpp>
#include <engram/gating/fuse.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Gradients of keys, value and hidden state; the item is the token. Tokens that took no part get
/// 0, and the residual's gradient.
template <class Key, class Value, class Hidden, DifferentiableGate GateFunction>
struct FuseGradientBody {
  View<const Key, 3> keys;
  View<const Value, 2> value;
  View<const Hidden, 3> hidden;
  View<const float, 2> gain;  ///< or empty
  float query_eps;
  float key_eps;
  GateFunction gate;
  View<const Part, 1> parts;
  View<const float, 1> scale;  ///< or empty
  View<const float, 2> gates;
  View<const float, 3> memory;   ///< [T, G, D] gradient of gate * value; may be `updated`
  View<const float, 3> updated;  ///< [T, G, D] gradient of the new hidden state
  bool add_residual;
  View<float, 3> segments;      ///< [T, G + 1, D] written: gradients of the keys, then of the value
  View<float, 2> coefficients;  ///< [T, G] written: c
  View<float, 3> to_hidden;     ///< [T, G, D] written; may be `updated`

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    const Index branches = keys.extent(1);
    const Index width = keys.extent(2);
    float* const to_value = row_of(segments, t, branches);
    const Value* const v = value.data() + t * value.stride(0);
    if (parts(t) != Part::full) {
      for (Index g = 0; g <= branches; ++g)
        for (Index d = 0; d < width; d += lanes.width)
          lanes.store(row_of(segments, t, g) + d, lanes.all(0), width - d);
      for (Index g = 0; g < branches; ++g) {
        coefficients(t, g) = 0;
        for (Index d = 0; d < width; d += lanes.width) {
          const Index left = width - d;
          lanes.store(row_of(to_hidden, t, g) + d,
                      add_residual ? lanes.load(row_of(updated, t, g) + d, left) : lanes.all(0),
                      left);
        }
      }
      return;
    }
    for (Index g = 0; g < branches; ++g) {
      const Hidden* const h = row_of(hidden, t, g);
      const Key* const k = row_of(keys, t, g);
      const float* const m = row_of(memory, t, g);
      const float* const w = gain.size() != 0 ? gain.data() + g * gain.stride(0) : nullptr;
      auto hh = lanes.all(0);
      auto kk = lanes.all(0);
      auto hk = lanes.all(0);
      auto mv = lanes.all(0);
      for (Index d = 0; d < width; d += lanes.width) {
        const Index left = width - d;
        auto x = lanes.load(h + d, left);
        const auto y = lanes.load(k + d, left);
        hh += x * x;
        kk += y * y;
        if (w != nullptr) x = x * lanes.load(w + d, left);
        hk += x * y;
        mv += lanes.load(m + d, left) * lanes.load(v + d, left);
      }
      const float n = static_cast<float>(width);
      const float rh = 1.0f / square_root(lanes.sum(hh) / n + query_eps);
      const float rk = 1.0f / square_root(lanes.sum(kk) / n + key_eps);
      const float dot = lanes.sum(hk);
      const float r = rh * rk * (1.0f / square_root(n));
      const float slope = gate.slope(dot * r) * (scale.size() != 0 ? scale(t) : 1.0f);
      const float c = lanes.sum(mv) * slope * r;
      coefficients(t, g) = c;

      const auto times = lanes.all(c);
      const auto along_h = lanes.all(-c * (dot * rh * rh / n));
      const auto along_k = lanes.all(-c * (dot * rk * rk / n));
      const auto factor = lanes.all(gates(t, g));
      float* const to_key = row_of(segments, t, g);
      const float* const u = row_of(updated, t, g);
      float* const to_h = row_of(to_hidden, t, g);
      for (Index d = 0; d < width; d += lanes.width) {
        const Index left = width - d;
        const auto x = lanes.load(h + d, left);
        const auto y = lanes.load(k + d, left);
        auto wx = x;
        auto wy = y;
        if (w != nullptr) {
          const auto gains = lanes.load(w + d, left);
          wx = wx * gains;
          wy = wy * gains;
        }
        lanes.store(to_key + d, times * wx + along_k * y, left);
        auto to_v = factor * lanes.load(m + d, left);
        if (g > 0) to_v += lanes.load(to_value + d, left);
        lanes.store(to_value + d, to_v, left);
        auto through_score = times * wy + along_h * x;
        if (add_residual) through_score += lanes.load(u + d, left);
        lanes.store(to_h + d, through_score, left);
      }
    }
  }
};

/// What the gain's gradient is summed from.
template <class Key, class Hidden>
struct GainGradient {
  View<const Key, 3> keys;
  View<const Hidden, 3> hidden;
  View<const float, 2> coefficients;

  /// Elements d to d + 31 of branch g over the tokens [begin, end), in ascending order.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE auto sum(const Lanes& lanes, Index g, Index d, Index begin,
                                          Index end) const noexcept {
    const Index left = keys.extent(2) - d;
    auto sum = lanes.all(0);
    for (Index t = begin; t < end; ++t) {
      const float coefficient = coefficients(t, g);
      const auto h = lanes.load(row_of(hidden, t, g) + d, left);
      const auto k = lanes.load(row_of(keys, t, g) + d, left);
      if (coefficient != 0) sum += lanes.all(coefficient) * h * k;
    }
    return sum;
  }
};

/// Gradient of the gain, tokens in ascending order; item g * blocks + block, a block being the
/// elements of one group of lanes.
template <class Key, class Hidden>
struct GainGradientBody {
  GainGradient<Key, Hidden> gradient;
  Index blocks;
  View<float, 2> to;  ///< [G, D] added to

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index g = item / blocks;
    const Index d = item % blocks * lanes.width;
    const Index left = to.extent(1) - d;
    float* const at = to.data() + g * to.stride(0) + d;
    const auto sum = gradient.sum(lanes, g, d, 0, gradient.keys.extent(0));
    lanes.store(at, lanes.load(at, left) + sum, left);
  }
};

ENGRAM_END_NAMESPACE
