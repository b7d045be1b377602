// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Repeatable random numbers for property tests.

#include <engram/addressing/multipliers.hpp>

#include <cmath>
#include <cstdint>

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() { return state_ = engram::splitmix64(state_); }
  /// Uniform in [0, bound), bound small.
  std::int64_t below(std::int64_t bound) {
    return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(bound));
  }
  /// Zipf-like in [0, size): rank r about as often as 1 / (r + 1), as words are in text.
  std::int64_t zipf(std::int64_t size) {
    const double u = static_cast<double>(bits() >> 11) * 0x1p-53;
    return static_cast<std::int64_t>(std::pow(static_cast<double>(size), u)) - 1;
  }

 private:
  std::uint64_t state_;
};
