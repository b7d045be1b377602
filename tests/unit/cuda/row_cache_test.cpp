// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A cache of rows as a GPU's warps use it, here with threads that race for its slots: what it gives
// are the base's rows, whoever wins; what it keeps, where one warp runs alone, is as described.
#include "threaded_cache.hpp"

#include <catch.hpp>
#include <engram/codec/fp8.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

using namespace engram;

namespace {

using namespace threaded_cache;

/// How many batches a stamp and a clock tell apart.
constexpr std::uint64_t stamps = std::uint64_t{1} << 23, batches = std::uint64_t{1} << 40;

/// HostAtomics whose next exchange of a slot's word comes too late: another warp was there.
struct LateAtomics : HostAtomics {
  static inline std::uint64_t other = 0;  ///< what that one left; 0: it comes in time

  static std::uint64_t compare_exchange(std::uint64_t* word, std::uint64_t expected,
                                        std::uint64_t desired) {
    if (other != 0) *word = other;
    other = 0;
    return HostAtomics::compare_exchange(word, expected, desired);
  }
};

/// One call by warps of a thread each, held against the base. Gives what it counted.
template <class Out, class Atomics = HostAtomics, class Codec>
RowCacheCounts call(Cache& cache, const HostStore& base, const Codec& codec, Index width,
                    const std::vector<int>& ids, int warps = 1) {
  const RowCacheCounts before = cache.counts;
  const auto count = static_cast<Index>(ids.size());
  std::vector<Out> out = poisoned<Out>(count * width);
  Reports::Found wrong;
  run_threads(warps, [&](int warp) {
    run_thread<Atomics>(cache, base, codec, width, ids, out, Reports{&wrong}, warp, warps);
  });
  CHECK(wrong_rows(base, codec, width, ids, out) == 0);
  CHECK(wrong.code == Code::ok);
  const RowCacheCounts counts{cache.counts.hits - before.hits, cache.counts.misses - before.misses,
                              cache.counts.uncached - before.uncached};
  CHECK(counts.hits + counts.misses ==
        static_cast<std::uint64_t>(count - std::count(ids.begin(), ids.end(), -1)));
  CHECK(counts.uncached <= counts.misses);
  return counts;
}

/// A table of small rows and a cache for tests that only count.
struct Small {
  static constexpr Index width = 8;

  HostStore base = random_table(F32Codec(), 300, width, 1);
  Cache cache;

  explicit Small(Index sets, std::uint64_t batch = 0) : cache(sets, base) {
    cache.set_batch(batch);
  }
  RowCacheCounts call(const std::vector<int>& ids) {
    return ::call<float>(cache, base, F32Codec(), width, ids);
  }
};

std::vector<int> ids_from(int first, int count) {
  std::vector<int> ids;
  for (int i = 0; i < count; ++i) ids.push_back(first + i);
  return ids;
}

bool is(const RowCacheCounts& counts, std::uint64_t hits, std::uint64_t misses,
        std::uint64_t uncached) {
  return counts.hits == hits && counts.misses == misses && counts.uncached == uncached;
}

/// Codes and scales in arrays of their own.
struct ApartRows {
  const std::byte* codes;
  const std::byte* scales;
  Index row_bytes, scale_bytes;

  RowBytes operator()(Index row) const {
    return {codes + row * row_bytes, scales + row * scale_bytes};
  }
};

}  // namespace

TEST_CASE("slot words: a row, whether it is there, and its age, which begins anew after 2^23") {
  for (const Index row : {Index{0}, Index{1}, Index{77}, SlotWord::most_rows - 1})
    for (const std::uint64_t batch :
         {std::uint64_t{0}, std::uint64_t{5}, stamps - 1, stamps, batches - 1}) {
      const SlotWord word = SlotWord::of(row, batch);
      CHECK_FALSE(word.is_empty());
      CHECK_FALSE(word.is_ready());
      CHECK(SlotWord{word.bits | SlotWord::ready}.is_ready());
      CHECK(SlotWord{word.bits | SlotWord::ready}.holds(row));
      CHECK_FALSE(word.holds(row == 0 ? 1 : row - 1));
      CHECK(word.age(batch) == 0);
      CHECK(word.age(batch + 3) == 3);
      CHECK(word.age(batch - 1) == stamps - 1);
      CHECK(word.age(batch + stamps) == 0);
    }
}

TEST_CASE("row cache: rows of warps that race for slots have the base's bits, call after call") {
  const auto check = [](const auto& codec, auto out, Index width, Index stride, Index sets) {
    INFO("width " << width << ", stride " << stride << ", " << sets << " sets");
    const HostStore base = random_table(codec, 3000, width, 2, stride);
    Cache cache(sets, base);
    Random random(3);
    std::uint64_t hits = 0;
    for (int batch = 0; batch < 40; ++batch)
      hits += call<decltype(out)>(cache, base, codec, width, zipf_ids(500, 3000, random), 4).hits;
    CHECK(hits > 500);
  };
  check(Fp8Codec(), Bf16(), 256, 264, 4);
  check(Fp8Codec(), float(), 64, 0, 4);
  check(Bf16Codec(), Bf16(), 128, 0, 4);
  check(Bf16Codec(), float(), 33, 67, 5);
  check(F32Codec(), float(), 16, 0, 1);
}

TEST_CASE("row cache: calls that overlap without waiting for each other have the base's bits") {
  CHECK(overlapping_calls(Fp8Codec(), 64, 4, 1500) == "");
}

TEST_CASE("row cache: warps of 32 threads look at a set and fill slots together") {
  const auto check = [](const auto& codec, auto out_type, Index width, bool apart) {
    using Out = decltype(out_type);
    constexpr Index count = 60;
    constexpr int warps = 3;
    const HostStore base = random_table(codec, 50, width, 5);
    std::vector<std::byte> codes, scales;
    for (Index row = 0; row < 50; ++row) {
      const RowBytes from = base.ref()(row);
      codes.insert(codes.end(), from.codes, from.codes + base.row_bytes());
      scales.insert(scales.end(), from.scales, from.scales + base.scale_bytes());
    }
    Cache cache(2, base);
    Random random(6);
    for (int turn = 0; turn < 5; ++turn) {
      std::vector<int> ids = zipf_ids(count, 50, random);
      std::vector<Out> out = poisoned<Out>(count * width);
      if (turn == 3) ids[17] = ids[40] = 50;
      Reports::Found wrong;
      Shared shared[warps];
      ThreadedWarp::run_warps(warps, [&](int warp) {
        const auto run = [&](const auto& ref) {
          run_share<ManyThreads>(cache, shared[warp], ref, codec,
                                 View<const int, 2>(ids.data(), count / 3, 3), base.num_rows(),
                                 width, View<Out, 2>(out.data(), count / 3, 3 * width),
                                 Reports{&wrong}, warp, warps);
        };
        if (apart)
          run(ApartRows{codes.data(), scales.data(), base.row_bytes(), base.scale_bytes()});
        else
          run(base.ref());
      });
      CHECK(wrong_rows(base, codec, width, ids, out) == 0);
      CHECK(wrong.code == (turn == 3 ? Code::bad_row : Code::ok));
      if (turn == 3) CHECK(wrong.index == 17);
    }
    CHECK(cache.counts.hits > 0);
    CHECK(cache.counts.misses > 0);
    CHECK(cache.batch() > 0);
  };
  check(Fp8Codec(), Bf16(), 96, false);
  check(Fp8Codec(), Bf16(), 64, true);
  check(Bf16Codec(), Bf16(), 128, false);
}

TEST_CASE("cache lanes: what one lane does for all sees what each did, and they what it did") {
  int values[32] = {};
  int sum = 0;
  std::atomic<int> wrong = 0;
  ThreadedWarp::run_warps(1, [&](int) {
    for (int turn = 1; turn <= 50; ++turn) {
      values[ThreadedWarp::lane()] = turn;
      const bool is_even = ManyThreads::once([&] {
        sum = 0;
        for (const int value : values) sum += value;
        return turn % 2 == 0;
      });
      wrong += sum != 32 * turn || is_even != (turn % 2 == 0);
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("row cache: what a call brought in is there for the next one") {
  Small small(2);
  const std::vector<int> ids = {5, 7, 5, -1, 7, 299, 5};
  CHECK(is(small.call(ids), 3, 3, 0));
  CHECK(is(small.call(ids), 6, 0, 0));
  // As many slots as rows of any set: all rows stay, whatever the order.
  Small all(32);
  CHECK(is(all.call(ids_from(0, 300)), 0, 300, 0));
  CHECK(is(all.call(ids_from(0, 300)), 300, 0, 0));
  // The same with warps that race: those that lost a slot get one in a later call.
  Small raced(32);
  for (int turn = 0; turn < 50; ++turn)
    (void)call<float>(raced.cache, raced.base, F32Codec(), Small::width, ids_from(0, 300), 4);
  CHECK(is(raced.call(ids_from(0, 300)), 300, 0, 0));
}

TEST_CASE("row cache: ids that are all the same are read once by one warp, and once by several") {
  Small small(1);
  const std::vector<int> same(1000, 42);
  CHECK(is(small.call(same), 999, 1, 0));
  Small raced(1);
  const RowCacheCounts counts =
      call<float>(raced.cache, raced.base, F32Codec(), Small::width, same, 4);
  CHECK(counts.misses - counts.uncached == 1);
  CHECK(is(raced.call(same), 1000, 0, 0));
}

TEST_CASE("row cache: a row gives way when two batches have passed without it, the oldest first") {
  for (const std::uint64_t begin : {std::uint64_t{0}, stamps - 4, batches - 4}) {
    INFO("from batch " << begin);
    Small small(1, begin);
    CHECK(is(small.call(ids_from(0, 40)), 0, 40, 24));   // more than slots: the first 16 stay
    CHECK(is(small.call(ids_from(16, 16)), 0, 16, 16));  // the call before used all
    CHECK(is(small.call(ids_from(16, 8)), 0, 8, 0));
    CHECK(is(small.call(ids_from(16, 8)), 8, 0, 0));
    // 8 of batch begin, 8 of begin + 3. Touch 4 of the old ones, then bring 4 in.
    std::vector<int> left;
    for (int row = 0; row < 16; ++row)
      for (const std::uint64_t word : small.cache.words)
        if (SlotWord{word}.holds(row)) left.push_back(row);
    REQUIRE(left.size() == 8);
    const std::vector<int> touched(left.begin(), left.begin() + 4);
    CHECK(is(small.call(touched), 4, 0, 0));
    CHECK(is(small.call(ids_from(100, 4)), 0, 4, 0));
    CHECK(is(small.call(touched), 4, 0, 0));
    CHECK(is(small.call(ids_from(16, 8)), 8, 0, 0));
    CHECK(is(small.call(ids_from(100, 4)), 4, 0, 0));
    CHECK(small.cache.batch() == (begin + 9) % batches);
  }
}

TEST_CASE("row cache: a row that nobody asked for in 2^23 batches is still the same row") {
  Small small(1, 7);
  CHECK(is(small.call(ids_from(0, 16)), 0, 16, 0));
  small.cache.set_batch(7 + stamps);
  CHECK(is(small.call(ids_from(50, 16)), 0, 16, 16));  // all look as if this batch had used them
  small.cache.set_batch(7 + stamps);
  CHECK(is(small.call(ids_from(0, 16)), 16, 0, 0));
  small.cache.set_batch(7 + stamps + 2);
  CHECK(is(small.call(ids_from(50, 16)), 0, 16, 0));
}

TEST_CASE("row cache: a slot in another warp's hands is left alone, and the row read below") {
  Small small(1, 9);
  const std::vector<int> row = {123};
  small.cache.words[3] = SlotWord::of(123, 9).bits;  // taken, its bytes are on the way
  const auto words = small.cache.words;
  CHECK(is(small.call(row), 0, 1, 1));
  CHECK(small.cache.words == words);
  CHECK(std::count(small.cache.payload.begin(), small.cache.payload.end(), Cache::poison) ==
        static_cast<Index>(small.cache.payload.size()));
  // All of a set: nothing is taken from anybody.
  small.cache.set_batch(9);
  for (int way = 0; way < 16; ++way) small.cache.words[at(way)] = SlotWord::of(way, 9).bits;
  CHECK(is(small.call(row), 0, 1, 1));
  // The row's bytes are there, and twice: both are the row.
  small.cache.set_batch(9);
  std::fill(small.cache.words.begin(), small.cache.words.end(), 0);
  CHECK(is(small.call(row), 0, 1, 0));
  const auto found = std::find_if(small.cache.words.begin(), small.cache.words.end(),
                                  [](std::uint64_t word) { return word != 0; });
  const std::uint64_t filled = *found;
  small.cache.set_batch(9);
  small.cache.words[at((found - small.cache.words.begin() + 1) % 16)] =
      filled & ~SlotWord::ready;  // the other is on the way
  CHECK(is(small.call(row), 1, 0, 0));
}

TEST_CASE("row cache: a slot that another warp changed between the look and the exchange") {
  const auto late = [](Small& small, std::uint64_t other) {
    LateAtomics::other = other;
    return call<float, LateAtomics>(small.cache, small.base, F32Codec(), Small::width, {5});
  };
  const auto slot_of_5 = [](Small& small) {
    Index slot = 0;
    while (!SlotWord{small.cache.words[at(slot)]}.holds(5)) ++slot;
    return slot;
  };
  {  // stamped it for the same row: a hit for both
    Small small(1);
    CHECK(is(small.call({5}), 0, 1, 0));
    CHECK(is(late(small, SlotWord::of(5, 1).bits | SlotWord::ready), 1, 0, 0));
  }
  for (const int other : {6, 5}) {  // took it for another row, or for this one anew
    Small small(1);
    CHECK(is(small.call({5}), 0, 1, 0));
    const Index slot = slot_of_5(small);
    std::memset(small.cache.slots.row(slot).codes, 0xEE, 4 * Small::width);  // is being written
    const std::uint64_t taken = SlotWord::of(other, 1).bits;
    CHECK(is(late(small, taken), 0, 1, 1));
    CHECK(small.cache.words[at(slot)] == taken);
  }
  {  // took the empty slot
    Small small(1);
    CHECK(is(late(small, SlotWord::of(6, 0).bits), 0, 1, 1));
    CHECK(std::count(small.cache.payload.begin(), small.cache.payload.end(), Cache::poison) ==
          static_cast<Index>(small.cache.payload.size()));
  }
}

TEST_CASE(
    "row cache: no row and ids that are none are zeros, and the first of the latter is told") {
  const auto check = [](const auto& codec, Index width) {
    const HostStore base = random_table(codec, 100, width, 7);
    Cache cache(2, base);
    std::vector<int> ids = {3, -1, 99, 100, 4, -2, 3, INT32_MAX, INT32_MIN};
    const auto count = static_cast<Index>(ids.size());
    for (int turn = 0; turn < 2; ++turn) {
      std::vector<float> out = poisoned<float>(count * width);
      Reports::Found wrong;
      run_thread(cache, base, codec, width, ids, out, Reports{&wrong});
      CHECK(wrong_rows(base, codec, width, ids, out) == 0);
      CHECK(wrong.code == Code::bad_row);
      CHECK(wrong.index == 3);
    }
    CHECK(is(cache.counts, 5, 3, 0));
  };
  check(F32Codec(), 16);
  check(Fp8Codec(), 64);
}

TEST_CASE("row cache: a base that was changed needs a cache that was emptied") {
  Small small(2);
  CHECK(is(small.call({1, 2, 3}), 0, 3, 0));
  const HostStore other = random_table(F32Codec(), 300, Small::width, 99);
  std::vector<float> out(at(Small::width));
  Reports::Found wrong;
  run_thread(small.cache, other, F32Codec(), Small::width, {2}, out, Reports{&wrong});
  CHECK(wrong_rows(small.base, F32Codec(), Small::width, {2}, out) == 0);  // as it was
  std::fill(small.cache.words.begin(), small.cache.words.end(), 0);        // RowCache::clear()
  CHECK(is(call<float>(small.cache, other, F32Codec(), Small::width, {1, 2, 3}), 0, 3, 0));
  CHECK(is(call<float>(small.cache, other, F32Codec(), Small::width, {1, 2, 3}), 3, 0, 0));
}

TEST_CASE("row cache: the last of 2^40 - 1 rows has a set and a word") {
  const HostStore base = random_table(F32Codec(), 1, 8, 8);
  const Cache cache(1000, SlotWord::most_rows, base);
  for (const Index row : {Index{0}, SlotWord::most_rows - 1}) {
    const Index slot = cache.slots.first_slot(row);
    CHECK(slot >= 0);
    CHECK(slot % 16 == 0);
    CHECK(slot < 16'000);
  }
}
