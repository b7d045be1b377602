// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Rows of DeepSeek-V4.1 to bf16 on one core: decoding alone, and gathering 512 tokens' rows from a
// table of 2 GiB on large pages, rows drawn evenly and as words are. Baseline in the same run: the
// same gather with a codec that copies the 264 bytes of a row and does not decode them.

#include <engram/addressing/multipliers.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/host_memory.hpp>

#include <benchmark/benchmark.h>
#include <cmath>
#include <cstring>
#include <vector>

namespace {

using namespace engram;

constexpr Index num_rows = Index{1} << 23;
constexpr Index width = 256;
constexpr Index scales = width / Fp8Codec::block;
constexpr Index tokens = 512;
constexpr Index columns = 24;
constexpr Index batches = 64;  // 200 MB of rows: none is still in a cache when its turn comes again

/// Copies what an fp8 row has.
struct RawCodec {
  Index code_bytes(Index) const noexcept { return width; }
  Index scale_bytes(Index) const noexcept { return scales; }
};
template <class Lanes>
ENGRAM_ALWAYS_INLINE void decode_row(const Lanes& lanes, const RawCodec&, RowBytes row, Index,
                                     std::byte* out) noexcept {
  lanes.copy(out, row.codes, width);
  lanes.copy(out + width, row.scales, scales);
}

/// Codes and scales in two arrays, as the checkpoint has them.
struct TwoArrays {
  const std::byte* codes;
  const std::byte* scale_bytes;
  RowBytes operator()(Index row) const noexcept {
    return {codes + row * width, scale_bytes + row * scales};
  }
};

struct Memory {
  HostMemory codes = HostMemory::make(num_rows * width).value();
  HostMemory scale_bytes = HostMemory::make(num_rows * scales).value();
  HostMemory out = HostMemory::make(tokens * columns * width * 4).value();

  Memory() {
    for (Index i = 0; i < num_rows * width; i += 8) {
      // No NaN among trained rows: clear one bit of each magnitude.
      const std::uint64_t eight = splitmix64(static_cast<std::uint64_t>(i)) & 0xFEFEFEFEFEFEFEFE;
      std::memcpy(codes.data() + i, &eight, 8);
    }
    for (Index i = 0; i < num_rows * scales; ++i)
      scale_bytes.data()[i] =
          static_cast<std::byte>(110 + splitmix64(static_cast<std::uint64_t>(i)) % 16);
    std::memset(out.data(), 0, static_cast<std::size_t>(out.size()));
  }
  TwoArrays rows() const { return {codes.data(), scale_bytes.data()}; }
};

Memory& memory() {
  static Memory m;
  return m;
}

std::vector<std::int32_t> draw(bool zipf) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(batches * tokens * columns));
  std::uint64_t z = 1;
  for (std::int32_t& row : rows) {
    z = splitmix64(z);
    const double u = static_cast<double>(z >> 11) * 0x1p-53;
    const auto rank = static_cast<std::uint64_t>(std::pow(static_cast<double>(num_rows), u));
    row = static_cast<std::int32_t>((zipf ? splitmix64(rank) : splitmix64(z ^ 7)) %
                                    static_cast<std::uint64_t>(num_rows));
  }
  return rows;
}

template <class Codec, class Out>
void gather(benchmark::State& state, bool zipf) {
  constexpr Index out_width = std::is_same_v<Codec, RawCodec> ? width + scales : width;
  const std::vector<std::int32_t> rows = draw(zipf);
  const View<Out, 2> out(reinterpret_cast<Out*>(memory().out.data()), tokens, columns * out_width);
  Index batch = 0;
  for (auto _ : state) {
    const View<const std::int32_t, 2> ids(rows.data() + batch * tokens * columns, tokens, columns);
    const GatherBody<TwoArrays, Codec, std::int32_t, Out> body{memory().rows(), Codec(), ids,
                                                               out_width, out};
    CpuDevice().for_items(body.items(tokens), body);
    benchmark::ClobberMemory();
    batch = (batch + 1) % batches;
  }
  state.counters["rows"] = benchmark::Counter(
      static_cast<double>(tokens * columns * static_cast<Index>(state.iterations())),
      benchmark::Counter::kIsRate);
}

void copy_of_the_rows(benchmark::State& state) {
  gather<RawCodec, std::byte>(state, state.range(0) != 0);
}
void gather_to_bf16(benchmark::State& state) { gather<Fp8Codec, Bf16>(state, state.range(0) != 0); }
void gather_to_float(benchmark::State& state) {
  gather<Fp8Codec, float>(state, state.range(0) != 0);
}
BENCHMARK(copy_of_the_rows)->ArgName("zipf")->Arg(0)->Arg(1);
BENCHMARK(gather_to_bf16)->ArgName("zipf")->Arg(0)->Arg(1);
BENCHMARK(gather_to_float)->ArgName("zipf")->Arg(0)->Arg(1);

template <class Out>
struct DecodeBody {
  TwoArrays rows;
  Out* out;
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index row) const noexcept {
    decode_row(lanes, Fp8Codec(), rows(row), width, out + row * width);
  }
};

/// 32 rows that stay in the first-level cache.
template <class Out>
void decode(benchmark::State& state) {
  const DecodeBody<Out> body{memory().rows(), reinterpret_cast<Out*>(memory().out.data())};
  for (auto _ : state) {
    CpuDevice().for_items(32, body);
    benchmark::ClobberMemory();
  }
  state.counters["rows"] =
      benchmark::Counter(static_cast<double>(32 * static_cast<Index>(state.iterations())),
                         benchmark::Counter::kIsRate);
}
BENCHMARK(decode<Bf16>)->Name("decode_to_bf16");
BENCHMARK(decode<float>)->Name("decode_to_float");

}  // namespace
