// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "network.hpp"

#include <engram/training/init.hpp>

#include <algorithm>
#include <cmath>

namespace engram::lm {
namespace {

constexpr Index head_tile = 128;  // tokens whose logits are held at a time

/// Why a model cannot be made; empty when it can.
std::string config_fault(const ModelConfig& c) {
  const auto below = [](Index value, Index least) { return value < least; };
  if (below(c.vocab_size, 2)) return sentence({"a vocabulary of ", c.vocab_size, " tokens"});
  if (below(c.blocks, 1) || below(c.context, 1) || below(c.branches, 1))
    return sentence({c.blocks, " blocks, a context of ", c.context, ", ", c.branches,
                     " branches: none may be below 1"});
  if (below(c.heads, 1) || below(c.width, 1) || c.width % c.heads != 0 ||
      c.width / c.heads % 2 != 0 || c.width / c.heads > Attention::widest_head)
    return sentence({"a width of ", c.width, " in ", c.heads,
                     " heads: a head's width must be whole, even and at most ",
                     Attention::widest_head});
  if (below(c.expert_width, 1) || below(c.shared_width, 1)) return "an expert has a width below 1";
  if (below(c.top_k, 1) || c.top_k > c.experts)
    return sentence({c.top_k, " of ", c.experts, " experts a token"});
  if (c.bigrams && c.memory) return "a memory and bigrams, of which it may have one";
  if (c.bigrams && below(c.bigrams->rows, 1)) return "a bigram table without rows";
  if (!c.memory) return {};
  if (c.memory->block < 0 || c.memory->block >= c.blocks)
    return sentence({"a memory in block ", c.memory->block, " of ", c.blocks});
  if (below(c.memory->heads, 1) || below(c.memory->row_width, 1) || below(c.memory->taps, 0))
    return "a memory has heads and a row width of at least 1, and no negative number of taps";
  return {};
}

}  // namespace

Result<std::unique_ptr<Network>> Network::make(const ModelConfig& config, const TokenMap& map) {
  if (const std::string fault = config_fault(config); !fault.empty())
    return fail(Code::invalid_config, {"model: ", fault});
  std::unique_ptr<Network> made(new Network(config));
  WeightList& list = made->list_;
  if (config.memory || config.bigrams) {
    Result<HashedRows> rows = HashedRows::make(config, map);
    if (!rows.ok()) return rows.failure();
    made->rows.emplace(std::move(rows).value());
  }
  made->embedding_ = list.matrix(config.vocab_size, config.width, 0.5f);
  for (Index b = 0; b < config.blocks; ++b) {
    const Memory* memory = nullptr;
    if (config.memory && config.memory->block == b) {
      memory = &made->memory_.emplace(list, config, *made->rows);
    }
    made->blocks_.emplace_back(list, config, b, memory);
    made->expert_biases.push_back(Vector::Zero(config.experts));
  }
  if (config.bigrams) made->bigrams_.emplace(list, config);
  made->norm_ = Norm(list, config.width);
  made->head_ = list.matrix(config.vocab_size, config.width,
                            0.5f / std::sqrt(static_cast<float>(config.width)));

  made->weights.resize(static_cast<std::size_t>(list.size()));
  made->decays.resize(made->weights.size());
  std::uint64_t number = 0;
  for (const WeightList::Start& start : list.starts()) {
    const View<float, 1> all(made->weights.data() + start.weight.offset, start.weight.size());
    if (start.deviation > 0) fill_normal(all, start.deviation, config.seed + 1000 * ++number);
    for (Index i = 0; i < all.size(); ++i) {
      if (start.values.size() == 1) all(i) = start.values[0];
      if (start.values.size() > 1) all(i) = start.values[static_cast<std::size_t>(i)];
      made->decays[static_cast<std::size_t>(start.weight.offset + i)] = start.weight.rows > 1;
    }
  }
  return made;
}

ParameterCounts Network::parameters() const {
  ParameterCounts counts;
  const Index expert = 3 * config_.width * config_.expert_width;
  counts.total = weight_count();
  counts.active = counts.total - embedding_.size() -
                  config_.blocks * (config_.experts - config_.top_k) * expert;
  if (rows) {
    counts.total += rows->table().num_rows() * rows->row_width();
    counts.active += rows->columns() * rows->row_width();
  }
  return counts;
}

Status Network::begin(const std::int32_t* tokens, Index sequences, Tape& tape) const {
  const Index context = config_.context, stride = context + 1;
  for (Index i = 0; i < sequences * stride; ++i)
    if (tokens[i] < 0 || tokens[i] >= config_.vocab_size) return {Code::bad_token, 0, i};
  tape.sequences = sequences;
  tape.inputs.resize(static_cast<std::size_t>(sequences * context));
  tape.targets.resize(tape.inputs.size());
  tape.losses.resize(tape.inputs.size());
  for (Index s = 0; s < sequences; ++s) {
    std::copy_n(tokens + s * stride, context, tape.inputs.begin() + s * context);
    std::copy_n(tokens + s * stride + 1, context, tape.targets.begin() + s * context);
  }
  tape.blocks.resize(blocks_.size());
  if (!rows) return {};
  if (config_.memory) {
    Block::Tape& block = tape.blocks[static_cast<std::size_t>(config_.memory->block)];
    block.memory = &tape.memory;
    block.rows = &tape.rows;
  }
  if (Status s = rows->address(tokens, sequences, stride, tape.rows); !s.ok() || !config_.bigrams)
    return s;
  tape.bigrams.rows.resize(sequences * context, config_.width);
  return rows->table().gather(
      View<const std::int32_t, 2>(tape.rows.data(), sequences * context, 1),
      View<float, 2>(tape.bigrams.rows.data(), sequences * context, config_.width));
}

Status Network::run_blocks(Tape& tape) const {
  const Index tokens = static_cast<Index>(tape.inputs.size());
  const auto embedding = embedding_.in(weights.data());
  tape.streams.resize(tokens, config_.branches * config_.width);
  for (Index t = 0; t < tokens; ++t)
    for (Index g = 0; g < config_.branches; ++g)
      tape.streams.row(t).segment(g * config_.width, config_.width) =
          embedding.row(tape.inputs[static_cast<std::size_t>(t)]);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    if (bigrams_)
      bigrams_->forward(weights.data(), static_cast<Index>(b), tape.bigrams, tape.streams);
    if (Status s =
            blocks_[b].forward(weights.data(), expert_biases[b], tape.blocks[b], tape.streams);
        !s.ok())
      return s;
  }
  tape.sum = tape.streams.leftCols(config_.width);
  for (Index g = 1; g < config_.branches; ++g)
    tape.sum += tape.streams.middleCols(g * config_.width, config_.width);
  norm_.forward(weights.data(), tape.sum, tape.inverse, tape.normed);
  return {};
}

namespace {

/// Turns logits into the targets' losses, and, unless scale is 0, into scale times the losses'
/// gradients. hits: as Watched::hits; null: not wanted.
void cross_entropy(Eigen::Ref<Matrix> logits, const std::int32_t* targets, float scale,
                   float* losses, float* hits) {
  for (Index t = 0; t < logits.rows(); ++t) {
    auto row = logits.row(t).array();
    if (hits != nullptr) {
      Index first;
      row.maxCoeff(&first);
      hits[t] = first == targets[t] ? 1.0f : 0.0f;
    }
    const float largest = row.maxCoeff();
    const float target = row(targets[t]) - largest;
    row = (row - largest).exp();
    const float sum = row.sum();
    losses[t] = std::log(sum) - target;
    if (scale == 0) continue;
    row *= scale / sum;
    row(targets[t]) -= scale;
  }
}

}  // namespace

Status Network::forward(Tape& tape) const {
  if (Status s = run_blocks(tape); !s.ok()) return s;
  const Index tokens = tape.normed.rows();
  for (Index t = 0; t < tokens; t += head_tile) {
    const Index n = std::min(head_tile, tokens - t);
    tape.logits.noalias() = tape.normed.middleRows(t, n) * head_.in(weights.data()).transpose();
    cross_entropy(tape.logits, tape.targets.data() + t, 0, tape.losses.data() + t,
                  tape.hits.empty() ? nullptr : tape.hits.data() + t);
  }
  return {};
}

Status Network::forward_backward(Tape& tape, float scale, float* gradients, float* to_rows) const {
  if (Status s = run_blocks(tape); !s.ok()) return s;
  const Index tokens = tape.normed.rows();
  tape.to_normed.resize(tokens, config_.width);
  head_.in(gradients).setZero();
  for (Index t = 0; t < tokens; t += head_tile) {
    const Index n = std::min(head_tile, tokens - t);
    tape.logits.noalias() = tape.normed.middleRows(t, n) * head_.in(weights.data()).transpose();
    cross_entropy(tape.logits, tape.targets.data() + t, scale, tape.losses.data() + t, nullptr);
    head_.in(gradients).noalias() += tape.logits.transpose() * tape.normed.middleRows(t, n);
    tape.to_normed.middleRows(t, n).noalias() = tape.logits * head_.in(weights.data());
  }
  norm_.backward(weights.data(), tape.sum, tape.inverse, tape.to_normed, tape.to_sum, gradients);
  for (Index g = 0; g < config_.branches; ++g)
    tape.streams.middleCols(g * config_.width, config_.width) = tape.to_sum;
  if (bigrams_) tape.bigrams.to_rows.setZero(tokens, config_.width);
  for (std::size_t b = blocks_.size(); b-- > 0;) {
    tape.blocks[b].to_rows = to_rows;
    if (Status s = blocks_[b].backward(weights.data(), tape.blocks[b], tape.streams, gradients);
        !s.ok())
      return s;
    if (bigrams_)
      bigrams_->backward(weights.data(), static_cast<Index>(b), tape.bigrams, tape.streams,
                         gradients);
  }
  if (bigrams_) Eigen::Map<Matrix>(to_rows, tokens, config_.width) = tape.bigrams.to_rows;
  auto embedding = embedding_.in(gradients);
  embedding.setZero();
  for (Index t = 0; t < tokens; ++t)
    for (Index g = 0; g < config_.branches; ++g)
      embedding.row(tape.inputs[static_cast<std::size_t>(t)]) +=
          tape.streams.row(t).segment(g * config_.width, config_.width);
  return {};
}

}  // namespace engram::lm
