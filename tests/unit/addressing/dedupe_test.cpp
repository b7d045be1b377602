// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/dedupe.hpp>

#include <algorithm>
#include <catch.hpp>
#include <random.hpp>
#include <vector>

using namespace engram;

namespace {

template <class Row>
struct Plan {
  std::vector<Row> unique;
  std::vector<std::int32_t> scatter;
  std::vector<std::byte> workspace;
  Index num_unique = -5;
  Status status;

  Plan(View<const Row, 2> rows, Index num_rows)
      : unique(static_cast<std::size_t>(rows.size()), 77),
        scatter(static_cast<std::size_t>(rows.size()), 77),
        workspace(dedupe_workspace_bytes(rows.size())) {
    status = plan_dedupe(rows, num_rows, View<Row, 1>(unique), View<std::int32_t, 1>(scatter),
                         num_unique, View<std::byte, 1>(workspace));
  }
};

template <class Row>
void check_plan(View<const Row, 2> rows, Index num_rows) {
  const Plan<Row> plan(rows, num_rows);
  REQUIRE(plan.status.ok());
  std::vector<Row> expected;
  for (Index t = 0; t < rows.extent(0); ++t)
    for (Index c = 0; c < rows.extent(1); ++c)
      if (rows(t, c) >= 0) expected.push_back(rows(t, c));
  std::sort(expected.begin(), expected.end());
  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  REQUIRE(plan.num_unique == static_cast<Index>(expected.size()));
  REQUIRE(std::equal(expected.begin(), expected.end(), plan.unique.begin()));
  for (Index t = 0; t < rows.extent(0); ++t) {
    for (Index c = 0; c < rows.extent(1); ++c) {
      const std::int32_t place = plan.scatter[static_cast<std::size_t>(t * rows.extent(1) + c)];
      if (rows(t, c) < 0) {
        REQUIRE(place == -1);
      } else {
        REQUIRE(plan.unique[static_cast<std::size_t>(place)] == rows(t, c));
      }
    }
  }
}

template <class Row>
std::vector<Row> random_rows(Index count, Index num_rows, bool with_gaps, Random& random) {
  std::vector<Row> rows(static_cast<std::size_t>(count));
  for (Row& row : rows) {
    row = static_cast<Row>(random.zipf(num_rows));
    if (with_gaps && random.below(5) == 0) row = -1;
  }
  return rows;
}

}  // namespace

TEST_CASE("a plan holds each row once, ascending, and finds every id again") {
  Random random(1);
  for (const Index num_rows : {Index{1}, Index{2}, Index{2048}, Index{2049}, Index{384006168},
                               Index{1} << 31, Index{1} << 33, Index{1} << 45}) {
    for (const Index count : {Index{1}, Index{24}, Index{1000}, Index{5000}}) {
      for (const bool gaps : {false, true}) {
        INFO(num_rows << " rows, " << count << " ids, gaps " << gaps);
        const auto rows = random_rows<std::int64_t>(count, num_rows, gaps, random);
        check_plan(View<const std::int64_t, 2>(rows.data(), 1, count), num_rows);
        if (num_rows <= INT32_MAX) {
          const auto narrow = random_rows<std::int32_t>(count, num_rows, gaps, random);
          check_plan(View<const std::int32_t, 2>(narrow.data(), 1, count), num_rows);
        }
      }
    }
  }
}

TEST_CASE("rows of one layer are read out of [T, L, H] in place") {
  Random random(2);
  const auto rows = random_rows<std::int64_t>(40 * 3 * 5, 90, true, random);
  const View<const std::int64_t, 3> all(rows.data(), 40, 3, 5);
  for (Index l = 0; l < 3; ++l) check_plan(all.at<1>(l), 90);
}

TEST_CASE("nothing but padding, and nothing at all") {
  const std::vector<std::int64_t> rows(10, -1);
  const Plan<std::int64_t> plan(View<const std::int64_t, 2>(rows.data(), 2, 5), 100);
  REQUIRE(plan.status.ok());
  CHECK(plan.num_unique == 0);
  CHECK(plan.scatter == std::vector<std::int32_t>(10, -1));
  const Plan<std::int64_t> empty(View<const std::int64_t, 2>(rows.data(), 0, 5), 100);
  CHECK(empty.status.ok());
  CHECK(empty.num_unique == 0);
}

TEST_CASE("a bad id is named and nothing is written") {
  for (const std::int64_t bad : {std::int64_t{100}, std::int64_t{-2}, INT64_MIN, INT64_MAX}) {
    const std::vector<std::int64_t> rows = {3, 5, 99, bad, 4, 1};
    const Plan<std::int64_t> plan(View<const std::int64_t, 2>(rows.data(), 2, 3), 100);
    CHECK(plan.status == Status{Code::bad_row, 0, 3});
    CHECK(plan.num_unique == -5);
    CHECK(plan.unique == std::vector<std::int64_t>(6, 77));
    CHECK(plan.scatter == std::vector<std::int32_t>(6, 77));
  }
}

TEST_CASE("wrong sizes are refused") {
  const std::vector<std::int64_t> rows(100, 1);
  const View<const std::int64_t, 2> view(rows.data(), 10, 10);
  std::vector<std::int64_t> unique(100);
  std::vector<std::int32_t> scatter(100);
  std::vector<std::byte> workspace(dedupe_workspace_bytes(100));
  Index n = 0;
  const auto plan = [&](std::size_t u, std::size_t s, std::size_t w, Index num_rows) {
    return plan_dedupe(view, num_rows, View<std::int64_t, 1>(unique.data(), u),
                       View<std::int32_t, 1>(scatter.data(), s), n,
                       View<std::byte, 1>(workspace.data(), w));
  };
  CHECK(plan(100, 100, workspace.size(), 2).ok());
  CHECK(plan(99, 100, workspace.size(), 2).code == Code::shape_mismatch);
  CHECK(plan(100, 99, workspace.size(), 2).code == Code::shape_mismatch);
  CHECK(plan(100, 100, workspace.size(), Index{1} << 60).code == Code::unsupported);
  const Status small = plan(100, 100, workspace.size() / 2, 2);
  CHECK(small.code == Code::workspace_small);
  CHECK(small.index == static_cast<Index>(workspace.size()));
}
