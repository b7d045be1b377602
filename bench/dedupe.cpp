// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The dedupe plan of 65,536 row ids of one V4.1 layer on one core. Baselines in the same run:
// sorting and uniquing with the standard library, and one pass that only copies the ids.

#include <engram/engram.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

using namespace engram;

constexpr Index tokens = 2731;  // * 24 columns = 65,544 ids
constexpr Index count = tokens * 24;

struct Batch {
  Index num_rows = 0;
  std::vector<Index> rows = std::vector<Index>(static_cast<std::size_t>(count));

  Batch() {
    const Layout layout =
        make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value();
    const auto front = make_front_end(layout, IdentityCompressor(99092)).value();
    num_rows = front.num_rows(0);
    std::vector<std::int32_t> ids;
    std::uint64_t z = 1;
    for (Index t = 0; t < tokens; ++t) {
      z = splitmix64(z);
      const double u = static_cast<double>(z >> 11) * 0x1p-53;
      ids.push_back(static_cast<std::int32_t>(std::pow(99092.0, u)) - 1);
    }
    std::vector<Index> both(static_cast<std::size_t>(2 * count));
    const View<Index, 3> view(both.data(), tokens, 2, 24);
    NgramState state = front.initial_state();
    if (!front.address(ids, state, view).ok()) std::abort();
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < 24; ++c) rows[static_cast<std::size_t>(t * 24 + c)] = view(t, 0, c);
  }
};

void count_ids(benchmark::State& state) {
  state.counters["ids"] =
      benchmark::Counter(static_cast<double>(count * static_cast<Index>(state.iterations())),
                         benchmark::Counter::kIsRate);
}

void plan(benchmark::State& state) {
  const Batch batch;
  std::vector<Index> unique(static_cast<std::size_t>(count));
  std::vector<std::int32_t> scatter(static_cast<std::size_t>(count));
  std::vector<std::byte> workspace(dedupe_workspace_bytes(count));
  Index found = 0;
  for (auto _ : state) {
    const Status status = plan_dedupe(
        View<const Index, 2>(batch.rows.data(), tokens, 24), batch.num_rows, View<Index, 1>(unique),
        View<std::int32_t, 1>(scatter), found, View<std::byte, 1>(workspace));
    if (!status.ok()) state.SkipWithError("plan_dedupe failed");
    benchmark::ClobberMemory();
  }
  count_ids(state);
  state.counters["unique"] = static_cast<double>(found);
}
BENCHMARK(plan);

/// Baseline: std::sort of (row, position) pairs, then the same pass.
void plan_with_std_sort(benchmark::State& state) {
  const Batch batch;
  std::vector<std::pair<Index, std::int32_t>> pairs(static_cast<std::size_t>(count));
  std::vector<Index> unique;
  std::vector<std::int32_t> scatter(static_cast<std::size_t>(count));
  for (auto _ : state) {
    for (std::size_t i = 0; i < pairs.size(); ++i)
      pairs[i] = {batch.rows[i], static_cast<std::int32_t>(i)};
    std::sort(pairs.begin(), pairs.end());
    unique.clear();
    for (const auto& [row, position] : pairs) {
      if (unique.empty() || unique.back() != row) unique.push_back(row);
      scatter[static_cast<std::size_t>(position)] = static_cast<std::int32_t>(unique.size() - 1);
    }
    benchmark::ClobberMemory();
  }
  count_ids(state);
}
BENCHMARK(plan_with_std_sort);

/// Floor: one read and one write of the ids; the plan makes about eight such passes.
void copy_of_the_ids(benchmark::State& state) {
  const Batch batch;
  std::vector<Index> to(batch.rows.size());
  for (auto _ : state) {
    std::memcpy(to.data(), batch.rows.data(), to.size() * sizeof(Index));
    benchmark::ClobberMemory();
  }
  count_ids(state);
}
BENCHMARK(copy_of_the_ids);

}  // namespace

BENCHMARK_MAIN();
