// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// SplitMix64: well mixed bits from a number, the same on every machine. Addresses draw multipliers
// from it; training keys its random numbers with it, so that they need no state.

#include <engram/config.hpp>

#include <cstdint>

ENGRAM_BEGIN_NAMESPACE

/// What SplitMix64 adds to its state before each value: 2^64 over the golden ratio.
inline constexpr std::uint64_t splitmix64_step = 0x9E3779B97F4A7C15;

/// SplitMix64's finaliser: the value that follows state z (Steele, Lea and Flood, 2014).
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr std::uint64_t splitmix64(std::uint64_t z) noexcept {
  z += splitmix64_step;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

ENGRAM_END_NAMESPACE
