// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A row cache without a GPU: its memory in vectors, its warps as threads, what comes out held
// against the base. For the unit test and, compiled with ThreadSanitizer, for tests/tsan/.

#include "threaded_warp.hpp"

#include <engram/cuda/cached_gather_body.hpp>
#include <engram/storage/host_store.hpp>
#include <random_table.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

namespace threaded_cache {

using namespace engram;

using elements::at;
using elements::poisoned;
using random_tables::random_table;

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
  static constexpr int threads = 1;
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
};

/// A warp of 32 threads.
struct ManyThreads : CacheLanes<ThreadedWarp> {
  static constexpr int threads = 32;
};

/// Warps that are each a block of its own, as the threads of one see them.
template <class Lanes>
struct WarpGrid {
  static constexpr int threads = Lanes::threads, warps = 1;
  Index own, all;

  Index block() const { return own; }
  Index blocks() const { return all; }
  static int thread() { return threads == 1 ? 0 : ThreadedWarp::lane(); }
  static void sync_block() {
    if constexpr (threads > 1) ThreadedWarp::sync();
  }
};
using Shared = CachedGatherShared<1>;

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

/// A warp's share of a call, by its threads together.
template <class Lanes, class Atomics = HostAtomics, class Ref, class Codec, class Out>
void run_share(Cache& cache, Shared& shared, const Ref& base, const Codec& codec,
               View<const int, 2> rows, Index num_rows, Index width, View<Out, 2> out,
               Reports errors, int warp, int warps) {
  CachedGatherBody<Lanes, Atomics, Ref, Codec, int, Out, Reports>{
      cache.slots, base, codec, rows, num_rows, width, out, errors}(WarpGrid<Lanes>{warp, warps},
                                                                    shared);
}

/// The share of a warp of one thread.
template <class Atomics = HostAtomics, class Codec, class Out>
void run_thread(Cache& cache, const HostStore& base, const Codec& codec, Index width,
                const std::vector<int>& ids, std::vector<Out>& out, Reports errors, int warp = 0,
                int warps = 1) {
  Shared shared;
  const auto count = static_cast<Index>(ids.size());
  run_share<OneThread, Atomics>(cache, shared, base.ref(), codec,
                                View<const int, 2>(ids.data(), count, 1), base.num_rows(), width,
                                View<Out, 2>(out.data(), count, width), errors, warp, warps);
}

inline std::vector<int> zipf_ids(Index count, Index rows, Random& random) {
  return random_tables::zipf_ids<int>(count, rows, random, 30);
}

/// How many ids' rows differ from the base's.
template <class Out, class Codec>
Index wrong_rows(const HostStore& base, const Codec& codec, Index width,
                 const std::vector<int>& ids, const std::vector<Out>& found) {
  const std::vector<Out> expected = random_tables::expected_rows<Out>(base, codec, width, ids);
  Index wrong = 0;
  for (std::size_t i = 0; i < expected.size(); i += at(width))
    wrong += std::memcmp(static_cast<const void*>(&expected[i]), &found[i],
                         at(width) * sizeof(Out)) != 0;
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
  run_threads(threads, [&](int thread) {
    Random random(static_cast<std::uint64_t>(100 + thread));
    Reports::Found found;
    for (int call = 0; call < calls; ++call) {
      const std::vector<int> ids = zipf_ids(count, 3000, random);
      std::vector<Bf16> out = poisoned<Bf16>(count * width);
      run_thread(cache, base, codec, width, ids, out, Reports{&found});
      wrong += wrong_rows(base, codec, width, ids, out);
    }
  });
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
