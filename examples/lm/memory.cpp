// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "memory.hpp"

#include <engram/eigen/projection.hpp>
#include <engram/eigen/projection_gradient.hpp>
#include <engram/training/layer_training.hpp>

#include <cmath>

namespace engram::lm {
namespace {

/// The gate of DeepSeek's code, or none.
struct MemoryGate {
  bool gated = true;
  SignedSqrtGate gate{};

  float operator()(float score) const noexcept { return gated ? gate(score) : 1.0f; }
  float slope(float score) const noexcept { return gated ? gate.slope(score) : 0.0f; }
};

View<float, 3> streams_of(Matrix& streams, Index branches) {
  return View<float, 3>(streams.data(), streams.rows(), branches, streams.cols() / branches);
}

}  // namespace

Memory::Memory(WeightList& list, const ModelConfig& config, const HashedRows& rows)
    : config_(config), rows_(&rows) {
  const Index inputs = rows.columns() * rows.row_width(), outputs = config.branches * config.width;
  const Index taps = config.memory->taps;
  const float deviation = 1 / std::sqrt(static_cast<float>(inputs));
  key_ = list.matrix(outputs, inputs, deviation);
  value_ = list.matrix(config.width, inputs, deviation);
  gain_ = list.constants(outputs, 1);
  if (taps == 0) return;
  conv_gain_ = list.constants(outputs, 1);
  conv_ = list.constants(taps * outputs, 0);
}

Status Memory::with_layer(const float* weights, const auto& what) const {
  const Index g = config_.branches, d = config_.width, m = rows_->columns() * rows_->row_width();
  const Index taps = config_.memory->taps;
  ProjectionWeights<float> projected;
  projected.key = View<const float, 3>(weights + key_.offset, g, d, m);
  projected.value = View<const float, 2>(weights + value_.offset, d, m);
  FusionWeights fusion;
  fusion.gain = View<const float, 2>(weights + gain_.offset, g, d);
  FusionConfig settings;
  settings.query_eps = settings.key_eps = 1e-6f;  // rows are zero at first
  settings.dilation = rows_->layout().max_ngram_size;
  if (taps > 0) {
    fusion.conv_gain = View<const float, 2>(weights + conv_gain_.offset, g, d);
    fusion.conv = View<const float, 3>(weights + conv_.offset, taps, g, d);
  }
  const auto projection = EigenProjection::make(projected);
  const auto gradient = EigenProjectionGradient::make(projected);
  if (!projection.ok()) return projection.status();
  const EngramLayer layer(rows_->table(), projection.value(), fusion, settings,
                          MemoryGate{config_.memory->gated});
  return what(LayerTraining(layer, gradient.value()));
}

Status Memory::forward(const float* weights, const std::vector<std::int32_t>& rows, Tape& tape,
                       Matrix& streams) const {
  tape.hidden = streams;
  const Index tokens = streams.rows(), sequences = tokens / config_.context;
  tape.sequence_starts.resize(static_cast<std::size_t>(sequences + 1));
  for (Index s = 0; s <= sequences; ++s)
    tape.sequence_starts[static_cast<std::size_t>(s)] = s * config_.context;
  tape.gates.resize(static_cast<std::size_t>(tokens * config_.branches));
  tape.norms.resize(tape.gates.size());
  FusionOptions options;
  options.sequence_starts = tape.sequence_starts;
  options.scale = tape.scale;
  options.gates = View<float, 2>(tape.gates.data(), tokens, config_.branches);
  options.norms = View<float, 2>(tape.norms.data(), tokens, config_.branches);
  return with_layer(weights, [&](const auto& layer) {
    tape.kept.resize(static_cast<std::size_t>(layer.tape_bytes(tokens, sequences)));
    return layer.forward(View<const std::int32_t, 2>(rows.data(), tokens, rows_->columns()),
                         streams_of(tape.hidden, config_.branches),
                         streams_of(streams, config_.branches), View<std::byte, 1>(tape.kept),
                         options);
  });
}

Status Memory::backward(const float* weights, Tape& tape, Matrix& to_streams, float* gradients,
                        float* to_rows) const {
  const Index g = config_.branches, d = config_.width, m = rows_->columns() * rows_->row_width();
  const Index tokens = to_streams.rows(), taps = config_.memory->taps;
  for (const Weight& w : {key_, value_, gain_, conv_gain_, conv_}) w.in(gradients).setZero();
  LayerGradients to;
  to.key = View<float, 3>(gradients + key_.offset, g, d, m);
  to.value = View<float, 2>(gradients + value_.offset, d, m);
  to.gain = View<float, 2>(gradients + gain_.offset, g, d);
  if (taps > 0) {
    to.conv_gain = View<float, 2>(gradients + conv_gain_.offset, g, d);
    to.conv = View<float, 3>(gradients + conv_.offset, taps, g, d);
  }
  FusionOptions options;
  options.sequence_starts = tape.sequence_starts;
  options.scale = tape.scale;
  const View<float, 3> streams = streams_of(to_streams, g);
  return with_layer(weights, [&](const auto& layer) {
    tape.workspace.resize(static_cast<std::size_t>(layer.workspace_bytes(tokens)));
    return layer.backward(streams_of(tape.hidden, g), streams, streams,
                          View<float, 2>(to_rows, tokens, m), to, View<std::byte, 1>(tape.kept),
                          View<std::byte, 1>(tape.workspace), options);
  });
}

}  // namespace engram::lm
