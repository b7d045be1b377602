// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The whole model: embedding, blocks, output head and loss, on one part of a batch at a time. A
// part has a tape of its own, so that parts may run side by side.

#include "bigrams.hpp"
#include "block.hpp"

#include <memory>

namespace engram::lm {

class Network {
 public:
  /// What forward leaves for backward and for watching, of some sequences.
  struct Tape {
    Index sequences = 0;
    std::vector<std::int32_t> inputs, targets;  ///< [T]
    std::vector<float> losses;                  ///< [T] nats
    std::vector<float> hits;                    ///< [T] as Watched::hits; empty: not wanted
    std::vector<std::int32_t> rows;             ///< [T, H]
    Memory::Tape memory;
    Bigrams::Tape bigrams;
    std::vector<Block::Tape> blocks;
    Vector inverse;
    Matrix streams, sum, normed, logits, to_normed, to_sum;
  };

  static Result<std::unique_ptr<Network>> make(const ModelConfig& config, const TokenMap& map);
  Network(const Network&) = delete;

  const ModelConfig& config() const { return config_; }
  ParameterCounts parameters() const;
  Index weight_count() const { return static_cast<Index>(weights.size()); }

  /// Takes `sequences` rows of context + 1 tokens. Fails with bad_token.
  Status begin(const std::int32_t* tokens, Index sequences, Tape& tape) const;
  /// Fills tape.losses, and tape.hits where it is not empty.
  Status forward(Tape& tape) const;
  /// Forward, and the gradient of `scale` times the sum of the losses, written to
  /// gradients [weight_count()] and to_rows [T, H E].
  Status forward_backward(Tape& tape, float scale, float* gradients, float* to_rows) const;

  Floats weights;
  std::vector<bool> decays;           ///< of each weight: whether it is a matrix's
  std::vector<Vector> expert_biases;  ///< [blocks] of [experts]
  std::optional<HashedRows> rows;     ///< of the memory or of the bigrams

 private:
  explicit Network(const ModelConfig& config) : config_(config) {}

  Status run_blocks(Tape& tape) const;

  ModelConfig config_;
  WeightList list_;
  Weight embedding_, head_;
  Norm norm_;
  std::optional<Memory> memory_;
  std::optional<Bigrams> bigrams_;
  std::vector<Block> blocks_;
};

}  // namespace engram::lm
