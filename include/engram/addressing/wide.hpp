// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// 128-bit products. Prime search, the NumPy generator and exact reciprocals need the upper half of
// a 64-bit product; not every compiler has a 128-bit integer, so there is a portable form too.

#include <engram/config.hpp>

#include <cstdint>

ENGRAM_BEGIN_NAMESPACE

/// An unsigned 128-bit value: hi * 2^64 + lo.
struct Wide {
  std::uint64_t hi;
  std::uint64_t lo;

  friend constexpr bool operator==(const Wide&, const Wide&) = default;
};

ENGRAM_BEGIN_LOOPS

/// a * b in full, from four 32-bit products. Any compiler.
ENGRAM_HD constexpr Wide multiply_wide_portable(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t mask = 0xFFFFFFFF;
  const std::uint64_t low = (a & mask) * (b & mask);
  const std::uint64_t cross = (a >> 32) * (b & mask) + (low >> 32);
  const std::uint64_t other = (a & mask) * (b >> 32) + (cross & mask);
  return {(a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32), (other << 32) | (low & mask)};
}

/// a * b in full.
ENGRAM_HD constexpr Wide multiply_wide(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
  __extension__ using Uint128 = unsigned __int128;
  const Uint128 product = static_cast<Uint128>(a) * b;
  return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
#else
  return multiply_wide_portable(a, b);
#endif
}

/// The upper 64 bits of a * b.
ENGRAM_HD constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
  return multiply_wide(a, b).hi;
}

/// a + b modulo 2^128.
constexpr Wide add(Wide a, Wide b) noexcept {
  const std::uint64_t lo = a.lo + b.lo;
  return {a.hi + b.hi + (lo < a.lo ? 1 : 0), lo};
}

/// a * b modulo 2^128.
constexpr Wide multiply(Wide a, Wide b) noexcept {
  Wide product = multiply_wide(a.lo, b.lo);
  product.hi += a.hi * b.lo + a.lo * b.hi;
  return product;
}

/// a * b mod m for m > 0 and a, b < m, without overflow.
constexpr std::uint64_t multiply_mod(std::uint64_t a, std::uint64_t b, std::uint64_t m) noexcept {
  Wide rest = multiply_wide(a, b);
  if (rest.hi == 0) return rest.lo % m;
  std::uint64_t r = rest.hi % m;
  for (int bit = 63; bit >= 0; --bit) {
    const bool carry = (r >> 63) != 0;
    r = (r << 1) | ((rest.lo >> bit) & 1);
    if (carry || r >= m) r -= m;
  }
  return r;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
