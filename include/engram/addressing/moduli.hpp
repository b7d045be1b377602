// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How many rows each head has. The heads of one order share a single mix and differ only in this
// number, so which numbers are taken, and in which order, is part of a model's addresses.

#include <engram/addressing/primes.hpp>
#include <engram/core/status.hpp>

#include <bit>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// How a requested number of rows a head becomes the number it has.
enum class ModulusRule : std::int32_t {
  unique_primes = 0,  ///< smallest prime not below the request that no head of any layer has yet
                      ///< (the paper's demo, DeepSeek-V4.1)
  nth_prime = 1,      ///< the g-th prime not below the request, g counting heads over all layers
                      ///< (Qwen); equal to unique_primes when all orders request the same
  odd_ratio = 2,      ///< request + 1 + 2 * column for even requests, request + 2 * column for odd
                      ///< ones: always odd (LongCat, where the request is ratio * vocabulary)
  power_of_two = 3,   ///< smallest power of two not below the request
  explicit_values = 4,  ///< given
};

ENGRAM_BEGIN_LOOPS

/// The moduli of all layers, [layers * orders * heads], order-major within a layer.
///
/// sizes   [orders] requested rows a head, one for each order 2, 3, ..., each at least 1.
/// Fails with invalid_config when a size is below 1, or when no such number below 2^63 exists.
/// Cost    about 50 primality tests a prime near 10^7.
inline Result<std::vector<std::uint64_t>> make_moduli(ModulusRule rule,
                                                      const std::vector<Index>& sizes, int heads,
                                                      int layers) {
  constexpr std::uint64_t limit = std::uint64_t{1} << 63;
  const std::size_t orders = sizes.size();
  for (std::size_t order = 0; order < orders; ++order)
    if (sizes[order] < 1)
      return fail(Code::invalid_config, {"moduli: a head of order ", order + 2, " asks for ",
                                         sizes[order], " rows, expected at least 1"});
  const std::size_t count =
      static_cast<std::size_t>(layers) * orders * static_cast<std::size_t>(heads);
  std::vector<std::uint64_t> moduli(count);
  std::vector<std::uint64_t> taken(count);  // unique_primes: those handed out, ascending from 0
  std::size_t made = 0;
  const auto take_after = [&taken, &made](std::uint64_t prime) {
    std::size_t place = 0;
    do {
      prime = next_prime(prime);
      while (place < made && taken[place] < prime) ++place;
    } while (place < made && taken[place] == prime);
    for (std::size_t i = made; i > place; --i) taken[i] = taken[i - 1];
    taken[place] = prime;
    return prime;
  };
  std::vector<std::uint64_t> nth(orders);  // nth_prime: each order's prime for the last head
  for (std::size_t o = 0; o < orders; ++o) nth[o] = static_cast<std::uint64_t>(sizes[o]) - 1;
  for (int layer = 0; layer < layers; ++layer) {
    std::uint64_t column = 0;
    for (std::size_t order = 0; order < orders; ++order) {
      const auto size = static_cast<std::uint64_t>(sizes[order]);
      std::uint64_t modulus = size - 1;
      for (int head = 0; head < heads; ++head, ++column) {
        switch (rule) {
          case ModulusRule::unique_primes:
            modulus = take_after(modulus);
            break;
          case ModulusRule::nth_prime:
            for (std::uint64_t& prime : nth) prime = next_prime(prime);
            modulus = nth[order];
            break;
          case ModulusRule::odd_ratio:
            modulus = (size | 1) + 2 * column;
            break;
          case ModulusRule::power_of_two:
            modulus = size <= limit / 2 ? std::bit_ceil(size) : limit;
            break;
          case ModulusRule::explicit_values:
            return fail(Code::invalid_config, "moduli: explicit values are given, not made");
        }
        if (modulus >= limit)
          return fail(Code::invalid_config,
                      {"moduli: there is no modulus below 2^63 for ", size, " rows a head"});
        moduli[made++] = modulus;
      }
    }
  }
  return moduli;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
