// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Causal attention with several heads and rotary positions.

#include "config.hpp"
#include "matrix.hpp"

namespace engram::lm {

class Attention {
 public:
  static constexpr Index widest_head = 128;

  /// What backward needs of a batch of sequences.
  struct Tape {
    Matrix qkv;                  ///< [T, 3 D], queries and keys rotated
    Matrix mixed;                ///< [T, D] values mixed by the heads
    std::vector<Matrix> chance;  ///< [C, C] of each sequence and head, as far as tiles reach
    Matrix to_qkv;               ///< scratch of backward
    Matrix to_mixed;
    Matrix to_chance;
  };

  Attention() = default;
  Attention(WeightList& list, const ModelConfig& config);

  /// x and y [sequences * context, D].
  void forward(const float* weights, const Matrix& x, Tape& tape, Matrix& y) const;
  /// x: forward's. to_x and the weights' gradients are written.
  void backward(const float* weights, const Matrix& x, Tape& tape, const Matrix& to_y, Matrix& to_x,
                float* gradients) const;

 private:
  /// Turns queries and keys by their position's angles; sign -1 turns back.
  void rotate(Matrix& qkv, float sign) const;
  /// Part 0, 1, 2 (query, key, value) of one head and sequence, [C, D / heads].
  Strided part(Matrix& qkv, Index sequence, Index head, Index which) const;

  Index width_ = 0, heads_ = 0, context_ = 0, head_width_ = 0;
  Weight qkv_, out_;
  Matrix cosine_, sine_;  // [C, head width / 2]
};

}  // namespace engram::lm
