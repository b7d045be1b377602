// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A mixture of experts: a router sends each token to the k of E experts that it scores highest, and
// one shared expert takes all tokens. Experts are SwiGLU: y = W2 (SiLU(W1 x) * W3 x).

#include "config.hpp"
#include "matrix.hpp"

namespace engram::lm {

/// The arithmetic of one expert, on rows that lie behind one another.
struct SwiGlu {
  Weight up;    ///< [2 W, D]: W1, then W3
  Weight down;  ///< [D, W]: W2

  SwiGlu() = default;
  SwiGlu(WeightList& list, Index width, Index inner, Index blocks);

  /// x [n, D], up_out [n, 2 W], inner [n, W], y [n, D].
  void forward(const float* weights, Eigen::Ref<const Matrix> x, Eigen::Ref<Matrix> up_out,
               Eigen::Ref<Matrix> inner, Eigen::Ref<Matrix> y) const;
  /// `up_out` becomes its own gradient, `inner` and `to_inner` are used up. to_x and the
  /// weights' gradients are written.
  void backward(const float* weights, Eigen::Ref<const Matrix> x, Eigen::Ref<Matrix> up_out,
                Eigen::Ref<Matrix> inner, Eigen::Ref<Matrix> to_inner,
                Eigen::Ref<const Matrix> to_y, Eigen::Ref<Matrix> to_x, float* gradients) const;
};

class Experts {
 public:
  /// What backward needs; rows of routed tokens are in the order of their experts.
  struct Tape {
    std::vector<Index> chosen;      ///< [T * k] expert of each choice
    std::vector<float> share;       ///< [T * k] its weight in the sum
    std::vector<Index> place;       ///< [T * k] row of each choice among the routed ones
    std::vector<Index> begins;      ///< [E + 1] first row of each expert
    Matrix routed, up, inner, out;  ///< [T * k, ...]
    Matrix shared_up, shared_inner;
    Matrix logits;                                                   ///< [T, E]
    Matrix to_routed, to_out, to_inner, to_shared_inner, to_logits;  ///< scratch of backward
  };

  Experts() = default;
  Experts(WeightList& list, const ModelConfig& config);

  /// bias [E]: added to the scores for the choice alone; balance() moves it.
  void forward(const float* weights, const Vector& bias, const Matrix& x, Tape& tape,
               Matrix& y) const;
  /// x: forward's. to_x and the weights' gradients are written.
  void backward(const float* weights, const Matrix& x, Tape& tape, const Matrix& to_y, Matrix& to_x,
                float* gradients) const;

  Index count() const { return experts_; }

 private:
  void choose(const Vector& bias, Tape& tape) const;

  Index experts_ = 0, top_k_ = 0, width_ = 0, inner_ = 0;
  Weight router_;
  std::vector<SwiGlu> routed_;
  SwiGlu shared_;
};

/// Balances the experts without a loss of its own: those that were taken more often than the mean
/// become a little harder to choose (loss-free balancing, arXiv 2408.15664).
void balance(Vector& bias, const std::vector<Index>& tokens_of_expert);

}  // namespace engram::lm
