// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The projection as a product of Eigen's: for float weights, at the speed of the machine. Eigen
// chooses its order of additions by the shapes, so a token's last bits depend on the batch it is
// in; tiles are of fixed size, so they do not depend on the number of threads.

#include <engram/eigen/map.hpp>
#include <engram/layer/projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Plain float weights. Holds views. Eigen runs on the calling thread; for more than one token it
/// allocates the blocks that it packs, up to a few megabytes a call.
class EigenProjection {
 public:
  using input_type = float;
  using output_type = float;
  static constexpr bool batch_invariant = false;
  /// Outputs of a tile; a model of this width or less has one tile a segment.
  static constexpr Index tile_width = 1280;

  /// Fails with shape_mismatch when the weights do not fit together.
  ENGRAM_ALWAYS_INLINE static Result<EigenProjection> make(
      const ProjectionWeights<float>& weights) {
    if (const std::string fault = weights_fault(weights); !fault.empty())
      return fail(Code::shape_mismatch, {"projection: ", fault});
    return EigenProjection(weights);
  }

  Index input_width() const noexcept { return weights_.key.extent(2); }
  Index output_width() const noexcept { return weights_.key.extent(1); }
  Index branches() const noexcept { return weights_.key.extent(0); }
  Index tiles() const noexcept { return (output_width() + tile_width - 1) / tile_width; }

  /// e [T, M], out [T, D], token strides free.
  void project(View<const float, 2> e, int segment, Index tile, View<float, 2> out) const noexcept {
    if (e.extent(0) == 0) return;
    const bool is_value = segment == branches();
    const View<const float, 2> all =
        is_value ? weights_.value : weights_.key.template at<0>(segment);
    const Index begin = tile * tile_width;
    const Index count = all.extent(0) - begin < tile_width ? all.extent(0) - begin : tile_width;
    const auto weight = as_matrix(all.slice(begin, count));
    const View<float, 2> to =
        View<float, 2>(out.data() + begin, out.extent(0), count).with_stride<0>(out.stride(0));
    if (e.extent(0) == 1)  // one token: each weight is read once, as a vector product does
      as_vector(View<float, 1>(to.data(), count)).noalias() =
          weight * as_vector(View<const float, 1>(e.data(), e.extent(1)));
    else
      as_matrix(to).noalias() = as_matrix(e) * weight.transpose();
    const View<const float, 1> bias = is_value ? weights_.value_bias
                                      : weights_.key_bias.size() == 0
                                          ? View<const float, 1>()
                                          : weights_.key_bias.at<0>(segment);
    if (bias.size() == 0) return;
    as_matrix(to).rowwise() += as_vector(bias.slice(begin, count)).transpose();
  }

 private:
  explicit EigenProjection(const ProjectionWeights<float>& weights) : weights_(weights) {}

  ProjectionWeights<float> weights_;
};
static_assert(check_projection<EigenProjection>());

ENGRAM_END_NAMESPACE
