// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Prime numbers, exactly: a table whose modulus is not prime, or not the prime that the original
// took, reads other rows.

#include <engram/addressing/wide.hpp>

ENGRAM_BEGIN_NAMESPACE

ENGRAM_BEGIN_LOOPS

/// True when n is prime. Miller-Rabin with the bases 2, 3, 5, ..., 37, which decides every 64-bit n
/// (Sorenson and Webster, "Strong pseudoprimes to twelve prime bases", 2015).
constexpr bool is_prime(std::uint64_t n) noexcept {
  if (n < 2) return false;
  constexpr std::uint64_t bases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
  for (const std::uint64_t p : bases)
    if (n % p == 0) return n == p;
  std::uint64_t odd = n - 1;
  int twos = 0;
  for (; odd % 2 == 0; odd /= 2) ++twos;
  for (const std::uint64_t base : bases) {
    std::uint64_t x = 1;
    std::uint64_t square = base % n;
    for (std::uint64_t e = odd; e > 0; e /= 2) {
      if (e % 2 == 1) x = multiply_mod(x, square, n);
      square = multiply_mod(square, square, n);
    }
    bool composite = x != 1 && x != n - 1;
    for (int i = 1; i < twos && composite; ++i) {
      x = multiply_mod(x, x, n);
      composite = x != n - 1;
    }
    if (composite) return false;
  }
  return true;
}

/// The smallest prime above n, or 0 when there is none below 2^64.
constexpr std::uint64_t next_prime(std::uint64_t n) noexcept {
  constexpr std::uint64_t last = 18446744073709551557ull;  // the largest prime below 2^64
  if (n >= last) return 0;
  do ++n;
  while (!is_prime(n));
  return n;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
