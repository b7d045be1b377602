// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How fetched rows enter a cache while other threads read it. First all ways that they will have
// are emptied, then the epoch advances once, then the bytes are written and the tags published.

#include <engram/storage/cache_misses.hpp>
#include <engram/storage/cache_sets.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What happened in a cache so far.
struct CacheChanges {
  Index inserted = 0;  ///< rows that entered
  Index evicted = 0;   ///< rows that had to go for them
  Index pinned = 0;    ///< rows that stay
  Index delayed = 0;   ///< rows that did not enter, as another thread was still copying the old one
};

ENGRAM_BEGIN_LOOPS

ENGRAM_ALWAYS_INLINE void pause_briefly() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Enters the fetched rows whose misses.ways is not -1. By the one thread that changes the cache.
///
/// pin  they stay, those that are there already too; waits for readers that are copying an old row
///      where a new one goes. Otherwise such a way stays empty until the next row comes.
/// Returns how many rows found no way, because all 16 of their set are pinned or were just taken.
inline Index insert_rows(const CacheSets& sets, const CacheEpochs& epochs, CacheMisses& misses,
                         bool pin, CacheChanges& changes) noexcept {
  const auto pin_way = [&](CacheSetRecord& record, int way) {
    changes.pinned += (record.pinned >> way & 1) == 0 ? 1 : 0;
    record.pinned = static_cast<std::uint16_t>(record.pinned | 1U << way);
  };
  Index refused = 0;
  Index evicted = 0;
  for (Index i = 0; i < misses.num_rows; ++i) {
    std::int8_t& way = misses.ways[i];
    if (way < 0) continue;
    const std::uint64_t y = sets.places.scrambled(misses.rows[i]);
    const std::uint32_t set = sets.places.set_of(y);
    if (const int there = way_of(sets, y); there >= 0) {
      if (pin) pin_way(sets.records[set], there);
      way = -1;
      continue;
    }
    bool emptied = false;
    way = static_cast<std::int8_t>(reserve_way(sets, epochs, set, emptied));
    evicted += emptied ? 1 : 0;
    refused += way < 0 ? 1 : 0;
  }
  if (evicted > 0) epochs.advance();
  changes.evicted += evicted;

  std::uint64_t oldest = epochs.oldest();
  for (Index i = 0; i < misses.num_rows; ++i) {
    const int way = misses.ways[i];
    if (way < 0) continue;
    const std::uint64_t y = sets.places.scrambled(misses.rows[i]);
    const std::uint32_t set = sets.places.set_of(y);
    CacheSetRecord& record = sets.records[set];
    record.reserved = static_cast<std::uint16_t>(record.reserved & ~(1U << way));
    for (; pin && record.stamp >= oldest; oldest = epochs.oldest()) pause_briefly();
    if (record.stamp >= oldest) {
      ++changes.delayed;
      continue;
    }
    std::memcpy(sets.row(set, way), misses.bytes + i * sets.row_bytes,
                static_cast<std::size_t>(sets.row_bytes));
    if (pin) pin_way(record, way);
    publish_way(sets, set, way, y);
    ++changes.inserted;
  }
  return refused;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
