// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The simplest rival of a memory that is known to work: one row of a hashed bigram, as wide as the
// residual stream, added in front of every block times a learned number of that block. No gate, no
// projection (modded-nanogpt and nanochat add it so).

#include "hashed_rows.hpp"
#include "matrix.hpp"

namespace engram::lm {

class Bigrams {
 public:
  struct Tape {
    Matrix rows;     ///< [T, D] the rows that were read
    Matrix to_rows;  ///< [T, D] their gradients, a sum over the blocks
  };

  Bigrams(WeightList& list, const ModelConfig& config)
      : branches_(config.branches),
        width_(config.width),
        scales_(list.constants(config.blocks, config.bigrams->scale)) {}

  /// streams [T, G D] += scale of the block * rows, in each branch.
  void forward(const float* weights, Index block, const Tape& tape, Matrix& streams) const {
    for (Index g = 0; g < branches_; ++g)
      streams.middleCols(g * width_, width_) += weights[scales_.offset + block] * tape.rows;
  }

  /// Adds to tape.to_rows, and writes the gradient of the block's number.
  void backward(const float* weights, Index block, Tape& tape, const Matrix& to_streams,
                float* gradients) const {
    float to_scale = 0;
    for (Index g = 0; g < branches_; ++g) {
      const auto to = to_streams.middleCols(g * width_, width_);
      to_scale += to.cwiseProduct(tape.rows).sum();
      tape.to_rows += weights[scales_.offset + block] * to;
    }
    gradients[scales_.offset + block] = to_scale;
  }

 private:
  Index branches_, width_;
  Weight scales_;
};

}  // namespace engram::lm
