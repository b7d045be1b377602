// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How tables start: moments, the same numbers for any sharding and thread, and the identity.
#include "gradient_case.hpp"

#include <catch.hpp>
#include <engram/training/init.hpp>

using namespace engram;
using namespace layer_case;

TEST_CASE("initial numbers are close to normal and keyed by seed, row and element") {
  double sum = 0, squares = 0, fourth = 0, with_next = 0, before = 0;
  constexpr int count = 200000;
  for (int i = 0; i < count; ++i) {
    const double x =
        normal_number(7, static_cast<std::uint64_t>(i / 64), static_cast<std::uint64_t>(i % 64));
    CHECK_FALSE(std::fabs(x) > 6);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    with_next += x * before;
    before = x;
  }
  CHECK(std::fabs(sum / count) < 0.01);
  CHECK(std::fabs(squares / count - 1) < 0.02);
  CHECK(std::fabs(fourth / count - 2.9) < 0.1);
  CHECK(std::fabs(with_next / count) < 0.01);
  CHECK(normal_number(7, 1, 2) != normal_number(7, 2, 1));
  CHECK(normal_number(7, 1, 2) != normal_number(8, 1, 2));
  // The same on every machine.
  CHECK(normal_number(0, 0, 0) == -0x1.d691100000000p-1f);
  CHECK(normal_number(1, 5, 3) == 0x1.0d77600000000p-2f);
}

TEST_CASE("a table comes out the same whole, in shards, and from several threads") {
  const auto make = [](Index rows) {
    return Table<HostStore, Bf16Codec>::make(HostStore::make(rows, 2 * 9).value(), {}, 9).value();
  };
  auto whole = make(50), shard = make(20), shared = make(50);
  REQUIRE(fill_rows_normal(whole, 0.02f, 3).ok());
  REQUIRE(fill_rows_normal(shard, 0.02f, 3, 30).ok());
  Barrier barrier;
  std::vector<std::thread> threads;
  for (Index i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      CHECK(fill_rows_normal(shared, 0.02f, 3, 0, CpuDevice{{i, 3}, &barrier}).ok());
    });
  for (std::thread& t : threads) t.join();
  const auto bytes = [](auto& table, Index row) { return table.store().ref()(row).codes; };
  for (Index r = 0; r < 50; ++r) {
    CHECK(std::memcmp(bytes(whole, r), bytes(shared, r), 18) == 0);
    if (r >= 30) CHECK(std::memcmp(bytes(whole, r), bytes(shard, r - 30), 18) == 0);
  }
  CHECK(fill_rows_normal(whole, std::numeric_limits<float>::infinity(), 3).code ==
        Code::invalid_config);
}

TEST_CASE("a layer starts as the identity and learns: zero rows or a zero value projection") {
  const Shape shape{.branches = 2, .width = 8, .columns = 2, .row_width = 4, .biases = false};
  const auto gradients = [&](bool zero_rows, bool zero_value, bool& identity) {
    LayerCase<float> c(shape, 4);
    if (zero_value) std::fill(c.value.begin(), c.value.end(), 0.0f);
    if (zero_rows)
      for (Index r = 0; r < c.table.num_rows(); ++r)
        std::memset(c.table.store().mutable_ref()(r).codes, 0, 16);
    Random random(2);
    Batch<float> batch(shape, 12, random);
    const Outcome<float> out = run_whole(c.layer(), batch);
    identity = same_bits(out.out.memory, batch.hidden.memory);
    const auto upstream = random_elements<float>(random, 12 * 16);
    const auto found = gradient_case::backward_of(c, batch, {}, upstream, 1);
    double rows = 0, value = 0;
    for (const float x : found.elements) rows += std::fabs(x);
    for (const float x : found.value) value += std::fabs(x);
    return std::pair(rows, value);
  };
  bool identity = false;
  auto [rows, value] = gradients(true, false, identity);
  CHECK(identity);
  CHECK(rows > 0);
  std::tie(rows, value) = gradients(false, true, identity);
  CHECK(identity);
  CHECK(value > 0);
  std::tie(rows, value) = gradients(true, true, identity);
  CHECK(identity);
  CHECK(rows == 0);  // the trap: nothing ever learns
  CHECK(value == 0);
  std::tie(rows, value) = gradients(false, false, identity);
  CHECK_FALSE(identity);
}
