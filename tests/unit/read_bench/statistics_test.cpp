// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Medians, percentiles and ratios by hand, and rounds that are held as they say.
#include "read_bench/statistics.hpp"

#include <catch.hpp>

using namespace engram;
using namespace engram::read_bench;

TEST_CASE("statistics: medians and percentiles of few values are those by hand") {
  CHECK(median({}) == 0);
  CHECK(median({3}) == 3);
  CHECK(median({9, 1, 5}) == 5);
  CHECK(median({4, 1, 2, 9}) == 3);
  CHECK(percentile({}, 0.5) == 0);
  CHECK(percentile({7}, 0.01) == 7);
  CHECK(percentile({7}, 1) == 7);
  std::vector<double> hundred;
  for (int i = 100; i > 0; --i) hundred.push_back(i);
  CHECK(percentile(hundred, 0.5) == 50);
  CHECK(percentile(hundred, 0.99) == 99);
  CHECK(percentile(hundred, 1) == 100);
  CHECK(percentile({1, 2, 3}, 0.5) == 2);  // two of three do not exceed it
}

TEST_CASE("statistics: a ratio is taken inside each round, so that a slow round does not count") {
  Rounds rounds;
  rounds.add({2, 1});
  rounds.add({200, 100});  // something else had the machine
  rounds.add({2, 1});
  rounds.add({300, 150});
  CHECK(rounds.count() == 4);
  CHECK(rounds.ratio(0, 1) == 2);
  CHECK(rounds.ratio(1, 0) == 0.5);
  CHECK(rounds.middle(0) == 101);
}

TEST_CASE("statistics: every contestant has its turn in every round, each first in turn") {
  std::string order;
  const auto contestant = [&order](char name, double value) {
    return [&order, name, value]() -> Result<double> {
      order += name;
      return value;
    };
  };
  const auto rounds =
      hold_rounds({contestant('a', 1), contestant('b', 2), contestant('c', 4)}, 0, 4);
  REQUIRE(rounds.ok());
  CHECK(order == "abcbcacababc");
  CHECK(rounds.value().count() == 4);
  CHECK(rounds.value().middle(2) == 4);
  CHECK(rounds.value().ratio(2, 1) == 2);
}

TEST_CASE("statistics: rounds end with the first failure and with the time") {
  int calls = 0;
  const auto failed = hold_rounds({[&calls]() -> Result<double> {
                                    if (++calls < 3) return 1.0;
                                    return fail(Code::io, "the disk is gone");
                                  }},
                                  60);
  REQUIRE(!failed.ok());
  CHECK(failed.message() == "the disk is gone");
  CHECK(calls == 3);
  const auto timed = hold_rounds({[]() -> Result<double> { return 1.0; }}, 0.01, 1);
  REQUIRE(timed.ok());
  CHECK(timed.value().count() > 1);
}
