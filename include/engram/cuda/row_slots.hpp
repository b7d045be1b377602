// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The memory of a row cache as its kernels see it: a word for each slot, the rows' bytes apart from
// them, and a clock that says which batch it is. Any number of warps changes them at the same time,
// without a lock.

#include <engram/codec/row_bytes.hpp>
#include <engram/storage/cache_places.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What the calls of a cache counted, each place of their row ids that has a row.
struct RowCacheCounts {
  std::uint64_t hits = 0;      ///< rows read from the cache
  std::uint64_t misses = 0;    ///< rows read from the base
  std::uint64_t uncached = 0;  ///< of these, rows that this read did not bring into the cache
};

/// What a slot holds, in one word, so that nobody sees a part of it without the others: the row's
/// id plus 1, in 40 bits; whether the row's bytes are there; and the batch that last used it, in 23
/// bits. 0: an empty slot.
///
/// Batches are compared modulo 2^23. A row that nobody asked for in exactly that many is taken for
/// one of this batch and stays a little longer; nothing else comes of it.
struct SlotWord {
  static constexpr int row_bits = 40;
  static constexpr Index most_rows = (Index{1} << row_bits) - 1;
  static constexpr std::uint64_t ready = std::uint64_t{1} << row_bits;

  std::uint64_t bits = 0;

  ENGRAM_HD static constexpr SlotWord of(Index row, std::uint64_t batch) noexcept {
    return {(static_cast<std::uint64_t>(row) + 1) | batch << (row_bits + 1)};
  }
  ENGRAM_HD constexpr bool is_empty() const noexcept { return bits == 0; }
  ENGRAM_HD constexpr bool is_ready() const noexcept { return (bits & ready) != 0; }
  ENGRAM_HD constexpr bool holds(Index row) const noexcept {
    return (bits & (ready - 1)) == static_cast<std::uint64_t>(row) + 1;
  }
  /// How many batches ago it was used.
  ENGRAM_HD constexpr std::uint32_t age(std::uint64_t batch) const noexcept {
    constexpr std::uint64_t stamps = std::uint64_t{1} << (63 - row_bits);
    return static_cast<std::uint32_t>((batch - (bits >> (row_bits + 1))) & (stamps - 1));
  }
};

/// The arrays of a cache; refers to its memory. Trivially copyable.
struct RowSlots {
  static constexpr int ways = 16;

  CachePlaces places;
  std::uint64_t* words = nullptr;  ///< [sets, 16] SlotWord, at a multiple of 128 bytes; atomic
  std::byte* payload = nullptr;    ///< [sets * 16] rows, codes and then scales
  Index stride = 0;                ///< bytes from one slot's row to the next
  Index row_bytes = 0;
  Index scale_bytes = 0;
  std::uint64_t* clock = nullptr;  ///< atomic, see enter_batch()
  RowCacheCounts* counts = nullptr;

  /// Way 0 of a row's set.
  ENGRAM_HD Index first_slot(Index row) const noexcept {
    return Index{places.set_of(places.scrambled(RowId{row}))} * ways;
  }
  ENGRAM_HD MutableRowBytes row(Index slot) const noexcept {
    std::byte* const codes = payload + slot * stride;
    return {codes, scale_bytes == 0 ? nullptr : codes + row_bytes};
  }
};

/// Joins the batch of the moment, and gives its number. The number stays while anybody is in it:
/// whatever runs at the same time, of one call or of calls on several streams, is of one batch. So
/// a slot that has this batch's stamp is read by nobody who could not see that, and the slots of
/// batches before are read by nobody at all. That is what lets a slot be given away.
///
/// The clock is the batch in its upper 40 bits and, in the lower 24, how many are in it.
///
/// Atomics: `add(at, n)` and `compare_exchange(at, expected, desired)`, which give what was there,
/// acquire and release; `load_acquire(at)`; `store_release(at, x)`. For all threads of the GPU.
ENGRAM_ANY_LANES
template <class Atomics>
ENGRAM_HD std::uint64_t enter_batch(std::uint64_t* clock) noexcept {
  return Atomics::add(clock, 1) >> 24;
}

/// Leaves it; who leaves it empty moves the clock on, unless another came meanwhile. After
/// everything that the leaving threads did with slots.
///
/// All changes of the clock acquire and release: whoever joins a later batch sees what those of
/// earlier ones wrote, and writes after they read.
ENGRAM_ANY_LANES
template <class Atomics>
ENGRAM_HD void leave_batch(std::uint64_t* clock) noexcept {
  constexpr std::uint64_t next = std::uint64_t{1} << 24;
  const std::uint64_t now = Atomics::add(clock, ~std::uint64_t{0}) - 1;
  if (now % next == 0) (void)Atomics::compare_exchange(clock, now, now + next);
}

ENGRAM_END_NAMESPACE
