// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The backward side of plain weights as plain loops: needs nothing, and is what faster ones are
// held against.

#include <engram/core/device.hpp>
#include <engram/training/gradients.hpp>

ENGRAM_BEGIN_NAMESPACE

/// to[t, m] = sum over segments s and outputs n, both ascending, of segments[t, s, n] W_s[n, m].
template <Element W>
struct InputGradientBody {
  View<const float, 3> segments;
  ProjectionWeights<W> weights;
  View<float, 2> to;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    const Index inputs = to.extent(1);
    const Index branches = segments.extent(1) - 1;
    for (Index m = 0; m < inputs; m += lanes.width) {
      auto sum = lanes.all(0);
      for (Index s = 0; s <= branches; ++s) {
        const View<const W, 2> w = s == branches ? weights.value : weights.key.template at<0>(s);
        for (Index n = 0; n < segments.extent(2); ++n)
          sum +=
              lanes.all(segments(t, s, n)) * lanes.load(w.data() + n * w.stride(0) + m, inputs - m);
      }
      lanes.store(to.data() + t * to.stride(0) + m, sum, inputs - m);
    }
  }
};

/// weight[n, m] += sum over tokens, ascending, of segment[t, n] e[t, m]; bias[n] likewise. The item
/// is the output n of one segment.
template <Element In>
struct WeightGradientBody {
  View<const In, 2> e;
  View<const float, 2> segment;
  View<float, 2> weight;  ///< [D, M] or empty
  View<float, 1> bias;    ///< [D] or empty

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index n) const noexcept {
    const Index inputs = e.extent(1);
    for (Index m = 0; m < inputs && weight.size() != 0; m += lanes.width) {
      auto sum = lanes.all(0);
      for (Index t = 0; t < e.extent(0); ++t)
        sum += lanes.all(segment(t, n)) * lanes.load(e.data() + t * e.stride(0) + m, inputs - m);
      float* to = weight.data() + n * weight.stride(0) + m;
      lanes.store(to, lanes.load(to, inputs - m) + sum, inputs - m);
    }
    if (bias.size() == 0) return;
    float sum = 0;
    for (Index t = 0; t < e.extent(0); ++t) sum += segment(t, n);
    bias(n) += sum;
  }
};

/// Backward of ReferenceProjection<W, In, Out>: gradients in float. Holds views.
template <Element W, Element In = W>
class ReferenceProjectionGradient {
 public:
  using input_type = In;
  /// Outputs of a tile of the weights.
  static constexpr Index tile_width = 64;

  /// Fails with shape_mismatch when the weights do not fit together.
  ENGRAM_ALWAYS_INLINE static Result<ReferenceProjectionGradient> make(
      const ProjectionWeights<W>& weights) {
    if (const std::string fault = weights_fault(weights); !fault.empty())
      return fail(Code::shape_mismatch, {"projection gradient: ", fault});
    return ReferenceProjectionGradient(weights);
  }

  Index input_width() const noexcept { return weights_.key.extent(2); }
  Index output_width() const noexcept { return weights_.key.extent(1); }
  Index branches() const noexcept { return weights_.key.extent(0); }
  Index weight_tiles() const noexcept { return (branches() + 1) * tiles_of_segment(); }

  ENGRAM_ALWAYS_INLINE void inputs(View<const float, 3> segments,
                                   View<float, 2> to) const noexcept {
    run_items(InputGradientBody<W>{segments, weights_, to}, {0, to.extent(0)});
  }
  ENGRAM_ALWAYS_INLINE void weights(View<const In, 2> e, View<const float, 3> segments, Index tile,
                                    const LayerGradients& to) const noexcept {
    const Index s = tile / tiles_of_segment();
    const Index begin = tile % tiles_of_segment() * tile_width;
    const Index end = begin + tile_width < output_width() ? begin + tile_width : output_width();
    WeightGradientBody<In> body{e, segments.template at<1>(s), to.value, to.value_bias};
    if (s < branches()) {
      body.weight = to.key.size() == 0 ? View<float, 2>() : to.key.template at<0>(s);
      body.bias = to.key_bias.size() == 0 ? View<float, 1>() : to.key_bias.template at<0>(s);
    }
    run_items(body, {begin, end});
  }

 private:
  explicit ReferenceProjectionGradient(const ProjectionWeights<W>& weights) : weights_(weights) {}

  Index tiles_of_segment() const noexcept { return (output_width() + tile_width - 1) / tile_width; }

  ProjectionWeights<W> weights_;
};
static_assert(check_projection_gradient<ReferenceProjectionGradient<float>>());

ENGRAM_END_NAMESPACE
