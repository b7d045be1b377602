// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a small language model is made of, as numbers.

#include <engram/core/ids.hpp>

#include <optional>
#include <vector>

namespace engram::lm {

/// The memory of one block.
struct MemoryConfig {
  Index block = 1;                                  ///< counted from 0; added before its attention
  std::vector<Index> rows_per_head = {6912, 6912};  ///< of orders 2, 3, ...; all 1: one row a head
  Index heads = 2;                                  ///< of each order
  Index row_width = 32;
  bool gated = true;      ///< false: added as it is
  Index taps = 0;         ///< of the short convolution; its dilation is the longest order
  bool frozen = false;    ///< rows are random and stay so
  bool shuffled = false;  ///< each position reads the rows of another one of those computed with it
  float row_rate = 5;     ///< learning rate of the rows, times the rest's
};

/// The rival of a memory: one row for each two tokens, hashed, added in front of every block times
/// a learned number (bigrams.hpp).
struct BigramConfig {
  Index rows = 6912;   ///< at least; as wide as the model
  float scale = 0.1f;  ///< what the numbers start from
  float row_rate = 5;  ///< learning rate of the rows, times the rest's
};

/// A decoder of `blocks` blocks: attention, then a mixture of experts.
struct ModelConfig {
  Index vocab_size = 2048;
  Index width = 128;  ///< D
  Index blocks = 3;
  Index context = 128;  ///< tokens of a sequence
  Index heads = 4;      ///< of attention
  Index experts = 48;   ///< routed ones of a block
  Index expert_width = 64;
  Index top_k = 2;           ///< experts that a token takes
  Index shared_width = 128;  ///< of the expert that every token takes
  Index branches = 1;        ///< G, residual streams; more than 1: hyper-connections
  std::optional<MemoryConfig> memory;
  std::optional<BigramConfig> bigrams;  ///< not beside a memory
  std::uint64_t seed = 1;
};

/// What a model costs.
struct ParameterCounts {
  Index total = 0;
  /// Weights multiplied for a token and row values read for it, without the input embedding.
  Index active = 0;
};

}  // namespace engram::lm
