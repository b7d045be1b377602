// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A row cache without a GPU: its memory in vectors, its warps as threads, what comes out held
// against the base. For the unit test and, compiled with ThreadSanitizer, for tests/tsan/.

#include "threaded_warp.hpp"

#include <engram/cuda/cached_rows.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/host_store.hpp>

#include <elements.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace threaded_cache {

using namespace engram;

using elements::at;
using elements::poisoned;

struct HostAtomics {
  using Ref = std::atomic_ref<std::uint64_t>;

  static std::uint64_t add(std::uint64_t* word, std::uint64_t n) {
    return Ref(*word).fetch_add(n, std::memory_order_acq_rel);
  }
  static std::uint64_t compare_exchange(std::uint64_t* word, std::uint64_t expected,
                                        std::uint64_t desired) {
    (void)Ref(*word).compare_exchange_strong(expected, desired, std::memory_order_acq_rel,
                                             std::memory_order_acquire);
    return expected;
  }
  static std::uint64_t load_acquire(const std::uint64_t* word) {
    return Ref(*const_cast<std::uint64_t*>(word)).load(std::memory_order_acquire);
  }
  static void store_release(std::uint64_t* word, std::uint64_t x) {
    Ref(*word).store(x, std::memory_order_release);
  }
};

/// A warp of one thread, for many warps at the same time.
struct OneThread : SerialLanes {
  using Words = std::array<SlotWord, RowSlots::ways>;

  template <class Atomics>
  static Words load_set(const std::uint64_t* words) {
    Words found;
    for (std::size_t w = 0; w < found.size(); ++w) found[w] = {Atomics::load_acquire(words + w)};
    return found;
  }
  template <class Rank>
  static std::uint32_t largest(const Words& words, const Rank& rank) {
    std::uint32_t best = 0;
    for (int way = 0; way < RowSlots::ways; ++way) best = std::max(best, rank(words[at(way)], way));
    return best;
  }
  static SlotWord word(const Words& words, int way) { return words[at(way)]; }
  template <class F>
  static bool once(const F& f) {
    return f();
  }
  static std::uint64_t from_first(std::uint64_t x) { return x; }
  static bool is_first() { return true; }
};

/// A warp of 32 threads.
struct ManyThreads : CacheLanes<ThreadedWarp> {
  static std::uint64_t from_first(std::uint64_t x) { return ThreadedWarp::from_lane(x, 0); }
  static bool is_first() { return ThreadedWarp::lane() == 0; }
};

struct Cache {
  static constexpr std::byte poison{0xEE};

  std::vector<std::uint64_t> words;
  std::vector<std::byte> payload;
  std::uint64_t clock = 0;
  RowCacheCounts counts;
  RowSlots slots;

  Cache(Index sets, const HostStore& base) : Cache(sets, base.num_rows(), base) {}
  Cache(Index sets, Index num_rows, const HostStore& base) {
    slots.stride = device_stride(base.row_bytes() + base.scale_bytes());
    words.assign(at(sets * RowSlots::ways), 0);
    payload.assign(words.size() * at(slots.stride), poison);
    slots.places = cache_places(num_rows, sets);
    slots.words = words.data();
    slots.payload = payload.data();
    slots.row_bytes = base.row_bytes();
    slots.scale_bytes = base.scale_bytes();
    slots.clock = &clock;
    slots.counts = &counts;
  }
  void set_batch(std::uint64_t batch) { clock = batch << 24; }
  std::uint64_t batch() const { return clock >> 24; }
};

/// A call's share of one warp, as gather_through_cache() runs it.
template <class Lanes, class Atomics = HostAtomics, class Ref, class Codec, class Out>
void run_share(Cache& cache, const Ref& base, const Codec& codec, View<const int, 2> rows,
               Index num_rows, Index width, View<Out, 2> out, Reports errors, int warp, int warps) {
  std::uint64_t batch = 0;
  if (Lanes::is_first()) batch = enter_batch<HostAtomics>(cache.slots.clock);
  batch = Lanes::from_first(batch);
  RowCacheCounts counts;
  using Rows = CachedRows<Lanes, Atomics, Ref>;
  const GatherRowBody<Rows, Codec, int, Out, Reports> body{
      {cache.slots, base, batch, &counts}, codec, rows, num_rows, width, out, errors};
  for (Index item = warp; item < rows.size(); item += warps) body(Lanes(), item);
  (void)Lanes::from_first(0);  // all lanes are done
  if (!Lanes::is_first()) return;
  HostAtomics::add(&cache.counts.hits, counts.hits);
  HostAtomics::add(&cache.counts.misses, counts.misses);
  HostAtomics::add(&cache.counts.uncached, counts.uncached);
  leave_batch<HostAtomics>(cache.slots.clock);
}

template <class Codec>
HostStore random_table(const Codec& codec, Index rows, Index width, std::uint64_t seed,
                       Index stride = 0) {
  HostStoreOptions options;
  options.stride = stride;
  HostStore store =
      HostStore::make(rows, codec.code_bytes(width), codec.scale_bytes(width), options).value();
  Random random(seed);
  for (Index row = 0; row < rows; ++row) {
    const MutableRowBytes to = store.mutable_ref()(row);
    for (Index b = 0; b < store.row_bytes(); ++b)
      to.codes[b] = static_cast<std::byte>(random.bits());
    for (Index b = 0; b < store.scale_bytes(); ++b)
      to.scales[b] = static_cast<std::byte>(random.bits());
  }
  return store;
}

inline std::vector<int> zipf_ids(Index count, Index rows, Random& random) {
  std::vector<int> ids;
  for (Index i = 0; i < count; ++i)
    ids.push_back(random.below(30) == 0 ? -1 : static_cast<int>(random.zipf(rows)));
  return ids;
}

/// How many ids' rows differ from the base's.
template <class Out, class Codec>
Index wrong_rows(const HostStore& base, const Codec& codec, Index width,
                 const std::vector<int>& ids, const std::vector<Out>& found) {
  Index wrong = 0;
  std::vector<Out> expected(at(width));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::fill(expected.begin(), expected.end(), Out{});
    if (ids[i] >= 0 && ids[i] < base.num_rows())
      decode_row(HostLanes<16>(), codec, base.ref()(ids[i]), width, expected.data());
    wrong += std::memcmp(static_cast<const void*>(expected.data()), &found[i * at(width)],
                         at(width) * sizeof(Out)) != 0;
  }
  return wrong;
}

/// Threads that make calls of their own on one small cache, and wait for nobody. Empty when every
/// row was right and all have left their batches.
template <class Codec>
std::string overlapping_calls(const Codec& codec, Index width, int threads, int calls) {
  constexpr Index count = 20;
  const HostStore base = random_table(codec, 3000, width, 4);
  Cache cache(4, base);
  std::atomic<Index> wrong = 0;
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      Random random(static_cast<std::uint64_t>(100 + t));
      Reports::Found found;
      for (int call = 0; call < calls; ++call) {
        const std::vector<int> ids = zipf_ids(count, 3000, random);
        std::vector<Bf16> out = poisoned<Bf16>(count * width);
        run_share<OneThread>(cache, base.ref(), codec, View<const int, 2>(ids.data(), count, 1),
                             base.num_rows(), width, View<Bf16, 2>(out.data(), count, width),
                             Reports{&found}, 0, 1);
        wrong += wrong_rows(base, codec, width, ids, out);
      }
    });
  for (std::thread& thread : all) thread.join();
  const auto most = static_cast<std::uint64_t>(threads * calls);
  if (wrong != 0) return sentence({wrong.load(), " rows are not the base's"});
  if (cache.clock % (1U << 24) != 0) return "somebody is still in a batch";
  if (cache.batch() == 0 || cache.batch() > most)
    return sentence({"the batch is ", cache.batch(), " after ", most, " calls"});
  if (cache.counts.hits < 5 * most)
    return sentence({"only ", cache.counts.hits, " hits in ", most, " calls"});
  return {};
}

}  // namespace threaded_cache
