// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Tokens to row ids with DeepSeek-V4.1's geometry: two layers, orders 2 to 4, eight heads, one
// core. Baselines in the same run: the same loop with the processor's `%`, and a copy of the row
// ids, which is the least that writing them can cost.

#include <engram/engram.hpp>

#include <benchmark/benchmark.h>
#include <cmath>
#include <cstring>

namespace {

using namespace engram;

constexpr Index tokens = 2048;

struct Batch {
  Layout layout = make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value();
  std::vector<std::int32_t> ids;
  std::vector<Mark> marks;
  std::vector<Index> rows = std::vector<Index>(tokens * 48);

  /// Zipf-distributed ids, as words of text are, every 50th position dead.
  Batch() {
    std::uint64_t z = 1;
    for (Index t = 0; t < tokens; ++t) {
      z = splitmix64(z);
      const double u = static_cast<double>(z >> 11) * 0x1p-53;
      ids.push_back(static_cast<std::int32_t>(std::pow(99092.0, u)) - 1);
      marks.push_back(t % 50 == 49 ? Mark::dead : Mark::token);
    }
  }
  View<Index, 3> view() { return View<Index, 3>(rows.data(), tokens, 2, 24); }
};

void count_rows(benchmark::State& state) {
  state.counters["rows"] =
      benchmark::Counter(static_cast<double>(tokens * 48 * static_cast<Index>(state.iterations())),
                         benchmark::Counter::kIsRate);
}

/// The whole front end: check, compress, window, hash.
void front_end(benchmark::State& state) {
  Batch batch;
  const auto front = make_front_end(batch.layout, IdentityCompressor(99092)).value();
  for (auto _ : state) {
    NgramState sequence = front.initial_state();
    if (!front.address(batch.ids, sequence, batch.view(), View(batch.marks)).ok())
      state.SkipWithError("address failed");
    benchmark::DoNotOptimize(batch.rows.data());
    benchmark::ClobberMemory();
  }
  count_rows(state);
}
BENCHMARK(front_end);

/// The same with the library's plain loop: what a processor without AVX-512 runs.
void front_end_plain_loop(benchmark::State& state) {
  Batch batch;
  const auto front = make_front_end(batch.layout, IdentityCompressor(99092)).value();
  for (auto _ : state) {
    NgramState sequence = front.initial_state();
    for (Index t = 0; t < tokens; ++t) {
      const auto at = static_cast<std::size_t>(t);
      const NgramWindow window =
          front.extractor().push(sequence, CanonicalId{batch.ids[at]}, batch.marks[at]);
      for (int l = 0; l < 2; ++l)
        hash_window<XorMix>(front.addresser().ref(l), window, &batch.view()(t, l, 0));
    }
    benchmark::ClobberMemory();
  }
  count_rows(state);
}
BENCHMARK(front_end_plain_loop);

/// Baseline: the same windows and products, remainders by `%`.
void same_loop_with_modulo(benchmark::State& state) {
  Batch batch;
  const SuffixNgrams extractor(4, SequenceStart{});
  for (auto _ : state) {
    NgramState sequence = extractor.initial_state();
    for (Index t = 0; t < tokens; ++t) {
      const auto at = static_cast<std::size_t>(t);
      const NgramWindow window =
          extractor.push(sequence, CanonicalId{batch.ids[at]}, batch.marks[at]);
      Index* out = &batch.view()(t, 0, 0);
      for (const LayerLayout& layer : batch.layout.layers) {
        std::uint64_t mix = 0;
        for (std::size_t s = 0; s < 4; ++s) {
          const std::int32_t id = window.ids[s] < 0 ? batch.layout.pad : window.ids[s];
          mix ^= static_cast<std::uint64_t>(id) * layer.multipliers[s];
          for (std::size_t c = 8 * s - 8; s > 0 && c < 8 * s; ++c)
            *out++ = static_cast<Index>(mix % layer.moduli[c]) + layer.offsets[c];
        }
      }
    }
    benchmark::ClobberMemory();
  }
  count_rows(state);
}
BENCHMARK(same_loop_with_modulo);

/// Floor: copying as many row ids as the others write.
void copy_of_the_rows(benchmark::State& state) {
  Batch batch;
  std::vector<Index> to(batch.rows.size());
  for (auto _ : state) {
    std::memcpy(to.data(), batch.rows.data(), to.size() * sizeof(Index));
    benchmark::ClobberMemory();
  }
  count_rows(state);
}
BENCHMARK(copy_of_the_rows);

}  // namespace

BENCHMARK_MAIN();
