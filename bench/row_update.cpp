// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The rows' side of a training step on one core: gradients of 65,536 places that read a table of 4
// million rows of 64 floats (1 GiB), row ids as words are, sorted, summed by row and applied. The
// baseline in the same run, taken in turns, is the same step as a plain program would write it: a
// hash map from row to sum, then a loop over the map. `copy` is the limit: the gradients read once
// in the order of their rows, the distinct rows read and written, nothing computed or sorted.
// bench/peers/sparse_adam.py is PyTorch at the same step.

#include <engram/addressing/multipliers.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/training/row_gradient.hpp>
#include <engram/training/row_update.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <unordered_map>
#include <vector>

namespace {

using namespace engram;
using FloatTable = Table<HostStore, F32Codec>;

constexpr Index num_rows = Index{4} << 20;
constexpr Index width = 64;
constexpr Index columns = 8;
constexpr Index tokens = 8192;
constexpr Index count = tokens * columns;
constexpr Index batches = 8;

/// Rank r with probability proportional to 1 / r, ranks scattered over the table.
std::vector<std::int32_t> draw_rows() {
  std::vector<double> cumulative(static_cast<std::size_t>(num_rows));
  double sum = 0;
  for (Index r = 0; r < num_rows; ++r)
    cumulative[static_cast<std::size_t>(r)] = sum += 1 / static_cast<double>(r + 1);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(batches * count));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double u = static_cast<double>(splitmix64(i) >> 11) * 0x1p-53 * sum;
    const auto rank =
        std::lower_bound(cumulative.begin(), cumulative.end(), u) - cumulative.begin();
    rows[i] = static_cast<std::int32_t>(splitmix64(static_cast<std::uint64_t>(rank) + 77) %
                                        static_cast<std::uint64_t>(num_rows));
  }
  return rows;
}

/// Floats on large pages, in place before anything is timed.
struct Floats {
  HostMemory memory;
  explicit Floats(Index n) : memory(HostMemory::make(n * 4).value()) {
    std::memset(memory.data(), 0, static_cast<std::size_t>(n * 4));
  }
  float* data() { return reinterpret_cast<float*>(memory.data()); }
};

struct Bench {
  FloatTable table =
      FloatTable::make(HostStore::make(num_rows, 4 * width).value(), {}, width).value();
  std::vector<std::int32_t> rows = draw_rows();
  Floats gradients{count * width};
  Floats sums{count * width};
  std::vector<std::int32_t> unique = std::vector<std::int32_t>(static_cast<std::size_t>(count));
  std::vector<std::byte> workspace =
      std::vector<std::byte>(static_cast<std::size_t>(row_gradient_workspace_bytes(count, width)));

  Bench() {
    for (Index row = 0; row < num_rows; ++row)
      std::memset(table.store().mutable_ref()(row).codes, 1, 4 * width);
    for (Index i = 0; i < count * width; ++i)
      gradients.data()[i] =
          static_cast<float>(static_cast<std::int64_t>(splitmix64(static_cast<std::uint64_t>(i))) >>
                             40) *
          0x1p-23f;
  }
};

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// The plain program's step with row-wise Adagrad.
void plain_step(Bench& b, const std::int32_t* rows, View<float, 2> state) {
  std::unordered_map<std::int32_t, std::vector<float>> by_row;
  for (Index i = 0; i < count; ++i) {
    std::vector<float>& sum = by_row[rows[i]];
    sum.resize(width);
    for (Index d = 0; d < width; ++d)
      sum[static_cast<std::size_t>(d)] += b.gradients.data()[i * width + d];
  }
  for (const auto& [row, sum] : by_row) {
    auto* const to = reinterpret_cast<float*>(b.table.store().mutable_ref()(row).codes);
    float squares = 0;
    for (const float x : sum) squares += x * x;
    state(row, 0) += squares / width;
    const float scale = 0.01f / (std::sqrt(state(row, 0)) + 1e-8f);
    for (Index d = 0; d < width; ++d) to[d] -= scale * sum[static_cast<std::size_t>(d)];
  }
}

/// The memory's part of the step, for the order of rows that a sort has found.
void copy_step(Bench& b, const SortedRows& sorted) {
  Index last = -1;
  float* to = nullptr;
  for (Index i = 0; i < sorted.count; ++i) {
    if (i + 24 < sorted.count) {
      const float* const next = b.gradients.data() + sorted.position(i + 24) * width;
      auto* const row = b.table.store().mutable_ref()(sorted.row(i + 24)).codes;
      for (Index d = 0; d < width; d += 16) {
        __builtin_prefetch(next + d, 0, 2);
        __builtin_prefetch(row + 4 * d, 0, 2);
      }
    }
    const float* const from = b.gradients.data() + sorted.position(i) * width;
    if (sorted.row(i) != last) {
      last = sorted.row(i);
      to = reinterpret_cast<float*>(b.table.store().mutable_ref()(last).codes);
    }
    for (Index d = 0; d < width; ++d) to[d] += from[d];
  }
}

template <class Optimizer>
void update(benchmark::State& state) {
  static const auto bench = std::make_unique<Bench>();
  Bench& b = *bench;
  const Optimizer optimizer;
  const Index per_row = optimizer.state_width(width);
  Floats kept(num_rows * std::max<Index>(per_row, 1));
  const View<float, 2> optimizer_state(kept.data(), num_rows, per_row);
  std::vector<float> plain_state(static_cast<std::size_t>(num_rows));
  std::vector<std::byte> sorting(row_sort_workspace_bytes(count));

  Index batch = 0;
  RowGradients<std::int32_t> found;
  std::vector<double> ours, plain, copies;
  for (auto _ : state) {
    const std::int32_t* const rows = b.rows.data() + batch * count;
    const View<const std::int32_t, 2> ids(rows, tokens, columns);
    Workspace sort_memory{View<std::byte, 1>(sorting)};
    SortedRows sorted;
    if (!sort_rows(ids, num_rows, sorted, sort_memory).ok()) std::abort();
    const double start = seconds();
    copy_step(b, sorted);
    benchmark::ClobberMemory();
    const double first = seconds();
    plain_step(b, rows, View<float, 2>(plain_state.data(), num_rows, 1));
    benchmark::ClobberMemory();
    const double second = seconds();
    if (!reduce_row_gradients(
             ids, View<const float, 2>(b.gradients.data(), tokens, columns * width), num_rows,
             View<std::int32_t, 1>(b.unique), View<float, 2>(b.sums.data(), count, width), found,
             View<std::byte, 1>(b.workspace))
             .ok() ||
        !update_rows(b.table, found, optimizer_state, optimizer, RowStep{.rate = 0.01f}).ok())
      std::abort();
    benchmark::ClobberMemory();
    const double third = seconds();
    state.SetIterationTime(third - second);
    ours.push_back(third - second);
    plain.push_back(second - first);
    copies.push_back(first - start);
    batch = (batch + 1) % batches;
  }
  state.counters["million_a_second"] = static_cast<double>(count) / median(ours) / 1e6;
  state.counters["times_plain"] = median(plain) / median(ours);
  state.counters["of_copy"] = median(copies) / median(ours);
  state.counters["unique"] = static_cast<double>(found.rows.size());
}
BENCHMARK(update<RowAdagrad>)->UseManualTime()->Iterations(41)->Unit(benchmark::kMillisecond);
BENCHMARK(update<LazyAdam>)->UseManualTime()->Iterations(41)->Unit(benchmark::kMillisecond);
BENCHMARK(update<Sgd>)->UseManualTime()->Iterations(41)->Unit(benchmark::kMillisecond);

}  // namespace
