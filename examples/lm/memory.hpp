// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The Engram layer of a block: its dense weights are among the model's, its rows in a table.

#include "hashed_rows.hpp"
#include "matrix.hpp"

namespace engram::lm {

class Memory {
 public:
  /// What backward needs of a batch, and what may be watched.
  struct Tape {
    Matrix hidden;  ///< [T, G D] in front of the memory
    std::vector<Index> sequence_starts;
    std::vector<std::byte> kept, workspace;
    std::vector<float> scale;         ///< [T] factor of the gates; empty: 1
    std::vector<float> gates, norms;  ///< [T, G] written by forward
  };

  /// rows: outlive the memory.
  Memory(WeightList& list, const ModelConfig& config, const HashedRows& rows);

  /// streams [T, G D] += memory. rows [T, H]: of sequences of `context` tokens.
  Status forward(const float* weights, const std::vector<std::int32_t>& rows, Tape& tape,
                 Matrix& streams) const;
  /// Moves the streams' gradient in front of the memory. Dense gradients and to_rows [T, H E]
  /// are written.
  Status backward(const float* weights, Tape& tape, Matrix& to_streams, float* gradients,
                  float* to_rows) const;

 private:
  /// Calls what(training) with the layer over these weights.
  Status with_layer(const float* weights, const auto& what) const;

  ModelConfig config_;
  const HashedRows* rows_;
  Weight key_, value_, gain_, conv_gain_, conv_;
};

}  // namespace engram::lm
