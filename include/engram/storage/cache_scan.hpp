// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The hot loop of a cache: look rows up and copy those that are there. Neither tags nor rows are
// in the processor's caches when a table is large, so rows are on their way in three steps: one is
// hashed and its tags asked for, an earlier one looked up and its bytes asked for, one copied.

#include <engram/core/status.hpp>
#include <engram/storage/cache_misses.hpp>
#include <engram/storage/cache_sets.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Copies a row in pieces that a register holds, the last of which may overlap the one before: a
/// call of memcpy costs as much as it moves here.
template <class Bytes>
ENGRAM_ALWAYS_INLINE void copy_slot(std::byte* to, const std::byte* from, Bytes bytes) noexcept {
  typedef char Register __attribute__((vector_size(32), aligned(1), may_alias));
  const Index size = bytes;
  if (size < 32 || ENGRAM_THREAD_SANITIZER != 0) {  // which does not see accesses of 32 bytes
    std::memcpy(to, from, static_cast<std::size_t>(size));
    return;
  }
  ENGRAM_UNROLL(8)
  for (Index b = 0; b + 32 <= size; b += 32)
    *reinterpret_cast<Register*>(to + b) = *reinterpret_cast<const Register*>(from + b);
  if (size % 32 != 0)
    *reinterpret_cast<Register*>(to + size - 32) =
        *reinterpret_cast<const Register*>(from + size - 32);
}

/// Asks for the lines of a row that begins with one.
template <class Bytes>
ENGRAM_ALWAYS_INLINE void prefetch_row(const std::byte* at, Bytes bytes) noexcept {
  const Index size = bytes;
  ENGRAM_UNROLL(8)
  for (Index b = 0; b < size; b += 64) __builtin_prefetch(at + b, 0, 2);
}

/// How many rows before its copy a row is looked up, and as many before that hashed. Measured for
/// rows of 264 bytes: 8 to 32 differ by less than other programs on the machine do.
inline constexpr Index scan_ahead = 16;

ENGRAM_BEGIN_LOOPS

/// Copies rows [begin, begin + n) that are there to their places and notes the others.
///
/// Bytes: of a row; a constant, for rows whose loops are worth it, or Index.
/// Returns n, or the first that is no row; then the rest means nothing.
template <class Tag, class Bytes>
Index scan_run(const CacheSets& shared, Index num_rows, const RowId* ids, Index begin, Index n,
               Bytes row_bytes, std::byte* out, CacheMisses& misses) noexcept {
  constexpr Index ahead = scan_ahead;
  constexpr Index ring = 2 * ahead;
  const CacheSets sets = shared;  // what is written may not alias a local
  const RowId* const rows = ids + begin;
  std::byte* const to = out + begin * row_bytes;
  std::uint32_t set_of[ring];
  Tag tag_of[ring];
  const std::byte* from_of[ring];
  const auto hash = [&](Index i) {
    const std::uint64_t y = sets.places.scrambled(rows[i]);
    const std::uint32_t set = sets.places.set_of(y);
    set_of[i % ring] = set;
    tag_of[i % ring] = cache_tag<Tag>(y);
    __builtin_prefetch(sets.tags + Index{set} * words_of_tags<Tag>, 0, 3);
    return static_cast<std::uint64_t>(to_integer(rows[i])) < static_cast<std::uint64_t>(num_rows);
  };
  const auto look_up = [&](Index i) {
    const std::uint32_t set = set_of[i % ring];
    std::uint64_t* const words = sets.tags + Index{set} * words_of_tags<Tag>;
    const int way = find_way<Tag>(words, tag_of[i % ring]);
    if (way < 0) [[unlikely]] {
      from_of[i % ring] = nullptr;
      add_miss(misses, rows[i], begin + i);
      return;
    }
    const std::byte* const from = sets.row(set, way);
    from_of[i % ring] = from;
    prefetch_row(from, row_bytes);
    touch_way<Tag>(words, way);
  };
  const auto copy = [&](Index i) {
    if (const std::byte* const from = from_of[i % ring]; from != nullptr) [[likely]]
      copy_slot(to + i * row_bytes, from, row_bytes);
  };
  for (Index i = 0; i < 2 * ahead && i < n; ++i)
    if (!hash(i)) return i;
  for (Index i = 0; i < ahead && i < n; ++i) look_up(i);
  Index i = 0;
  for (; i + 2 * ahead < n; ++i) {
    if (!hash(i + 2 * ahead)) [[unlikely]]
      return i + 2 * ahead;
    look_up(i + ahead);
    copy(i);
  }
  for (; i < n; ++i) {
    if (i + ahead < n) look_up(i + ahead);
    copy(i);
  }
  return n;
}

/// Looks up rows [at, n), copies those that are there to their places and notes the others, until
/// all are done or there is hardly room for notes. The caller has entered the epoch.
///
/// at      moved on; the rows before it are copied or noted.
/// Status  bad_row (index: its place); then `at` means nothing.
template <class Tag>
Status scan_rows(const CacheSets& sets, Index num_rows, View<const RowId, 1> ids, std::byte* to,
                 CacheMisses& misses, Index& at) noexcept {
  constexpr Index worth_a_run = 64;
  while (at < ids.size()) {
    const Index left = ids.size() - at;
    const Index room = misses.capacity - misses.num_places;
    const Index n = left < room ? left : room;
    if (n < left && n < worth_a_run && misses.num_places > 0) break;
    const Index good =
        sets.row_bytes == 264  // DeepSeek-V4.1's
            ? scan_run<Tag>(sets, num_rows, ids.data(), at, n, std::integral_constant<Index, 264>(),
                            to, misses)
            : scan_run<Tag>(sets, num_rows, ids.data(), at, n, sets.row_bytes, to, misses);
    if (good < n) return {Code::bad_row, 0, at + good};
    at += n;
  }
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
