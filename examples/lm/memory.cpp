// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "memory.hpp"

#include <engram/addressing/multipliers.hpp>
#include <engram/eigen/projection.hpp>
#include <engram/eigen/projection_gradient.hpp>
#include <engram/training/init.hpp>
#include <engram/training/layer_training.hpp>
#include <engram/training/row_update.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace engram::lm {
namespace {

/// The gate of DeepSeek's code, or none.
struct MemoryGate {
  bool gated = true;
  SignedSqrtGate gate{};

  float operator()(float score) const noexcept { return gated ? gate(score) : 1.0f; }
  float slope(float score) const noexcept { return gated ? gate.slope(score) : 0.0f; }
};

constexpr LazyAdam row_optimizer{.beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f};

View<float, 3> streams_of(Matrix& streams, Index branches) {
  return View<float, 3>(streams.data(), streams.rows(), branches, streams.cols() / branches);
}

}  // namespace

Result<Memory> Memory::make(WeightList& list, const ModelConfig& config, const TokenMap& map) {
  const MemoryConfig& memory = *config.memory;
  AddressingConfig addressing;
  addressing.engram_vocab_size = memory.rows_per_head;
  addressing.max_ngram_size = static_cast<std::int32_t>(memory.rows_per_head.size()) + 1;
  addressing.n_head_per_ngram = static_cast<std::int32_t>(memory.heads);
  addressing.layer_ids = {static_cast<std::int32_t>(memory.block)};
  addressing.pad_id = 0;
  const auto columns = memory.rows_per_head.size() * static_cast<std::size_t>(memory.heads);
  if (std::all_of(memory.rows_per_head.begin(), memory.rows_per_head.end(),
                  [](Index rows) { return rows == 1; })) {
    addressing.modulus_rule = ModulusRule::explicit_values;
    addressing.moduli.assign(columns, 1);
  }
  Result<Layout> layout = make_layout(addressing, map);
  if (!layout.ok()) return layout.failure();
  Result<TokenFrontEnd> front = make_front_end(layout.value(), map);
  if (!front.ok()) return front.failure();
  Result<HostStore> store = HostStore::make(front.value().num_rows(0), 4 * memory.row_width, 0,
                                            {.stride = 4 * memory.row_width});
  if (!store.ok()) return store.failure();
  Result<RowTable> table = RowTable::make(std::move(store).value(), {}, memory.row_width);
  if (!table.ok()) return table.failure();

  Memory made(config, std::move(layout).value(), std::move(front).value(),
              std::move(table).value());
  const Index inputs = made.columns_ * memory.row_width, outputs = config.branches * config.width;
  const float deviation = 1 / std::sqrt(static_cast<float>(inputs));
  made.key_ = list.matrix(outputs, inputs, deviation);
  made.value_ = list.matrix(config.width, inputs, deviation);
  made.gain_ = list.constants(outputs, 1);
  if (memory.taps > 0) {
    made.conv_gain_ = list.constants(outputs, 1);
    made.conv_ = list.constants(memory.taps * outputs, 0);
  }
  if (memory.frozen)
    if (const Status filled = fill_rows_normal(made.table_, 0.02f, config.seed); !filled.ok())
      return fail(filled.code, describe(filled, "fill_rows_normal"));
  return made;
}

Memory::Memory(const ModelConfig& config, Layout layout, TokenFrontEnd front, RowTable table)
    : config_(config),
      memory_(*config.memory),
      layout_(std::move(layout)),
      front_(std::move(front)),
      table_(std::move(table)),
      columns_(layout_.columns()) {
  if (memory_.frozen) return;
  state_.resize(
      static_cast<std::size_t>(table_.num_rows() * row_optimizer.state_width(memory_.row_width)));
}

Status Memory::with_layer(const float* weights, const auto& what) const {
  const Index g = config_.branches, d = config_.width, m = columns_ * memory_.row_width;
  ProjectionWeights<float> projected;
  projected.key = View<const float, 3>(weights + key_.offset, g, d, m);
  projected.value = View<const float, 2>(weights + value_.offset, d, m);
  FusionWeights fusion;
  fusion.gain = View<const float, 2>(weights + gain_.offset, g, d);
  FusionConfig settings;
  settings.query_eps = settings.key_eps = 1e-6f;  // rows are zero at first
  settings.dilation = layout_.max_ngram_size;
  if (memory_.taps > 0) {
    fusion.conv_gain = View<const float, 2>(weights + conv_gain_.offset, g, d);
    fusion.conv = View<const float, 3>(weights + conv_.offset, memory_.taps, g, d);
  }
  const auto projection = EigenProjection::make(projected);
  const auto gradient = EigenProjectionGradient::make(projected);
  if (!projection.ok()) return projection.status();
  const EngramLayer layer(table_, projection.value(), fusion, settings, MemoryGate{memory_.gated});
  return what(LayerTraining(layer, gradient.value()));
}

Status Memory::address(const std::int32_t* tokens, Index sequences, Index stride,
                       Tape& tape) const {
  const Index context = config_.context, count = sequences * context;
  tape.rows.resize(static_cast<std::size_t>(count * columns_));
  tape.sequence_starts.resize(static_cast<std::size_t>(sequences + 1));
  for (Index s = 0; s <= sequences; ++s)
    tape.sequence_starts[static_cast<std::size_t>(s)] = s * context;
  const View<std::int32_t, 3> rows(tape.rows.data(), count, 1, columns_);
  for (Index s = 0; s < sequences; ++s) {
    NgramState state = front_.initial_state();
    if (const Status status =
            front_.address(View<const std::int32_t, 1>(tokens + s * stride, context), state,
                           rows.slice(s * context, context));
        !status.ok())
      return status;
  }
  if (!memory_.shuffled) return {};
  // Each position takes the rows of another one: a random permutation of one cycle (Sattolo).
  std::vector<Index> from(static_cast<std::size_t>(count));
  std::iota(from.begin(), from.end(), Index{0});
  std::uint64_t z = config_.seed;
  for (Index t = 0; t < count; ++t)
    z = splitmix64(z ^
                   static_cast<std::uint64_t>(tape.rows[static_cast<std::size_t>(t * columns_)]));
  for (std::size_t t = from.size() - 1; t > 0; --t) {
    z = splitmix64(z);
    std::swap(from[t], from[z % t]);
  }
  const std::vector<std::int32_t> own = tape.rows;
  for (Index t = 0; t < count; ++t)
    std::copy_n(own.begin() + from[static_cast<std::size_t>(t)] * columns_, columns_,
                tape.rows.begin() + t * columns_);
  return {};
}

Status Memory::forward(const float* weights, Tape& tape, Matrix& streams) const {
  tape.hidden = streams;
  const Index tokens = streams.rows(),
              sequences = static_cast<Index>(tape.sequence_starts.size()) - 1;
  tape.gates.resize(static_cast<std::size_t>(tokens * config_.branches));
  tape.norms.resize(tape.gates.size());
  FusionOptions options;
  options.sequence_starts = tape.sequence_starts;
  options.scale = tape.scale;
  options.gates = View<float, 2>(tape.gates.data(), tokens, config_.branches);
  options.norms = View<float, 2>(tape.norms.data(), tokens, config_.branches);
  return with_layer(weights, [&](const auto& layer) {
    tape.kept.resize(static_cast<std::size_t>(layer.tape_bytes(tokens, sequences)));
    return layer.forward(View<const std::int32_t, 2>(tape.rows.data(), tokens, columns_),
                         streams_of(tape.hidden, config_.branches),
                         streams_of(streams, config_.branches), View<std::byte, 1>(tape.kept),
                         options);
  });
}

Status Memory::backward(const float* weights, Tape& tape, Matrix& to_streams, float* gradients,
                        float* to_rows) const {
  const Index g = config_.branches, d = config_.width, m = columns_ * memory_.row_width;
  const Index tokens = to_streams.rows();
  for (const Weight& w : {key_, value_, gain_, conv_gain_, conv_}) w.in(gradients).setZero();
  LayerGradients to;
  to.key = View<float, 3>(gradients + key_.offset, g, d, m);
  to.value = View<float, 2>(gradients + value_.offset, d, m);
  to.gain = View<float, 2>(gradients + gain_.offset, g, d);
  if (memory_.taps > 0) {
    to.conv_gain = View<float, 2>(gradients + conv_gain_.offset, g, d);
    to.conv = View<float, 3>(gradients + conv_.offset, memory_.taps, g, d);
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

Status Memory::update(View<const std::int32_t, 2> rows, View<const float, 2> to_rows, float rate,
                      Index step) {
  if (memory_.frozen) return {};
  const Index count = rows.size(), width = memory_.row_width;
  unique_.resize(static_cast<std::size_t>(count));
  sums_.resize(static_cast<std::size_t>(count * width));
  reducing_.resize(static_cast<std::size_t>(row_gradient_workspace_bytes(count, width)));
  RowGradients<std::int32_t> found;
  if (const Status status = reduce_row_gradients(
          rows, to_rows, table_.num_rows(), View<std::int32_t, 1>(unique_),
          View<float, 2>(sums_.data(), count, width), found, View<std::byte, 1>(reducing_));
      !status.ok())
    return status;
  const RowStep moved{.rate = rate * memory_.row_rate,
                      .step = static_cast<std::uint64_t>(step),
                      .seed = config_.seed};
  return update_rows(
      table_, found,
      View<float, 2>(state_.data(), table_.num_rows(), row_optimizer.state_width(width)),
      row_optimizer, moved);
}

}  // namespace engram::lm
