// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#if __has_include(<Eigen/Core>) && __has_include(<engram/eigen/projection.hpp>)

#include "layer_case.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <engram/eigen/projection.hpp>
#include <thread>

using namespace engram;
using namespace layer_case;

namespace {

struct Weights {
  std::vector<float> key, value, key_bias, value_bias;
  ProjectionWeights<float> views;

  Weights(Index g, Index d, Index m, bool biases, Random& random)
      : key(random_elements<float>(random, g * d * m)),
        value(random_elements<float>(random, d * m)),
        key_bias(random_elements<float>(random, g * d)),
        value_bias(random_elements<float>(random, d)) {
    views.key = View<const float, 3>(key.data(), g, d, m);
    views.value = View<const float, 2>(value.data(), d, m);
    if (!biases) return;
    views.key_bias = View<const float, 2>(key_bias.data(), g, d);
    views.value_bias = value_bias;
  }
};

/// All segments [G + 1] of a projection, into memory with a gap behind each token.
template <class P>
std::vector<float> project_all(const P& p, View<const float, 2> e) {
  const Index d = p.output_width(), stride = d + 3;
  std::vector<float> out(at((p.branches() + 1) * e.extent(0) * stride), 77.0f);
  for (Index s = 0; s <= p.branches(); ++s)
    for (Index tile = p.tiles() - 1; tile >= 0; --tile)
      p.project(e, static_cast<int>(s), tile,
                View<float, 2>(out.data() + s * e.extent(0) * stride, e.extent(0), d)
                    .with_stride<0>(stride));
  return out;
}

void check_near(const std::vector<float>& found, const std::vector<float>& expected, Index m) {
  REQUIRE(found.size() == expected.size());
  const double scale = std::sqrt(static_cast<double>(m));
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::fmax(worst, std::fabs(double{found[i]} - double{expected[i]}) /
                                 (scale + std::fabs(double{expected[i]})));
  CHECK(worst < 1e-5);
}

}  // namespace

TEST_CASE("eigen projection: the reference's numbers, for any shape, bias and stride") {
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    const Index g = 1 + random.below(4), d = 1 + random.below(90), m = 1 + random.below(120);
    const Index tokens = round < 8 ? 1 : random.below(20);
    const Weights w(g, d, m, round % 2 == 0, random);
    const auto eigen = EigenProjection::make(w.views).value();
    const auto reference = ReferenceProjection<float>::make(w.views).value();
    CHECK(eigen.branches() == g);
    CHECK(eigen.output_width() == d);
    CHECK(eigen.input_width() == m);
    const Index stride = m + random.below(5);
    const std::vector<float> memory = random_elements<float>(random, tokens * stride);
    const auto e = View<const float, 2>(memory.data(), tokens, m).with_stride<0>(stride);
    INFO("T " << tokens << ", G " << g << ", D " << d << ", M " << m);
    check_near(project_all(eigen, e), project_all(reference, e), m);
  }
}

TEST_CASE("eigen projection: widths around its tile") {
  Random random(2);
  constexpr Index tile = EigenProjection::tile_width, m = 5;
  for (const Index d : {tile - 1, tile, tile + 1, 2 * tile + 7}) {
    const Weights w(2, d, m, true, random);
    const auto eigen = EigenProjection::make(w.views).value();
    const auto reference = ReferenceProjection<float>::make(w.views).value();
    CHECK(eigen.tiles() == (d + tile - 1) / tile);
    for (const Index tokens : {0, 1, 2, 9}) {
      const std::vector<float> e = random_elements<float>(random, tokens * m);
      const View<const float, 2> view(e.data(), tokens, m);
      check_near(project_all(eigen, view), project_all(reference, view), m);
    }
  }
}

TEST_CASE("eigen projection: fused weights, whose rows are strided") {
  Random random(3);
  constexpr Index g = 3, d = 17, m = 20, stride = 25;
  const std::vector<float> memory = random_elements<float>(random, (g + 1) * d * stride);
  const auto matrix = View<const float, 2>(memory.data(), (g + 1) * d, m).with_stride<0>(stride);
  const auto weights = fused_weights(matrix, g);
  const auto eigen = EigenProjection::make(weights).value();
  const auto reference = ReferenceProjection<float>::make(weights).value();
  for (const Index tokens : {1, 6}) {
    const std::vector<float> e = random_elements<float>(random, tokens * m);
    const View<const float, 2> view(e.data(), tokens, m);
    check_near(project_all(eigen, view), project_all(reference, view), m);
  }
}

TEST_CASE("eigen projection: in a layer, one thread or three, the same bits") {
  Random random(4);
  Shape shape;
  shape.branches = 2;
  shape.width = EigenProjection::tile_width + 40;
  shape.columns = 2;
  shape.row_width = 8;
  shape.taps = 3;
  LayerCase<float> c(shape, 5);
  ProjectionWeights<float> w;
  w.key = View<const float, 3>(c.key.data(), 2, shape.width, 16);
  w.value = View<const float, 2>(c.value.data(), shape.width, 16);
  w.key_bias = View<const float, 2>(c.key_bias.data(), 2, shape.width);
  w.value_bias = c.value_bias;
  const auto eigen = EigenProjection::make(w).value();
  const EngramLayer layer(c.table, eigen, c.weights, c.config, SignedSqrtGate{});
  for (const Index tokens : {1, 5, 130}) {
    Batch<float> batch(shape, tokens, random);
    const Outcome<float> reference = run_whole(c.layer(), batch);
    const Outcome<float> alone = run_whole(layer, batch);
    double worst = 0;
    for (std::size_t i = 0; i < alone.out.memory.size(); ++i)
      worst = std::fmax(worst,
                        std::fabs(double{alone.out.memory[i]} - double{reference.out.memory[i]}));
    CHECK(worst < 1e-3);  // a score near zero, under the root, moves the gate
    Outcome<float> shared(batch, layer.conv_state_size());
    Scratch scratch(layer.workspace_bytes(tokens));
    Barrier barrier;
    const FusionOptions options = options_of(batch, shared, 0, tokens);
    std::vector<std::thread> threads;
    for (Index i = 0; i < 3; ++i)
      threads.emplace_back([&, i] {
        (void)layer.forward(View<const std::int64_t, 2>(batch.rows.data(), tokens, 2),
                            batch.hidden.view(), shared.out.view(), scratch.view(), options,
                            CpuDevice{{i, 3}, &barrier});
      });
    for (std::thread& t : threads) t.join();
    CHECK(shared == alone);
  }
}

TEST_CASE("eigen projection: weights that do not fit together, as the reference refuses them") {
  Random random(6);
  const Weights good(2, 6, 4, true, random);
  const auto refused = [&](auto change, const char* words) {
    ProjectionWeights<float> w = good.views;
    change(w);
    for (const auto& made :
         {EigenProjection::make(w).failure(), ReferenceProjection<float>::make(w).failure()}) {
      CHECK(made.status.code == Code::shape_mismatch);
      CHECK(contains(made.message, words));
    }
  };
  using W = ProjectionWeights<float>;
  const float* data = good.key.data();
  refused([](W& w) { w.key = {}; }, "the key weights are [0, 0, 0]");
  refused([&](W& w) { w.key = View<const float, 3>(data, 2, 6, 0); }, "are [2, 6, 0]");
  refused([&](W& w) { w.value = View<const float, 2>(data, 5, 4); },
          "the value weights are [5, 4], expected [6, 4]");
  refused([&](W& w) { w.value = View<const float, 2>(data, 6, 3); }, "are [6, 3]");
  refused([&](W& w) { w.key_bias = View<const float, 2>(data, 1, 6); },
          "the key bias is [1, 6], expected [2, 6]");
  refused([&](W& w) { w.key_bias = View<const float, 2>(data, 2, 5); }, "the key bias is [2, 5]");
  refused([&](W& w) { w.value_bias = View<const float, 1>(data, 7); },
          "the value bias is [7], expected [6]");
}

#endif
