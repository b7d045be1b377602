// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// n mod d without a division. Every row id is such a remainder, and a 64-bit division costs more
// than all the rest of an address.

#include <engram/addressing/wide.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A divisor with its rounded-down reciprocal, for exact remainders of any 64-bit value.
///
/// Write 2^64 - 1 = v * d + e with 0 <= e < d. Then n / d - n * v / 2^64 = n * (e + 1) / (d *
/// 2^64), below 1 since e + 1 <= d and n < 2^64, so floor(n * v / 2^64) is the quotient or one
/// less, and one subtraction mends it.
struct Reciprocal {
  std::uint64_t divisor;
  std::uint64_t inverse;

  /// Precondition: divisor > 0.
  ENGRAM_ALWAYS_INLINE ENGRAM_HD static constexpr Reciprocal of(std::uint64_t divisor) noexcept {
    return {divisor, ~std::uint64_t{0} / divisor};
  }

  /// n mod divisor. Two multiplications.
  ENGRAM_ALWAYS_INLINE ENGRAM_HD constexpr std::uint64_t remainder(std::uint64_t n) const noexcept {
    const std::uint64_t quotient = multiply_high(n, inverse);
    const std::uint64_t rest = n - quotient * divisor;
    return rest >= divisor ? rest - divisor : rest;
  }
};

ENGRAM_END_NAMESPACE
