// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#if __has_include("chart/chart.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "chart/chart.hpp"

using namespace engram;

TEST_CASE("a chart has finite coordinates whatever its lines") {
  const std::vector<std::pair<double, double>> none, one = {{3, 2}}, flat = {{0, 1}, {9, 1}};
  for (const auto& points : {none, one, flat}) {
    const std::string svg = chart::line_chart({{"a", "#000", points, false, {}}}, "step", "nats");
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "inf"));
    CHECK(contains(svg, "</svg>"));
  }
}

TEST_CASE("error bars are inside the chart, and an axis far from 0 does not begin there") {
  const std::string svg =
      chart::line_chart({{"a", "#123", {{40, 1}, {100, 1}}, false, {0.5, 0.25}}}, "share", "nats");
  CHECK(contains(svg, "<line stroke=\"#123\" x1=\"52.0\" x2=\"52.0\""));
  CHECK(contains(svg, "<line stroke=\"#123\" x1=\"748.0\" x2=\"748.0\""));
  CHECK_FALSE(contains(svg, ">20<"));
  CHECK(contains(svg, ">1.4<"));
  CHECK(contains(svg, ">0.6<"));
  const std::string fine =
      chart::line_chart({{"a", "#123", {{0, 0}, {1, 0.0165}}, false, {}}}, "share", "nats");
  CHECK(contains(fine, ">0.005<"));
  CHECK(contains(fine, ">0.015<"));
  const std::string file = chart::svg_file({svg, svg});
  CHECK(contains(file, "viewBox=\"0 0 760 680\""));
}

#endif
