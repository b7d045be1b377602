// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The convolution and backward on the GPU against the CPU's loops; replays move states on; the same
// bits for any grid.
#include "gpu.hpp"

#include <engram/cuda/fuse.cuh>
#include <fuse_case.hpp>

#include <algorithm>
#include <cmath>

using namespace engram;
using elements::count_far;
using fuse_case::Case;
using fuse_case::Shape;

namespace {

template <class T>
void check_case(std::uint64_t seed, const Shape& shape) {
  INFO("seed " << seed << ", " << shape.tokens << " x " << shape.branches << " x " << shape.width
               << ", " << shape.taps << " taps");
  const Case<T> c(seed, shape);
  const auto run = [&](int most_blocks) {
    gpu::Arrays memory;
    const fuse_case::OnDevice<T, gpu::Arrays> on(c, memory, seed % 2 == 0);
    gpu::OwnStream stream;
    const CudaDevice device = stream.device(most_blocks);
    REQUIRE(on.forward(device).ok());
    REQUIRE(on.backward(device).ok());
    REQUIRE(device.wait().ok());
    return on.results();
  };
  const auto found = run(0), expected = fuse_case::on_cpu(c);
  const double last_bits = std::is_same_v<T, float> ? 2e-5 : std::is_same_v<T, Bf16> ? 8e-3 : 1e-3;
  CHECK(count_far(found.gates, expected.gates, 1e-5) == 0);
  CHECK(count_far(found.scores, expected.scores, 1e-5) == 0);
  CHECK(count_far(found.states, expected.states, 1e-5) == 0);
  CHECK(count_far(found.out, expected.out, last_bits) == 0);
  CHECK(count_far(found.norms, expected.norms, 2e-5) == 0);
  CHECK(count_far(found.segments, expected.segments, 4e-5) == 0);
  CHECK(count_far(found.to_hidden, expected.to_hidden, 4e-5) == 0);
  // Sums over the tokens, in another order than the CPU's.
  const double of_sums = 2e-6 * std::sqrt(static_cast<double>(shape.tokens));
  CHECK(count_far(found.gain, expected.gain, of_sums) == 0);
  CHECK(count_far(found.conv_gain, expected.conv_gain, of_sums) == 0);
  CHECK(count_far(found.conv, expected.conv, std::min(of_sums, 2e-4)) == 0);
  const auto again = run(3);
  CHECK(gpu::same_bits(again.out, found.out));
  CHECK(gpu::same_bits(again.segments, found.segments));
  CHECK(gpu::same_bits(again.gain, found.gain));
  CHECK(gpu::same_bits(again.conv, found.conv));
}

}  // namespace

TEST_CASE("cuda convolution: forward and backward give the CPU's results") {
  if (!gpu::is_here()) return;
  check_case<float>(1, {40, 2, 45, 4, 2, 3});
  check_case<float>(2, {700, 1, 33, 3, 1, 9});
  check_case<Bf16>(3, {300, 4, 512, 4, 3, 2, false});
  check_case<Bf16>(4, {64, 4, 2560, 4, 3, 64});
  check_case<F16>(5, {17, 2, 7, 1, 1, 2});
  check_case<float>(10, {1, 4, 320, 4, 3, 1});
  check_case<float>(11, {90, 1, 50, 12, 1, 2});
}

TEST_CASE("cuda convolution: 65,536 tokens of 300 sequences", "[large]") {
  if (!gpu::is_here()) return;
  check_case<Bf16>(12, {65536, 2, 64, 4, 3, 300});
}

TEST_CASE("cuda fuse: backward without a convolution") {
  if (!gpu::is_here()) return;
  check_case<float>(6, {300, 2, 40, 0, 1, 1});
  check_case<Bf16>(7, {90, 4, 5120, 0, 1, 1});
}

TEST_CASE("cuda convolution: a captured step, replayed 72 times, moves the states on") {
  if (!gpu::is_here()) return;
  Case<float> c(8, {6, 2, 64, 4, 2, 3});
  gpu::Arrays memory;
  const fuse_case::OnDevice<float, gpu::Arrays> on(c, memory, false);
  gpu::OwnStream stream;
  const gpu::Graph graph =
      stream.captured([&](const CudaDevice& device) { CHECK(on.forward(device).ok()); });
  for (int replay = 0; replay < 72; ++replay) {
    const auto expected = fuse_case::on_cpu(c);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    const auto found = on.results();
    REQUIRE(count_far(found.out, expected.out, 1e-5) == 0);
    REQUIRE(count_far(found.states, expected.states, 1e-4) == 0);
    c.states = found.states;
  }
}

TEST_CASE("cuda fuse: backward captured, and replayed 72 times, adds up") {
  if (!gpu::is_here()) return;
  const Case<float> c(13, {20, 2, 64, 0, 1, 1});
  gpu::Arrays memory;
  fuse_case::OnDevice<float, gpu::Arrays> on(c, memory, false);
  gpu::OwnStream stream;
  REQUIRE(on.forward(stream.device()).ok());
  const gpu::Graph graph =
      stream.captured([&](const CudaDevice& device) { CHECK(on.backward(device).ok()); });
  for (int replay = 0; replay < 72; ++replay) stream.replay(graph);
  REQUIRE(stream.device().wait().ok());
  auto expected = fuse_case::on_cpu(c);
  for (float& x : expected.gain) x = 0.25f + 72 * (x - 0.25f);  // where gradients begin
  CHECK(count_far(on.results().gain, expected.gain, 1e-4) == 0);
  CHECK(count_far(on.results().segments, expected.segments, 4e-5) == 0);
}

TEST_CASE("cuda convolution: starts that fall are reported, and every token passes") {
  if (!gpu::is_here()) return;
  Case<float> c(9, {7, 2, 9, 3, 2, 2});
  c.starts = {0, 5, 3};
  gpu::Arrays memory;
  const fuse_case::OnDevice<float, gpu::Arrays> on(c, memory, false);
  gpu::OwnStream stream;
  REQUIRE(on.forward(stream.device()).ok());
  CHECK(stream.device().wait() == Status{Code::bad_sequence, 0, 2});
  CHECK(on.results().out == c.hidden);
  CHECK(on.results().states == c.states);
}
