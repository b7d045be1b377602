// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "attention.hpp"

#include <algorithm>
#include <cmath>

namespace engram::lm {
namespace {

/// Queries, or keys, of one product; what lies above the diagonal's tiles is never computed.
constexpr Index tile = 32;

}  // namespace

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
      const Eigen::Array<float, 1, Eigen::Dynamic, Eigen::RowMajor, 1, widest_head / 2> turned =
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
  tape.qkv.noalias() = x * qkv_.in(weights).transpose();
  rotate(tape.qkv, 1);
  tape.chance.resize(static_cast<std::size_t>(sequences * heads_));
  tape.mixed.resize(x.rows(), width_);
  for (Index s = 0; s < sequences; ++s)
    for (Index head = 0; head < heads_; ++head) {
      Matrix& chance = tape.chance[static_cast<std::size_t>(s * heads_ + head)];
      chance.resize(context_, context_);
      const auto queries = part(tape.qkv, s, head, 0);
      const auto keys = part(tape.qkv, s, head, 1), values = part(tape.qkv, s, head, 2);
      for (Index begin = 0; begin < context_; begin += tile) {
        const Index n = std::min(tile, context_ - begin), end = begin + n;
        auto scores = chance.block(begin, 0, n, end);
        scores.noalias() = queries.middleRows(begin, n) * keys.topRows(end).transpose();
        for (Index i = 0; i < n; ++i) {
          auto seen = scores.row(i).head(begin + i + 1).array();
          seen = ((seen - seen.maxCoeff()) * scale).exp();
          seen /= seen.sum();
          scores.row(i).tail(n - i - 1).setZero();
        }
        tape.mixed.block(s * context_ + begin, head * head_width_, n, head_width_).noalias() =
            scores * values.topRows(end);
      }
    }
  y.noalias() = tape.mixed * out_.in(weights).transpose();
}

void Attention::backward(const float* weights, const Matrix& x, Tape& tape, const Matrix& to_y,
                         Matrix& to_x, float* gradients) const {
  const Index sequences = x.rows() / context_;
  const float scale = 1 / std::sqrt(static_cast<float>(head_width_));
  out_.in(gradients).noalias() = to_y.transpose() * tape.mixed;
  tape.to_mixed.noalias() = to_y * out_.in(weights);
  tape.to_qkv.resize(tape.qkv.rows(), tape.qkv.cols());
  Matrix& to_chance = tape.to_chance;
  to_chance.resize(context_, context_);
  for (Index s = 0; s < sequences; ++s)
    for (Index head = 0; head < heads_; ++head) {
      const Matrix& chance = tape.chance[static_cast<std::size_t>(s * heads_ + head)];
      const auto to_head =
          tape.to_mixed.block(s * context_, head * head_width_, context_, head_width_);
      const auto queries = part(tape.qkv, s, head, 0);
      const auto keys = part(tape.qkv, s, head, 1), values = part(tape.qkv, s, head, 2);
      auto to_queries = part(tape.to_qkv, s, head, 0);
      auto to_keys = part(tape.to_qkv, s, head, 1), to_values = part(tape.to_qkv, s, head, 2);
      for (Index begin = 0; begin < context_; begin += tile) {  // of queries
        const Index n = std::min(tile, context_ - begin), end = begin + n;
        auto to = to_chance.block(begin, 0, n, end);
        const auto p = chance.block(begin, 0, n, end).array();
        to.noalias() = to_head.middleRows(begin, n) * values.topRows(end).transpose();
        for (Index i = 0; i < n; ++i)
          to.row(i).array() =
              scale * p.row(i) * (to.row(i).array() - (p.row(i) * to.row(i).array()).sum());
        to_queries.middleRows(begin, n).noalias() = to * keys.topRows(end);
      }
      for (Index begin = 0; begin < context_; begin += tile) {  // of keys
        const Index n = std::min(tile, context_ - begin), from = context_ - begin;
        to_values.middleRows(begin, n).noalias() =
            chance.block(begin, begin, from, n).transpose() * to_head.bottomRows(from);
        to_keys.middleRows(begin, n).noalias() =
            to_chance.block(begin, begin, from, n).transpose() * queries.bottomRows(from);
      }
    }
  rotate(tape.to_qkv, -1);
  qkv_.in(gradients).noalias() = tape.to_qkv.transpose() * x;
  to_x.noalias() = tape.to_qkv * qkv_.in(weights);
}

}  // namespace engram::lm
