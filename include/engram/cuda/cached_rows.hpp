// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where a row's bytes are read: in its slot of the cache, or in the table below, from where they
// also come into a slot. A warp looks at a set together. Nobody waits for anybody: who finds a slot
// in another warp's hands reads the table.

#include <engram/cuda/gather_body.hpp>
#include <engram/cuda/row_slots.hpp>
#include <engram/cuda/warp_lanes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// WarpLanes that also look at the words of a set, lane l at way l. The other half of the
/// warp takes no part: it might see words that changed meanwhile, and the warp must agree.
///
/// Warp: as for WarpLanes; and `std::uint64_t from_lane(std::uint64_t x, int lane)`, what that lane
/// gave; `void sync()`, behind which all lanes see what each did before it.
template <class Warp>
struct CacheLanes : WarpLanes<Warp> {
  /// One word for each way: this thread's.
  struct SetWords {
    SlotWord own;
  };

  ENGRAM_ANY_LANES
  template <class Atomics>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static SetWords load_set(const std::uint64_t* words) noexcept {
    const int lane = Warp::lane();
    return {SlotWord{lane < RowSlots::ways ? Atomics::load_acquire(words + lane) : 0}};
  }
  /// The largest rank(word, way), in every lane.
  ENGRAM_ANY_LANES
  template <class Rank>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static std::uint32_t largest(const SetWords& words,
                                                              const Rank& rank) noexcept {
    const int lane = Warp::lane();
    std::uint64_t best = lane < RowSlots::ways ? rank(words.own, lane) : 0;
    for (int half = WarpLanes<Warp>::width / 2; half > 0; half /= 2) {
      const std::uint64_t other = Warp::from_lane(best, lane ^ half);
      best = other > best ? other : best;
    }
    return static_cast<std::uint32_t>(best);
  }
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static SlotWord word(const SetWords& words, int way) noexcept {
    return {Warp::from_lane(words.own.bits, way)};
  }
  /// What f() says in one lane, which sees what all did before; all see what it did.
  ENGRAM_ANY_LANES
  template <class F>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static bool once(const F& f) noexcept {
    std::uint64_t yes = 0;
    Warp::sync();
    if (Warp::lane() == 0) yes = f() ? 1 : 0;
    yes = Warp::from_lane(yes, 0);
    Warp::sync();
    return yes != 0;
  }
};

/// Row id -> its bytes, which stay as they are while the calling warp is in `batch`: what
/// GatherRowBody takes for a store's ref(). All lanes call it together, with a row of the base.
///
/// Order in memory. A row's bytes are written by the one warp whose compare_exchange took the slot,
/// and read by those who saw `ready` behind them: stored with release after once() had all lanes'
/// writes before it, loaded with acquire before once() let all lanes go on. They are written again
/// only once the slot is taken again, which needs a stamp of an earlier batch; who read the bytes
/// before had put its own batch's stamp there, and has left that batch (leave_batch()).
///
/// Cost of a hit: 128 bytes of words and the row read from the GPU's memory, and 8 bytes exchanged
/// where it is the row's first in this batch. Of a miss: the words, the row once over the link,
/// written to the slot and read from there, 16 bytes exchanged. What is not put into the cache:
/// the words, and the row over the link by a warp that has one row on the way at a time.
template <class Lanes, class Atomics, class Ref>
struct CachedRows {
  RowSlots slots;
  Ref base;
  std::uint64_t batch;
  RowCacheCounts* counts;  ///< of the calling thread; all lanes count the same

  /// What a way is for a row, the best last.
  enum Level : std::uint32_t { stays, gives_way, is_empty, on_the_way, is_here };

  /// How good a way is: its level, the older the better where it gives way; and behind that the
  /// way, counted from one that the row says, so that rows of a set that come at the same time take
  /// different slots.
  ///
  /// A slot that the batch before used stays as well. The rows of a call that has more than the
  /// cache has slots would else push out what was going to be asked for later in the same call.
  struct Rank {
    static constexpr int level_shift = 27;
    Index row;
    std::uint64_t batch;

    ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint32_t operator()(SlotWord word, int way) const noexcept {
      const std::uint32_t age = word.age(batch);
      const Level level = word.holds(row)   ? (word.is_ready() ? is_here : on_the_way)
                          : word.is_empty() ? is_empty
                          : age >= 2        ? gives_way
                                            : stays;
      const auto turn =
          static_cast<std::uint32_t>(way - static_cast<int>(row % RowSlots::ways)) % RowSlots::ways;
      return std::uint32_t{level} << level_shift | (level == gives_way ? age << 4 : 0) | turn;
    }
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int way_of(std::uint32_t rank) const noexcept {
      return static_cast<int>((rank + static_cast<std::uint32_t>(row % RowSlots::ways)) %
                              RowSlots::ways);
    }
  };

  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE RowBytes operator()(Index row) const noexcept {
    const Index first = slots.first_slot(row);
    const auto words = Lanes::template load_set<Atomics>(slots.words + first);
    const Rank rank{row, batch};
    const std::uint32_t best = Lanes::largest(words, rank);
    const int way = rank.way_of(best);
    const SlotWord found = Lanes::word(words, way);
    const SlotWord mine = SlotWord::of(row, batch);
    const std::uint64_t filled = mine.bits | SlotWord::ready;
    std::uint64_t* const word = slots.words + first + way;
    const MutableRowBytes slot = slots.row(first + way);
    const std::uint32_t level = best >> Rank::level_shift;
    if (level == is_here) {
      if (Lanes::once([&] {
            if (found.bits == filled) return true;
            const std::uint64_t seen = Atomics::compare_exchange(word, found.bits, filled);
            return seen == found.bits || seen == filled;
          })) {
        ++counts->hits;
        return {slot.codes, slot.scales};
      }
    } else if (level == is_empty || level == gives_way) {
      if (Lanes::once([&] {
            return Atomics::compare_exchange(word, found.bits, mine.bits) == found.bits;
          })) {
        copy(base(row), slot);
        (void)Lanes::once([&] {
          Atomics::store_release(word, filled);
          return true;
        });
        ++counts->misses;
        return {slot.codes, slot.scales};
      }
    }
    ++counts->misses;
    ++counts->uncached;
    return base(row);
  }

 private:
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void copy(RowBytes from, MutableRowBytes to) const noexcept {
    if (from.scales == nullptr || from.scales == from.codes + slots.row_bytes) {
      Lanes::copy(to.codes, from.codes, slots.row_bytes + slots.scale_bytes);
    } else {
      Lanes::copy(to.codes, from.codes, slots.row_bytes);
      Lanes::copy(to.scales, from.scales, slots.scale_bytes);
    }
  }
};

ENGRAM_END_NAMESPACE
