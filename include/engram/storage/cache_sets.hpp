// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The sets of a cache: 16 rows each, their tags in 32 (or 64) bytes that one probe compares at
// once, their bytes elsewhere. Any thread may look; one at a time changes them, while others look.

#include <engram/storage/cache_epochs.hpp>
#include <engram/storage/cache_places.hpp>

#include <cstddef>
#include <cstring>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

inline constexpr int cache_ways = 16;

/// What only the thread that changes a set needs of it.
struct CacheSetRecord {
  std::uint64_t stamp = 0;     ///< the epoch in which a way was last emptied
  std::uint16_t pinned = 0;    ///< ways that stay
  std::uint16_t reserved = 0;  ///< ways that the change in progress will fill
  std::uint16_t hand = 0;      ///< where the search for a victim goes on
};

/// The arrays of the sets; refers to the cache's memory. Way w of set s holds its row's bytes at
/// payload + (16 s + w) * stride, always.
///
/// A tag is its highest bit, which says that the way holds a row, the next one, which says that the
/// row was read since the hand passed, and the low bits of the row's scrambled id. Valid and tag
/// are one store, so no reader sees one without the other; and what a hit needs of a set is one
/// cache line. Narrow tags are std::uint16_t, wide ones std::uint32_t; no two ways of a set have
/// the same.
struct CacheSets {
  CachePlaces places;
  std::uint64_t* tags = nullptr;  ///< [sets, 4 or 8], 64-byte aligned; atomic
  CacheSetRecord* records = nullptr;
  std::byte* payload = nullptr;
  Index stride = 0;
  Index row_bytes = 0;  ///< codes and scales
  bool wide = false;

  ENGRAM_ALWAYS_INLINE std::byte* row(std::uint32_t set, int way) const noexcept {
    return payload + (Index{set} * cache_ways + way) * stride;
  }
};

/// Of a tag of this type: rows that it can tell apart, its two flags, and how many 64-bit words the
/// tags of a set are.
template <class Tag>
inline constexpr std::uint64_t tag_values = std::uint64_t{1} << (8 * sizeof(Tag) - 2);
template <class Tag>
inline constexpr std::uint64_t tag_valid = 2 * tag_values<Tag>;
template <class Tag>
inline constexpr std::uint64_t tag_touched = tag_values<Tag>;
template <class Tag>
inline constexpr int words_of_tags = cache_ways* static_cast<int>(sizeof(Tag)) / 8;

template <class Tag>
ENGRAM_ALWAYS_INLINE Tag cache_tag(std::uint64_t y) noexcept {
  return static_cast<Tag>((y & (tag_values<Tag> - 1)) | tag_valid<Tag>);
}

/// Where in its word a way's tag begins.
template <class Tag>
ENGRAM_ALWAYS_INLINE int tag_shift(int way) noexcept {
  return way * 8 * static_cast<int>(sizeof(Tag)) % 64;
}
template <class Tag>
ENGRAM_ALWAYS_INLINE int tag_word(int way) noexcept {
  return way * static_cast<int>(sizeof(Tag)) / 8;
}

/// The way of a set's tags that is `tag`, touched or not, or -1. Plain 64-bit words: each is xored
/// with the tag, and in a word that has a zero part then, the lowest such part is found exactly. As
/// at most one way is equal, no other word has any.
///
/// Sequentially consistent loads: CacheEpochs says what for.
template <class Tag>
ENGRAM_ALWAYS_INLINE int find_way_by_words(const std::uint64_t* words, Tag tag) noexcept {
  constexpr int part = 8 * sizeof(Tag);
  constexpr int count = words_of_tags<Tag>;
  constexpr std::uint64_t ones = ~std::uint64_t{0} / static_cast<Tag>(~Tag{0});
  constexpr std::uint64_t highs = ones << (part - 1);
  std::uint64_t found = 0;  // word i's parts, their highest bits moved to bit part - count + i
  ENGRAM_UNROLL(8)
  for (int i = 0; i < count; ++i) {
    const std::uint64_t word = __atomic_load_n(words + i, __ATOMIC_SEQ_CST);
    const std::uint64_t v = (word & ~(tag_touched<Tag> * ones)) ^ tag * ones;
    found |= ((v - ones) & ~v & highs) >> (count - 1 - i);
  }
  if (found == 0) return -1;
  const int bit = __builtin_ctzll(found);
  return (bit % part - (part - count)) * (64 / part) + bit / part;
}

/// The same.
template <class Tag>
ENGRAM_ALWAYS_INLINE int find_way(const std::uint64_t* words, Tag tag) noexcept {
#if defined(__SSE2__) && !ENGRAM_THREAD_SANITIZER
  // Loads of 16 bytes. To C++ they are plain, and volatile keeps the compiler from making something
  // else of them. On x86 an aligned load of that size is not torn within a 64-bit word, later loads
  // do not pass it, and the store of CacheEpochs::enter() is a full barrier.
  typedef short Shorts __attribute__((vector_size(16)));
  typedef char Flags __attribute__((vector_size(16)));
  typedef std::conditional_t<sizeof(Tag) == 2, short, int> Lane;
  typedef Lane Lanes __attribute__((vector_size(16)));
  typedef Lanes AliasingLanes __attribute__((may_alias));
  constexpr Lane keep = static_cast<Lane>(~tag_touched<Tag>);
  const Lanes wanted = static_cast<Lane>(tag) - Lanes{};
  Lanes equal[words_of_tags<Tag> / 2];
  ENGRAM_UNROLL(4)
  for (int i = 0; i < words_of_tags<Tag> / 2; ++i) {
    const Lanes tags = reinterpret_cast<const volatile AliasingLanes*>(words)[i];
    equal[i] = (tags & keep) == wanted;
  }
  __atomic_signal_fence(__ATOMIC_ACQUIRE);
  Flags ways;
  if constexpr (sizeof(Tag) == 2) {
    ways = __builtin_ia32_packsswb128(equal[0], equal[1]);
  } else {
    const Shorts low = __builtin_ia32_packssdw128(equal[0], equal[1]);
    const Shorts high = __builtin_ia32_packssdw128(equal[2], equal[3]);
    ways = __builtin_ia32_packsswb128(low, high);
  }
  const int mask = __builtin_ia32_pmovmskb128(ways);
  return mask == 0 ? -1 : __builtin_ctz(static_cast<unsigned>(mask));
#else
  return find_way_by_words(words, tag);
#endif
}

/// Notes that a way was read; stored only when it is news, so that a hot row's line stays shared.
template <class Tag>
ENGRAM_ALWAYS_INLINE void touch_way(std::uint64_t* words, int way) noexcept {
  const std::uint64_t flag = tag_touched<Tag> << tag_shift<Tag>(way);
  std::uint64_t* const word = words + tag_word<Tag>(way);
  if ((__atomic_load_n(word, __ATOMIC_RELAXED) & flag) == 0) [[unlikely]]
    __atomic_fetch_or(word, flag, __ATOMIC_RELAXED);
}

ENGRAM_BEGIN_LOOPS

/// The way that holds the row, or -1.
inline int way_of(const CacheSets& sets, std::uint64_t y) noexcept {
  const Index set = sets.places.set_of(y);
  return sets.wide
             ? find_way(sets.tags + set * words_of_tags<std::uint32_t>, cache_tag<std::uint32_t>(y))
             : find_way(sets.tags + set * words_of_tags<std::uint16_t>,
                        cache_tag<std::uint16_t>(y));
}

/// Changes one tag; 0 empties the way. In two steps, because readers may touch its neighbours and
/// itself meanwhile; a flag that comes late only makes the next row look read.
template <class Tag>
void set_tag(const CacheSets& sets, std::uint32_t set, int way, Tag tag) noexcept {
  std::uint64_t* const word = sets.tags + Index{set} * words_of_tags<Tag> + tag_word<Tag>(way);
  const std::uint64_t all = std::uint64_t{static_cast<Tag>(~Tag{0})} << tag_shift<Tag>(way);
  __atomic_fetch_and(word, ~all, __ATOMIC_SEQ_CST);
  if (tag != 0)
    __atomic_fetch_or(word, std::uint64_t{tag} << tag_shift<Tag>(way), __ATOMIC_SEQ_CST);
}

inline void empty_way(const CacheSets& sets, std::uint32_t set, int way) noexcept {
  if (sets.wide)
    set_tag<std::uint32_t>(sets, set, way, 0);
  else
    set_tag<std::uint16_t>(sets, set, way, 0);
}

/// Makes the row whose bytes were written to the way visible.
inline void publish_way(const CacheSets& sets, std::uint32_t set, int way,
                        std::uint64_t y) noexcept {
  if (sets.wide)
    set_tag(sets, set, way, cache_tag<std::uint32_t>(y));
  else
    set_tag(sets, set, way, cache_tag<std::uint16_t>(y));
}

/// Of a set: its ways that hold rows, and those of them that were touched.
struct WaysInUse {
  unsigned valid = 0;
  unsigned touched = 0;
};

template <class Tag>
WaysInUse ways_in_use(const CacheSets& sets, std::uint32_t set) noexcept {
  const std::uint64_t* const words = sets.tags + Index{set} * words_of_tags<Tag>;
  WaysInUse ways;
  for (int w = 0; w < cache_ways; ++w) {
    const std::uint64_t tag =
        __atomic_load_n(words + tag_word<Tag>(w), __ATOMIC_RELAXED) >> tag_shift<Tag>(w);
    ways.valid |= ((tag & tag_valid<Tag>) != 0 ? 1U : 0U) << w;
    ways.touched |= ((tag & tag_touched<Tag>) != 0 ? 1U : 0U) << w;
  }
  return ways;
}

inline WaysInUse ways_in_use(const CacheSets& sets, std::uint32_t set) noexcept {
  return sets.wide ? ways_in_use<std::uint32_t>(sets, set) : ways_in_use<std::uint16_t>(sets, set);
}

/// Takes the touched flags of these ways away.
template <class Tag>
void forget_touches(const CacheSets& sets, std::uint32_t set, unsigned ways) noexcept {
  for (int w = 0; w < cache_ways; ++w)
    if ((ways >> w & 1U) != 0)
      __atomic_fetch_and(sets.tags + Index{set} * words_of_tags<Tag> + tag_word<Tag>(w),
                         ~(tag_touched<Tag> << tag_shift<Tag>(w)), __ATOMIC_RELAXED);
}

/// Which way of a set the next row gets, reserved for it, or -1; `emptied` says whether it held
/// another one, which is gone. A way without a row first; else, from the hand on, the first of the
/// rows not pinned that was not read since the hand last passed.
inline int reserve_way(const CacheSets& sets, const CacheEpochs& epochs, std::uint32_t set,
                       bool& emptied) noexcept {
  CacheSetRecord& record = sets.records[set];
  const WaysInUse in_use = ways_in_use(sets, set);
  emptied = false;
  int way = -1;
  if (const unsigned free = ~(in_use.valid | record.reserved) & 0xFFFFU; free != 0) {
    way = __builtin_ctz(free);
  } else {
    const unsigned candidates =
        in_use.valid & ~unsigned{record.pinned} & ~unsigned{record.reserved};
    if (candidates == 0) return -1;
    unsigned passed = 0;
    while (way < 0) {
      const unsigned at = record.hand++ % unsigned{cache_ways};
      const bool waits = (in_use.touched & ~passed) >> at & 1U;
      if ((candidates >> at & 1U) != 0 && !waits) way = static_cast<int>(at);
      passed |= 1U << at;
    }
    if (sets.wide)
      forget_touches<std::uint32_t>(sets, set, passed & in_use.touched);
    else
      forget_touches<std::uint16_t>(sets, set, passed & in_use.touched);
    empty_way(sets, set, way);
    record.stamp = epochs.current();
    emptied = true;
  }
  record.reserved = static_cast<std::uint16_t>(record.reserved | 1U << way);
  return way;
}

/// Empties all sets, pinned rows too.
inline void empty_sets(const CacheSets& sets, const CacheEpochs& epochs) noexcept {
  const auto count = static_cast<std::uint32_t>(sets.places.sets);
  for (std::uint32_t set = 0; set < count; ++set) {
    const unsigned in_use = ways_in_use(sets, set).valid;
    for (int w = 0; w < cache_ways; ++w)
      if ((in_use >> w & 1U) != 0) empty_way(sets, set, w);
    sets.records[set].pinned = 0;
    sets.records[set].stamp = epochs.current();
  }
  epochs.advance();
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
