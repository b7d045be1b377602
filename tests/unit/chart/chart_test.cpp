// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#if __has_include("chart/chart.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "chart/chart.hpp"

using namespace engram;

TEST_CASE("a chart has finite coordinates whatever its lines") {
  const std::vector<std::pair<double, double>> none, one = {{3, 2}}, flat = {{0, 1}, {9, 1}};
  for (const auto& points : {none, one, flat}) {
    const std::string svg = chart::line_chart({{"a", "#000", points, false}}, "step", "nats");
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "inf"));
    CHECK(contains(svg, "</svg>"));
  }
}

#endif
