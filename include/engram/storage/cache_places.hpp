// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where in a set-associative cache a row may lie. Row ids go through a bijection first, so that no
// stride between them fills a few sets only; because it is one, a set and a few bits more name the
// row, and a cache that compares those bits never gives another row.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Row id -> set and tag, one to one. Trivially copyable.
///
/// The scrambled id y has as few bits as the table's row ids. Its top bits choose the set: set
/// floor(top * sets / 2^bits), so any number of sets will do, without a division, and the y of one
/// set are neighbours. Hence the low bits of y tell the rows of a set apart, as many as their
/// number needs.
struct CachePlaces {
  std::uint64_t mask = 1;  ///< 2^k - 1 for the least k >= 1 with num_rows <= 2^k
  std::uint64_t sets = 1;  ///< at most 2^31
  std::int32_t half = 1;   ///< bits that one half of y is moved by
  std::int32_t lower = 0;  ///< bits of y below the top ones
  std::int32_t bits = 1;   ///< top bits, at most 32

  /// A row id's scrambled id, in [0, 2^k). Odd factors and shifted xors can be undone modulo 2^k.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint64_t scrambled(RowId row) const noexcept {
    std::uint64_t y = static_cast<std::uint64_t>(to_integer(row)) * 0x9E3779B97F4A7C15 & mask;
    y ^= y >> half;
    return y * 0xD6E8FEB86659FD93 & mask;
  }

  ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint32_t set_of(std::uint64_t y) const noexcept {
    return static_cast<std::uint32_t>(((y >> lower) * sets) >> bits);
  }

  /// The most rows that share a set: the tags that it must tell apart.
  constexpr std::uint64_t rows_of_a_set() const noexcept {
    return (((std::uint64_t{1} << bits) + sets - 1) / sets) << lower;
  }
};

/// num_rows  1 to 2^62.  sets  1 to 2^31.
constexpr CachePlaces cache_places(Index num_rows, Index sets) noexcept {
  std::int32_t k = 1;
  while ((std::uint64_t{1} << k) < static_cast<std::uint64_t>(num_rows)) ++k;
  CachePlaces places;
  places.mask = (std::uint64_t{1} << k) - 1;
  places.sets = static_cast<std::uint64_t>(sets);
  places.half = (k + 1) / 2;
  places.bits = k < 32 ? k : 32;
  places.lower = k - places.bits;
  return places;
}

ENGRAM_END_NAMESPACE
