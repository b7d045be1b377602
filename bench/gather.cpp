// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Rows of floats gathered for 512 tokens of 16 columns from a table of 6 GiB on large pages, one
// core, rows drawn evenly and as words are. Baselines in the same run, taken in turns: reading the
// table from end to end, which is all that this core gets out of the memory, and a memcpy for each
// row. Times are processor time, so that another program on the core does not count.

#include <engram/addressing/multipliers.hpp>
#include <engram/codec/plain.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/table.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <ctime>
#include <memory>
#include <vector>

namespace {

using namespace engram;
using FloatTable = Table<HostStore, F32Codec>;

constexpr Index table_bytes = Index{6} << 30;
constexpr Index tokens = 512;
constexpr Index columns = 16;
constexpr Index rows_a_call = tokens * columns;
constexpr Index bytes_a_turn = Index{32} << 20;        // of rows, for each rival
constexpr Index bytes_in_sequence = Index{256} << 20;  // 41 turns read all of the table
constexpr Index bytes_of_ids = Index{512} << 20;       // of rows, before ids come again

/// The table of that many bytes a row; there is memory for one only. Each row begins with its id.
const FloatTable& table(Index row_bytes) {
  static std::unique_ptr<FloatTable> made;
  if (made == nullptr || made->store().row_bytes() != row_bytes) {
    made.reset();
    HostStore store = HostStore::make(table_bytes / row_bytes, row_bytes).value();
    for (Index row = 0; row < store.num_rows(); ++row) {
      const auto id = static_cast<std::int32_t>(row);
      std::memcpy(store.mutable_ref()(row).codes, &id, sizeof id);
    }
    made = std::make_unique<FloatTable>(
        FloatTable::make(std::move(store), F32Codec(), row_bytes / 4).value());
  }
  return *made;
}

/// Evenly, or as words are: then the probability of a row goes with 1 / its rank, and ranks are
/// scattered.
std::vector<std::int32_t> draw(Index num_rows, Index row_bytes, bool zipf) {
  const Index calls = std::max<Index>(1, bytes_of_ids / (rows_a_call * row_bytes));
  std::vector<std::int32_t> ids(static_cast<std::size_t>(calls * rows_a_call));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::uint64_t z = splitmix64(i);
    const double u = static_cast<double>(z >> 11) * 0x1p-53;
    const auto rank = static_cast<std::uint64_t>(std::pow(static_cast<double>(num_rows), u));
    ids[i] = static_cast<std::int32_t>((zipf ? splitmix64(rank) : z) %
                                       static_cast<std::uint64_t>(num_rows));
  }
  return ids;
}

/// Adds up 4 KiB, the item'th of them.
struct SumBody {
  const std::byte* data;
  std::uint32_t* sum;
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes&, Index item) const noexcept {
    typename Lanes::U32 part[4] = {};
    for (Index b = item * 4096; b < (item + 1) * 4096; b += 4 * Lanes::bytes)
      for (Index i = 0; i < 4; ++i) {
        typename Lanes::U32 v;
        __builtin_memcpy(&v, data + b + i * Lanes::bytes, sizeof v);
        part[i] += v;
      }
    part[0] += part[1] + part[2] + part[3];
    *sum += part[0][0];
  }
};

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void gather(benchmark::State& state) {
  const Index row_bytes = state.range(1);
  const FloatTable& rows = table(row_bytes);
  const std::vector<std::int32_t> ids = draw(rows.num_rows(), row_bytes, state.range(0) != 0);
  HostMemory memory = HostMemory::make(rows_a_call * row_bytes).value();
  const View<float, 2> out(reinterpret_cast<float*>(memory.data()), tokens,
                           columns * row_bytes / 4);
  const auto ref = rows.store().ref();
  const Index calls = static_cast<Index>(ids.size()) / rows_a_call;
  const Index calls_a_turn = std::max<Index>(1, bytes_a_turn / (rows_a_call * row_bytes));
  std::uint32_t sum = 0;

  const auto gathered = [&](const std::int32_t* id) {
    if (!rows.gather(View<const std::int32_t, 2>(id, tokens, columns), out).ok()) std::abort();
  };
  const auto copied = [&](const std::int32_t* id) {
    for (Index i = 0; i < rows_a_call; ++i)
      std::memcpy(memory.data() + i * row_bytes, ref(id[i]).codes,
                  static_cast<std::size_t>(row_bytes));
  };
  Index call = 0;
  /// Seconds of one turn, with ids not used lately.
  const auto turn = [&](auto work) {
    const double begin = seconds();
    for (Index k = 0; k < calls_a_turn; ++k, call = (call + 1) % calls) {
      work(ids.data() + call * rows_a_call);
      benchmark::ClobberMemory();
    }
    return seconds() - begin;
  };

  gathered(ids.data());
  for (Index i = 0; i < rows_a_call; ++i)
    if (std::memcmp(memory.data() + i * row_bytes, &ids[static_cast<std::size_t>(i)], 4) != 0)
      return state.SkipWithError("a row is not the one asked for");

  const auto rows_a_turn = static_cast<double>(calls_a_turn * rows_a_call);
  std::vector<double> own_seconds;
  std::vector<double> of_sequential;
  std::vector<double> times_memcpy;
  std::vector<double> sequential;
  Index at = 0;
  for (auto _ : state) {
    const double begin = seconds();
    CpuDevice().for_items(bytes_in_sequence / 4096, SumBody{ref.base + at, &sum});
    benchmark::DoNotOptimize(sum);
    const double read = static_cast<double>(bytes_in_sequence) / (seconds() - begin);
    at = (at + bytes_in_sequence) % table_bytes;
    turn(gathered);  // the caches are as a gather leaves them
    const double copy = turn(copied);
    const double own = turn(gathered);
    state.SetIterationTime(own);
    own_seconds.push_back(own);
    of_sequential.push_back(rows_a_turn * static_cast<double>(row_bytes) / own / read);
    times_memcpy.push_back(copy / own);
    sequential.push_back(read);
  }
  state.counters["rows"] = benchmark::Counter(rows_a_turn / median(own_seconds));
  state.counters["of_sequential"] = median(of_sequential);
  state.counters["times_memcpy"] = median(times_memcpy);
  state.counters["sequential_bytes"] = median(sequential);
}
BENCHMARK(gather)
    ->ArgNames({"zipf", "row_bytes"})
    ->ArgsProduct({{0, 1}, {128, 256, 512, 1024, 2560}})
    ->UseManualTime()
    ->Iterations(41)
    ->Unit(benchmark::kMillisecond);

}  // namespace
