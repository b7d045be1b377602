// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "experts.hpp"

#include <cmath>

namespace engram::lm {

SwiGlu::SwiGlu(WeightList& list, Index width, Index inner, Index blocks)
    : up(list.matrix(2 * inner, width, 1 / std::sqrt(static_cast<float>(width)))),
      down(list.matrix(width, inner, 1 / std::sqrt(static_cast<float>(2 * blocks * inner)))) {}

void SwiGlu::forward(const float* weights, Eigen::Ref<const Matrix> x, Eigen::Ref<Matrix> up_out,
                     Eigen::Ref<Matrix> inner, Eigen::Ref<Matrix> y) const {
  const Index w = down.columns;
  up_out.noalias() = x * up.in(weights).transpose();
  const auto gate = up_out.leftCols(w).array();
  inner = gate / (1 + (-gate).exp()) * up_out.rightCols(w).array();
  y.noalias() = inner * down.in(weights).transpose();
}

void SwiGlu::backward(const float* weights, Eigen::Ref<const Matrix> x, Eigen::Ref<Matrix> up_out,
                      Eigen::Ref<Matrix> inner, Eigen::Ref<Matrix> to_inner,
                      Eigen::Ref<const Matrix> to_y, Eigen::Ref<Matrix> to_x,
                      float* gradients) const {
  const Index w = down.columns;
  down.in(gradients).noalias() = to_y.transpose() * inner;
  to_inner.noalias() = to_y * down.in(weights);
  auto gate = up_out.leftCols(w).array();
  auto value = up_out.rightCols(w).array();
  // With s = 1 / (1 + e^-gate): to the value goes to gate s, to the gate to value s (1 + gate (1 -
  // s)).
  inner.array() = 1 / (1 + (-gate).exp());
  to_inner.array() *= inner.array();
  inner.array() = to_inner.array() * (1 + gate * (1 - inner.array())) * value;
  value = to_inner.array() * gate;
  gate = inner.array();
  up.in(gradients).noalias() = up_out.transpose() * x;
  to_x.noalias() = up_out * up.in(weights);
}

Experts::Experts(WeightList& list, const ModelConfig& config)
    : experts_(config.experts),
      top_k_(config.top_k),
      width_(config.width),
      inner_(config.expert_width),
      router_(list.matrix(config.experts, config.width, 0.02f)) {
  for (Index e = 0; e < experts_; ++e) routed_.emplace_back(list, width_, inner_, config.blocks);
  shared_ = SwiGlu(list, width_, config.shared_width, config.blocks);
}

void Experts::choose(const Vector& bias, Tape& tape) const {
  const Index tokens = tape.logits.rows();
  const auto choices = static_cast<std::size_t>(tokens * top_k_);
  tape.chosen.resize(choices);
  tape.share.resize(choices);
  tape.place.resize(choices);
  tape.begins.assign(static_cast<std::size_t>(experts_ + 1), 0);
  Eigen::Array<float, 1, Eigen::Dynamic> score(experts_);
  for (Index t = 0; t < tokens; ++t) {
    Index* const chosen = &tape.chosen[static_cast<std::size_t>(t * top_k_)];
    float* const share = &tape.share[static_cast<std::size_t>(t * top_k_)];
    score = tape.logits.row(t).array() + bias.transpose().array();
    float largest = -INFINITY;
    for (Index k = 0; k < top_k_; ++k) {
      score.maxCoeff(&chosen[k]);
      score(chosen[k]) = -INFINITY;
      ++tape.begins[static_cast<std::size_t>(chosen[k] + 1)];
      largest = std::max(largest, tape.logits(t, chosen[k]));
    }
    float sum = 0;
    for (Index k = 0; k < top_k_; ++k)
      sum += share[k] = std::exp(tape.logits(t, chosen[k]) - largest);
    for (Index k = 0; k < top_k_; ++k) share[k] /= sum;
  }
  for (std::size_t e = 1; e < tape.begins.size(); ++e) tape.begins[e] += tape.begins[e - 1];
  std::vector<Index>& next = tape.begins;  // moved up while places are given, then moved back
  for (std::size_t i = 0; i < choices; ++i)
    tape.place[i] = next[static_cast<std::size_t>(tape.chosen[i])]++;
  for (std::size_t e = next.size() - 1; e > 0; --e) next[e] = next[e - 1];
  next[0] = 0;
}

void Experts::forward(const float* weights, const Vector& bias, const Matrix& x, Tape& tape,
                      Matrix& y) const {
  const Index tokens = x.rows(), choices = tokens * top_k_;
  tape.logits.noalias() = x * router_.in(weights).transpose();
  choose(bias, tape);
  tape.routed.resize(choices, width_);
  tape.up.resize(choices, 2 * inner_);
  tape.inner.resize(choices, inner_);
  tape.out.resize(choices, width_);
  for (Index i = 0; i < choices; ++i)
    tape.routed.row(tape.place[static_cast<std::size_t>(i)]) = x.row(i / top_k_);
  for (Index e = 0; e < experts_; ++e) {
    const Index begin = tape.begins[static_cast<std::size_t>(e)];
    const Index n = tape.begins[static_cast<std::size_t>(e + 1)] - begin;
    if (n > 0)
      routed_[static_cast<std::size_t>(e)].forward(
          weights, tape.routed.middleRows(begin, n), tape.up.middleRows(begin, n),
          tape.inner.middleRows(begin, n), tape.out.middleRows(begin, n));
  }
  tape.shared_up.resize(tokens, shared_.up.rows);
  tape.shared_inner.resize(tokens, shared_.down.columns);
  y.resize(tokens, width_);
  shared_.forward(weights, x, tape.shared_up, tape.shared_inner, y);
  for (Index i = 0; i < choices; ++i)
    y.row(i / top_k_) += tape.share[static_cast<std::size_t>(i)] *
                         tape.out.row(tape.place[static_cast<std::size_t>(i)]);
}

void Experts::backward(const float* weights, const Matrix& x, Tape& tape, const Matrix& to_y,
                       Matrix& to_x, float* gradients) const {
  const Index tokens = to_y.rows(), choices = tokens * top_k_;
  tape.to_out.resize(choices, width_);
  tape.to_routed.resize(choices, width_);
  tape.to_inner.resize(choices, inner_);
  tape.to_logits.setZero(tokens, experts_);
  for (Index t = 0; t < tokens; ++t) {
    const auto first = static_cast<std::size_t>(t * top_k_);
    float mean = 0;  // of the shares' gradients
    for (std::size_t i = first; i < first + static_cast<std::size_t>(top_k_); ++i) {
      const float to_share = to_y.row(t).dot(tape.out.row(tape.place[i]));
      tape.to_logits(t, tape.chosen[i]) = to_share;
      mean += tape.share[i] * to_share;
      tape.to_out.row(tape.place[i]) = tape.share[i] * to_y.row(t);
    }
    for (std::size_t i = first; i < first + static_cast<std::size_t>(top_k_); ++i) {
      float& to = tape.to_logits(t, tape.chosen[i]);
      to = tape.share[i] * (to - mean);
    }
  }
  for (Index e = 0; e < experts_; ++e) {
    const Index begin = tape.begins[static_cast<std::size_t>(e)];
    const Index n = tape.begins[static_cast<std::size_t>(e + 1)] - begin;
    routed_[static_cast<std::size_t>(e)].backward(
        weights, tape.routed.middleRows(begin, n), tape.up.middleRows(begin, n),
        tape.inner.middleRows(begin, n), tape.to_inner.middleRows(begin, n),
        tape.to_out.middleRows(begin, n), tape.to_routed.middleRows(begin, n), gradients);
  }
  tape.to_shared_inner.resize(tokens, shared_.down.columns);
  to_x.resize(tokens, width_);
  shared_.backward(weights, x, tape.shared_up, tape.shared_inner, tape.to_shared_inner, to_y, to_x,
                   gradients);
  for (Index i = 0; i < choices; ++i)
    to_x.row(i / top_k_) += tape.to_routed.row(tape.place[static_cast<std::size_t>(i)]);
  router_.in(gradients).noalias() = tape.to_logits.transpose() * x;
  to_x.noalias() += tape.to_logits * router_.in(weights);
}

void balance(Vector& bias, const std::vector<Index>& tokens_of_expert) {
  Index total = 0;
  for (const Index n : tokens_of_expert) total += n;
  const auto experts = static_cast<Index>(tokens_of_expert.size());
  for (Index e = 0; e < experts; ++e) {
    const Index over = tokens_of_expert[static_cast<std::size_t>(e)] * experts - total;
    bias(e) += over > 0 ? -0.001f : over < 0 ? 0.001f : 0.0f;
  }
}

}  // namespace engram::lm
