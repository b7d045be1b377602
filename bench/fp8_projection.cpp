// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// DeepSeek-V4.1's projection, [T, 6144] by fp8 weights [25600, 6144], on one core. Baselines in the
// same run: reading the 157 MB of weights once, which is the least that few tokens can cost, and
// Eigen's product of the same shape in float, weights widened beforehand. Needs Eigen (Debian:
// libeigen3-dev, headers in /usr/include/eigen3).

#include <engram/addressing/multipliers.hpp>
#include <engram/layer/fp8_projection.hpp>
#include <engram/storage/host_memory.hpp>

#include <benchmark/benchmark.h>
#include <Eigen/Core>
#include <cstring>
#include <vector>

namespace {

using namespace engram;

constexpr Index inputs = 6144;
constexpr Index width = 5120;
constexpr Index branches = 4;
constexpr Index outputs = (branches + 1) * width;
constexpr Index most_tokens = 512;

struct Weights {
  HostMemory codes = HostMemory::make(outputs * inputs).value();
  HostMemory scales = HostMemory::make(outputs / 32 * (inputs / 32)).value();
  std::vector<Bf16> e = std::vector<Bf16>(static_cast<std::size_t>(most_tokens * inputs));
  std::vector<Bf16> out = std::vector<Bf16>(static_cast<std::size_t>(most_tokens * outputs));

  Weights() {
    for (Index i = 0; i < codes.size(); i += 8) {
      // No NaN among trained weights: clear one bit of each magnitude.
      const std::uint64_t eight = splitmix64(static_cast<std::uint64_t>(i)) & 0xFEFEFEFEFEFEFEFE;
      std::memcpy(codes.data() + i, &eight, 8);
    }
    for (Index i = 0; i < scales.size(); ++i)
      scales.data()[i] =
          static_cast<std::byte>(108 + splitmix64(static_cast<std::uint64_t>(i)) % 8);
    std::uint64_t z = 1;
    for (Bf16& x : e) {
      z = splitmix64(z);
      x = to_bf16(static_cast<float>(static_cast<std::int64_t>(z) >> 40) * 0x1p-24f);
    }
    projection().prepare(View<Bf16, 2>(e.data(), most_tokens, inputs));
  }

  Fp8Projection projection() const {
    return Fp8Projection::make(
               View<const E4m3, 2>(reinterpret_cast<const E4m3*>(codes.data()), outputs, inputs),
               View<const E8m0, 2>(reinterpret_cast<const E8m0*>(scales.data()), outputs / 32,
                                   inputs / 32),
               branches)
        .value();
  }
};

Weights& weights() {
  static Weights w;
  return w;
}

void project(benchmark::State& state) {
  const Fp8Projection projection = weights().projection();
  const Index tokens = state.range(0);
  const View<const Bf16, 2> e(weights().e.data(), tokens, inputs);
  for (auto _ : state) {
    for (int s = 0; s <= branches; ++s) {
      const View<Bf16, 2> out(weights().out.data() + s * tokens * width, tokens, width);
      for (Index tile = 0; tile < projection.tiles(); ++tile) projection.project(e, s, tile, out);
    }
    benchmark::ClobberMemory();
  }
}
BENCHMARK(project)->ArgName("tokens")->Arg(1)->Unit(benchmark::kMillisecond);

/// Baseline for few tokens: the weights' bytes added up, 64 at a time.
#if ENGRAM_X86_TARGETS
__attribute__((target("avx512f")))
#endif
std::uint64_t
add_up(const std::byte* bytes, Index size) {
  using U64x8 = std::uint64_t __attribute__((vector_size(64)));
  U64x8 sums[4] = {};
  for (Index i = 0; i < size; i += 256)
    for (Index j = 0; j < 4; ++j) {
      U64x8 v;
      std::memcpy(&v, bytes + i + 64 * j, 64);
      sums[j] += v;
    }
  const U64x8 sum = sums[0] + sums[1] + sums[2] + sums[3];
  std::uint64_t all = 0;
  for (int l = 0; l < 8; ++l) all += sum[l];
  return all;
}
void read_the_weights(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(add_up(weights().codes.data(), weights().codes.size()));
}
BENCHMARK(read_the_weights)->Unit(benchmark::kMillisecond);

BENCHMARK(project)->ArgName("tokens")->Arg(2)->Arg(4)->Arg(8)->Arg(32)->Arg(512)->Unit(
    benchmark::kMillisecond);

/// Baseline for many tokens.
void eigen_float(benchmark::State& state) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Index tokens = state.range(0);
  Matrix w(outputs, inputs);
  const Fp8Codec codec;
  for (Index n = 0; n < outputs; ++n)
    decode_row(
        HostLanes<64>(), codec,
        {weights().codes.data() + n * inputs, weights().scales.data() + n / 32 * (inputs / 32)},
        inputs, &w(n, 0));
  Matrix e(tokens, inputs);
  for (Index i = 0; i < tokens * inputs; ++i) e.data()[i] = to_float(weights().e.data()[i]);
  Matrix y(tokens, outputs);
  for (auto _ : state) {
    y.noalias() = e * w.transpose();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(eigen_float)->ArgName("tokens")->Arg(512)->Unit(benchmark::kMillisecond);

/// Activation quantisation alone.
void prepare(benchmark::State& state) {
  const Fp8Projection projection = weights().projection();
  const Index tokens = state.range(0);
  const View<Bf16, 2> e(weights().e.data(), tokens, inputs);
  for (auto _ : state) {
    projection.prepare(e);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(prepare)->ArgName("tokens")->Arg(1)->Arg(512)->Unit(benchmark::kMillisecond);

}  // namespace
