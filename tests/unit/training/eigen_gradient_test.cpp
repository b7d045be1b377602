// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Eigen's gradients of a projection against the plain loops.
#if __has_include(<Eigen/Core>) && __has_include(<engram/eigen/projection_gradient.hpp>)

#include "gradient_case.hpp"

#include <catch.hpp>
#include <engram/eigen/projection_gradient.hpp>

using namespace engram;
using namespace layer_case;

namespace {

/// Gradients of one call, every one of them starting from what the caller had.
struct Gradients {
  std::vector<float> key, value, key_bias, value_bias, inputs;

  template <class P>
  Gradients(const P& gradient, const std::vector<float>& e, const std::vector<float>& segments,
            Index tokens, bool biases)
      : key(at(gradient.branches() * gradient.output_width() * gradient.input_width()), 0.5f),
        value(at(gradient.output_width() * gradient.input_width()), 0.25f),
        key_bias(at(gradient.branches() * gradient.output_width()), 2.0f),
        value_bias(at(gradient.output_width()), 3.0f),
        inputs(e.size(), 99.0f) {
    const Index g = gradient.branches(), d = gradient.output_width(), m = gradient.input_width();
    LayerGradients to;
    to.key = View<float, 3>(key.data(), g, d, m);
    to.value = View<float, 2>(value.data(), d, m);
    if (biases) {
      to.key_bias = View<float, 2>(key_bias.data(), g, d);
      to.value_bias = value_bias;
    }
    const View<const float, 3> s(segments.data(), tokens, g + 1, d);
    for (Index tile = 0; tile < gradient.weight_tiles(); ++tile)
      gradient.weights(View<const float, 2>(e.data(), tokens, m), s, tile, to);
    gradient.inputs(s, View<float, 2>(inputs.data(), tokens, m));
  }
};

void check_near(const std::vector<float>& found, const std::vector<float>& expected, float within) {
  REQUIRE(found.size() == expected.size());
  float worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, std::fabs(found[i] - expected[i]));
  CHECK(worst <= within);
}

}  // namespace

TEST_CASE("Eigen's gradients are those of the plain loops") {
  Random random(9);
  struct Geometry {
    Index tokens, branches, width, inputs;
    bool biases;
  };
  for (const Geometry& c : {Geometry{1, 1, 1, 1, true}, Geometry{7, 2, 300, 5, true},
                            Geometry{50, 4, 33, 24, false}, Geometry{0, 2, 3, 4, true}}) {
    INFO(c.tokens << " tokens, " << c.branches << " branches of " << c.width);
    const auto key = random_elements<float>(random, c.branches * c.width * c.inputs);
    const auto value = random_elements<float>(random, c.width * c.inputs);
    ProjectionWeights<float> weights;
    weights.key = View<const float, 3>(key.data(), c.branches, c.width, c.inputs);
    weights.value = View<const float, 2>(value.data(), c.width, c.inputs);
    const auto e = random_elements<float>(random, c.tokens * c.inputs);
    const auto segments = random_elements<float>(random, c.tokens * (c.branches + 1) * c.width);
    const Gradients plain(ReferenceProjectionGradient<float>::make(weights).value(), e, segments,
                          c.tokens, c.biases);
    const Gradients eigen(EigenProjectionGradient::make(weights).value(), e, segments, c.tokens,
                          c.biases);
    check_near(eigen.key, plain.key, 2e-5f);
    check_near(eigen.value, plain.value, 2e-5f);
    check_near(eigen.key_bias, plain.key_bias, 2e-5f);
    check_near(eigen.value_bias, plain.value_bias, 2e-5f);
    check_near(eigen.inputs, plain.inputs, 1e-4f);
  }
}

TEST_CASE("gradients of weights that do not fit are refused") {
  const std::vector<float> numbers(24);
  ProjectionWeights<float> weights;
  weights.key = View<const float, 3>(numbers.data(), 1, 4, 6);
  weights.value = View<const float, 2>(numbers.data(), 4, 5);
  CHECK(EigenProjectionGradient::make(weights).status().code == Code::shape_mismatch);
  CHECK(ReferenceProjectionGradient<float>::make(weights).status().code == Code::shape_mismatch);
}

#endif
