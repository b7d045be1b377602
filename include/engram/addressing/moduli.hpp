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
  std::vector<std::uint64_t> request;
  for (const Index size : sizes) {
    if (size < 1)
      return fail(Code::invalid_config, {"moduli: a head of order ", request.size() + 2,
                                         " asks for ", size, " rows, expected at least 1"});
    request.push_back(static_cast<std::uint64_t>(size));
  }
  std::vector<std::uint64_t> moduli;
  std::vector<std::uint64_t> taken;  // unique_primes: every prime handed out, ascending
  const auto take_after = [&taken](std::uint64_t prime) {
    std::size_t place = 0;
    do {
      prime = next_prime(prime);
      while (place < taken.size() && taken[place] < prime) ++place;
    } while (place < taken.size() && taken[place] == prime);
    taken.insert(taken.begin() + static_cast<std::ptrdiff_t>(place), prime);
    return prime;
  };
  std::vector<std::uint64_t> nth;  // nth_prime: each order's prime for the head counted last
  for (const std::uint64_t size : request) nth.push_back(size - 1);
  for (int layer = 0; layer < layers; ++layer) {
    std::uint64_t column = 0;
    for (std::size_t order = 0; order < request.size(); ++order) {
      const std::uint64_t size = request[order];
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
        moduli.push_back(modulus);
      }
    }
  }
  return moduli;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
