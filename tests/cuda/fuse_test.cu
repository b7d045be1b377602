// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Norms, gate and residual on the GPU against the CPU's bodies: any hidden size and number of
// branches, every part, in place, with and without what is optional, captured.
#include "gpu.hpp"

#include <engram/cuda/fuse.cuh>
#include <fuse_case.hpp>

using namespace engram;
using elements::count_far;
using fuse_case::Case;
using gpu::at;

namespace {

/// Within the last bits of T, or of float where the GPU's exp and contracted products differ.
template <class T>
constexpr double bound_of = std::is_same_v<T, float>  ? 6e-6
                            : std::is_same_v<T, Bf16> ? 8e-3
                                                      : 1e-3;

template <class T>
void check_results(const fuse_case::Results<T>& found, const fuse_case::Results<T>& expected) {
  CHECK(count_far(found.gates, expected.gates, 6e-6) == 0);
  CHECK(count_far(found.scores, expected.scores, 6e-6) == 0);
  CHECK(count_far(found.norms, expected.norms, 6e-6) == 0);
  CHECK(count_far(found.out, expected.out, bound_of<T>) == 0);
}

template <class T>
void check_fuse(std::uint64_t seed, Index tokens, Index branches, Index width, bool residual,
                bool in_place) {
  INFO("seed " << seed << ", " << tokens << " x " << branches << " x " << width);
  const Case<T> c(seed, {tokens, branches, width, 0, 1, 1, residual});
  gpu::Arrays memory;
  const fuse_case::OnDevice<T, gpu::Arrays> on(c, memory, in_place);
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  REQUIRE(on.fuse_alone(device).ok());
  REQUIRE(device.wait().ok());
  const auto found = on.results();
  check_results(found, fuse_case::on_cpu(c));
  const auto one = at(branches * width);
  for (Index t = 0; t < tokens && residual; ++t)  // who takes no part passes bit for bit
    if (has(c.marks[at(t)], Mark::dead) || has(c.marks[at(t)], Mark::padding) ||
        c.rows[at(t)] == -1)
      CHECK(std::memcmp(&found.out[at(t) * one], &c.hidden[at(t) * one], one * sizeof(T)) == 0);
}

}  // namespace

TEST_CASE("cuda fuse: any width, branches and element give the CPU's result") {
  if (!gpu::is_here()) return;
  std::uint64_t seed = 0;
  for (const Index width : {1, 31, 32, 77, 1024, 5120})
    for (const Index branches : {1, 2, 4, 8}) {
      check_fuse<float>(++seed, 7, branches, width, true, false);
      check_fuse<Bf16>(++seed, 9, branches, width, true, true);
      check_fuse<F16>(++seed, 5, branches, width, branches > 1, branches > 1);
    }
}

TEST_CASE(
    "cuda fuse: the widest rows that a block holds, wider ones, and odd numbers of branches") {
  if (!gpu::is_here()) return;
  std::uint64_t seed = 200;
  for (const Index width : {7168, 8192, 8200}) check_fuse<Bf16>(++seed, 5, 2, width, true, false);
  for (const Index branches : {3, 5, 7}) check_fuse<Bf16>(++seed, 6, branches, 1024, true, true);
}

TEST_CASE("cuda fuse: without anything that is optional, every token takes part") {
  if (!gpu::is_here()) return;
  Case<float> c(50, {5, 2, 70, 0, 1, 1});
  gpu::Arrays memory;
  fuse_case::OnDevice<float, gpu::Arrays> on(c, memory, true);
  on.leave_out_options();
  gpu::OwnStream stream;
  const CudaDevice device = stream.device(1);
  REQUIRE(on.fuse_alone(device).ok());
  REQUIRE(device.wait().ok());
  c.gain.assign(c.gain.size(), 1.0f);
  c.scale.assign(c.scale.size(), 1.0f);
  c.marks.assign(c.marks.size(), Mark::token);
  c.rows.assign(c.rows.size(), 3);
  CHECK(count_far(on.results().out, fuse_case::on_cpu(c).out, 6e-6) == 0);
}

TEST_CASE("cuda fuse: a captured call, replayed 72 times with other hidden states") {
  if (!gpu::is_here()) return;
  Case<Bf16> c(51, {16, 4, 512, 0, 1, 1});
  gpu::Arrays memory;
  fuse_case::OnDevice<Bf16, gpu::Arrays> on(c, memory, false);
  gpu::OwnStream stream;
  const gpu::Graph graph =
      stream.captured([&](const CudaDevice& device) { CHECK(on.fuse_alone(device).ok()); });
  Random random(52);
  for (int replay = 0; replay < 72; ++replay) {
    c.hidden = elements::random_elements<Bf16>(static_cast<Index>(c.hidden.size()), random);
    on.set_hidden(c.hidden);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    check_results(on.results(), fuse_case::on_cpu(c));
  }
}

TEST_CASE("cuda fuse: many tokens", "[large]") {
  if (!gpu::is_here()) return;
  check_fuse<Bf16>(1000, 4096, 4, 256, true, true);
  check_fuse<Bf16>(1001, 65536, 1, 64, true, false);
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
