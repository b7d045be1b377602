// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows of a batch that a cache has not: each once, to be fetched as one batch, and where in
// the caller's bytes each of them goes.

#include <engram/core/view.hpp>

#include <cstring>

ENGRAM_BEGIN_NAMESPACE

/// A place of the batch that waits for a fetched row.
struct MissPlace {
  Index position = 0;  ///< in the batch
  Index row = 0;       ///< which of the rows fetched
};

/// Refers to the reader's part of the cache's memory; each array has `capacity` elements but
/// `table`, a hash table of 2^table_bits, at least twice as many.
struct CacheMisses {
  RowId* rows = nullptr;  ///< distinct, in the order in which they were first met
  MissPlace* places = nullptr;
  std::uint32_t* table = nullptr;  ///< 1 + number of a row; 0: free
  std::int8_t* ways = nullptr;     ///< of each row: what to do with it, or the way it gets
  std::byte* bytes = nullptr;      ///< [capacity, row bytes] of the fetched rows
  Index capacity = 0;
  int table_bits = 0;
  Index num_rows = 0;
  Index num_places = 0;
};

ENGRAM_BEGIN_LOOPS

/// Notes that the row belongs at this position. Precondition: num_places < capacity.
inline void add_miss(CacheMisses& misses, RowId row, Index position) noexcept {
  const auto hash = static_cast<std::uint64_t>(to_integer(row)) * 0x9E3779B97F4A7C15;
  const std::uint64_t mask = (std::uint64_t{1} << misses.table_bits) - 1;
  std::uint64_t at = hash >> (64 - misses.table_bits);
  while (misses.table[at] != 0 && misses.rows[misses.table[at] - 1] != row) at = (at + 1) & mask;
  if (misses.table[at] == 0) {
    misses.rows[misses.num_rows++] = row;
    misses.table[at] = static_cast<std::uint32_t>(misses.num_rows);
  }
  misses.places[misses.num_places++] = {position, Index{misses.table[at]} - 1};
}

inline void clear_misses(CacheMisses& misses) noexcept {
  if (misses.num_rows > 0) std::memset(misses.table, 0, sizeof(std::uint32_t) << misses.table_bits);
  misses.num_rows = 0;
  misses.num_places = 0;
}

/// The fetched rows to every place that asked for them.
inline void spread_misses(const CacheMisses& misses, Index row_bytes, std::byte* to) noexcept {
  for (Index i = 0; i < misses.num_places; ++i)
    std::memcpy(to + misses.places[i].position * row_bytes,
                misses.bytes + misses.places[i].row * row_bytes,
                static_cast<std::size_t>(row_bytes));
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
