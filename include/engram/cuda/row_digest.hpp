// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One number for all bytes of a table's rows, which host and GPU compute alike, to find an upload
// that went wrong. It is a sum, so that neither the order of the rows nor how they are shared
// counts. No cryptographic hash: those take a row's bytes one after the other, and no library at
// hand has one for both sides; rows changed on purpose can keep their digest.

#include <engram/core/lanes.hpp>
#include <engram/core/splitmix.hpp>

ENGRAM_BEGIN_NAMESPACE

/// `size` bytes, 1 to 8, as a little-endian number.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint64_t word_of(const std::byte* at, Index size) noexcept {
  std::uint64_t word = 0;
  if (size == 8 && reinterpret_cast<std::uintptr_t>(at) % 8 == 0) {
    __builtin_memcpy(&word, __builtin_assume_aligned(at, 8), 8);
    return word;
  }
  for (Index b = 0; b < size; ++b) word |= static_cast<std::uint64_t>(at[b]) << (8 * b);
  return word;
}

/// Word `place` of a row, the last one filled up with zeros, as the digest counts it.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint64_t mixed_word(const std::byte* row, Index bytes,
                                                        std::uint64_t key, Index place) noexcept {
  const Index left = bytes - 8 * place;
  return splitmix64(word_of(row + 8 * place, left < 8 ? left : 8) + key +
                    static_cast<std::uint64_t>(place) * splitmix64_step);
}

/// This lane's part of the sum of a row's words.
ENGRAM_ANY_LANES
template <class Lanes>
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint64_t sum_of_words(const Lanes& lanes, const std::byte* row,
                                                          Index bytes, std::uint64_t key) noexcept {
  std::uint64_t sum = 0;
  lanes.each((bytes + 7) / 8, [&](Index place) { sum += mixed_word(row, bytes, key, place); });
  return sum;
}

/// The whole sum, two vectors at a time.
template <int Bytes>
ENGRAM_ALWAYS_INLINE std::uint64_t sum_of_words(const HostLanes<Bytes>&, const std::byte* row,
                                                Index bytes, std::uint64_t key) noexcept {
  using Words = typename HostVectors<Bytes>::U64;
  constexpr int count = Bytes / 8;
  Words keys = {}, sums[2] = {};
  for (int i = 0; i < count; ++i) keys[i] = key + static_cast<std::uint64_t>(i) * splitmix64_step;
  Index place = 0;
  for (; (place + 2 * count) * 8 <= bytes; place += 2 * count)
    for (int half = 0; half < 2; ++half) {
      Words z;
      __builtin_memcpy(&z, row + (place + half * count) * 8, Bytes);
      z += keys + splitmix64_step;  // splitmix64() of each
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
      sums[half] += z ^ (z >> 31);
      keys += count * splitmix64_step;
    }
  sums[0] += sums[1];
  std::uint64_t sum = 0;
  for (int i = 0; i < count; ++i) sum += sums[0][i];
  for (; place * 8 < bytes; ++place) sum += mixed_word(row, bytes, key, place);
  return sum;
}

/// Adds a row to a digest: the sum modulo 2^64 over its words of
///
///   splitmix64(word + splitmix64(row) + place * splitmix64_step)
///
/// where words are 8 bytes, little-endian, of the codes and the scales behind them, the last one
/// filled up with zeros. Rows begin `stride` bytes apart; the bytes between them do not count.
///
/// A change inside one word is always seen, because splitmix64 maps no two words to one; any other
/// that nobody made on purpose (rows swapped, moved, torn) is missed once in about 2^64.
///
/// Item: row - first. Each thread has a sum of its own; the digest is the sum of theirs.
struct RowDigestBody {
  const std::byte* rows;
  Index stride;
  Index bytes;  ///< of a row, codes and scales
  Index first;  ///< id of the row at `rows`
  std::uint64_t* sum;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const std::uint64_t key = splitmix64(static_cast<std::uint64_t>(first + item));
    *sum += sum_of_words(lanes, rows + item * stride, bytes, key);
  }
};

ENGRAM_END_NAMESPACE
