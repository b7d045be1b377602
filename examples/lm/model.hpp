// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A small language model with or without an Engram memory, to train and to look into. How it
// computes is in network.hpp, and what a program needs of it stands here, without Eigen.

#include "config.hpp"

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/tokenizer/token_map.hpp>

#include <memory>

namespace engram::lm {

class HashedRows;
class Network;

/// A model with its initial weights. Moves, is not copied.
class Model {
 public:
  /// map: token -> canonical id, for the memory's addresses; of vocab_size tokens.
  ///
  /// Fails with invalid_config, with mismatch for a map of another size, with out_of_memory for a
  /// table, and with what make_layout() says.
  static Result<Model> make(const ModelConfig& config, const TokenMap& map);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelConfig& config() const;
  ParameterCounts parameters() const;
  /// The rows of the memory or of the bigrams (hashed_rows.hpp); null: there are none.
  const HashedRows* rows() const;

  Network& network() { return *network_; }
  const Network& network() const { return *network_; }

 private:
  explicit Model(std::unique_ptr<Network> network);

  std::unique_ptr<Network> network_;
};

/// What evaluate() writes for each position, [sequences, context]; empty: not wanted.
struct Watched {
  View<float, 2> losses = {};  ///< nats of the target
  View<float, 2> gates = {};   ///< of the memory, the mean over branches
  View<float, 2> norms = {};   ///< Euclidean length of what the memory added, mean over branches
  View<float, 2> hits = {};    ///< 1 where the target was the most probable token, else 0; of
                               ///< equals the lowest id is it
};

/// The mean loss in nats over tokens [sequences, context + 1]: inputs are all columns but the last,
/// targets all but the first.
///
/// knocked_out  the memory, or the bigrams, add nothing.
/// Fails with bad_token (index: its place in tokens), shape_mismatch, invalid_config.
Result<double> evaluate(const Model& model, View<const std::int32_t, 2> tokens, Index threads = 1,
                        bool knocked_out = false, const Watched& watched = {});

}  // namespace engram::lm
