// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a batch goes through a cache: what is there is copied at once, the rest is fetched from the
// base in one batch or, when it is more than a reader has room for, in several.

#include <engram/storage/cache_plan.hpp>
#include <engram/storage/cache_scan.hpp>
#include <engram/storage/row_ranges.hpp>
#include <engram/storage/store.hpp>

#include <chrono>

ENGRAM_BEGIN_NAMESPACE

/// What belongs to one reader. Lies in the cache's memory.
template <class Base>
struct alignas(64) CacheReaderState {
  using BaseReader = decltype(std::declval<const Base&>().reader());
  static_assert(alignof(BaseReader) <= 64, "engram: a reader's alignment is at most 64 bytes");

  alignas(BaseReader) std::byte room[sizeof(BaseReader)];
  BaseReader* reader = nullptr;
  std::uint64_t generation = 0;  ///< of the base, when the reader was made
  std::uint32_t taken = 0;       ///< atomic
  bool busy = false;             ///< a batch of the base is on its way
  Ticket base_ticket;
  Index number = 0;  ///< of the batch
  View<const RowId, 1> ids;
  std::byte* bytes = nullptr;
  Index at = 0;  ///< ids before this one are done or wait for the base
  CacheMisses misses;
  ReadCounters counters;
};

/// What all share. At the start of the cache's memory.
template <class Base>
struct alignas(64) CacheState {
  const Base* base = nullptr;
  Index num_rows = 0;
  Index codes = 0;
  Index scales = 0;
  Index max_readers = 0;
  RowRanges ranges;
  CacheSets sets;
  CacheEpochs epochs;
  CacheReaderState<Base>* readers = nullptr;
  EpochLine now;
  alignas(64) std::uint32_t changing = 0;  ///< atomic: a thread is changing the sets
  std::uint64_t generation = 0;            ///< atomic: of the base whose rows these are
  Index passed_by = 0;                     ///< atomic: rows that did not enter as it was taken
  CacheChanges changes;
  Index rows = 0;
};

ENGRAM_BEGIN_LOOPS

inline bool try_to_change(std::uint32_t& changing) noexcept {
  return __atomic_exchange_n(&changing, 1U, __ATOMIC_ACQUIRE) == 0;
}
inline void wait_to_change(std::uint32_t& changing) noexcept {
  while (!try_to_change(changing)) pause_briefly();
}
inline void end_change(std::uint32_t& changing) noexcept {
  __atomic_store_n(&changing, 0U, __ATOMIC_RELEASE);
}

template <class Base>
std::uint64_t generation_of(const Base& base) noexcept {
  if constexpr (HasGeneration<Base>)
    return base.generation();
  else
    return 0;
}

template <class Base>
void close_reader(CacheReaderState<Base>& state) noexcept {
  using BaseReader = typename CacheReaderState<Base>::BaseReader;
  if (state.reader != nullptr) state.reader->~BaseReader();
  state.reader = nullptr;
}

template <class Base>
void open_reader(const CacheState<Base>& cache, CacheReaderState<Base>& state) {
  using BaseReader = typename CacheReaderState<Base>::BaseReader;
  state.reader = ::new (static_cast<void*>(state.room)) BaseReader(cache.base->reader());
  state.generation = generation_of(*cache.base);
}

/// open_reader(), or out_of_memory; io for whatever else the base throws.
template <class Base>
Status try_to_open_reader(const CacheState<Base>& cache, CacheReaderState<Base>& state) noexcept {
#if ENGRAM_EXCEPTIONS
  try {
    open_reader(cache, state);
  } catch (const std::bad_alloc&) {
    return {Code::out_of_memory};
  } catch (...) {
    return {Code::io};
  }
#else
  open_reader(cache, state);
#endif
  return {};
}

/// Empties the cache when the base was opened again, and renews the reader. mismatch when the base
/// has rows of another size or number now.
template <class Base>
Status follow_base(CacheState<Base>& cache, CacheReaderState<Base>& state) noexcept {
  const std::uint64_t now = generation_of(*cache.base);
  // The base changed while no call ran, and no call looks into the sets before it was here: none
  // is copying an old row. Who finds the new number finds the sets emptied (release, acquire).
  if (__atomic_load_n(&cache.generation, __ATOMIC_ACQUIRE) != now) {
    if (cache.base->num_rows() != cache.num_rows || cache.base->row_bytes() != cache.codes ||
        cache.base->scale_bytes() != cache.scales)
      return {Code::mismatch};
    wait_to_change(cache.changing);
    if (cache.generation != now) {
      empty_sets(cache.sets, cache.epochs);
      cache.rows = 0;
      cache.changes.pinned = 0;
      __atomic_store_n(&cache.generation, now, __ATOMIC_RELEASE);
    }
    end_change(cache.changing);
  }
  if (state.generation == now && state.reader != nullptr) return {};
  close_reader(state);
  return try_to_open_reader(cache, state);
}

/// Ends the reader's batch.
template <class Base>
Status end_batch(CacheReaderState<Base>& state, Ticket& ticket, Status status) noexcept {
  clear_misses(state.misses);
  state.busy = false;
  state.counters.failed_batches += status.ok() ? 0 : 1;
  finish_ticket(ticket, status);
  return status;
}

/// Copies what is there, from state.at on, and notes what is not.
template <class Base>
Status scan_batch(const CacheState<Base>& cache, CacheReaderState<Base>& state) noexcept {
  const Index begin = state.at;
  const Index index = &state - cache.readers;
  CacheMisses& misses = state.misses;
  cache.epochs.enter(index);
  const Status status = cache.sets.wide
                            ? scan_rows<std::uint32_t>(cache.sets, cache.num_rows, state.ids,
                                                       state.bytes, misses, state.at)
                            : scan_rows<std::uint16_t>(cache.sets, cache.num_rows, state.ids,
                                                       state.bytes, misses, state.at);
  cache.epochs.leave(index);
  if (!status.ok()) return status;
  ReadCounters& counters = state.counters;
  const Index done = state.at - begin;
  counters.unique_rows += done - misses.num_places + misses.num_rows;
  count_orders(cache.ranges, state.ids.data() + begin, done, counters.hits);
  for (Index i = 0; i < misses.num_places; ++i) {
    const MissPlace place = misses.places[i];
    const RowRange& range = range_of(cache.ranges, to_integer(misses.rows[place.row]));
    --counters.hits[range.order];
    ++counters.misses[range.order];
    misses.ways[place.row] = range.admit ? 0 : -1;
  }
  return {};
}

/// A failed batch of the base, as the cache's reader says it: io and corrupt name a row's place
/// among the misses there, and in the batch here, whose first place is `begin`.
inline Status in_the_batch(const CacheMisses& misses, Status status, Index begin) noexcept {
  if (status.code != Code::io && status.code != Code::corrupt) return status;
  for (Index i = 0; i < misses.num_places; ++i)
    if (misses.places[i].row == status.index) {
      status.index = begin + misses.places[i].position;
      break;
    }
  return status;
}

/// What the base has fetched: to the caller and into the cache.
template <class Base>
Status take_misses(CacheState<Base>& cache, CacheReaderState<Base>& state, Status status) noexcept {
  CacheMisses& misses = state.misses;
  if (!status.ok()) return in_the_batch(misses, status, 0);
  if (generation_of(*cache.base) != state.generation) return {Code::mismatch};
  spread_misses(misses, cache.sets.row_bytes, state.bytes);
  Index wanted = 0;
  for (Index i = 0; i < misses.num_rows; ++i) wanted += misses.ways[i] >= 0 ? 1 : 0;
  if (wanted > 0 && try_to_change(cache.changing)) {
    const CacheChanges before = cache.changes;
    insert_rows(cache.sets, cache.epochs, misses, false, cache.changes);
    cache.rows += cache.changes.inserted - before.inserted;
    cache.rows -= cache.changes.evicted - before.evicted;
    end_change(cache.changing);
  } else {
    __atomic_add_fetch(&cache.passed_by, wanted, __ATOMIC_RELAXED);
  }
  clear_misses(misses);
  return {};
}

/// Goes on with the reader's batch until it is done or waits for the base.
template <class Base>
Status go_on(CacheState<Base>& cache, CacheReaderState<Base>& state, Ticket& ticket) noexcept {
  for (;;) {
    if (Status s = scan_batch(cache, state); !s.ok()) return end_batch(state, ticket, s);
    CacheMisses& misses = state.misses;
    if (misses.num_rows == 0) return end_batch(state, ticket, {});
    state.base_ticket = Ticket();
    const View<std::byte, 1> to(misses.bytes, misses.num_rows * cache.sets.row_bytes);
    Status s = state.reader->submit(View<const RowId, 1>(misses.rows, misses.num_rows), to,
                                    state.base_ticket);
    state.busy = s.ok() && state.base_ticket.id >= 0;
    if (state.busy) {
      ticket.id = state.number;
      return {};
    }
    if (s.ok()) s = state.base_ticket.status;
    if (s = take_misses(cache, state, s); !s.ok()) return end_batch(state, ticket, s);
  }
}

/// Waits for the base and goes on, until the batch is done (`all`) or waits for the base again.
template <class Base>
void wait_for_base(CacheState<Base>& cache, CacheReaderState<Base>& state, Ticket& ticket,
                   bool all) noexcept {
  do {
    const auto begin = std::chrono::steady_clock::now();
    const Status status = state.reader->wait(state.base_ticket);
    const auto time = std::chrono::steady_clock::now() - begin;
    state.counters.wait_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    state.busy = false;
    if (const Status s = take_misses(cache, state, status); !s.ok())
      (void)end_batch(state, ticket, s);
    else
      (void)go_on(cache, state, ticket);
  } while (all && state.busy);
}

/// Starts a batch of the reader, which has none.
template <class Base>
Status start_batch(CacheState<Base>& cache, CacheReaderState<Base>& state, View<const RowId, 1> ids,
                   View<std::byte, 1> bytes, Ticket& ticket) noexcept {
  ++state.counters.batches;
  state.counters.rows += ids.size();
  ++state.number;
  if (ids.size() > INT64_MAX / cache.sets.row_bytes ||
      bytes.size() != ids.size() * cache.sets.row_bytes)
    return end_batch(state, ticket, {Code::shape_mismatch, 0, ids.size() * cache.sets.row_bytes});
  if (Status s = follow_base(cache, state); !s.ok()) return end_batch(state, ticket, s);
  state.ids = ids;
  state.bytes = bytes.data();
  state.at = 0;
  return go_on(cache, state, ticket);
}

/// Pins rows of a list, from `begin` on and at most as many as the misses hold; adds to `refused`
/// those that found no way.
template <class Base>
Status pin_rows(CacheState<Base>& cache, CacheReaderState<Base>& state, View<const RowId, 1> list,
                Index begin, Index& refused) noexcept {
  CacheMisses& misses = state.misses;
  const View<const RowId, 1> rows =
      list.slice(begin, std::min(list.size() - begin, misses.capacity));
  // Those that are there are not read again. The lock keeps them there until they are pinned.
  wait_to_change(cache.changing);
  for (Index i = 0; i < rows.size(); ++i) {
    const std::uint64_t y = cache.sets.places.scrambled(rows(i));
    const int way = way_of(cache.sets, y);
    if (way < 0) {
      add_miss(misses, rows(i), i);
      continue;
    }
    std::uint16_t& pinned = cache.sets.records[cache.sets.places.set_of(y)].pinned;
    cache.changes.pinned += (pinned >> way & 1) == 0 ? 1 : 0;
    pinned = static_cast<std::uint16_t>(pinned | 1U << way);
  }
  end_change(cache.changing);
  if (misses.num_rows == 0) return {};

  Ticket ticket;
  const View<std::byte, 1> to(misses.bytes, misses.num_rows * cache.sets.row_bytes);
  Status status =
      state.reader->submit(View<const RowId, 1>(misses.rows, misses.num_rows), to, ticket);
  if (status.ok()) status = ticket.id >= 0 ? state.reader->wait(ticket) : ticket.status;
  if (status.ok()) {
    for (Index i = 0; i < misses.num_rows; ++i) misses.ways[i] = 0;
    wait_to_change(cache.changing);
    const CacheChanges before = cache.changes;
    refused += insert_rows(cache.sets, cache.epochs, misses, true, cache.changes);
    cache.rows += cache.changes.inserted - before.inserted;
    cache.rows -= cache.changes.evicted - before.evicted;
    end_change(cache.changing);
  }
  status = in_the_batch(misses, status, begin);
  clear_misses(misses);
  return status;
}

/// Lays a cache out in zeroed memory of plan.bytes bytes.
template <class Base>
CacheState<Base>* lay_out_cache(const Base& base, const CacheNeeds& needs, const CachePlan& plan,
                                const RowRanges& ranges, std::byte* memory) noexcept {
  auto* const cache = ::new (static_cast<void*>(memory)) CacheState<Base>();
  cache->base = &base;
  cache->num_rows = needs.num_rows;
  cache->codes = base.row_bytes();
  cache->scales = base.scale_bytes();
  cache->max_readers = needs.readers;
  cache->ranges = ranges;
  cache->generation = generation_of(base);
  cache->now.since = 1;
  cache->epochs = {reinterpret_cast<EpochLine*>(memory + plan.lines), needs.readers, &cache->now};
  CacheSets& sets = cache->sets;
  sets.places = cache_places(needs.num_rows, plan.sets);
  sets.tags = reinterpret_cast<std::uint64_t*>(memory + plan.tags);
  sets.records = reinterpret_cast<CacheSetRecord*>(memory + plan.records);
  sets.payload = memory + plan.payload;
  sets.stride = plan.stride;
  sets.row_bytes = needs.row_bytes;
  sets.wide = plan.wide;
  cache->readers = reinterpret_cast<CacheReaderState<Base>*>(memory + plan.readers);
  for (Index r = 0; r < needs.readers; ++r) {
    CacheMisses misses;
    misses.capacity = needs.miss_rows;
    misses.table_bits = plan.table_bits;
    std::byte* const at = memory + plan.misses + r * plan.misses_each;
    misses.rows = reinterpret_cast<RowId*>(at);
    misses.places =
        reinterpret_cast<MissPlace*>(at + end_of_array(0, needs.miss_rows, sizeof(RowId)));
    misses.table =
        reinterpret_cast<std::uint32_t*>(reinterpret_cast<std::byte*>(misses.places) +
                                         end_of_array(0, needs.miss_rows, sizeof(MissPlace)));
    misses.ways = reinterpret_cast<std::int8_t*>(
        reinterpret_cast<std::byte*>(misses.table) +
        end_of_array(0, Index{1} << plan.table_bits, sizeof(std::uint32_t)));
    misses.bytes = reinterpret_cast<std::byte*>(misses.ways) + end_of_array(0, needs.miss_rows, 1);
    ::new (static_cast<void*>(cache->readers + r)) CacheReaderState<Base>();
    cache->readers[r].misses = misses;
  }
  return cache;
}

ENGRAM_END_LOOPS

ENGRAM_END_NAMESPACE
