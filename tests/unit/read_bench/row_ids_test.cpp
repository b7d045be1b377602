// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Ids that a benchmark asks for: in range, one to one, and as often as their law says.
#include "read_bench/row_ids.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cmath>

using namespace engram;
using namespace engram::read_bench;

TEST_CASE("row ids: the permutation gives every number once") {
  for (const Index count : {1, 2, 3, 7, 8, 9, 1000, 4097}) {
    const RowIds ids(0, count, IdKind::zipf, 1);
    std::vector<bool> seen(static_cast<std::size_t>(count));
    for (Index i = 0; i < count; ++i) {
      const Index to = ids.permuted(i);
      REQUIRE(to >= 0);
      REQUIRE(to < count);
      CHECK(!seen[static_cast<std::size_t>(to)]);
      seen[static_cast<std::size_t>(to)] = true;
    }
  }
}

TEST_CASE("row ids: both kinds stay in their range, also of one row and of billions") {
  for (const IdKind kind : {IdKind::zipf, IdKind::uniform})
    for (const Index count : {Index{1}, Index{2}, Index{50}, Index{3} << 33}) {
      RowIds ids(1000, count, kind, 5);
      for (const RowId id : ids.list(2000)) {
        CHECK(to_integer(id) >= 1000);
        CHECK(to_integer(id) - 1000 < count);
      }
    }
}

TEST_CASE("row ids: the same seed gives the same ids") {
  CHECK(RowIds(0, 999, IdKind::zipf, 3).list(50) == RowIds(0, 999, IdKind::zipf, 3).list(50));
  CHECK(!(RowIds(0, 999, IdKind::zipf, 3).list(50) == RowIds(0, 999, IdKind::zipf, 4).list(50)));
}

TEST_CASE("row ids: the rank k of n comes once in k times the n-th harmonic number") {
  constexpr Index n = 1000, draws = 400000;
  RowIds ids(0, n, IdKind::zipf, 9);
  std::vector<double> counts(static_cast<std::size_t>(n));
  for (Index i = 0; i < draws; ++i) ++counts[static_cast<std::size_t>(to_integer(ids.next()))];
  double harmonic = 0;
  for (Index k = 1; k <= n; ++k) harmonic += 1.0 / static_cast<double>(k);
  for (const Index k : {1, 2, 3, 10, 100}) {
    const double expected = static_cast<double>(draws) / (static_cast<double>(k) * harmonic);
    const double found = counts[static_cast<std::size_t>(ids.permuted(k - 1))];
    INFO("rank " << k);
    CHECK(std::abs(found - expected) < 5 * std::sqrt(expected));
  }
}

TEST_CASE("row ids: uniform ids are even") {
  RowIds ids(0, 10, IdKind::uniform, 9);
  std::vector<double> counts(10);
  for (int i = 0; i < 100000; ++i) ++counts[static_cast<std::size_t>(to_integer(ids.next()))];
  for (const double found : counts) CHECK(std::abs(found - 10000) < 5 * 100);
}

TEST_CASE("row ids: a pool gives its ids in order, and begins anew rather than give too few") {
  std::vector<RowId> ids;
  for (int i = 0; i < 10; ++i) ids.push_back(RowId{i});
  IdPool pool(ids);
  CHECK(to_integer(pool.next(4)(3)) == 3);
  CHECK(to_integer(pool.next(6)(0)) == 4);
  CHECK(to_integer(pool.next(8)(0)) == 0);
  CHECK(to_integer(pool.next(10)(9)) == 9);
}
