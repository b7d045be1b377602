// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The plan of a batch's rows, their gradients' sums and the optimizers' steps as a GPU makes them,
// by the CPU's threads: the CPU's own bits.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <host_arrays.hpp>
#include <row_case.hpp>

#include <algorithm>
#include <numeric>

using namespace engram;
using elements::at;
using elements::same_bits;
using row_case::Case;

namespace {

/// What CUB does on a GPU.
struct PlainSorter {
  std::uint64_t* sort(std::uint64_t* const (&pairs)[2], Index count, int begin_bit, int end_bit,
                      const ThreadedDevice&) const {
    std::copy(pairs[0], pairs[0] + count, pairs[1]);
    const std::uint64_t mask = ((std::uint64_t{1} << end_bit) - 1) >> begin_bit << begin_bit;
    std::stable_sort(pairs[1], pairs[1] + count,
                     [mask](auto a, auto b) { return (a & mask) < (b & mask); });
    return pairs[1];
  }
  template <class T>
  void sum(T* items, Index count, const ThreadedDevice&) const {
    std::partial_sum(items, items + count, items);
  }
};

template <class Row>
struct Planner {
  Index count, num_rows;
  const ThreadedDevice& device;
  std::vector<std::byte> bytes{at(RowPlanScratch::bytes(count)), std::byte{0x55}};

  template <class On>
  Status operator()(const On& on, DeviceRowPlan<Row>& made) {
    const DeviceView<const Row, 2> rows = on.rows();
    if (Status s = check_row_plan(rows, num_rows, on.unique(), on.scatter()); !s.ok()) return s;
    Workspace memory{View<std::byte, 1>(bytes)};
    made = make_row_plan(device, PlainSorter(), rows, num_rows, on.unique(), on.scatter(), memory);
    return {};
  }
};

/// A case on a GPU's threads, and what is reported there.
template <class T, class Row, class Optimizer>
struct Training {
  HostArrays memory;
  row_case::OnDevice<T, Row, HostArrays, Optimizer> on;
  Reports::Found wrong;
  ThreadedDevice device{Reports{&wrong}};
  Planner<Row> planner;

  Training(const Case<T, Row>& c, const Optimizer& optimizer, NonFinite non_finite)
      : on(c, memory, optimizer, non_finite), planner{c.count(), c.num_rows, device} {}
  Training(const Training&) = delete;

  Status run() { return on.run(device, planner); }
};

/// Everything but the sums of places that no row has.
template <class T, class Row, class Optimizer>
void check_case(const Case<T, Row>& c, const Optimizer& optimizer, NonFinite non_finite,
                Status expected_report = {}) {
  INFO(c.tokens << " x " << c.columns << " ids of " << c.num_rows << " rows of " << c.width);
  Training training(c, optimizer, non_finite);
  REQUIRE(training.run().ok());
  CHECK(training.wrong.code == expected_report.code);
  CHECK(training.wrong.index == expected_report.index);
  const auto found = training.on.results();
  const auto expected = row_case::on_cpu(c, optimizer, non_finite);
  CHECK(found.num_unique == expected.num_unique);
  CHECK(found.unique == expected.unique);
  CHECK(found.scatter == expected.scatter);
  CHECK(found.not_finite == expected.not_finite);
  CHECK(found.first_not_finite == expected.first_not_finite);
  CHECK(std::equal(found.sums.begin(), found.sums.begin() + expected.num_unique * c.width,
                   expected.sums.begin(),
                   [](float a, float b) { return to_bits(a) == to_bits(b); }));
  CHECK(same_bits(found.table, expected.table));
  CHECK(same_bits(found.state, expected.state));
}

}  // namespace

TEST_CASE("row gradients on a GPU's threads: plan, sums and steps have the CPU's bits") {
  for (const NonFinite non_finite : {NonFinite::skip, NonFinite::fail}) {
    check_case(Case<float, std::int32_t>(1, 50, 3, 64, 40), Sgd(), non_finite);
    check_case(Case<float, std::int64_t>(2, 300, 1, 20, 9), RowAdagrad(), non_finite);
    check_case(Case<Bf16, std::int32_t>(3, 40, 4, 100, 1000), LazyAdam(), non_finite);
    check_case(Case<Bf16, std::int32_t>(4, 33, 1, 32, 1), RowAdagrad(), non_finite);
  }
}

TEST_CASE("row gradients on a GPU's threads: one row for all, chunks at their borders") {
  for (const Index count : {1, 31, 32, 33, 63, 64, 65, 128, 129, 200, 64 * 11 + 1}) {
    Case<float, std::int32_t> c(5, count, 1, 7, 3);
    c.rows.assign(at(count), 2);
    check_case(c, RowAdagrad(), NonFinite::skip);
  }
}

TEST_CASE("row gradients on a GPU's threads: no row at all, and no ids") {
  Case<float, std::int32_t> c(6, 40, 2, 8, 5);
  c.rows.assign(80, -1);
  check_case(c, Sgd(), NonFinite::fail);
  check_case(Case<float, std::int32_t>(7, 0, 2, 8, 5), Sgd(), NonFinite::fail);
}

TEST_CASE("row gradients on a GPU's threads: sums that are not finite") {
  Case<float, std::int32_t> c(8, 100, 2, 40, 30);
  c.rows[10] = 17;
  c.rows[50] = 4;
  c.gradients[at(10 * 40 + 3)] = std::numeric_limits<float>::quiet_NaN();
  c.gradients[at(50 * 40 + 39)] = std::numeric_limits<float>::infinity();
  check_case(c, RowAdagrad(), NonFinite::skip);
  check_case(c, RowAdagrad(), NonFinite::fail, {Code::not_finite, 0, 4});
  // In the first of several chunks.
  c.rows.assign(c.rows.size(), 6);
  check_case(c, RowAdagrad(), NonFinite::skip);
  check_case(c, RowAdagrad(), NonFinite::fail, {Code::not_finite, 0, 6});
}

TEST_CASE("row gradients on a GPU's threads: a plan used again forgets what was not finite") {
  Case<float, std::int32_t> c(11, 30, 2, 8, 11);
  c.rows[0] = 3;
  Training training(c, Sgd(), NonFinite::fail);
  auto& [memory, on, wrong, device, planner] = training;
  const RowStep step = row_case::step_of(0, NonFinite::fail);
  on.gradients()(0, 0) = std::numeric_limits<float>::infinity();
  REQUIRE(on.step(device, planner, step).ok());
  CHECK(wrong.code == Code::not_finite);
  wrong = {};
  on.gradients()(0, 0) = 1;
  const auto same_plan = [](const auto&, DeviceRowPlan<std::int32_t>&) { return Status(); };
  REQUIRE(on.step(device, same_plan, step).ok());
  CHECK(wrong.code == Code::ok);
  CHECK(on.results().not_finite == 0);
  CHECK_FALSE(same_bits(on.results().table, c.table));
}

TEST_CASE("row gradients on a GPU's threads: ids that are no rows are reported and left out") {
  Case<float, std::int32_t> c(9, 30, 2, 8, 11);
  Case<float, std::int32_t> without = c;
  for (const auto& [place, id] : {std::pair{40, 11}, {7, -2}, {9, 1 << 30}}) {
    c.rows[at(place)] = id;
    without.rows[at(place)] = -1;
  }
  Training training(c, Sgd(), NonFinite::skip);
  REQUIRE(training.run().ok());
  CHECK(training.wrong.code == Code::bad_row);
  CHECK(training.wrong.index == 7);
  const auto expected = row_case::on_cpu(without, Sgd(), NonFinite::skip);
  CHECK(training.on.results().scatter == expected.scatter);
  CHECK(same_bits(training.on.results().table, expected.table));
}

TEST_CASE("row gradients on a GPU's threads: what does not fit is refused, and no row moves") {
  const Case<float, std::int32_t> c(10, 30, 2, 8, 11);
  const auto refuse = [&](auto change, Status expected, RowStep step = {0.5f}) {
    Training training(c, RowAdagrad(), NonFinite::skip);
    change(training.on);
    CHECK(training.on.step(training.device, training.planner, step) == expected);
    CHECK(same_bits(training.on.results().table, c.table));
  };
  using Floats = DeviceView<float, 2>;
  refuse([](auto& on) { on.gradients() = on.gradients().slice(0, 29); },
         {Code::shape_mismatch, 0, 30});
  refuse([](auto& on) { on.gradients() = Floats(on.gradients().data(), 30, 15); },
         {Code::shape_mismatch, 0, 16});
  refuse([](auto& on) { on.sums() = on.sums().slice(0, 59); }, {Code::shape_mismatch, 0, 60});
  refuse([](auto& on) { on.sums() = Floats(on.sums().data(), 60, 7); },
         {Code::shape_mismatch, 0, 8});
  refuse([](auto& on) { on.state() = on.state().slice(0, 10); }, {Code::shape_mismatch, 0, 11});
  refuse([](auto& on) { on.workspace() = on.workspace().slice(0, 10); },
         {Code::workspace_small, 0, row_sums_workspace_bytes(60, 8)});
  const float infinity = std::numeric_limits<float>::infinity();
  refuse([](auto&) {}, {Code::invalid_config}, {infinity});
  refuse([](auto&) {}, {Code::invalid_config}, {0.5f, infinity});

  using Ids = DeviceView<const std::int32_t, 2>;
  DeviceView<std::int32_t, 1> unique(nullptr, 6);
  CHECK(check_row_plan(Ids(nullptr, 3, 2), 5, unique, unique).ok());
  CHECK(check_row_plan(Ids(nullptr, 3, 0), 5, unique, unique) ==
        Status{Code::shape_mismatch, 0, 1});
  CHECK(check_row_plan(Ids(nullptr, 7, 1), 5, unique, {}) == Status{Code::shape_mismatch, 0, 7});
  CHECK(check_row_plan(Ids(nullptr, 5, 1), 5, unique, unique) ==
        Status{Code::shape_mismatch, 0, 5});
  CHECK(check_row_plan(Ids(nullptr, 3, 2), -1, unique, unique) == Status{Code::unsupported, 0, -1});
  CHECK(check_row_plan(Ids(nullptr, 3, 2), Index{1} << 61, unique, unique) ==
        Status{Code::unsupported, 0, Index{1} << 61});
}
