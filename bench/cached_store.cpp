// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Rows of 264 bytes that are all in the cache, one core, ids drawn evenly and as words are, in
// batches of 48, 512 and 32,768; a cache of 200,000 rows, whose tags the processor holds, and one
// of 5 million. Baselines in the same run, taken in turns: the same rows in an array at random
// places, with the same prefetching and the same copying (`bare`), or with memcpy (`memcpy`).
// Ratios are medians of the ratios of neighbouring turns, which are short, so that other programs
// disturb few.

#include <engram/core/splitmix.hpp>
#include <engram/storage/cached_store.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <vector>

namespace {

using namespace engram;

constexpr Index bytes_a_row = 264;
constexpr Index table_rows = 384'006'168;  // DeepSeek-V4.1's first table
constexpr Index rows_a_turn = Index{1} << 13;
constexpr Index ids_drawn = Index{1} << 23;
constexpr Index rows_ahead = 16;  // 32 is no faster
constexpr std::integral_constant<Index, bytes_a_row> row;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// A table whose rows repeat a number made of their id; can be told to fail.
struct NumberedRows {
  bool fails = false;
  struct Reader {
    const NumberedRows* store;
    Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket& ticket) {
      if (store->fails) return {Code::io};
      for (Index i = 0; i < rows.size(); ++i)
        for (Index b = 0; b < bytes_a_row; b += 8) {
          const std::uint64_t word = splitmix64(static_cast<std::uint64_t>(to_integer(rows(i)))) +
                                     static_cast<std::uint64_t>(b);
          std::memcpy(bytes.data() + i * bytes_a_row + b, &word, 8);
        }
      ticket.status = {};
      return {};
    }
    bool poll(Ticket&) { return true; }
    Status wait(Ticket& ticket) { return ticket.status; }
  };
  Index num_rows() const { return table_rows; }
  Index row_bytes() const { return bytes_a_row; }
  Index scale_bytes() const { return 0; }
  Reader reader() const { return {this}; }
};

using Cache = CachedStore<NumberedRows>;

/// A full cache and an array of the rows in it, at random places.
struct Rivals {
  NumberedRows base;
  std::unique_ptr<Cache> cache;
  std::unique_ptr<Cache::Reader> reader;
  std::vector<RowId> rows;  // in the cache
  Index stride = default_stride(bytes_a_row);
  HostMemory array;
  std::vector<std::int32_t> places;  // of these rows in the array

  explicit Rivals(Index capacity) {
    CacheOptions options;
    options.bytes = capacity * (stride + 6) + (Index{2} << 20);
    cache = std::make_unique<Cache>(Cache::make(base, options).value());
    reader = std::make_unique<Cache::Reader>(cache->reader());
    const Index wanted = cache->report().capacity_rows;
    std::vector<RowId> drawn;
    std::vector<std::byte> bytes(4096 * bytes_a_row);
    for (Index i = 0; i < 2 * wanted; ++i)
      drawn.push_back(RowId{static_cast<Index>(splitmix64(static_cast<std::uint64_t>(i)) %
                                               std::uint64_t{table_rows})});
    const auto read = [&](Index from, Index count) {
      Ticket ticket;
      return reader->submit(View<const RowId, 1>(drawn.data() + from, count),
                            View<std::byte, 1>(bytes.data(), count * bytes_a_row), ticket);
    };
    for (Index i = 0; i + 4096 <= 2 * wanted; i += 4096) (void)read(i, 4096);
    base.fails = true;  // from now on only rows that are there
    for (Index i = 0; i < 2 * wanted; ++i)
      if (read(i, 1).ok()) rows.push_back(drawn[at(i)]);
    const Index count = static_cast<Index>(rows.size());
    array = HostMemory::make(count * stride).value();
    for (Index i = 0; i < count; ++i) places.push_back(static_cast<std::int32_t>(i));
    for (Index i = count - 1; i > 0; --i)
      std::swap(
          places[at(i)],
          places[splitmix64(static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(i + 1)]);
    for (Index i = 0; i < count; ++i) {
      Ticket ticket;
      if (!reader
               ->submit(View<const RowId, 1>(&rows[at(i)], 1),
                        View<std::byte, 1>(array.data() + places[at(i)] * stride, bytes_a_row),
                        ticket)
               .ok())
        std::abort();
    }
  }
};

Rivals& rivals(Index capacity) {
  static std::unique_ptr<Rivals> made;
  static Index made_for = 0;
  if (made_for != capacity) {
    made.reset();
    made = std::make_unique<Rivals>(capacity);
    made_for = capacity;
  }
  return *made;
}

double seconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class Copy>
void gather_array(const std::byte* array, Index stride, const std::int32_t* places, Index n,
                  std::byte* to, Copy copy) {
  for (Index i = 0; i < n && i < rows_ahead; ++i) prefetch_row(array + places[i] * stride, row);
  for (Index i = 0; i < n; ++i) {
    if (i + rows_ahead < n) prefetch_row(array + places[i + rows_ahead] * stride, row);
    copy(to + i * bytes_a_row, array + places[i] * stride);
  }
}

void all_hits(benchmark::State& state) {
  Rivals& with = rivals(state.range(2));
  const bool zipf = state.range(1) != 0;
  const Index batch = state.range(0);
  const auto count = static_cast<Index>(with.rows.size());
  std::vector<RowId> rows;
  std::vector<std::int32_t> places;
  for (Index i = 0; i < ids_drawn; ++i) {
    const std::uint64_t z = splitmix64(static_cast<std::uint64_t>(i) + 99);
    const double u = static_cast<double>(z >> 11) * 0x1p-53;
    const Index rank = zipf ? static_cast<Index>(std::pow(static_cast<double>(count), u)) - 1
                            : static_cast<Index>(z % static_cast<std::uint64_t>(count));
    rows.push_back(with.rows[at(rank)]);
    places.push_back(with.places[at(rank)]);
  }
  HostMemory memory = HostMemory::make(batch * bytes_a_row).value();
  HostMemory other = HostMemory::make(batch * bytes_a_row).value();
  const auto cached = [&](Index from, Index n) {
    Ticket ticket;
    if (!with.reader
             ->submit(View<const RowId, 1>(rows.data() + from, n),
                      View<std::byte, 1>(memory.data(), n * bytes_a_row), ticket)
             .ok())
      std::abort();
  };
  const auto bare = [&](Index from, Index n) {
    gather_array(with.array.data(), with.stride, places.data() + from, n, other.data(),
                 [&](std::byte* to, const std::byte* at_row) { copy_slot(to, at_row, row); });
  };
  const auto called = [&](Index from, Index n) {
    gather_array(with.array.data(), with.stride, places.data() + from, n, other.data(),
                 [&](std::byte* to, const std::byte* at_row) {
                   std::memcpy(to, at_row, static_cast<std::size_t>(bytes_a_row));
                 });
  };
  cached(0, batch);
  bare(0, batch);
  if (std::memcmp(memory.data(), other.data(), at(batch * bytes_a_row)) != 0)
    return state.SkipWithError("a row is not the one asked for");

  Index next = 0;
  const Index calls = std::max<Index>(1, rows_a_turn / batch);
  const auto turn = [&](const auto& work) {
    const double begin = seconds();
    for (Index call = 0; call < calls; ++call) {
      if (next + batch > ids_drawn) next = 0;
      work(next, batch);
      next += batch;
      benchmark::ClobberMemory();
    }
    return seconds() - begin;
  };
  std::vector<double> own_seconds, of_bare, of_memcpy;
  for (auto _ : state) {
    const double before = turn(bare);
    const double own = turn(cached);
    const double after = turn(bare);
    const double again = turn(cached);
    const double call = turn(called);
    state.SetIterationTime(own);
    own_seconds.push_back(own);
    of_bare.push_back(own / before);
    of_bare.push_back(own / after);
    of_bare.push_back(again / after);
    of_memcpy.push_back(again / call);
  }
  const auto turn_rows = static_cast<double>(calls * batch);
  state.counters["rows"] = static_cast<double>(count);
  state.counters["ns_a_row"] = 1e9 * median(own_seconds) / turn_rows;
  state.counters["times_bare"] = median(of_bare);
  state.counters["times_memcpy"] = median(of_memcpy);
}
BENCHMARK(all_hits)
    ->ArgNames({"batch", "zipf", "rows"})  // the last one changes most slowly
    ->ArgsProduct({{48, 512, 32768}, {0, 1}, {200'000, 5'000'000}})
    ->UseManualTime()
    ->Iterations(201)
    ->Unit(benchmark::kMillisecond);

}  // namespace
