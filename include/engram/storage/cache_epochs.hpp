// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// When the memory of an evicted row may be written again: once every reader that may still be
// copying it has finished. Readers say since when they are copying, each in a cache line of its
// own; nobody waits for anybody and nothing is counted.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One reader's line: the epoch in which it began to copy, 0 while it does not.
struct alignas(64) EpochLine {
  std::uint64_t since = 0;
};

/// The lines of a cache's readers and the current epoch. Refers to them.
///
/// Why it is safe. A writer clears a tag (sequentially consistent), stamps it with the epoch s, and
/// advances the epoch to s + 1. It writes to the row's memory when oldest() > s. A reader enters
/// (sequentially consistent), then reads tags (sequentially consistent), copies and leaves. Take a
/// reader that found the tag before it was cleared.
///  * It did not enter with an epoch > s: reading that epoch synchronises with the advance, which
///    stands behind the clearing, so it would have found the tag cleared.
///  * So it says an epoch <= s, and the writer sees that: if oldest() read the line before the
///    reader entered, the clearing came before the entering in the one order of all sequentially
///    consistent operations, and the reader would have found the tag cleared.
///  * The writer sees it no more only when the reader has left, with a release that oldest()
///    acquires: the copy happened before the writing.
struct CacheEpochs {
  EpochLine* lines = nullptr;
  Index count = 0;
  EpochLine* now = nullptr;  ///< its `since` is the current epoch, at least 1

  ENGRAM_ALWAYS_INLINE void enter(Index reader) const noexcept {
    const std::uint64_t epoch = __atomic_load_n(&now->since, __ATOMIC_ACQUIRE);
    __atomic_store_n(&lines[reader].since, epoch, __ATOMIC_SEQ_CST);
  }
  ENGRAM_ALWAYS_INLINE void leave(Index reader) const noexcept {
    __atomic_store_n(&lines[reader].since, std::uint64_t{0}, __ATOMIC_RELEASE);
  }

  /// The epoch to stamp with. By the one writer that there is at a time, as advance().
  std::uint64_t current() const noexcept { return __atomic_load_n(&now->since, __ATOMIC_RELAXED); }
  void advance() const noexcept { __atomic_add_fetch(&now->since, 1, __ATOMIC_SEQ_CST); }

  /// The lowest epoch that a reader says; 2^64 - 1 when none is copying.
  ENGRAM_ALWAYS_INLINE std::uint64_t oldest() const noexcept {
    std::uint64_t lowest = UINT64_MAX;
    for (Index r = 0; r < count; ++r) {
      const std::uint64_t since = __atomic_load_n(&lines[r].since, __ATOMIC_SEQ_CST);
      if (since != 0 && since < lowest) lowest = since;
    }
    return lowest;
  }
};

ENGRAM_END_NAMESPACE
