// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the multipliers of a layer come from. Released models drew them with NumPy (the paper's
// demo, DeepSeek-V4.1) or with SplitMix64 (Qwen); the generators are stated here so that no table
// depends on another library's version. All multipliers are odd.

#include <engram/addressing/wide.hpp>
#include <engram/core/splitmix.hpp>

#include <bit>

ENGRAM_BEGIN_NAMESPACE

/// NumPy's `default_rng(seed)`: SeedSequence feeding PCG64 (XSL-RR 128/64).
///
/// Equal to NumPy 1.24 and 2.x for 64-bit seeds (tests/golden). Source: O'Neill, "PCG", 2014, and
/// NumPy's documentation of SeedSequence.
class NumpyGenerator {
 public:
  ENGRAM_ALWAYS_INLINE constexpr explicit NumpyGenerator(std::uint64_t seed) noexcept {
    // SeedSequence: hash the seed's words into a pool of four, then mix every pair.
    std::uint32_t hash = 0x43B0D7E5;
    const auto hashed = [&hash](std::uint32_t word) {
      word ^= hash;
      hash *= 0x931E8875;
      word *= hash;
      return word ^ (word >> 16);
    };
    std::uint32_t pool[4] = {static_cast<std::uint32_t>(seed),
                             static_cast<std::uint32_t>(seed >> 32), 0, 0};
    for (std::uint32_t& word : pool) word = hashed(word);
    for (int from = 0; from < 4; ++from) {
      for (int to = 0; to < 4; ++to) {
        if (from == to) continue;
        const std::uint32_t mixed = 0xCA01F9DD * pool[to] - 0x4973F715 * hashed(pool[from]);
        pool[to] = mixed ^ (mixed >> 16);
      }
    }
    std::uint64_t words[4] = {};
    std::uint32_t output = 0x8B51F9DD;
    for (unsigned i = 0; i < 8; ++i) {
      std::uint32_t word = pool[i % 4] ^ output;
      output *= 0x58F38DED;
      word *= output;
      word ^= word >> 16;
      words[i / 2] |= static_cast<std::uint64_t>(word) << (32 * (i % 2));
    }
    // PCG64: an odd increment, and a state stepped before and after the seed enters.
    increment_ = {(words[2] << 1) | (words[3] >> 63), (words[3] << 1) | 1};
    step();
    state_ = add(state_, {words[0], words[1]});
    step();
  }

  /// The next 64 random bits.
  ENGRAM_ALWAYS_INLINE constexpr std::uint64_t next() noexcept {
    step();
    return std::rotr(state_.hi ^ state_.lo, static_cast<int>(state_.hi >> 58));
  }

  /// Uniform in [0, bound) by Lemire's method, as `integers(bound)` draws when bound > 2^32.
  /// Below that NumPy takes another path, which this is not.
  ENGRAM_ALWAYS_INLINE constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    const std::uint64_t threshold = (0 - bound) % bound;
    Wide product = multiply_wide(next(), bound);
    while (product.lo < threshold) product = multiply_wide(next(), bound);
    return product.hi;
  }

 private:
  ENGRAM_ALWAYS_INLINE constexpr void step() noexcept {
    state_ = add(multiply(state_, {0x2360ED051FC65DA4, 0x4385DF649FCCF645}), increment_);
  }

  Wide state_{0, 0};
  Wide increment_{0, 1};
};

ENGRAM_BEGIN_LOOPS

/// Multipliers are odd and below twice this bound, so that id * multiplier stays below 2^63 for
/// every canonical id: floor(floor((2^63 - 1) / canonical_size) / 2), at least 1.
constexpr std::uint64_t multiplier_bound(std::uint64_t canonical_size) noexcept {
  const std::uint64_t half = 0x7FFFFFFFFFFFFFFF / canonical_size / 2;
  return half > 0 ? half : 1;
}

/// The spacing of seeds between layers, in every released model.
inline constexpr std::uint64_t layer_seed_step = 10007;

/// `count` multipliers of the layer numbered `layer_id`, as the demo and DeepSeek-V4.1 draw them
/// (spec of the released code, 3.3): one generator a layer, seeded seed + 10007 * layer_id.
constexpr void numpy_multipliers(std::uint64_t seed, std::uint64_t layer_id,
                                 std::uint64_t canonical_size, std::uint64_t* out,
                                 int count) noexcept {
  NumpyGenerator generator(seed + layer_seed_step * layer_id);
  for (int i = 0; i < count; ++i)
    out[i] = 2 * generator.below(multiplier_bound(canonical_size)) + 1;
}

/// `count` multipliers of the `module_index`-th Engram module of a model, counted from 0, as Qwen's
/// variant draws them: SplitMix64 from seed + 10007 * module_index, reduced modulo the bound.
constexpr void splitmix_multipliers(std::uint64_t seed, std::uint64_t module_index,
                                    std::uint64_t canonical_size, std::uint64_t* out,
                                    int count) noexcept {
  std::uint64_t z = seed + layer_seed_step * module_index;
  for (int i = 0; i < count; ++i) {
    z += splitmix64_step;
    out[i] = 2 * (splitmix64(z) % multiplier_bound(canonical_size)) + 1;
  }
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
