// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <cmath>
#include <contains.hpp>
#include <engram/gating/fusion.hpp>
#include <engram/gating/gate.hpp>
#include <limits>
#include <string>
#include <vector>

using namespace engram;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

/// The gate's formula in double, sign bit by sign bit.
double signed_sqrt_gate(double score, double clamp, ZeroScore zero) {
  if (zero == ZeroScore::sign && score == 0) return 0.5;
  return sigmoid_of(std::copysign(std::sqrt(std::fmax(std::fabs(score), clamp)), score));
}

/// Scores of every size and both signs, the clamp's neighbourhood included.
std::vector<float> all_scores() {
  std::vector<float> scores = {0.0f, -0.0f, infinity, -infinity};
  for (int e = -149; e <= 127; ++e)
    for (const float m : {1.0f, 1.3f, 1.9999f})
      for (const float sign : {1.0f, -1.0f}) scores.push_back(sign * std::ldexp(m, e));
  for (float x = 0.5e-6f; x < 2e-6f; x = std::nextafter(x * 1.003f, 1.0f))
    for (const float sign : {1.0f, -1.0f}) scores.push_back(sign * x);
  return scores;
}

const std::uint32_t nans[] = {0x7FC00000, 0xFFC00000, 0x7FC12345, 0x7F800001, 0xFFFFFFFF};

View<const float, 2> view2(const std::vector<float>& v, Index rows, Index columns) {
  return View<const float, 2>(v.data(), rows, columns);
}

}  // namespace

TEST_CASE("signed square root gate: the formula, for every score, clamp and zero") {
  for (const ZeroScore zero : {ZeroScore::copysign, ZeroScore::sign})
    for (const float clamp : {1e-6f, 0.0f, 1e-20f, 4.0f})
      for (const float score : all_scores()) {
        const double expected = signed_sqrt_gate(score, clamp, zero);
        const double found = SignedSqrtGate{zero, clamp}(score);
        INFO("score " << score << ", clamp " << clamp);
        if (!(std::fabs(found - expected) <=
              2e-7 * expected * (2 + std::sqrt(std::fabs(double{score}))) + 1e-37))
          CHECK(found == expected);
      }
}

TEST_CASE("signed square root gate: zeros, infinities and the edge of the clamp") {
  const SignedSqrtGate v41;
  CHECK(v41(0.0f) == Approx(0.50025).epsilon(1e-6));
  CHECK(v41(-0.0f) == Approx(0.49975).epsilon(1e-6));
  const SignedSqrtGate demo{ZeroScore::sign};
  CHECK(demo(0.0f) == 0.5f);
  CHECK(demo(-0.0f) == 0.5f);
  CHECK(demo(1e-45f) == v41(0.0f));  // only zero itself has no sign
  CHECK(demo(-1e-45f) == v41(-0.0f));
  for (const SignedSqrtGate gate : {v41, demo}) {
    CHECK(gate(infinity) == 1.0f);
    CHECK(gate(-infinity) == 0.0f);
    CHECK(gate(1e-6f) == gate(1e-9f));
    CHECK(gate(-1e-6f) == gate(-1e-9f));
    CHECK(gate(4e-6f) > gate(1e-6f));
    CHECK(gate(-4e-6f) < gate(-1e-6f));
  }
  // The factor never falls as the score grows: no step at the clamp.
  for (float s = -3e-6f; s < 3e-6f; s += 1e-9f) {
    if (v41(s) > v41(s + 1e-9f)) FAIL_CHECK("falls at " << s);
  }
}

TEST_CASE("gates: NaN for NaN with its payload, but for the constant gate") {
  for (const std::uint32_t bits : nans) {
    CHECK(to_bits(SignedSqrtGate{}(from_bits(bits))) == bits);
    CHECK(to_bits(SignedSqrtGate{ZeroScore::sign, 0}(from_bits(bits))) == bits);
    CHECK(to_bits(SigmoidGate{}(from_bits(bits))) == bits);
    CHECK(ConstantGate{0.25f}(from_bits(bits)) == 0.25f);
  }
}

TEST_CASE("sigmoid gate and constant gate") {
  for (const float score : all_scores()) {
    const double expected = sigmoid_of(score);
    const double found = SigmoidGate{}(score);
    INFO("score " << score);
    if (!(std::fabs(found - expected) <= 3e-7 * expected + 2e-38)) CHECK(found == expected);
    CHECK(ConstantGate{}(score) == 1.0f);
    CHECK(ConstantGate{-2.5f}(score) == -2.5f);
  }
  CHECK(SigmoidGate{}(0.0f) == 0.5f);
  CHECK(SigmoidGate{}(-0.0f) == 0.5f);
  CHECK(SigmoidGate{}(infinity) == 1.0f);
  CHECK(SigmoidGate{}(-infinity) == 0.0f);
}

TEST_CASE("multiply_gains: products, strides, and shapes that disagree") {
  std::vector<float> query(12), key(12);
  for (std::size_t i = 0; i < 12; ++i) {
    query[i] = static_cast<float>(i) - 3;
    key[i] = 0.5f * static_cast<float>(i);
  }
  std::vector<float> memory(2 * 7, 77.0f);
  const auto gain = View<float, 2>(memory.data(), 2, 6).with_stride<0>(7);
  REQUIRE(multiply_gains(view2(query, 2, 6), view2(key, 2, 6), gain).ok());
  for (std::size_t i = 0; i < 12; ++i) CHECK(memory[i / 6 * 7 + i % 6] == query[i] * key[i]);
  CHECK(memory[6] == 77.0f);
  CHECK(memory[13] == 77.0f);

  std::vector<float> out(12, 77.0f);
  const View<float, 2> to(out.data(), 2, 6);
  CHECK(multiply_gains(view2(query, 1, 6), view2(key, 2, 6), to) ==
        Status{Code::shape_mismatch, 0, 2});
  CHECK(multiply_gains(view2(query, 2, 6), view2(key, 2, 5), to) ==
        Status{Code::shape_mismatch, 0, 6});
  CHECK(multiply_gains(view2(query, 3, 4), view2(key, 2, 6), to) ==
        Status{Code::shape_mismatch, 0, 2});
  CHECK(multiply_gains({}, view2(key, 2, 6), to) == Status{Code::shape_mismatch, 0, 2});
  CHECK(out == std::vector<float>(12, 77.0f));
  CHECK(multiply_gains({}, {}, {}).ok());
}

TEST_CASE("transpose_conv: from a checkpoint's order to taps first, and bad shapes") {
  constexpr Index taps = 3, branches = 2, width = 5;
  std::vector<float> stored(static_cast<std::size_t>(taps * branches * width));
  for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<float>(i);
  std::vector<float> out(stored.size(), 77.0f);
  const View<float, 3> conv(out.data(), taps, branches, width);
  const View<const float, 2> from = view2(stored, branches * width, taps);
  REQUIRE(transpose_conv(from, conv).ok());
  for (Index j = 0; j < taps; ++j)
    for (Index g = 0; g < branches; ++g)
      for (Index d = 0; d < width; ++d)
        CHECK(conv(j, g, d) == static_cast<float>((g * width + d) * taps + j));

  out.assign(out.size(), 77.0f);
  CHECK(transpose_conv(view2(stored, branches * width, taps - 1), conv) ==
        Status{Code::shape_mismatch, 0, taps});
  CHECK(transpose_conv(view2(stored, branches * width - 1, taps), conv) ==
        Status{Code::shape_mismatch, 0, branches * width});
  CHECK(transpose_conv(view2(stored, taps, branches * width), conv) ==
        Status{Code::shape_mismatch, 0, taps});
  CHECK(transpose_conv({}, conv) == Status{Code::shape_mismatch, 0, taps});
  CHECK(out == std::vector<float>(out.size(), 77.0f));
}

TEST_CASE("fusion_fault: empty for what fits, one sentence for what does not") {
  constexpr Index branches = 2, width = 5;
  const std::vector<float> memory(65 * 60);
  FusionWeights good;
  FusionConfig config;
  CHECK(fusion_fault(good, config, branches, width).empty());
  good.gain = view2(memory, branches, width);
  good.conv_gain = view2(memory, branches, width);
  good.conv = View<const float, 3>(memory.data(), 64, branches, width);
  config.dilation = 4096;
  CHECK(fusion_fault(good, config, branches, width).empty());
  config.query_eps = config.key_eps = config.conv_eps = 0;
  CHECK(fusion_fault(good, config, branches, width).empty());

  const auto fault = [&](auto change) {
    FusionWeights w = good;
    FusionConfig c = config;
    change(w, c);
    return fusion_fault(w, c, branches, width);
  };
  using W = FusionWeights;
  using C = FusionConfig;
  CHECK(fault([&](W& w, C&) { w.gain = view2(memory, 1, width); }) ==
        "the norms' gain is [1, 5], expected [2, 5]");
  CHECK(fault([&](W& w, C&) { w.gain = view2(memory, branches, 6); }) ==
        "the norms' gain is [2, 6], expected [2, 5]");
  CHECK(fault([&](W& w, C&) { w.conv_gain = view2(memory, width, branches); }) ==
        "the convolution's gain is [5, 2], expected [2, 5]");
  CHECK(fault([&](W& w, C&) { w.conv = View<const float, 3>(memory.data(), 4, 3, width); }) ==
        "the convolution is [4, 3, 5], expected [taps, 2, 5]");
  CHECK(fault([&](W& w, C&) { w.conv = View<const float, 3>(memory.data(), 4, 2, 4); }) ==
        "the convolution is [4, 2, 4], expected [taps, 2, 5]");
  CHECK(fault([&](W& w, C&) { w.conv = View<const float, 3>(memory.data(), 65, 2, width); }) ==
        "the convolution has 65 taps, expected at most 64");
  for (const Index dilation : {Index{0}, Index{-1}, Index{4097}, INT64_MIN, INT64_MAX})
    CHECK(fault([&](W&, C& c) { c.dilation = dilation; }) ==
          "the dilation is " + std::to_string(dilation) + ", expected 1 to 4096");
  CHECK(fault([&](W& w, C& c) { w.conv = {}, c.dilation = 0; }).empty());  // not looked at
  float C::*const epsilons[] = {&C::query_eps, &C::key_eps, &C::conv_eps};
  for (float C::*const eps : epsilons)
    for (const float bad : {-1e-30f, -infinity, std::numeric_limits<float>::quiet_NaN()})
      CHECK(contains(fault([&](W&, C& c) { c.*eps = bad; }), "an epsilon is negative"));
}

TEST_CASE("conv_state_size: what a convolution remembers") {
  CHECK(conv_state_size(0, 1, 4, 8) == 0);
  CHECK(conv_state_size(1, 7, 4, 8) == 0);
  CHECK(conv_state_size(2, 1, 4, 8) == 32);
  CHECK(conv_state_size(4, 3, 4, 8) == 9 * 32);
}
