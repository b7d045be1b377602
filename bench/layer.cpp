// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A layer of the paper's shape, row ids to the new hidden state, on one core: 16 rows of 80 floats
// a token (M 1280), four branches of width 2560, a table of a million rows. Baseline in the same
// run, taken in turns: Eigen's product of the same elements with all weights as one matrix, which
// is the arithmetic that any such layer needs. Needs Eigen (Debian: libeigen3-dev, headers in
// /usr/include/eigen3).

#include <engram/addressing/multipliers.hpp>
#include <engram/codec/plain.hpp>
#include <engram/eigen/projection.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/storage/host_store.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

namespace {

using namespace engram;

constexpr Index num_rows = 1000000;
constexpr Index row_width = 80;
constexpr Index columns = 16;
constexpr Index inputs = columns * row_width;
constexpr Index width = 2560;
constexpr Index branches = 4;
constexpr Index outputs = (branches + 1) * width;
constexpr Index most_tokens = 512;
constexpr Index batches = 16;
constexpr Index taps = 4;
constexpr Index dilation = 3;

/// Floats in [-scale, scale), on large pages, in place before anything is timed.
struct Floats {
  HostMemory memory;
  explicit Floats(Index count, float scale = 1) : memory(HostMemory::make(count * 4).value()) {
    std::uint64_t z = static_cast<std::uint64_t>(count);
    for (Index i = 0; i < count; ++i) {
      z = splitmix64(z);
      data()[i] = static_cast<float>(static_cast<std::int64_t>(z) >> 40) * 0x1p-23f * scale;
    }
  }
  float* data() { return reinterpret_cast<float*>(memory.data()); }
};

struct Model {
  Floats weights{outputs * inputs, 0.03f};
  Floats gain{branches * width};
  Floats conv_gain{branches * width};
  Floats conv{taps * branches * width, 0.5f};
  Floats hidden{most_tokens * branches * width};
  Floats out{most_tokens * branches * width};
  Floats elements{most_tokens * inputs};  // of the baseline
  Floats product{most_tokens * outputs};
  Table<HostStore, F32Codec> table = make_table();
  std::vector<std::int32_t> rows;

  Model() {
    std::uint64_t z = 1;
    for (Index i = 0; i < batches * most_tokens * columns; ++i) {
      z = splitmix64(z);
      const double u = static_cast<double>(z >> 11) * 0x1p-53;
      const auto rank = static_cast<std::uint64_t>(std::pow(static_cast<double>(num_rows), u));
      rows.push_back(static_cast<std::int32_t>(splitmix64(rank) % num_rows));
    }
  }
  static Table<HostStore, F32Codec> make_table() {
    HostStore store = HostStore::make(num_rows, row_width * 4).value();
    Floats values(row_width * 64);
    for (Index row = 0; row < num_rows; ++row)
      std::memcpy(store.mutable_ref()(row).codes, values.data() + row % 64 * row_width,
                  row_width * 4);
    return Table<HostStore, F32Codec>::make(std::move(store), F32Codec(), row_width).value();
  }
};

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void forward(benchmark::State& state) {
  static Model model;
  const Index tokens = state.range(0);
  const bool with_conv = state.range(1) != 0;
  const EigenProjection projection =
      EigenProjection::make(
          fused_weights(View<const float, 2>(model.weights.data(), outputs, inputs), branches))
          .value();
  FusionWeights weights;
  weights.gain = View<const float, 2>(model.gain.data(), branches, width);
  if (with_conv) {
    weights.conv_gain = View<const float, 2>(model.conv_gain.data(), branches, width);
    weights.conv = View<const float, 3>(model.conv.data(), taps, branches, width);
  }
  FusionConfig config;
  config.dilation = dilation;
  const EngramLayer layer(model.table, projection, weights, config);
  HostMemory workspace = HostMemory::make(layer.workspace_bytes(tokens)).value();
  std::vector<float> conv_state(static_cast<std::size_t>(layer.conv_state_size()));
  FusionOptions options;
  if (with_conv) options.conv_state = View<float, 2>(conv_state.data(), 1, layer.conv_state_size());
  const View<const float, 3> hidden(model.hidden.data(), tokens, branches, width);
  const View<float, 3> out(model.out.data(), tokens, branches, width);

  const auto elements = as_matrix(View<const float, 2>(model.elements.data(), tokens, inputs));
  const auto matrix = as_matrix(View<const float, 2>(model.weights.data(), outputs, inputs));
  auto product = as_matrix(View<float, 2>(model.product.data(), tokens, outputs));
  const auto one = as_vector(View<const float, 1>(model.elements.data(), inputs));
  auto one_product = as_vector(View<float, 1>(model.product.data(), outputs));

  Index batch = 0;
  std::vector<double> ratios;
  std::vector<double> products;
  for (auto _ : state) {
    const double start = seconds();
    if (tokens == 1)
      one_product.noalias() = matrix * one;
    else
      product.noalias() = elements * matrix.transpose();
    benchmark::ClobberMemory();
    const double middle = seconds();
    const View<const std::int32_t, 2> rows(model.rows.data() + batch * most_tokens * columns,
                                           tokens, columns);
    if (!layer.forward(rows, hidden, out, workspace.bytes(), options).ok()) std::abort();
    benchmark::ClobberMemory();
    const double end = seconds();
    state.SetIterationTime(end - middle);
    ratios.push_back((end - middle) / (middle - start));
    products.push_back(middle - start);
    batch = (batch + 1) % batches;
  }
  state.counters["times_product"] = median(ratios);
  state.counters["product_ms"] = median(products) * 1e3;
}
BENCHMARK(forward)
    ->ArgNames({"tokens", "conv"})
    ->ArgsProduct({{512}, {0, 1}})
    ->UseManualTime()
    ->Iterations(15)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(forward)
    ->ArgNames({"tokens", "conv"})
    ->ArgsProduct({{1}, {0, 1}})
    ->UseManualTime()
    ->Iterations(301)
    ->Unit(benchmark::kMillisecond);

}  // namespace
