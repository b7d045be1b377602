// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The projection as a plain loop: needs nothing, gives a token the same bits in any batch, and is
// what faster projections are held against.

#include <engram/core/device.hpp>
#include <engram/layer/projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// out[t, n] = e[t] . weight[n] + bias[n] for the outputs of one tile; the item is the token. Sums
/// in float, in the order of the lanes; the bias is added last; one rounding to Out.
template <Element W, Element In, Element Out>
struct ReferenceProductBody {
  View<const In, 2> e;
  View<const W, 2> weight;
  const float* bias;
  ItemRange outputs;
  View<Out, 2> out;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    const Index inputs = weight.extent(1);
    const In* x = e.data() + t * e.stride(0);
    for (Index n = outputs.begin; n < outputs.end; ++n) {
      const W* w = weight.data() + n * weight.stride(0);
      auto sum = lanes.all(0);
      for (Index m = 0; m < inputs; m += lanes.width)
        sum += lanes.load(x + m, inputs - m) * lanes.load(w + m, inputs - m);
      out(t, n) = from_float<Out>(lanes.sum(sum) + (bias != nullptr ? bias[n] : 0.0f));
    }
  }
};

/// Plain weights of type W over rows of type In to keys and values of type Out. Holds views.
template <Element W, Element In = W, Element Out = In>
class ReferenceProjection {
 public:
  using input_type = In;
  using output_type = Out;
  static constexpr bool batch_invariant = true;

  /// Fails with shape_mismatch when the weights do not fit together.
  ENGRAM_ALWAYS_INLINE static Result<ReferenceProjection> make(
      const ProjectionWeights<W>& weights) {
    if (const std::string fault = weights_fault(weights); !fault.empty())
      return fail(Code::shape_mismatch, {"projection: ", fault});
    return ReferenceProjection(weights);
  }

  Index input_width() const noexcept { return weights_.key.extent(2); }
  Index output_width() const noexcept { return weights_.key.extent(1); }
  Index branches() const noexcept { return weights_.key.extent(0); }
  Index tiles() const noexcept { return output_width() < 64 ? 1 : output_width() / 64; }

  /// e [T, M], out [T, D], token strides free.
  ENGRAM_ALWAYS_INLINE void project(View<const In, 2> e, int segment, Index tile,
                                    View<Out, 2> out) const noexcept {
    const bool is_value = segment == branches();
    const View<const float, 1> bias = is_value ? weights_.value_bias
                                      : weights_.key_bias.size() == 0
                                          ? View<const float, 1>()
                                          : weights_.key_bias.template at<0>(segment);
    const ReferenceProductBody<W, In, Out> body{
        e, is_value ? weights_.value : weights_.key.template at<0>(segment), bias.data(),
        Share{tile, tiles()}.of(output_width()), out};
    run_items(body, {0, e.extent(0)});
  }

 private:
  explicit ReferenceProjection(const ProjectionWeights<W>& weights) : weights_(weights) {}

  ProjectionWeights<W> weights_;
};
static_assert(check_projection<ReferenceProjection<float>>());

ENGRAM_END_NAMESPACE
