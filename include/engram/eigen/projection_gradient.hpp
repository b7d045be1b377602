// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The backward side of EigenProjection, as products of Eigen's. Tiles are of fixed size, so that
// gradients do not depend on the number of threads.

#include <engram/eigen/map.hpp>
#include <engram/training/gradients.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Plain float weights. Holds views. Eigen runs on the calling thread and allocates the blocks that
/// it packs, up to a few megabytes a call.
class EigenProjectionGradient {
 public:
  using input_type = float;
  /// Outputs of a tile of the weights.
  static constexpr Index tile_width = 256;

  /// Fails with shape_mismatch when the weights do not fit together.
  ENGRAM_ALWAYS_INLINE static Result<EigenProjectionGradient> make(
      const ProjectionWeights<float>& weights) {
    if (const std::string fault = weights_fault(weights); !fault.empty())
      return fail(Code::shape_mismatch, {"projection gradient: ", fault});
    return EigenProjectionGradient(weights);
  }

  Index input_width() const noexcept { return weights_.key.extent(2); }
  Index output_width() const noexcept { return weights_.key.extent(1); }
  Index branches() const noexcept { return weights_.key.extent(0); }
  Index weight_tiles() const noexcept { return (branches() + 1) * tiles_of_segment(); }

  void inputs(View<const float, 3> segments, View<float, 2> to) const noexcept {
    if (to.extent(0) == 0) return;
    auto sum = as_matrix(to);
    sum.noalias() = as_matrix(segments.at<1>(branches())) * as_matrix(weights_.value);
    for (Index g = 0; g < branches(); ++g)
      sum.noalias() += as_matrix(segments.at<1>(g)) * as_matrix(weights_.key.at<0>(g));
  }
  void weights(View<const float, 2> e, View<const float, 3> segments, Index tile,
               const LayerGradients& to) const noexcept {
    if (e.extent(0) == 0) return;
    const Index s = tile / tiles_of_segment();
    const Index begin = tile % tiles_of_segment() * tile_width;
    const Index left = output_width() - begin;
    const Index count = left < tile_width ? left : tile_width;
    const View<const float, 2> all = segments.at<1>(s);
    const auto segment = as_matrix(View<const float, 2>(all.data() + begin, all.extent(0), count)
                                       .with_stride<0>(all.stride(0)));
    const bool is_value = s == branches();
    if (const View<float, 2> weight = is_value             ? to.value
                                      : to.key.size() == 0 ? View<float, 2>()
                                                           : to.key.at<0>(s);
        weight.size() != 0)
      as_matrix(weight.slice(begin, count)).noalias() += segment.transpose() * as_matrix(e);
    if (const View<float, 1> bias = is_value                  ? to.value_bias
                                    : to.key_bias.size() == 0 ? View<float, 1>()
                                                              : to.key_bias.at<0>(s);
        bias.size() != 0)
      as_vector(bias.slice(begin, count)) += segment.colwise().sum().transpose();
  }

 private:
  explicit EigenProjectionGradient(const ProjectionWeights<float>& weights) : weights_(weights) {}

  Index tiles_of_segment() const noexcept { return (output_width() + tile_width - 1) / tile_width; }

  ProjectionWeights<float> weights_;
};
static_assert(check_projection_gradient<EigenProjectionGradient>());

ENGRAM_END_NAMESPACE
