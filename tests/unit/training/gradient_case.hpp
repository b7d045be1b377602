// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A backward call of a layer case with every gradient asked for, by any number of threads.

#include "../layer/layer_case.hpp"

#include <engram/training/layer_training.hpp>
#include <engram/training/reference_projection_gradient.hpp>

#include <thread>

namespace gradient_case {

using namespace engram;
using namespace layer_case;

/// A gate without a kink, so that differences are exact wherever the scores are.
struct SmoothGate {
  float operator()(float s) const noexcept { return 0.2f + 0.5f * s + 0.3f * s * s; }
  float slope(float s) const noexcept { return 0.5f + 0.6f * s; }
};

inline double gate_in_double(SmoothGate, double s) {
  return double{0.2f} + 0.5 * s + double{0.3f} * s * s;
}
inline double gate_in_double(SigmoidGate, double s) { return 1 / (1 + std::exp(-s)); }
inline double gate_in_double(ConstantGate gate, double) { return gate.factor; }
inline double gate_in_double(SignedSqrtGate gate, double s) {
  const double root = std::copysign(std::sqrt(std::fmax(std::fabs(s), double{gate.clamp})), s);
  return 1 / (1 + std::exp(-root));
}

template <Element W, Element In, Element Out, class GateType>
auto gradient_of(const LayerCase<W, In, Out, GateType>& c) {
  const Index g = c.shape.branches, d = c.shape.width, m = c.shape.columns * c.shape.row_width;
  ProjectionWeights<W> w;
  w.key = View<const W, 3>(c.key.data(), g, d, m);
  w.value = View<const W, 2>(c.value.data(), d, m);
  return ReferenceProjectionGradient<W, In>::make(w).value();
}

/// Every gradient; those of the rows summed over the tokens that read them.
struct Found {
  std::vector<float> hidden, elements, key, value, key_bias, value_bias, gain, conv_gain, conv;
  bool operator==(const Found& o) const {
    return same_bits(hidden, o.hidden) && same_bits(elements, o.elements) &&
           same_bits(key, o.key) && same_bits(value, o.value) && same_bits(key_bias, o.key_bias) &&
           same_bits(value_bias, o.value_bias) && same_bits(gain, o.gain) &&
           same_bits(conv_gain, o.conv_gain) && same_bits(conv, o.conv);
  }
};

/// Forward, then backward of `upstream`, each made by `threads` threads together.
template <class Case, Element H>
Found backward_of(const Case& c, Batch<H>& batch, std::vector<float> state,
                  const std::vector<float>& upstream, Index threads) {
  const Shape& s = c.shape;
  const auto layer = c.layer();
  const LayerTraining training(layer, gradient_of(c));
  Found f;
  const Index streams = s.branches * s.width, inputs = s.columns * s.row_width;
  f.hidden.resize(at(batch.tokens * streams));
  f.key.resize(at(streams * inputs));
  f.value.resize(at(s.width * inputs));
  f.key_bias.resize(at(streams));
  f.value_bias.resize(at(s.width));
  f.gain.resize(at(streams));
  f.conv_gain.resize(at(s.taps > 0 ? streams : 0));
  f.conv.resize(at(s.taps * streams));
  LayerGradients to;
  to.key = View<float, 3>(f.key.data(), s.branches, s.width, inputs);
  to.value = View<float, 2>(f.value.data(), s.width, inputs);
  to.key_bias = View<float, 2>(f.key_bias.data(), s.branches, s.width);
  to.value_bias = f.value_bias;
  to.gain = View<float, 2>(f.gain.data(), s.branches, s.width);
  if (s.taps > 0) {
    to.conv_gain = View<float, 2>(f.conv_gain.data(), s.branches, s.width);
    to.conv = View<float, 3>(f.conv.data(), s.taps, s.branches, s.width);
  }

  std::vector<float> rows(at(batch.tokens * inputs));
  Batch<H> copy = batch;
  auto hidden = copy.hidden.view();
  Outcome<H> outcome(batch, layer.conv_state_size());
  FusionOptions options = options_of(batch, outcome, 0, batch.tokens);
  options.conv_state = View<float, 2>(state.data(), batch.sequences(), layer.conv_state_size());
  Scratch tape(training.tape_bytes(batch.tokens, batch.sequences()));
  Scratch workspace(training.workspace_bytes(batch.tokens));
  Barrier barrier;
  std::vector<Status> statuses(at(threads));
  const auto work = [&](Index i) {
    const CpuDevice device{{i, threads}, &barrier};
    Status& status = statuses[at(i)];
    status =
        training.forward(View<const std::int64_t, 2>(batch.rows.data(), batch.tokens, s.columns),
                         hidden, outcome.out.view(), tape.view(), options, device);
    if (!status.ok()) return;
    status = training.backward(
        hidden, View<const float, 3>(upstream.data(), batch.tokens, s.branches, s.width),
        View<float, 3>(f.hidden.data(), batch.tokens, s.branches, s.width),
        View<float, 2>(rows.data(), batch.tokens, inputs), to, tape.view(), workspace.view(),
        options, device);
  };
  std::vector<std::thread> others;
  for (Index i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& t : others) t.join();
  for (const Status& status : statuses)
    if (!status.ok()) throw describe(status, "training");

  f.elements.resize(c.elements.size());
  for (Index i = 0; i < batch.tokens * inputs; ++i) {
    const Index row = batch.rows[at(i / s.row_width)];
    if (row >= 0) f.elements[at(row * s.row_width + i % s.row_width)] += rows[at(i)];
  }
  return f;
}

}  // namespace gradient_case
