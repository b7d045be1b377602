// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What must hold to the bit: tokens that pass through, NaN that stays where it is, observers that
// change nothing.
#include "layer_case.hpp"

#include <catch.hpp>

using namespace engram;
using namespace layer_case;

namespace {

template <Element H>
H element_of(std::uint32_t float_bits_of_it, std::uint16_t small_bits) {
  if constexpr (std::is_same_v<H, float>)
    return from_bits(float_bits_of_it);
  else
    return H{small_bits};
}

/// Signed zeros, subnormals, infinities, quiet and signalling NaN with payloads.
template <Element H>
std::vector<H> special_elements() {
  const std::uint32_t wide[] = {0x80000000, 0x00000001, 0x807FFFFF, 0x7F800000, 0xFF800000,
                                0x7FC12345, 0xFFFFFFFF, 0x7F800001, 0xFFA00007, 0x7F7FFFFF};
  const std::uint16_t small[] = {0x8000, 0x0001, 0x803F, 0x7C00, 0xFC00,
                                 0x7E55, 0xFFFF, 0x7F81, 0xFD01, 0x7F7F};
  std::vector<H> list;
  for (std::size_t i = 0; i < std::size(wide); ++i)
    list.push_back(element_of<H>(wide[i], small[i]));
  return list;
}

/// Tokens 1, 3, 5 and 7 are dead, padding, without rows and knocked out, full of special values.
template <Element H>
void check_pass_through(bool residual, Index taps, bool in_place) {
  Random random(17);
  Shape shape;
  shape.branches = 3;
  shape.width = 37;
  shape.taps = taps;
  shape.residual = residual;
  LayerCase<float> c(shape, 5);
  const auto layer = c.layer();
  Batch<H> batch(shape, 9, random, 1, 2);
  batch.marks.assign(9, Mark::token);
  batch.scale.assign(9, 1.0f);
  batch.marks[1] = Mark::dead;
  batch.marks[3] = Mark::padding;
  for (Index i = 0; i < shape.columns; ++i) batch.rows[at(5 * shape.columns + i)] = -1;
  batch.scale[7] = -0.0f;
  const std::vector<H> special = special_elements<H>();
  for (const Index t : {1, 3, 5, 7})
    for (Index g = 0; g < shape.branches; ++g)
      for (Index d = 0; d < shape.width; ++d)
        batch.hidden(t, g, d) = special[at((t + g + d) % static_cast<Index>(special.size()))];
  Outcome<H> to(batch, layer.conv_state_size());
  if (!in_place)
    for (H& x : to.out.memory) x = from_float<H>(3.0f);
  Scratch scratch(layer.workspace_bytes(9));
  const View<const H, 3> hidden =
      in_place ? View<const H, 3>(to.out.view()) : View<const H, 3>(batch.hidden.view());
  REQUIRE(layer
              .forward(View<const std::int64_t, 2>(batch.rows.data(), 9, shape.columns), hidden,
                       to.out.view(), scratch.view(), options_of(batch, to, 0, 9))
              .ok());
  for (const Index t : {1, 3, 5, 7})
    for (Index g = 0; g < shape.branches; ++g) {
      for (Index d = 0; d < shape.width; ++d) {
        const H expected = residual ? batch.hidden(t, g, d) : H{};
        const H found = to.out(t, g, d);
        if (std::memcmp(static_cast<const void*>(&found), static_cast<const void*>(&expected),
                        sizeof(H)) != 0)
          FAIL_CHECK("token " << t << ", branch " << g << ", element " << d);
      }
      const auto tg = at(t * shape.branches + g);
      if (t != 7) CHECK(to.scores[tg] == 0);  // what is knocked out keeps its score
      CHECK(to.gates[tg] == 0);
      CHECK(to.norms[tg] == 0);
    }
  // Nothing of them reaches the others, through the convolution neither.
  for (const Index t : {0, 2, 4, 6, 8})
    for (Index g = 0; g < shape.branches; ++g)
      for (Index d = 0; d < shape.width; ++d) CHECK_FALSE(is_nan(to_float(to.out(t, g, d))));
  for (const float x : to.state) CHECK_FALSE(is_nan(x));
}

template <Element H>
void check_nan_stays(Index taps) {
  Random random(23);
  Shape shape;
  shape.branches = 3;
  shape.width = 33;
  shape.taps = taps;
  shape.dilation = 2;
  LayerCase<float> c(shape, 6);
  const auto layer = c.layer();
  Batch<H> batch(shape, 8, random);
  const Outcome<H> clean = run_whole(layer, batch);
  batch.hidden(3, 1, 20) = element_of<H>(0x7FC00001, std::is_same_v<H, F16> ? 0x7E01 : 0x7FC1);
  const Outcome<H> found = run_whole(layer, batch);
  for (Index t = 0; t < 8; ++t)
    for (Index g = 0; g < 3; ++g) {
      const Index back = t - 3;  // taps reach 0, 2, 4, ... tokens back
      const bool reached =
          g == 1 && (t == 3 || (taps > 0 && back > 0 && back % 2 == 0 && back / 2 < taps));
      for (Index d = 0; d < 33; ++d) {
        const float x = to_float(found.out(t, g, d));
        if (reached ? !is_nan(x) : to_bits(x) != to_bits(to_float(clean.out(t, g, d))))
          FAIL_CHECK("token " << t << ", branch " << g << ", element " << d);
      }
      CHECK(is_nan(found.gates[at(t * 3 + g)]) == (t == 3 && g == 1));
      CHECK(is_nan(found.scores[at(t * 3 + g)]) == (t == 3 && g == 1));
      CHECK(is_nan(found.norms[at(t * 3 + g)]) == reached);
    }
}

template <class GateType>
void check_gate(const GateType& gate, float expected_at_score_of_nan) {
  Random random(3);
  LayerCase<float, float, float, GateType> c(Shape(), 8);
  c.gate = gate;
  const auto layer = c.layer();
  Batch<float> batch(c.shape, 5, random);
  batch.hidden(2, 0, 0) = from_bits(0x7FC00000);
  const Outcome<float> found = run_whole(layer, batch);
  for (std::size_t i = 0; i < found.gates.size(); ++i)
    if (i != 4) CHECK(to_bits(found.gates[i]) == to_bits(gate(found.scores[i])));
  CHECK(is_nan(found.scores[4]));
  CHECK(to_bits(found.gates[4] * 0 + expected_at_score_of_nan) ==
        to_bits(found.gates[4] * 0 + found.gates[4]));
}

}  // namespace

TEST_CASE("layer: positions without memory pass through bit for bit") {
  for (const bool residual : {true, false})
    for (const Index taps : {0, 3})
      for (const bool in_place : {false, true}) {
        INFO("residual " << residual << ", taps " << taps << ", in place " << in_place);
        check_pass_through<float>(residual, taps, in_place);
        check_pass_through<Bf16>(residual, taps, in_place);
        check_pass_through<F16>(residual, taps, in_place);
      }
}

TEST_CASE("layer: a NaN stays in its branch of its token, or goes where the taps reach") {
  for (const Index taps : {0, 1, 2, 3}) {
    INFO("taps " << taps);
    check_nan_stays<float>(taps);
    check_nan_stays<Bf16>(taps);
    check_nan_stays<F16>(taps);
  }
}

TEST_CASE("layer: any gate, its value passed on as it is") {
  check_gate(SignedSqrtGate{}, from_bits(0x7FC00000));
  check_gate(SignedSqrtGate{ZeroScore::sign}, from_bits(0x7FC00000));
  check_gate(SigmoidGate{}, from_bits(0x7FC00000));
  check_gate(ConstantGate{0.75f}, 0.75f);
}

TEST_CASE("layer: watching scores, gates and norms changes no output") {
  Random random(29);
  for (int round = 0; round < 20; ++round) {
    Shape shape = random_shape(random);
    shape.taps = round % 2 == 0 ? 0 : 1 + random.below(4);
    LayerCase<float> c(shape, random.bits());
    const auto layer = c.layer();
    Batch<float> batch(shape, 7, random);
    batch.scatter(shape, random);
    const Outcome<float> all = run_whole(layer, batch);
    for (int watched = 0; watched < 8; ++watched) {
      Outcome<float> to(batch, layer.conv_state_size());
      FusionOptions o = options_of(batch, to, 0, 7);
      if ((watched & 1) == 0) o.scores = {};
      if ((watched & 2) == 0) o.gates = {};
      if ((watched & 4) == 0) o.norms = {};
      Scratch scratch(layer.workspace_bytes(7));
      REQUIRE(layer
                  .forward(View<const std::int64_t, 2>(batch.rows.data(), 7, shape.columns),
                           batch.hidden.view(), to.out.view(), scratch.view(), o)
                  .ok());
      CHECK(same_bits(to.out.memory, all.out.memory));
      CHECK(same_bits(to.state, all.state));
      const std::vector<float> untouched(to.scores.size(), 77.0f);
      CHECK(same_bits(to.scores, (watched & 1) == 0 ? untouched : all.scores));
      CHECK(same_bits(to.gates, (watched & 2) == 0 ? untouched : all.gates));
      CHECK(same_bits(to.norms, (watched & 4) == 0 ? untouched : all.norms));
    }
  }
}

TEST_CASE("layer: int32 row ids, and rows and watched arrays with a token stride") {
  Random random(37);
  LayerCase<float> c(Shape(), 9);
  const auto layer = c.layer();
  Batch<float> batch(c.shape, 6, random);
  const Outcome<float> expected = run_whole(layer, batch);
  std::vector<std::int32_t> rows(6 * 5, -9);
  for (Index t = 0; t < 6; ++t)
    for (Index i = 0; i < 2; ++i)
      rows[at(t * 5 + i)] = static_cast<std::int32_t>(batch.rows[at(t * 2 + i)]);
  std::vector<float> watched(6 * 7, 77.0f);
  const auto view = View<float, 2>(watched.data(), 6, 2).with_stride<0>(7);
  for (int which = 0; which < 3; ++which) {
    Outcome<float> to(batch, 0);
    FusionOptions o;
    (which == 0 ? o.scores : which == 1 ? o.gates : o.norms) = view;
    Scratch scratch(layer.workspace_bytes(6));
    REQUIRE(layer
                .forward(View<std::int32_t, 2>(rows.data(), 6, 2).with_stride<0>(5),
                         batch.hidden.view(), to.out.view(), scratch.view(), o)
                .ok());
    CHECK(same_bits(to.out.memory, expected.out.memory));
    const auto& all = which == 0 ? expected.scores : which == 1 ? expected.gates : expected.norms;
    for (Index t = 0; t < 6; ++t) {
      for (Index g = 0; g < 2; ++g) CHECK(to_bits(view(t, g)) == to_bits(all[at(t * 2 + g)]));
      for (Index i = 2; i < 7; ++i) CHECK(watched[at(t * 7 + i)] == 77.0f);
    }
  }
}

TEST_CASE("layer: the sequences' states may have a stride") {
  Random random(43);
  Shape shape;
  shape.taps = 3;
  LayerCase<float> c(shape, 10);
  const auto layer = c.layer();
  Batch<float> batch(shape, 9, random);
  batch.starts = {0, 4, 9};
  const Outcome<float> expected = run_whole(layer, batch);
  const Index size = layer.conv_state_size(), stride = size + 3;
  std::vector<float> states(at(2 * stride));
  Outcome<float> to(batch, size);
  FusionOptions options = options_of(batch, to, 0, 9);
  options.conv_state = View<float, 2>(states.data(), 2, size).with_stride<0>(stride);
  Scratch scratch(layer.workspace_bytes(9, 2));
  REQUIRE(layer
              .forward(View<const std::int64_t, 2>(batch.rows.data(), 9, 2), batch.hidden.view(),
                       to.out.view(), scratch.view(), options)
              .ok());
  CHECK(same_bits(to.out.memory, expected.out.memory));
  for (Index i = 0; i < 2 * stride; ++i)
    CHECK(to_bits(states[at(i)]) ==
          (i % stride < size ? to_bits(expected.state[at(i / stride * size + i % stride)]) : 0));
}
