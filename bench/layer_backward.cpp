// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Backward of a layer of the paper demo's shape, gradients of the hidden state, of every weight and
// of the rows with their reduction to unique rows, on one core: 16 rows of 64 floats a token
// (M 1024), four branches of width 1024, a table of a million rows, row ids as words are. Baseline
// in the same run, taken in turns: the layer's forward that keeps what backward needs. Forward has
// one product of weights and elements, backward two of that size. Needs Eigen (Debian:
// libeigen3-dev, headers in /usr/include/eigen3).

#include <engram/addressing/multipliers.hpp>
#include <engram/codec/plain.hpp>
#include <engram/eigen/projection.hpp>
#include <engram/eigen/projection_gradient.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/training/layer_training.hpp>
#include <engram/training/row_gradient.hpp>

#include <benchmark/benchmark.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

using namespace engram;

constexpr Index num_rows = 1000000;
constexpr Index row_width = 64;
constexpr Index columns = 16;
constexpr Index inputs = columns * row_width;
constexpr Index width = 1024;
constexpr Index branches = 4;
constexpr Index tokens = 512;
constexpr Index batches = 16;
constexpr Index taps = 4;

std::vector<float> numbers(Index count, float scale) {
  std::vector<float> made(static_cast<std::size_t>(count));
  std::uint64_t z = static_cast<std::uint64_t>(count);
  for (float& x : made) {
    z = splitmix64(z);
    x = static_cast<float>(static_cast<std::int64_t>(z) >> 40) * 0x1p-23f * scale;
  }
  return made;
}

std::vector<std::int32_t> draw_rows() {
  std::vector<std::int32_t> rows;
  std::uint64_t z = 1;
  for (Index i = 0; i < batches * tokens * columns; ++i) {
    z = splitmix64(z);
    const double u = static_cast<double>(z >> 11) * 0x1p-53;
    const auto rank = static_cast<std::uint64_t>(std::pow(static_cast<double>(num_rows), u));
    rows.push_back(static_cast<std::int32_t>(splitmix64(rank) % num_rows));
  }
  return rows;
}

Table<HostStore, F32Codec> make_table() {
  HostStore store = HostStore::make(num_rows, row_width * 4).value();
  for (Index row = 0; row < num_rows; ++row)
    for (Index d = 0; d < row_width; ++d) {
      const float x = static_cast<float>((row * 37 + d * 11) % 101) / 50 - 1;
      std::memcpy(store.mutable_ref()(row).codes + 4 * d, &x, 4);
    }
  return Table<HostStore, F32Codec>::make(std::move(store), F32Codec(), row_width).value();
}

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Weights, or their gradients.
struct Weights {
  std::vector<float> key, value, gain, conv_gain, conv;
  explicit Weights(float scale)
      : key(numbers(branches * width * inputs, scale)),
        value(numbers(width * inputs, scale)),
        gain(numbers(branches * width, scale)),
        conv_gain(gain),
        conv(numbers(taps * branches * width, scale)) {}
};

void backward(benchmark::State& state) {
  const bool with_conv = state.range(0) != 0;
  static const auto table = make_table();
  static const std::vector<std::int32_t> rows = draw_rows();
  const Weights weights(0.03f);
  Weights gradients(0);
  ProjectionWeights<float> projected;
  projected.key = View<const float, 3>(weights.key.data(), branches, width, inputs);
  projected.value = View<const float, 2>(weights.value.data(), width, inputs);
  FusionWeights fusion;
  fusion.gain = View<const float, 2>(weights.gain.data(), branches, width);
  LayerGradients to;
  to.key = View<float, 3>(gradients.key.data(), branches, width, inputs);
  to.value = View<float, 2>(gradients.value.data(), width, inputs);
  to.gain = View<float, 2>(gradients.gain.data(), branches, width);
  if (with_conv) {
    fusion.conv_gain = View<const float, 2>(weights.conv_gain.data(), branches, width);
    fusion.conv = View<const float, 3>(weights.conv.data(), taps, branches, width);
    to.conv_gain = View<float, 2>(gradients.conv_gain.data(), branches, width);
    to.conv = View<float, 3>(gradients.conv.data(), taps, branches, width);
  }
  FusionConfig config;
  config.dilation = 3;
  const EigenProjection projection = EigenProjection::make(projected).value();
  const EngramLayer layer(table, projection, fusion, config);
  const LayerTraining training(layer, EigenProjectionGradient::make(projected).value());

  const std::vector<float> hidden = numbers(tokens * branches * width, 1);
  std::vector<float> out(hidden.size()), to_hidden(hidden.size());
  std::vector<float> to_rows(static_cast<std::size_t>(tokens * inputs)), sums(to_rows.size());
  std::vector<std::int32_t> unique(static_cast<std::size_t>(tokens * columns));
  std::vector<std::byte> tape(static_cast<std::size_t>(training.tape_bytes(tokens)));
  std::vector<std::byte> workspace(static_cast<std::size_t>(training.workspace_bytes(tokens)));
  std::vector<std::byte> reducing(
      static_cast<std::size_t>(row_gradient_workspace_bytes(tokens * columns, row_width)));
  const View<const float, 3> stream(hidden.data(), tokens, branches, width);
  const View<float, 3> updated(out.data(), tokens, branches, width);
  const View<float, 2> rows_gradient(to_rows.data(), tokens, inputs);

  Index batch = 0;
  std::vector<double> ratios;
  for (auto _ : state) {
    const View<const std::int32_t, 2> ids(rows.data() + batch * tokens * columns, tokens, columns);
    const double start = seconds();
    if (!training.forward(ids, stream, updated, tape).ok()) std::abort();
    benchmark::ClobberMemory();
    const double middle = seconds();
    if (!training
             .backward(stream, updated, View<float, 3>(to_hidden.data(), tokens, branches, width),
                       rows_gradient, to, tape, workspace)
             .ok())
      std::abort();
    RowGradients<std::int32_t> found;
    if (!reduce_row_gradients(ids, View<const float, 2>(rows_gradient), num_rows,
                              View<std::int32_t, 1>(unique),
                              View<float, 2>(sums.data(), tokens * columns, row_width), found,
                              View<std::byte, 1>(reducing))
             .ok())
      std::abort();
    benchmark::ClobberMemory();
    const double end = seconds();
    state.SetIterationTime(end - middle);
    ratios.push_back((end - middle) / (middle - start));
    batch = (batch + 1) % batches;
  }
  state.counters["times_forward"] = median(ratios);
}
BENCHMARK(backward)->ArgName("conv")->Arg(0)->Arg(1)->UseManualTime()->Iterations(15)->Unit(
    benchmark::kMillisecond);

}  // namespace
