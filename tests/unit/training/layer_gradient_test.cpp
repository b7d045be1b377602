// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Gradients of the layer against central differences of the same module written in double, for
// every parameter; the same bits for any number of threads; a tape of the size that was announced.
#include "../layer/layer_case.hpp"
#include "gradient_case.hpp"

#include <catch.hpp>
#include <engram/training/reference_projection_gradient.hpp>

#include <thread>

using namespace engram;
using namespace layer_case;
using namespace gradient_case;

namespace {

/// The module in double: everything that can be moved, and the new hidden states it gives.
template <class Case, Element H>
struct DoubleModule {
  const Case& c;
  const Batch<H>& batch;
  std::vector<double> elements, key, value, key_bias, value_bias, gain, conv_gain, conv, hidden;
  std::vector<double> state;  // [S, columns, G, D]

  DoubleModule(const Case& of, const Batch<H>& with, const std::vector<float>& before)
      : c(of), batch(with), state(before.begin(), before.end()) {
    for (const auto& x : c.elements) elements.push_back(to_float(x));
    for (const auto& x : c.key) key.push_back(to_float(x));
    for (const auto& x : c.value) value.push_back(to_float(x));
    const Index g = c.shape.branches, d = c.shape.width;
    key_bias.assign(at(g * d), 0);
    value_bias.assign(at(d), 0);
    gain.assign(at(g * d), 1);
    conv_gain.assign(at(g * d), 1);
    if (c.shape.biases) {
      key_bias.assign(c.key_bias.begin(), c.key_bias.end());
      value_bias.assign(c.value_bias.begin(), c.value_bias.end());
    }
    if (c.shape.gains) {
      gain.assign(c.gain.begin(), c.gain.end());
      conv_gain.assign(c.conv_gain.begin(), c.conv_gain.end());
    }
    conv.assign(c.conv.begin(), c.conv.end());
    for (Index t = 0; t < batch.tokens; ++t)
      for (Index i = 0; i < g * d; ++i) hidden.push_back(to_float(batch.hidden(t, i / d, i % d)));
  }

  bool is_absent(Index t) const {
    if (!batch.starts.empty() && t >= batch.starts.back()) return true;
    if (!batch.marks.empty() && has(batch.marks[at(t)], Mark::padding)) return true;
    const bool dead = !batch.marks.empty() && has(batch.marks[at(t)], Mark::dead);
    return !dead && batch.rows[at(t * c.shape.columns)] < 0 && !is_zero(t);
  }
  bool is_zero(Index t) const { return !batch.scale.empty() && batch.scale[at(t)] == 0; }
  bool takes_part(Index t) const {
    const bool dead = !batch.marks.empty() && has(batch.marks[at(t)], Mark::dead);
    return !is_absent(t) && !dead && !is_zero(t) && batch.rows[at(t * c.shape.columns)] >= 0;
  }

  double product(const std::vector<double>& w, Index row, double bias, Index t) const {
    const Index m = c.shape.columns * c.shape.row_width;
    for (Index k = 0; k < m; ++k) {
      const Index id = batch.rows[at(t * c.shape.columns + k / c.shape.row_width)];
      bias += w[at(row * m + k)] * elements[at(id * c.shape.row_width + k % c.shape.row_width)];
    }
    return bias;
  }

  static double inverse_rms(const std::vector<double>& x, double eps) {
    double sum = 0;
    for (const double v : x) sum += v * v;
    return 1 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
  }

  /// gate * value of a token's branch.
  std::vector<double> gated(Index t, Index g) const {
    const Index d = c.shape.width;
    std::vector<double> h(at(d)), k(at(d)), v(at(d));
    for (Index i = 0; i < d; ++i) {
      h[at(i)] = hidden[at((t * c.shape.branches + g) * d + i)];
      k[at(i)] = product(key, g * d + i, key_bias[at(g * d + i)], t);
      v[at(i)] = product(value, i, value_bias[at(i)], t);
    }
    double dot = 0;
    for (Index i = 0; i < d; ++i) dot += h[at(i)] * k[at(i)] * gain[at(g * d + i)];
    const double score = dot * inverse_rms(h, double{c.config.query_eps}) *
                         inverse_rms(k, double{c.config.key_eps}) /
                         std::sqrt(static_cast<double>(d));
    const double factor =
        gate_in_double(c.gate, score) * (batch.scale.empty() ? 1 : batch.scale[at(t)]);
    for (double& x : v) x *= factor;
    return v;
  }

  /// Sum of upstream * new hidden state.
  double loss(const std::vector<float>& upstream) const {
    const Index g = c.shape.branches, d = c.shape.width;
    const Index columns = c.shape.taps > 1 ? (c.shape.taps - 1) * c.shape.dilation : 0;
    double sum = 0;
    std::vector<std::vector<double>> history;  // normalised columns [G, D] of this document
    Index sequence = -1;
    for (Index t = 0; t < batch.tokens; ++t) {
      while (sequence + 1 < batch.sequences() &&
             t >= (batch.starts.empty() ? 0 : batch.starts[at(sequence + 1)])) {
        ++sequence;
        history.clear();
        for (Index i = 0; i < columns; ++i) {
          const auto first = state.begin() + (sequence * columns + i) * g * d;
          history.emplace_back(first, first + g * d);
        }
      }
      if (c.shape.residual)
        for (Index i = 0; i < g * d; ++i)
          sum += double{upstream[at(t * g * d + i)]} * hidden[at(t * g * d + i)];
      if (is_absent(t)) {
        if (!batch.marks.empty() && has(batch.marks[at(t)], Mark::start)) history.clear();
        continue;
      }
      if (!batch.marks.empty() && has(batch.marks[at(t)], Mark::start)) history.clear();
      history.emplace_back(at(g * d), 0.0);
      if (!takes_part(t)) continue;
      for (Index b = 0; b < g; ++b) {
        const std::vector<double> v = gated(t, b);
        const double r = inverse_rms(v, double{c.config.conv_eps});
        for (Index i = 0; i < d; ++i)
          history.back()[at(b * d + i)] = v[at(i)] * r * conv_gain[at(b * d + i)];
        for (Index i = 0; i < d; ++i) {
          double memory = v[at(i)];
          if (c.shape.taps > 0) {
            double y = 0;
            for (Index j = 0; j < c.shape.taps; ++j) {
              const Index back = (c.shape.taps - 1 - j) * c.shape.dilation;
              if (back >= static_cast<Index>(history.size())) continue;
              y += conv[at((j * g + b) * d + i)] *
                   history[history.size() - 1 - at(back)][at(b * d + i)];
            }
            memory += y / (1 + std::exp(-y));
          }
          sum += double{upstream[at((t * g + b) * d + i)]} * memory;
        }
      }
    }
    return sum;
  }
};

/// Compares gradients with central differences of `loss` along each of `parameters`.
template <class Module>
void check_differences(Module& module, std::vector<double> Module::*parameters,
                       const std::vector<float>& upstream, const std::vector<float>& found,
                       const char* what) {
  std::vector<double>& p = module.*parameters;
  REQUIRE(p.size() == found.size());
  std::vector<double> expected(p.size());
  double largest = 1;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double kept = p[i];
    const double step = 1e-6;
    p[i] = kept + step;
    const double above = module.loss(upstream);
    p[i] = kept - step;
    const double below = module.loss(upstream);
    p[i] = kept;
    expected[i] = (above - below) / (2 * step);
    largest = std::fmax(largest, std::fabs(expected[i]));
  }
  int faults = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (!(std::fabs(found[i] - expected[i]) <= 2e-4 * std::fabs(expected[i]) + 5e-6 * largest)) {
      if (faults++ == 0)
        UNSCOPED_INFO(what << "[" << i << "]: found " << found[i] << ", by differences "
                           << expected[i]);
    }
  CHECK(faults == 0);
}

/// All gradients of one random layer and batch against differences.
template <class GateType, Element W = float, Element In = W>
void check_case(const Shape& shape, std::uint64_t seed, bool marks, GateType gate = {}) {
  INFO("seed " << seed);
  Random random(seed);
  LayerCase<W, In, float, GateType> c(shape, seed + 1000);
  c.gate = gate;
  c.config.query_eps = c.config.key_eps = 1e-3f;  // for hidden states of zeros
  Batch<In> batch(shape, 9 + random.below(8), random, random.below(3), random.below(3));
  if (marks) batch.scatter(shape, random);
  if (random.below(2) == 0)
    batch.starts = {0, batch.tokens / 3, batch.tokens / 3, batch.tokens - random.below(2)};
  const auto layer = c.layer();
  std::vector<float> state =
      random_elements<float>(random, batch.sequences() * layer.conv_state_size());
  if (random.below(3) == 0) std::fill(state.begin(), state.end(), 0.0f);
  const std::vector<float> upstream =
      random_elements<float>(random, batch.tokens * shape.branches * shape.width);

  const Found found = backward_of(c, batch, state, upstream, 1);
  DoubleModule<decltype(c), In> module(c, batch, state);
  using M = decltype(module);
  check_differences(module, &M::hidden, upstream, found.hidden, "hidden");
  check_differences(module, &M::elements, upstream, found.elements, "rows");
  check_differences(module, &M::key, upstream, found.key, "key");
  check_differences(module, &M::value, upstream, found.value, "value");
  check_differences(module, &M::key_bias, upstream, found.key_bias, "key bias");
  check_differences(module, &M::value_bias, upstream, found.value_bias, "value bias");
  check_differences(module, &M::gain, upstream, found.gain, "gain");
  if (shape.taps > 0) {
    check_differences(module, &M::conv_gain, upstream, found.conv_gain, "conv gain");
    check_differences(module, &M::conv, upstream, found.conv, "conv");
  }
}

}  // namespace

TEST_CASE("layer gradients are those of the formulas") {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Random random(seed + 77);
    Shape shape = random_shape(random);
    shape.branches = 1 + random.below(3);
    shape.width = seed == 0 ? 1 : seed == 1 ? 34 : 2 + random.below(8);
    shape.columns = 1 + random.below(3);
    shape.row_width = 1 + random.below(4);
    check_case<SmoothGate>(shape, seed, seed % 2 == 1);
  }
}

TEST_CASE("gradients of every gate") {
  const Shape shape{
      .branches = 3, .width = 7, .columns = 2, .row_width = 3, .taps = 3, .dilation = 2};
  check_case<SigmoidGate>(shape, 1, false);
  check_case<ConstantGate>(shape, 2, true, {0.7f});
  // Scores are far from 0, where a root's differences in double say little about float.
  check_case<SignedSqrtGate>({.branches = 1, .width = 33, .columns = 1, .row_width = 5}, 5, false);
}

TEST_CASE("gradients with one tap, with wide lanes, and without gains") {
  check_case<SmoothGate>({.branches = 1, .width = 40, .columns = 1, .row_width = 2, .taps = 1}, 11,
                         true);
  check_case<SmoothGate>({.branches = 2,
                          .width = 33,
                          .columns = 3,
                          .row_width = 1,
                          .taps = 4,
                          .dilation = 1,
                          .gains = false,
                          .biases = false,
                          .residual = false},
                         12, true);
}

TEST_CASE("gradients through rows and hidden states of bf16") {
  check_case<SmoothGate, float, Bf16>(
      {.branches = 2, .width = 9, .columns = 2, .row_width = 4, .taps = 2}, 13, true);
}

TEST_CASE("backward gives the same bits for any number of threads") {
  Random random(5);
  const Shape shape{
      .branches = 3, .width = 70, .columns = 4, .row_width = 8, .taps = 4, .dilation = 3};
  LayerCase<float> c(shape, 3);
  Batch<float> batch(shape, 611, random, 2, 1);
  batch.scatter(shape, random);
  batch.starts = {0, 17, 300, 611};
  const auto state = random_elements<float>(random, 3 * c.layer().conv_state_size());
  const auto upstream = random_elements<float>(random, batch.tokens * 3 * 70);
  const Found one = backward_of(c, batch, state, upstream, 1);
  for (const Index threads : {2, 3, 7})
    CHECK(backward_of(c, batch, state, upstream, threads) == one);
}

TEST_CASE("forward on a tape gives the layer's bits") {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    Random random(seed);
    const Shape shape = random_shape(random);
    LayerCase<float> c(shape, seed);
    Batch<float> batch(shape, 40, random, 1, 1);
    batch.scatter(shape, random);
    const auto layer = c.layer();
    const Outcome<float> expected = run_whole(layer, batch);
    const LayerTraining training(layer, gradient_of(c));
    Outcome<float> found(batch, layer.conv_state_size());
    Scratch tape(training.tape_bytes(batch.tokens));
    const Status status = training.forward(
        View<const std::int64_t, 2>(batch.rows.data(), 40, shape.columns), batch.hidden.view(),
        found.out.view(), tape.view(), options_of(batch, found, 0, 40));
    REQUIRE(status.ok());
    CHECK(found == expected);
  }
}

TEST_CASE("training calls refuse what does not fit and write nothing") {
  const Shape shape{.branches = 2, .width = 8, .columns = 2, .row_width = 4, .taps = 2};
  LayerCase<float> c(shape, 1);
  Random random(1);
  Batch<float> batch(shape, 5, random);
  const auto layer = c.layer();
  const LayerTraining training(layer, gradient_of(c));
  CHECK(training.check().ok());
  Scratch tape(training.tape_bytes(5));
  Scratch workspace(training.workspace_bytes(5));
  std::vector<float> out(80, 3.0f), rows_gradient(40, 3.0f);
  const View<float, 3> to(out.data(), 5, 2, 8);
  const View<float, 2> to_rows(rows_gradient.data(), 5, 8);
  const View<const std::int64_t, 2> rows(batch.rows.data(), 5, 2);
  const auto hidden = batch.hidden.view();
  const auto is = [&](Status status, Code code, Index index) {
    CHECK(status.code == code);
    CHECK(status.index == index);
    CHECK(out == std::vector<float>(80, 3.0f));
    CHECK(rows_gradient == std::vector<float>(40, 3.0f));
  };
  const auto short_of = [](Scratch& s) { return s.view().slice(0, s.view().size() - 1); };
  is(training.forward(rows, hidden, to, short_of(tape)), Code::workspace_small,
     training.tape_bytes(5));
  is(training.forward(rows.slice(0, 4), hidden, to, tape.view()), Code::shape_mismatch, 5);
  batch.rows[3] = 31;
  is(training.forward(rows, hidden, to, tape.view()), Code::bad_row, 3);
  batch.rows[3] = 30;
  std::vector<float> state(3, 0.0f);
  FusionOptions options;
  options.conv_state = View<float, 2>(state.data(), 1, 3);
  is(training.forward(rows, hidden, to, tape.view(), options), Code::shape_mismatch, 16);
  std::vector<float> forwarded(80);
  REQUIRE(
      training.forward(rows, hidden, View<float, 3>(forwarded.data(), 5, 2, 8), tape.view()).ok());

  const View<const float, 3> updated(forwarded.data(), 5, 2, 8);
  LayerGradients gradients;
  is(training.backward(hidden, updated, to, to_rows, gradients, tape.view(), short_of(workspace)),
     Code::workspace_small, training.workspace_bytes(5));
  is(training.backward(hidden, updated.slice(0, 4), to, to_rows, gradients, tape.view(),
                       workspace.view()),
     Code::shape_mismatch, 5);
  is(training.backward(hidden, updated, to, to_rows.slice(0, 4), gradients, tape.view(),
                       workspace.view()),
     Code::shape_mismatch, 5);
  std::vector<float> wrong(100);
  gradients.conv = View<float, 3>(wrong.data(), 3, 2, 8);
  is(training.backward(hidden, updated, to, to_rows, gradients, tape.view(), workspace.view()),
     Code::shape_mismatch, 2);

  LayerCase<float> other({.branches = 1, .width = 8, .columns = 2, .row_width = 4}, 1);
  const LayerTraining unfit(layer, gradient_of(other));
  CHECK(unfit.check().status().code == Code::invalid_config);
  is(unfit.forward(rows, hidden, to, tape.view()), Code::invalid_config, -1);
}
