// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The loops of the gate and the residual: scores and gates of every token and branch, then hidden +
// gate * value. Each output element depends on its own token only, so a NaN in one token's hidden
// state stays there. Sums are in float, in the order of the lanes (core/lanes.hpp).

#include <engram/core/device.hpp>
#include <engram/gating/fusion.hpp>
#include <engram/gating/gate.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Whether a token takes part in the memory.
enum class Part : std::uint8_t {
  full = 0,
  muted = 1,   ///< scored, but passes through; a zero column for the convolution
  none = 2,    ///< passes through; a zero column for the convolution
  absent = 3,  ///< passes through; not a token of its sequence at all
};

/// The part of a token: `no_rows`, it has no row ids; `knocked_out`, its scale is 0.
ENGRAM_HD constexpr Part part_of(Mark mark, bool no_rows, bool knocked_out) noexcept {
  return has(mark, Mark::padding) ? Part::absent
         : has(mark, Mark::dead)  ? Part::none
         : no_rows                ? (knocked_out ? Part::none : Part::absent)
         : knocked_out            ? Part::muted
                                  : Part::full;
}

/// A contiguous row of a [T, G, D] view.
template <class T>
ENGRAM_HD ENGRAM_ALWAYS_INLINE T* row_of(View<T, 3> view, Index t, Index g) noexcept {
  return view.data() + t * view.stride(0) + g * view.stride(1);
}

/// Scores and gates of segments that are keys; item t * S + s is token t and branch first + s.
///
///   r = 1 / sqrt(mean(h^2) + eps) * 1 / sqrt(mean(k^2) + eps)
///   score = (sum of h * gain * k) * r / sqrt(D)        gate = gate(score) * scale
///
/// as in DeepSeek-V4.1's released code; the demo's form is the same with its gains multiplied.
template <class Key, class Hidden, class GateFunction>
struct ScoreBody {
  View<const Key, 3> keys;  ///< [T, S, D]
  View<const Hidden, 3> hidden;
  View<const float, 2> gain;
  float query_eps;
  float key_eps;
  GateFunction gate;
  Index first;
  View<const Part, 1> parts;
  View<const float, 1> scale;
  View<float, 2> scores;  ///< or empty
  View<float, 2> gates;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / keys.extent(1);
    const Index s = item % keys.extent(1);
    const Index g = first + s;
    if (parts(t) == Part::none || parts(t) == Part::absent) {
      gates(t, g) = 0;
      if (scores.size() != 0) scores(t, g) = 0;
      return;
    }
    const Index width = keys.extent(2);
    const Hidden* h = row_of(hidden, t, g);
    const Key* k = row_of(keys, t, s);
    const float* w = gain.size() != 0 ? gain.data() + g * gain.stride(0) : nullptr;
    auto hh = lanes.all(0);
    auto kk = lanes.all(0);
    auto hk = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      auto x = lanes.load(h + d, width - d);
      const auto y = lanes.load(k + d, width - d);
      hh += x * x;
      kk += y * y;
      if (w != nullptr) x = x * lanes.load(w + d, width - d);
      hk += x * y;
    }
    const float n = static_cast<float>(width);
    const float r = (1.0f / square_root(lanes.sum(hh) / n + query_eps)) *
                    (1.0f / square_root(lanes.sum(kk) / n + key_eps));
    const float score = lanes.sum(hk) * r * (1.0f / square_root(n));
    const float factor = gate(score);
    gates(t, g) = parts(t) == Part::muted ? 0 : scale.size() != 0 ? factor * scale(t) : factor;
    if (scores.size() != 0) scores(t, g) = score;
  }
};

/// out = hidden + gate * value, or gate * value alone; item t * G + g.
template <class Value, class Hidden>
struct UpdateBody {
  View<const Value, 2> value;
  View<const Hidden, 3> hidden;
  View<const Part, 1> parts;
  View<const float, 2> gates;
  bool add_residual;
  View<Hidden, 3> out;
  View<float, 2> norms;  ///< or empty

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / out.extent(1);
    const Index g = item % out.extent(1);
    const Index width = out.extent(2);
    const Hidden* h = row_of(hidden, t, g);
    Hidden* o = row_of(out, t, g);
    if (parts(t) != Part::full) {
      if (!add_residual)
        for (Index d = 0; d < width; d += lanes.width) lanes.store(o + d, lanes.all(0), width - d);
      else if (o != h)
        lanes.copy(o, reinterpret_cast<const std::byte*>(h), width * Index{sizeof(Hidden)});
      if (norms.size() != 0) norms(t, g) = 0;
      return;
    }
    const auto factor = lanes.all(gates(t, g));
    const Value* v = value.data() + t * value.stride(0);
    auto squares = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      const auto memory = factor * lanes.load(v + d, width - d);
      if (norms.size() != 0) squares += memory * memory;
      lanes.store(o + d, add_residual ? lanes.load(h + d, width - d) + memory : memory, width - d);
    }
    if (norms.size() != 0) norms(t, g) = square_root(lanes.sum(squares));
  }
};

ENGRAM_END_NAMESPACE
