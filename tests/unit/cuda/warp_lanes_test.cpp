// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a GPU's warps run, here as 32 threads each: the gate's, the convolution's and the gather's
// bodies give what the CPU's lanes give.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/codec/ggml_blocks.hpp>
#include <engram/cuda/fuse_row.hpp>
#include <engram/cuda/gather_body.hpp>
#include <engram/gating/short_conv.hpp>
#include <random_table.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace engram;
using elements::at;
using elements::count_far;
using elements::random_elements;
using elements::same_bits;

namespace {

template <class Body>
void run_on_cpu(Index items, const Body& body) {
  for (Index i = 0; i < items; ++i) body(HostLanes<16>(), i);
}

/// Streams, keys and value of a few tokens, and which of them take part.
template <class T>
struct Streams {
  Index tokens, branches, width;
  std::vector<T> hidden, keys, value;
  std::vector<float> gain, scale;
  std::vector<Part> parts;

  Streams(std::uint64_t seed, Index t, Index g, Index d) : tokens(t), branches(g), width(d) {
    Random random(seed);
    hidden = random_elements<T>(t * g * d, random);
    keys = random_elements<T>(t * g * d, random);
    value = random_elements<T>(t * d, random);
    gain = random_elements<float>(g * d, random);
    scale = random_elements<float>(t, random);
    for (Index i = 0; i < t; ++i) parts.push_back(static_cast<Part>(random.below(4)));
    parts[0] = Part::full;
    if (t > 2) {  // NaN and infinity stay in their token
      hidden[at(g * d)] = from_float<T>(std::numeric_limits<float>::quiet_NaN());
      value[at(2 * d)] = from_float<T>(std::numeric_limits<float>::infinity());
    }
  }
};

template <class T>
void check_fusion(std::uint64_t seed, Index tokens, Index branches, Index width, bool residual) {
  INFO("seed " << seed << ", " << tokens << " x " << branches << " x " << width);
  const Streams<T> s(seed, tokens, branches, width);
  const Index slots = tokens * branches;
  struct Results {
    std::vector<float> scores, gates, norms;
    std::vector<T> out;
  };
  const auto fuse = [&](auto run) {
    Results r;
    r.scores.assign(at(slots), -1);
    r.gates = r.norms = r.scores;
    r.out.assign(s.hidden.size(), from_float<T>(-9));
    const View<const Part, 1> parts(s.parts);
    run(slots,
        ScoreBody<T, T, SignedSqrtGate>{View<const T, 3>(s.keys.data(), tokens, branches, width),
                                        View<const T, 3>(s.hidden.data(), tokens, branches, width),
                                        View<const float, 2>(s.gain.data(), branches, width),
                                        1e-6f,
                                        1e-5f,
                                        {},
                                        0,
                                        parts,
                                        View<const float, 1>(s.scale),
                                        View<float, 2>(r.scores.data(), tokens, branches),
                                        View<float, 2>(r.gates.data(), tokens, branches)});
    run(slots, UpdateBody<T, T>{View<const T, 2>(s.value.data(), tokens, width),
                                View<const T, 3>(s.hidden.data(), tokens, branches, width), parts,
                                View<const float, 2>(r.gates.data(), tokens, branches), residual,
                                View<T, 3>(r.out.data(), tokens, branches, width),
                                View<float, 2>(r.norms.data(), tokens, branches)});
    return r;
  };
  const Results cpu = fuse([](Index n, const auto& body) { run_on_cpu(n, body); });
  const Results warp = fuse([](Index n, const auto& body) { ThreadedWarp::run(n, body); });
  CHECK(same_bits(warp.scores, cpu.scores));
  CHECK(same_bits(warp.gates, cpu.gates));
  CHECK(same_bits(warp.norms, cpu.norms));
  CHECK(same_bits(warp.out, cpu.out));
}

/// fuse_row() against the bodies: the same but for the order of sums.
template <class T, int Hold>
void check_fuse_row(std::uint64_t seed, Index tokens, Index branches, Index width, bool residual,
                    bool options) {
  INFO("seed " << seed << ", " << tokens << " x " << branches << " x " << width);
  Streams<T> s(seed, tokens, branches, width);
  Random random(seed + 100);
  std::vector<Mark> marks;
  std::vector<std::int64_t> rows;
  for (Index t = 0; t < tokens; ++t) {
    marks.push_back(random.below(5) == 0 ? Mark::dead : Mark::token);
    rows.push_back(random.below(5) == 0 ? -1 : 7);
    if (random.below(4) == 0) s.scale[at(t)] = 0;
    s.parts[at(t)] =
        options ? part_of(marks[at(t)], rows[at(t)] == -1, s.scale[at(t)] == 0) : Part::full;
  }
  const Index slots = tokens * branches;
  std::vector<float> scores(at(slots), -9), gates = scores, norms = scores;
  std::vector<float> row_scores = scores, row_gates = scores, row_norms = scores;
  std::vector<T> out(s.hidden.size(), from_float<T>(-9)), row_out = s.hidden;  // in place
  std::vector<Part> parts(at(tokens), Part::absent);
  const View<const T, 3> keys(s.keys.data(), tokens, branches, width);
  const View<const T, 3> hidden(s.hidden.data(), tokens, branches, width);
  const View<const T, 2> value(s.value.data(), tokens, width);
  const View<const float, 2> gain =
      options ? View<const float, 2>(s.gain.data(), branches, width) : View<const float, 2>();
  const View<const float, 1> scale =
      options ? View<const float, 1>(s.scale) : View<const float, 1>();
  const View<const Part, 1> known(s.parts);
  run_on_cpu(slots,
             ScoreBody<T, T, SignedSqrtGate>{keys,
                                             hidden,
                                             gain,
                                             1e-6f,
                                             1e-5f,
                                             {},
                                             0,
                                             known,
                                             scale,
                                             View<float, 2>(scores.data(), tokens, branches),
                                             View<float, 2>(gates.data(), tokens, branches)});
  run_on_cpu(slots, UpdateBody<T, T>{value, hidden, known,
                                     View<const float, 2>(gates.data(), tokens, branches), residual,
                                     View<T, 3>(out.data(), tokens, branches, width),
                                     View<float, 2>(norms.data(), tokens, branches)});
  const FuseCall<T, SignedSqrtGate, std::int64_t> call{
      keys,
      value,
      View<const T, 3>(row_out.data(), tokens, branches, width),
      View<T, 3>(row_out.data(), tokens, branches, width),
      gain,
      options ? View<const Mark, 1>(marks) : View<const Mark, 1>(),
      scale,
      options ? View<const std::int64_t, 2>(rows.data(), tokens, 1) : View<const std::int64_t, 2>(),
      View<float, 2>(row_scores.data(), tokens, branches),
      View<float, 2>(row_norms.data(), tokens, branches),
      View<float, 2>(row_gates.data(), tokens, branches),
      View<Part, 1>(parts),
      1e-6f,
      1e-5f,
      residual,
      {}};
  ThreadedDevice().for_blocks<FuseShared>(slots,
                                          [&](const auto& block, FuseShared& shared, Index item) {
                                            fuse_row<Hold>(block, shared, call, item);
                                          });
  const double bound = std::is_same_v<T, float> ? 4e-6 : std::is_same_v<T, Bf16> ? 8e-3 : 1e-3;
  CHECK(count_far(row_out, out, bound) == 0);
  CHECK(count_far(row_scores, scores, 1e-5) == 0);
  CHECK(count_far(row_gates, gates, 1e-5) == 0);
  CHECK(count_far(row_norms, norms, 1e-5) == 0);
  CHECK(parts == s.parts);
}

template <class Codec, class Out>
void check_gather(const Codec& codec, Index width, Index stride_more) {
  constexpr Index num_rows = 37, tokens = 9, columns = 3;
  const Index bytes = codec.code_bytes(width), scales = codec.scale_bytes(width);
  const Index stride = bytes + scales + stride_more;
  INFO("rows of " << bytes << " and " << scales << " bytes, stride " << stride);
  const HostStore table = random_tables::random_table(codec, num_rows, width, 7, stride);
  Random random(8);
  std::vector<int> ids;
  for (Index i = 0; i < tokens * columns; ++i)
    ids.push_back(static_cast<int>(random.below(num_rows)));
  for (const Index none : {3, 4, 5}) ids[at(none)] = -1;
  ids[10] = num_rows;
  ids[20] = -2;
  std::vector<Out> found(at(tokens * columns * width), from_float<Out>(-9));
  Reports::Found wrong;
  ThreadedWarp::run(
      tokens * columns,
      GatherRowBody<StridedRows, Codec, int, Out, Reports>{
          table.ref(), codec, View<const int, 2>(ids.data(), tokens, columns), num_rows, width,
          View<Out, 2>(found.data(), tokens, columns * width), Reports{&wrong}});
  CHECK(same_bits(found, random_tables::expected_rows<Out>(table, codec, width, ids)));
  CHECK(wrong.code == Code::bad_row);
  CHECK(wrong.index == 10);
}

}  // namespace

TEST_CASE("warp lanes: scores, gates and the new hidden state have the bits of the CPU's lanes") {
  check_fusion<float>(1, 5, 1, 96, true);
  check_fusion<float>(2, 4, 3, 1, true);
  check_fusion<Bf16>(3, 6, 4, 77, true);
  check_fusion<Bf16>(4, 3, 2, 31, false);
  check_fusion<F16>(5, 4, 1, 33, true);
  check_fusion<float>(6, 4, 2, 50, false);
}

TEST_CASE("fuse rows: a block's threads give what the bodies give, each option or none, in place") {
  check_fuse_row<float, 1>(1, 5, 2, 4, true, true);
  check_fuse_row<float, 2>(2, 4, 3, 1000, true, true);
  check_fuse_row<Bf16, 1>(3, 9, 4, 776, true, true);
  check_fuse_row<Bf16, 5>(4, 3, 4, 5120, true, true);
  check_fuse_row<Bf16, 5>(5, 3, 1, 5120, false, false);
  check_fuse_row<F16, 8>(6, 3, 2, 8192, true, false);
  check_fuse_row<F16, 1>(7, 12, 2, 64, false, true);
}

TEST_CASE("fuse rows: only what begins and ends at multiples of 16 bytes") {
  alignas(16) static float memory[4096];
  FuseCall<float, SignedSqrtGate, int> call{};
  const View<float, 3> fits(memory, 2, 2, 8);
  const auto with = [&](View<float, 3> keys, View<float, 2> gain) {
    call.keys = keys;
    call.hidden = call.out = fits;
    call.value = View<float, 2>(memory, 2, 8);
    call.gain = gain;
    return fits_sixteen(call);
  };
  CHECK(with(fits, {}));
  CHECK(with(fits.with_stride<0>(20), View<float, 2>(memory + 4, 2, 8)));
  CHECK_FALSE(with(View<float, 3>(memory + 1, 2, 2, 8), {}));
  CHECK_FALSE(with(fits.with_stride<1>(9), {}));
  CHECK_FALSE(with(fits, View<float, 2>(memory, 2, 8).with_stride<0>(9)));
  call.out = View<float, 3>(memory, 2, 2, 7).with_stride<0>(16).with_stride<1>(8);
  call.gain = {};
  CHECK_FALSE(fits_sixteen(call));
}

TEST_CASE(
    "warp lanes: the convolution and its states agree with the CPU's within its exp's error") {
  constexpr Index tokens = 11, branches = 2, width = 145, taps = 4, dilation = 2, sequences = 2;
  constexpr Index columns = (taps - 1) * dilation;
  Streams<float> s(8, tokens, branches, width);
  for (Part& part : s.parts) part = part == Part::muted ? Part::full : part;
  s.hidden[at(branches * width)] = 0.5f;
  s.value[at(2 * width)] = 0.25f;
  Random random(9);
  const std::vector<float> conv = random_elements<float>(taps * branches * width, random);
  const std::vector<float> before =
      random_elements<float>(sequences * columns * branches * width, random);
  const std::vector<float> gates = random_elements<float>(tokens * branches, random);
  const std::vector<Index> starts = {0, 7, tokens};
  std::vector<Index> lists(4 * tokens), begins(sequences + 1);
  TapOrder taps_of{View<Index, 1>(lists.data(), tokens), View<Index, 1>(lists.data() + 11, tokens),
                   View<Index, 1>(lists.data() + 22, tokens),
                   View<Index, 1>(lists.data() + 33, tokens), View<Index, 1>(begins)};
  taps_of.fill(starts, {}, View<Part, 1>(s.parts));
  struct Results {
    std::vector<float> out, factors, state, norms;
  };
  const auto convolve = [&](auto run, Index pieces = 1) {
    Results r;
    r.out.assign(s.hidden.size(), -9);
    r.factors.assign(gates.size(), -9);
    r.norms = r.factors;
    r.state = before;
    const View<const Part, 1> parts(s.parts);
    const View<const float, 2> value(s.value.data(), tokens, width);
    const View<const float, 2> gate(gates.data(), tokens, branches);
    const View<float, 2> factors(r.factors.data(), tokens, branches);
    const View<float, 2> state(r.state.data(), sequences, columns * branches * width);
    run(tokens * branches, ConvFactorBody<float>{value, parts, gate, 1e-5f, factors});
    const ConvColumns<float> sources{
        value,   parts, factors, View<const float, 2>(s.gain.data(), branches, width),
        taps_of, state, columns, branches};
    run(tokens * branches * pieces,
        ConvUpdateBody<float, float>{
            {value, View<const float, 3>(s.hidden.data(), tokens, branches, width), parts, gate,
             true, View<float, 3>(r.out.data(), tokens, branches, width),
             pieces > 1 ? View<float, 2>() : View<float, 2>(r.norms.data(), tokens, branches)},
            sources,
            View<const float, 3>(conv.data(), taps, branches, width),
            dilation,
            pieces});
    run(sequences * branches * lane_groups_of(width),
        ConvStateBody<float>{sources, state, View<const Index, 1>(starts), lane_groups_of(width)});
    return r;
  };
  const Results cpu = convolve([](Index n, const auto& body) { run_on_cpu(n, body); });
  const Results warp = convolve([](Index n, const auto& body) { ThreadedWarp::run(n, body); });
  // Five groups of lanes.
  for (const Index pieces : {2, 3, 4, 5, 7})
    CHECK(same_bits(convolve([](Index n, const auto& body) { run_on_cpu(n, body); }, pieces).out,
                    cpu.out));
  CHECK(same_bits(warp.factors, cpu.factors));
  CHECK(same_bits(warp.state, cpu.state));
  CHECK(warp.state != before);
  for (std::size_t i = 0; i < cpu.out.size(); ++i)
    REQUIRE(std::abs(warp.out[i] - cpu.out[i]) <= 4e-6f * (1 + std::abs(cpu.out[i])));
}

TEST_CASE("warp lanes: gathered rows have the bits of the CPU's decoding, for every codec") {
  check_gather<F32Codec, float>({}, 32, 0);
  check_gather<F32Codec, float>({}, 7, 1);  // rows at any byte
  check_gather<Bf16Codec, Bf16>({}, 24, 0);
  check_gather<Bf16Codec, float>({}, 40, 3);
  check_gather<F16Codec, F16>({}, 5, 0);
  check_gather<F32Codec, Bf16>({}, 33, 0);
  check_gather<Fp8Codec, Bf16>({}, 64, 0);
  check_gather<Fp8Codec, float>({}, 96, 5);
  check_gather<Q8_0Codec, float>({}, 64, 0);
  check_gather<Q2_KCodec, float>({}, 256, 0);
  check_gather<Q3_KCodec, Bf16>({}, 256, 2);
  check_gather<Q4_KCodec, float>({}, 512, 0);
  check_gather<Q6_KCodec, F16>({}, 256, 1);
}

TEST_CASE("warp lanes: all_finite, silu and its slope in every lane") {
  const auto lanes_of = [](const auto& f) {
    std::vector<float> all(32);
    ThreadedWarp::run(1, [&](const auto& lanes, Index) {
      const float x = static_cast<float>(ThreadedWarp::lane()) - 15.5f;
      all[at(ThreadedWarp::lane())] = f(lanes, x);
    });
    return all;
  };
  const auto silu = lanes_of([](const auto& l, float x) { return l.silu(l.all(x)).own; });
  const auto slope = lanes_of([](const auto& l, float x) { return l.silu_slope(l.all(x)).own; });
  const auto finite =
      lanes_of([](const auto& l, float x) { return l.all_finite(l.all(x)) ? 1.0f : 0.0f; });
  const auto not_finite = lanes_of([](const auto& l, float x) {
    const float one = x == 3.5f ? std::numeric_limits<float>::infinity() : x;
    return l.all_finite(l.all(one)) ? 1.0f : 0.0f;
  });
  for (int lane = 0; lane < 32; ++lane) {
    const double x = lane - 15.5;
    const double s = 1 / (1 + std::exp(-x));
    const auto i = at(lane);
    CHECK(std::abs(silu[i] - x * s) < 1e-6 * (1 + std::abs(x)));
    CHECK(std::abs(slope[i] - (s + x * s * (1 - s))) < 1e-6);
    CHECK(finite[i] == 1.0f);
    CHECK(not_finite[i] == 0.0f);
  }
}
