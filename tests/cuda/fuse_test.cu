// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Norms, gate and residual on the GPU against the CPU's bodies: any hidden size and number of
// branches, every part, in place, with and without what is optional.
#include "gpu.hpp"

#include <engram/cuda/fuse.cuh>

#include <cmath>

using namespace engram;
using gpu::at;

namespace {

template <class T>
std::vector<T> random_elements(Index count, Random& random) {
  std::vector<T> elements;
  for (Index i = 0; i < count; ++i)
    elements.push_back(from_float<T>(static_cast<float>(random.below(2001) - 1000) / 500.0f));
  return elements;
}

/// Inputs of a call, on both sides.
template <class T>
struct Case {
  Index tokens, branches, width;
  std::vector<T> hidden, keys, value;
  std::vector<float> gain, scale;
  std::vector<Mark> marks;
  std::vector<std::int32_t> rows;

  Case(std::uint64_t seed, Index t, Index g, Index d) : tokens(t), branches(g), width(d) {
    Random random(seed);
    hidden = random_elements<T>(t * g * d, random);
    keys = random_elements<T>(t * g * d, random);
    value = random_elements<T>(t * d, random);
    gain = random_elements<float>(g * d, random);
    for (Index i = 0; i < t; ++i) {
      scale.push_back(random.below(5) == 0 ? 0.0f : 0.5f + static_cast<float>(random.below(3)));
      marks.push_back(random.below(6) == 0   ? Mark::dead
                      : random.below(6) == 0 ? Mark::padding
                                             : Mark::token);
      rows.push_back(random.below(6) == 0 ? -1 : 3);
    }
  }
};

template <class T>
struct Results {
  std::vector<T> out;
  std::vector<float> gates, scores, norms;
};

template <class T>
Results<T> on_cpu(const Case<T>& c, const FusionConfig& config) {
  Results<T> r;
  r.out = c.hidden;
  r.gates.assign(at(c.tokens * c.branches), -9);
  r.scores = r.norms = r.gates;
  std::vector<Part> parts;
  for (Index t = 0; t < c.tokens; ++t)
    parts.push_back(part_of(c.marks[at(t)], c.rows[at(t)] == -1, c.scale[at(t)] == 0));
  const View<const T, 3> hidden(c.hidden.data(), c.tokens, c.branches, c.width);
  const View<float, 2> gates(r.gates.data(), c.tokens, c.branches);
  const ScoreBody<T, T, SignedSqrtGate> score{
      View<const T, 3>(c.keys.data(), c.tokens, c.branches, c.width),
      hidden,
      View<const float, 2>(c.gain.data(), c.branches, c.width),
      config.query_eps,
      config.key_eps,
      SignedSqrtGate(),
      0,
      View<const Part, 1>(parts),
      View<const float, 1>(c.scale),
      View<float, 2>(r.scores.data(), c.tokens, c.branches),
      gates};
  const UpdateBody<T, T> update{View<const T, 2>(c.value.data(), c.tokens, c.width),
                                hidden,
                                View<const Part, 1>(parts),
                                gates,
                                config.add_residual,
                                View<T, 3>(r.out.data(), c.tokens, c.branches, c.width),
                                View<float, 2>(r.norms.data(), c.tokens, c.branches)};
  for (Index i = 0; i < c.tokens * c.branches; ++i) {
    score(HostLanes<16>(), i);
    update(HostLanes<16>(), i);
  }
  return r;
}

/// Within the last bits of T, or of float where the GPU's exp and contracted products differ.
template <class T>
double bound_of() {
  return std::is_same_v<T, float> ? 6e-6 : std::is_same_v<T, Bf16> ? 8e-3 : 1e-3;
}

template <class T>
bool is_near(T found, T expected) {
  const double f = to_float(found), e = to_float(expected);
  return std::abs(f - e) <= bound_of<T>() * (1 + std::abs(e));
}

template <class T>
void check_near(const std::vector<T>& found, const std::vector<T>& expected) {
  REQUIRE(found.size() == expected.size());
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < found.size(); ++i) wrong += is_near(found[i], expected[i]) ? 0 : 1;
  CHECK(wrong == 0);
}

template <class T>
void check_fuse(std::uint64_t seed, Index tokens, Index branches, Index width, bool residual,
                bool in_place) {
  INFO("seed " << seed << ", " << tokens << " x " << branches << " x " << width);
  const Case<T> c(seed, tokens, branches, width);
  FusionConfig config;
  config.query_eps = 1e-6f;
  config.key_eps = 1e-5f;
  config.add_residual = residual;
  gpu::OwnStream stream;
  const gpu::Array<T> hidden(c.hidden), keys(c.keys), value(c.value);
  const gpu::Array<T> apart(std::vector<T>(c.hidden.size(), from_float<T>(-9)));
  const gpu::Array<float> gain(c.gain), scale(c.scale);
  const std::vector<float> poison(at(tokens * branches), -9);
  const gpu::Array<float> gates(poison), scores(poison), norms(poison);
  const gpu::Array<Mark> marks(c.marks);
  const gpu::Array<std::int32_t> rows(c.rows);
  const gpu::Array<Part> parts(std::vector<Part>(at(tokens), Part::none));
  const gpu::Array<T>& out = in_place ? hidden : apart;
  DeviceFusion<> with;
  with.gain = gain.read(branches, width);
  with.marks = marks.read(tokens);
  with.scale = scale.read(tokens);
  with.rows = rows.read(tokens, 1);
  with.scores = scores.view(tokens, branches);
  with.norms = norms.view(tokens, branches);
  const CudaDevice device = stream.device();
  REQUIRE(fuse(device, keys.read(tokens, branches, width), value.read(tokens, width),
               hidden.read(tokens, branches, width), out.view(tokens, branches, width), config,
               SignedSqrtGate(), with, gates.view(tokens, branches), parts.view(tokens))
              .ok());
  REQUIRE(device.wait().ok());
  const Results<T> expected = on_cpu(c, config);
  check_near(gates.get(), expected.gates);
  check_near(scores.get(), expected.scores);
  check_near(norms.get(), expected.norms);
  const std::vector<T> found = out.get();
  check_near(found, expected.out);
  for (Index t = 0; t < tokens && residual; ++t)  // who takes no part passes bit for bit
    if (c.marks[at(t)] != Mark::token || c.rows[at(t)] == -1)
      CHECK(std::memcmp(&found[at(t * branches * width)], &c.hidden[at(t * branches * width)],
                        at(branches * width) * sizeof(T)) == 0);
}

}  // namespace

TEST_CASE("cuda fuse: any width, branches and element give the CPU's result") {
  if (!gpu::is_here()) return;
  std::uint64_t seed = 0;
  for (const Index width : {1, 31, 32, 77, 1024, 5120})
    for (const Index branches : {1, 2, 4, 8}) {
      check_fuse<float>(++seed, 7, branches, width, true, false);
      check_fuse<Bf16>(++seed, 9, branches, width, true, true);
      check_fuse<F16>(++seed, 5, branches, width, false, false);
    }
}

TEST_CASE("cuda fuse: without anything that is optional, every token takes part") {
  if (!gpu::is_here()) return;
  constexpr Index tokens = 5, branches = 2, width = 70;
  Case<float> c(50, tokens, branches, width);
  gpu::OwnStream stream;
  const gpu::Array<float> hidden(c.hidden), keys(c.keys), value(c.value),
      gates(std::vector<float>(tokens * branches, -9));
  const gpu::Array<Part> parts(std::vector<Part>(tokens, Part::none));
  const CudaDevice device = stream.device(1);
  FusionConfig config;
  config.query_eps = 1e-6f;
  config.key_eps = 1e-5f;
  REQUIRE(fuse(device, keys.view(tokens, branches, width), value.view(tokens, width),
               hidden.view(tokens, branches, width), hidden.view(tokens, branches, width), config,
               SignedSqrtGate(), DeviceFusion<>(), gates.view(tokens, branches), parts.view(tokens))
              .ok());
  REQUIRE(device.wait().ok());
  c.gain.assign(c.gain.size(), 1.0f);
  c.scale.assign(c.scale.size(), 1.0f);
  c.marks.assign(c.marks.size(), Mark::token);
  c.rows.assign(c.rows.size(), 3);
  check_near(hidden.get(), on_cpu(c, config).out);
}

TEST_CASE("cuda fuse: many tokens", "[large]") {
  if (!gpu::is_here()) return;
  check_fuse<Bf16>(1000, 4096, 4, 256, true, true);
}

TEST_CASE("cuda fuse: shapes that disagree are refused, and nothing is launched") {
  if (!gpu::is_here()) return;
  gpu::OwnStream stream;
  const gpu::Array<float> big(std::vector<float>(1000, 0));
  const gpu::Array<Part> parts(std::vector<Part>(10, Part::none));
  const auto call = [&](Index tokens, Index value_tokens, Index value_width, Index gate_branches) {
    return fuse(stream.device(), big.read(3, 2, 8), big.read(value_tokens, value_width),
                big.read(tokens, 2, 8), big.view(tokens, 2, 8), FusionConfig(), SignedSqrtGate(),
                DeviceFusion<>(), big.view(tokens, gate_branches), parts.view(tokens));
  };
  CHECK(call(3, 3, 8, 2).ok());
  CHECK(call(4, 4, 8, 2) == Status{Code::shape_mismatch, 0, 4});
  CHECK(call(3, 2, 8, 2) == Status{Code::shape_mismatch, 0, 3});
  CHECK(call(3, 3, 7, 2) == Status{Code::shape_mismatch, 0, 8});
  CHECK(call(3, 3, 8, 3) == Status{Code::shape_mismatch, 0, 2});
  CHECK(stream.device().wait().ok());
}
