// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The gate and the convolution as a GPU runs them, forward and backward, by the CPU's threads: what
// the CPU's own loops compute.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <fuse_case.hpp>
#include <host_arrays.hpp>

#include <algorithm>

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
  HostArrays memory;
  fuse_case::OnDevice<T, HostArrays> on(c, memory, seed % 2 == 0);
  Reports::Found wrong;
  const ThreadedDevice device{Reports{&wrong}};
  REQUIRE(on.forward(device).ok());
  REQUIRE(on.backward(device).ok());
  CHECK(wrong.code == Code::ok);
  const auto found = on.results(), expected = fuse_case::on_cpu(c);
  CHECK(found.gates == expected.gates);
  CHECK(found.scores == expected.scores);
  CHECK(found.states == expected.states);
  // exp differs in its last bits, and sums over tokens are cut into chunks.
  const double last_bits = std::is_same_v<T, float> ? 4e-6 : std::is_same_v<T, Bf16> ? 8e-3 : 1e-3;
  CHECK(count_far(found.out, expected.out, last_bits) == 0);
  CHECK(count_far(found.norms, expected.norms, 1e-5) == 0);
  CHECK(count_far(found.segments, expected.segments, 2e-5) == 0);
  CHECK(count_far(found.to_hidden, expected.to_hidden, 2e-5) == 0);
  CHECK(count_far(found.gain, expected.gain, 2e-5) == 0);
  CHECK(count_far(found.conv_gain, expected.conv_gain, 1e-4) == 0);
  CHECK(count_far(found.conv, expected.conv, 1e-4) == 0);
}

/// A convolution of 7 tokens, and what its calls say when something of it does not fit.
struct Refused {
  Case<float> c{5, {7, 2, 9, 3, 2, 2}};
  HostArrays memory;
  fuse_case::OnDevice<float, HostArrays> on{c, memory, false};
  Reports::Found wrong;

  Status forward() { return on.forward(ThreadedDevice{Reports{&wrong}}); }
  Status backward() { return on.backward(ThreadedDevice{Reports{&wrong}}); }
};

}  // namespace

TEST_CASE("fuse on a GPU's threads: the convolution, forward and backward") {
  check_case<float>(1, {40, 2, 45, 4, 2, 3});
  check_case<float>(2, {150, 1, 33, 3, 1, 4});  // three chunks of tokens
  check_case<Bf16>(3, {20, 3, 64, 2, 3, 1, false});
  check_case<F16>(4, {17, 2, 7, 1, 1, 2});
  check_case<float>(7, {30, 1, 9, 12, 1, 2});  // more taps than small rooms hold
}

TEST_CASE("fuse on a GPU's threads: a row that several warps share, without norms") {
  const Case<float> c(1, {20, 2, 1000, 4, 2, 2});
  HostArrays memory;
  fuse_case::OnDevice<float, HostArrays> on(c, memory, false);
  on.leave_out_norms();
  Reports::Found wrong;
  REQUIRE(on.forward(ThreadedDevice{Reports{&wrong}}).ok());
  const auto found = on.results(), expected = fuse_case::on_cpu(c);
  CHECK(std::count(found.gates.begin(), found.gates.end(), 0.0f) < 40);  // some tokens take part
  CHECK(count_far(found.out, expected.out, 4e-6) == 0);
  CHECK(found.states == expected.states);
  CHECK(found.norms == c.room().norms);
}

TEST_CASE("fuse on a GPU's threads: backward without a convolution") {
  check_case<float>(5, {70, 2, 40, 0, 1, 1});
  check_case<Bf16>(6, {9, 4, 33, 0, 1, 1, false});
}

TEST_CASE("fuse on a GPU's threads: starts that fall let every token pass, and states stay") {
  Refused r;
  r.c.starts = {0, 5, 3};
  fuse_case::OnDevice<float, HostArrays> on(r.c, r.memory, false);
  const ThreadedDevice device{Reports{&r.wrong}};
  REQUIRE(on.forward(device).ok());
  CHECK(r.wrong.code == Code::bad_sequence);
  CHECK(r.wrong.index == 2);
  CHECK(on.results().out == r.c.hidden);
  CHECK(on.results().states == r.c.states);
  REQUIRE(on.backward(device).ok());
  CHECK(on.results().to_hidden == r.c.upstream);
  CHECK(on.results().conv == r.c.room().conv);
}

TEST_CASE("fuse on a GPU's threads: what does not fit a convolution is refused") {
  const auto refuse = [](auto change, Status expected) {
    Refused r;
    change(r.on);
    CHECK(r.forward() == expected);
    CHECK(r.on.results().gates == r.c.room().gates);
  };
  using Floats = DeviceView<const float, 3>;
  refuse([](auto& on) { on.conv().weights = Floats(on.conv().weights.data(), 65, 2, 9); },
         {Code::invalid_config});
  refuse([](auto& on) { on.conv().weights = Floats(on.conv().weights.data(), 3, 1, 9); },
         {Code::shape_mismatch, 0, 2});
  refuse([](auto& on) { on.conv().weights = Floats(on.conv().weights.data(), 3, 2, 8); },
         {Code::shape_mismatch, 0, 9});
  refuse([](auto& on) { on.conv().gain = on.conv().gain.slice(0, 1); },
         {Code::shape_mismatch, 0, 2});
  refuse([](auto& on) { on.conv().starts = on.conv().starts.slice(0, 1); },
         {Code::shape_mismatch, 0, 2});
  refuse([](auto& on) { on.conv().states = on.conv().states.slice(0, 1); },
         {Code::shape_mismatch, 0, 2});
  refuse([](auto& on) { on.conv().states = DeviceView<float, 2>(on.conv().states.data(), 2, 71); },
         {Code::shape_mismatch, 0, 72});
  refuse([](auto& on) { on.tape() = on.tape().slice(1, on.tape().extent(0) - 1); },
         {Code::workspace_small, 0, conv_workspace_bytes(7, 2, 2)});
}

TEST_CASE("fuse on a GPU's threads: gradients that do not fit are refused") {
  const auto refuse = [](auto change, Status expected) {
    Refused r;
    REQUIRE(r.forward().ok());
    change(r.on);
    CHECK(r.backward() == expected);
    CHECK(r.on.results().segments == r.c.room().segments);
  };
  refuse([](auto& on) { on.to().segments = on.to().segments.slice(0, 6); },
         {Code::shape_mismatch, 0, 7});
  refuse(
      [](auto& on) { on.to().to_hidden = DeviceView<float, 3>(on.to().to_hidden.data(), 7, 2, 8); },
      {Code::shape_mismatch, 0, 9});
  refuse([](auto& on) { on.to().gain = on.to().gain.slice(0, 1); }, {Code::shape_mismatch, 0, 2});
  refuse([](auto& on) { on.to().conv = on.to().conv.slice(0, 2); }, {Code::shape_mismatch, 0, 3});
  refuse(
      [](auto& on) {
        on.conv().weights = {};
        on.conv_before().weights = {};
        on.to().conv = on.to().conv.slice(0, 0);
      },
      {Code::shape_mismatch, 0, 0});
  refuse([](auto& on) { on.workspace() = on.workspace().slice(1, on.workspace().extent(0) - 1); },
         {Code::workspace_small, 0, fuse_backward_workspace_bytes(7, 2, 9, 3)});
}
