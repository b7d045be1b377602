// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The backward loops of the short convolution. With v' = gate * value, r = 1 / sqrt(mean(v'^2) +
// eps), x = v' r gain, y[t] = sum over taps j of conv[j] x[t - reach(j)] and u the gradient of the
// new hidden state:
//
//   s = u SiLU'(y)                            grad conv[j] = sum over t of s[t] x[t - reach(j)]
//   n[t] = gain sum over j of conv[j] s[t + reach(j)]
//   grad v' = u + r n - v' (r^3 / D) sum of v' n
//
// Columns of earlier calls are constants: their weights get a gradient, they do not.

#include <engram/gating/short_conv.hpp>

ENGRAM_BEGIN_NAMESPACE

/// s = u SiLU'(y), 0 where a token took no part; item t * G + g.
template <class Value, int MostTaps = most_conv_taps>
struct ConvSlopeBody {
  ConvColumns<Value> columns;
  View<const float, 3> conv;
  Index dilation;
  View<const float, 3> updated;
  View<float, 3> slopes;  ///< [T, G, D] written

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / slopes.extent(1);
    const Index g = item % slopes.extent(1);
    const Index width = slopes.extent(2);
    float* const to = row_of(slopes, t, g);
    if (columns.parts(t) != Part::full) {
      for (Index d = 0; d < width; d += lanes.width) lanes.store(to + d, lanes.all(0), width - d);
      return;
    }
    const TapSources<Value, MostTaps> sources(columns, conv, dilation, t, g);
    for (Index d = 0; d < width; d += lanes.width) {
      const Index left = width - d;
      const auto y = sources.sum(lanes, columns, d, columns.gain_at(lanes, g, d));
      lanes.store(to + d, lanes.load(row_of(updated, t, g) + d, left) * lanes.silu_slope(y), left);
    }
  }
};

/// Gradient of v' = gate * value; item t * G + g. Not written for tokens that took no part.
template <class Value, int MostTaps = most_conv_taps>
struct ConvInputGradientBody {
  ConvColumns<Value> columns;
  View<const float, 3> conv;
  Index dilation;
  float eps;
  View<const float, 2> gates;
  View<const float, 3> updated;
  View<const float, 3> slopes;
  View<float, 3> memory;  ///< [T, G, D] written

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / memory.extent(1);
    const Index g = item % memory.extent(1);
    if (columns.parts(t) != Part::full) return;
    const Index width = memory.extent(2);
    const float* slope[MostTaps];
    const float* weight[MostTaps];
    const int reached = readers(t, g, slope, weight);

    const Value* const v = columns.value.data() + t * columns.value.stride(0);
    const float* const gain =
        columns.gain.size() != 0 ? columns.gain.data() + g * columns.gain.stride(0) : nullptr;
    float* const to = row_of(memory, t, g);
    const auto gate = lanes.all(gates(t, g));
    auto squares = lanes.all(0);
    auto dot = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      const Index left = width - d;
      auto n = lanes.all(0);
      for (int i = 0; i < reached; ++i)
        n += lanes.load(weight[i] + d, left) * lanes.load(slope[i] + d, left);
      if (gain != nullptr) n = n * lanes.load(gain + d, left);
      const auto gated = gate * lanes.load(v + d, left);
      squares += gated * gated;
      dot += gated * n;
      lanes.store(to + d, n, left);
    }
    const float size = static_cast<float>(width);
    const float r = 1.0f / square_root(lanes.sum(squares) / size + eps);
    const auto times = lanes.all(r);
    const auto along = lanes.all(-(r * r * r / size) * lanes.sum(dot));
    for (Index d = 0; d < width; d += lanes.width) {
      const Index left = width - d;
      lanes.store(to + d,
                  lanes.load(row_of(updated, t, g) + d, left) + times * lanes.load(to + d, left) +
                      along * (gate * lanes.load(v + d, left)),
                  left);
    }
  }

 private:
  /// The tokens whose taps read this one: their slopes, and the taps' weights.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE int readers(Index t, Index g, const float** slope,
                                             const float** weight) const noexcept {
    const TapOrder& taps = columns.taps;
    const Index sequence = taps.sequence(t);
    const Index end = taps.begins(sequence + 1);
    const Index here = taps.place(t) - taps.begins(sequence);
    int count = 0;
    for (Index j = 0; j < conv.extent(0); ++j) {
      const Index place = taps.place(t) + (conv.extent(0) - 1 - j) * dilation;
      if (place >= end) continue;
      const Index reader = taps.order(place);
      if (columns.parts(reader) != Part::full || taps.document(reader) > here) continue;
      slope[count] = row_of(slopes, reader, g);
      weight[count++] = row_of(conv, j, g);
    }
    return count;
  }
};

/// What the gradients of the taps and of the norm's gain are summed from.
template <class Value, int MostTaps = most_conv_taps>
struct ConvWeightGradient {
  ConvColumns<Value> columns;
  View<const float, 3> conv;
  Index dilation;
  View<const float, 3> slopes;

  template <class Float>
  struct Sums {
    Float of_tap[MostTaps];
    Float of_gain;
  };

  /// Elements d to d + 31 of branch g over the tokens [begin, end), in ascending order.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void sum(const Lanes& lanes, Index g, Index d, Index begin,
                                          Index end,
                                          Sums<typename Lanes::Float>& sums) const noexcept {
    const Index left = slopes.extent(2) - d;
    const auto gain = columns.gain_at(lanes, g, d);
    for (Index j = 0; j < conv.extent(0); ++j) sums.of_tap[j] = lanes.all(0);
    sums.of_gain = lanes.all(0);
    for (Index t = begin; t < end; ++t) {
      if (columns.parts(t) != Part::full) continue;
      const TapSources<Value, MostTaps> sources(columns, conv, dilation, t, g);
      const auto slope = lanes.load(row_of(slopes, t, g) + d, left);
      for (int i = 0; i < sources.count; ++i) {
        const auto& source = sources.source[i];
        const Index j = sources.tap[i];
        if (source.stored != nullptr) {
          sums.of_tap[j] += slope * lanes.load(source.stored + d, left);
          continue;
        }
        const auto product =
            slope * (lanes.all(source.factor) * lanes.load(source.value + d, left));
        sums.of_tap[j] += product * gain;
        sums.of_gain += product * lanes.load(sources.weights[i] + d, left);
      }
    }
  }
};

/// Gradients of the taps and of the norm's gain, tokens in ascending order; item g * blocks +
/// block, a block being the elements of one group of lanes.
template <class Value, int MostTaps = most_conv_taps>
struct ConvWeightGradientBody {
  ConvWeightGradient<Value, MostTaps> gradient;
  Index blocks;
  View<float, 3> to_conv;  ///< [taps, G, D] added to, or empty
  View<float, 2> to_gain;  ///< [G, D] added to, or empty

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index g = item / blocks;
    const Index d = item % blocks * lanes.width;
    const Index left = gradient.slopes.extent(2) - d;
    typename ConvWeightGradient<Value, MostTaps>::template Sums<typename Lanes::Float> sums;
    gradient.sum(lanes, g, d, 0, gradient.slopes.extent(0), sums);
    if (to_gain.size() != 0) {
      float* const at = to_gain.data() + g * to_gain.stride(0) + d;
      lanes.store(at, lanes.load(at, left) + sums.of_gain, left);
    }
    for (Index j = 0; j < gradient.conv.extent(0) && to_conv.size() != 0; ++j) {
      float* const at = row_of(to_conv, j, g) + d;
      lanes.store(at, lanes.load(at, left) + sums.of_tap[j], left);
    }
  }
};

ENGRAM_END_NAMESPACE
