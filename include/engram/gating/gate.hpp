// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns how well a token's memory fits its hidden state, one score, into how
// much of the memory is added.

#include <engram/core/math.hpp>
#include <engram/core/scalar.hpp>

#include <concepts>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// Scalar gate: score -> factor of the value.
///
/// Semantics (docs/concepts.md): pure, never throws, NaN for NaN unless it ignores the score. The
/// score is the dot product of the normalised hidden state and key, divided by sqrt(D). Trivially
/// copyable, so that kernels can hold it.
template <class G>
concept Gate = std::is_trivially_copyable_v<G> && requires(const G gate, float score) {
  { gate(score) } -> std::same_as<float>;
};

/// One sentence for each operation that G lacks; true when G models Gate.
template <class G>
constexpr bool check_gate() {
  static_assert(std::is_trivially_copyable_v<G>, "engram: a Gate must be trivially copyable");
  static_assert(
      requires(const G gate, float score) {
        { gate(score) } -> std::same_as<float>;
      },
      "engram: a Gate needs 'float operator()(float score) const'");
  return Gate<G>;
}

/// A gate that can be trained through: `slope(score)` is the derivative of operator() there, 0
/// where a clamp holds the gate constant, NaN for NaN unless it ignores the score. Only backward
/// needs it.
template <class G>
concept DifferentiableGate = Gate<G> && requires(const G gate, float score) {
  { gate.slope(score) } -> std::same_as<float>;
};

/// One sentence for each operation that G lacks; true when G models DifferentiableGate.
template <class G>
constexpr bool check_differentiable_gate() {
  check_gate<G>();
  static_assert(
      requires(const G gate, float score) {
        { gate.slope(score) } -> std::same_as<float>;
      },
      "engram: to be trained through, a Gate needs 'float slope(float score) const'");
  return DifferentiableGate<G>;
}

/// 1 / (1 + e^-z).
ENGRAM_HD ENGRAM_ALWAYS_INLINE float sigmoid(float z) noexcept {
  return 1.0f / (1.0f + exponential(-z));
}

/// What a signed square root does with a score of zero.
enum class ZeroScore : std::int32_t {
  copysign = 0,  ///< DeepSeek-V4.1: the root of the clamp with the zero's sign; gate 0.5 +- 0.00025
  sign = 1,      ///< the paper's demo: sign(0) is 0; gate 0.5
};

/// sigmoid(sign(s) * sqrt(max(|s|, clamp))): the gate of DeepSeek's code, demo and V4.1.
struct SignedSqrtGate {
  ZeroScore zero = ZeroScore::copysign;
  float clamp = 1e-6f;

  ENGRAM_HD ENGRAM_ALWAYS_INLINE float operator()(float score) const noexcept {
    const std::uint32_t bits = to_bits(score);
    const float magnitude = from_bits(bits & ~float_bits::sign);
    if (is_nan(score)) return score;
    if (zero == ZeroScore::sign && (bits & ~float_bits::sign) == 0) return 0.5f;
    const float root = square_root(magnitude > clamp ? magnitude : clamp);
    return sigmoid(from_bits(to_bits(root) | (bits & float_bits::sign)));
  }
  /// g (1 - g) / (2 sqrt|s|); 0 for |s| < clamp, where the root has no slope (at 0 it would be
  /// infinite), as in DeepSeek's kernels.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float slope(float score) const noexcept {
    if (is_nan(score)) return score;
    const float magnitude = from_bits(to_bits(score) & ~float_bits::sign);
    if (magnitude < clamp || magnitude == 0) return 0;
    const float g = (*this)(score);
    return g * (1.0f - g) * 0.5f / square_root(magnitude);
  }
};
static_assert(check_differentiable_gate<SignedSqrtGate>());

/// sigmoid(s): the gate as the paper's equation prints it.
struct SigmoidGate {
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float operator()(float score) const noexcept {
    return is_nan(score) ? score : sigmoid(score);
  }
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float slope(float score) const noexcept {
    const float g = (*this)(score);
    return g * (1.0f - g);
  }
};
static_assert(check_differentiable_gate<SigmoidGate>());

/// The same factor for every token: 1 adds the memory ungated.
struct ConstantGate {
  float factor = 1.0f;

  ENGRAM_HD constexpr float operator()(float) const noexcept { return factor; }
  ENGRAM_HD constexpr float slope(float) const noexcept { return 0; }
};
static_assert(check_differentiable_gate<ConstantGate>());

ENGRAM_END_NAMESPACE
