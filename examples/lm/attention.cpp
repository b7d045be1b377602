// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attention.hpp"

#include <cmath>

namespace engram::lm {

Attention::Attention(WeightList& list, const ModelConfig& config)
    : width_(config.width),
      heads_(config.heads),
      context_(config.context),
      head_width_(config.width / config.heads),
      qkv_(list.matrix(3 * width_, width_, 1 / std::sqrt(static_cast<float>(width_)))),
      out_(list.matrix(width_, width_,
                       1 / std::sqrt(static_cast<float>(2 * config.blocks * width_)))),
      cosine_(context_, head_width_ / 2),
      sine_(context_, head_width_ / 2) {
  for (Index t = 0; t < context_; ++t)
    for (Index i = 0; i < head_width_ / 2; ++i) {
      const double angle =
          static_cast<double>(t) *
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_width_));
      cosine_(t, i) = static_cast<float>(std::cos(angle));
      sine_(t, i) = static_cast<float>(std::sin(angle));
    }
}

void Attention::rotate(Matrix& qkv, float sign) const {
  const Index half = head_width_ / 2;
  for (Index t = 0; t < qkv.rows(); ++t) {
    const auto c = cosine_.row(t % context_).array();
    const auto s = sine_.row(t % context_).array() * sign;
    for (Index head = 0; head < 2 * heads_; ++head) {  // queries, then keys
      auto first = qkv.row(t).segment(head * head_width_, half).array();
      auto second = qkv.row(t).segment(head * head_width_ + half, half).array();
      // Of at most 64 elements, so that it needs no heap.
      const Eigen::Array<float, 1, Eigen::Dynamic, Eigen::RowMajor, 1, 64> turned =
          first * c - second * s;
      second = first * s + second * c;
      first = turned;
    }
  }
}

Strided Attention::part(Matrix& qkv, Index sequence, Index head, Index which) const {
  return {qkv.data() + sequence * context_ * 3 * width_ + which * width_ + head * head_width_,
          context_, head_width_, Eigen::OuterStride<>(3 * width_)};
}

void Attention::forward(const float* weights, const Matrix& x, Tape& tape, Matrix& y) const {
  const Index sequences = x.rows() / context_;
  const float scale = 1 / std::sqrt(static_cast<float>(head_width_));
  tape.x = x;
  tape.qkv.noalias() = x * qkv_.in(weights).transpose();
  rotate(tape.qkv, 1);
  tape.chance.resize(static_cast<std::size_t>(sequences * heads_));
  tape.mixed.resize(x.rows(), width_);
  for (Index s = 0; s < sequences; ++s)
    for (Index head = 0; head < heads_; ++head) {
      Matrix& chance = tape.chance[static_cast<std::size_t>(s * heads_ + head)];
      chance.noalias() = part(tape.qkv, s, head, 0) * part(tape.qkv, s, head, 1).transpose();
      for (Index t = 0; t < context_; ++t) {
        auto seen = chance.row(t).head(t + 1).array();
        seen = ((seen - seen.maxCoeff()) * scale).exp();
        seen /= seen.sum();
        chance.row(t).tail(context_ - t - 1).setZero();
      }
      tape.mixed.block(s * context_, head * head_width_, context_, head_width_).noalias() =
          chance * part(tape.qkv, s, head, 2);
    }
  y.noalias() = tape.mixed * out_.in(weights).transpose();
}

void Attention::backward(const float* weights, Tape& tape, const Matrix& to_y, Matrix& to_x,
                         float* gradients) const {
  const Index sequences = tape.x.rows() / context_;
  const float scale = 1 / std::sqrt(static_cast<float>(head_width_));
  out_.in(gradients).noalias() += to_y.transpose() * tape.mixed;
  tape.to_mixed.noalias() = to_y * out_.in(weights);
  tape.to_qkv.resize(tape.qkv.rows(), tape.qkv.cols());
  Matrix& to_chance = tape.to_chance;
  for (Index s = 0; s < sequences; ++s)
    for (Index head = 0; head < heads_; ++head) {
      const Matrix& chance = tape.chance[static_cast<std::size_t>(s * heads_ + head)];
      const auto to_head =
          tape.to_mixed.block(s * context_, head * head_width_, context_, head_width_);
      part(tape.to_qkv, s, head, 2).noalias() = chance.transpose() * to_head;
      to_chance.noalias() = to_head * part(tape.qkv, s, head, 2).transpose();
      for (Index t = 0; t < context_; ++t) {
        auto to = to_chance.row(t).array();
        const auto p = chance.row(t).array();
        to = scale * p * (to - (p * to).sum());
      }
      part(tape.to_qkv, s, head, 0).noalias() = to_chance * part(tape.qkv, s, head, 1);
      part(tape.to_qkv, s, head, 1).noalias() = to_chance.transpose() * part(tape.qkv, s, head, 0);
    }
  rotate(tape.to_qkv, -1);
  qkv_.in(gradients).noalias() += tape.to_qkv.transpose() * tape.x;
  to_x.noalias() = tape.to_qkv * qkv_.in(weights);
}

}  // namespace engram::lm
