// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace engram::chart {
namespace {

constexpr double width = 760, height = 340, left = 52, right = 12, top = 14, bottom = 44;

/// A step of 1, 2 or 5 times a power of ten that gives some five marks.
double mark_step(double span) {
  const double power = std::pow(10, std::floor(std::log10(std::max(span, 1e-9) / 5)));
  for (const double times : {1.0, 2.0, 5.0})
    if (span / (power * times) <= 6) return power * times;
  return power * 10;
}

struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  double at(double x) const { return from + (x - low) / (high - low) * (to - from); }
};

}  // namespace

std::string number(double x, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, x);
  const bool no_sign = text[0] == '-' && std::strtod(text, nullptr) == 0;  // not "-0.00"
  return text + (no_sign ? 1 : 0);
}

std::string line_chart(const std::vector<Line>& lines, const std::string& x_name,
                       const std::string& y_name, bool legend_at_left) {
  Axis x{INFINITY, 1, left, width - right}, y{INFINITY, -INFINITY, height - bottom, top};
  for (const Line& line : lines)
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      const auto& [px, py] = line.points[i];
      const double error = line.errors.empty() ? 0 : line.errors[i];
      x.low = std::min(x.low, px);
      x.high = std::max(x.high, px);
      y.low = std::min(y.low, py - error);
      y.high = std::max(y.high, py + error);
    }
  if (!(x.low > x.high / 3 && x.low < x.high)) x.low = 0;
  if (!std::isfinite(y.low)) y.low = 0.5;  // no points
  if (!(y.low < y.high)) y.low -= 0.5, y.high = y.low + 1;
  const double margin = 0.04 * (y.high - y.low);
  y.low -= margin;
  y.high += margin;

  std::string svg = "<svg viewBox=\"0 0 " + number(width, 0) + " " + number(height, 0) +
                    "\" role=\"img\" aria-label=\"" + y_name + " by " + x_name + "\">\n";
  const auto text = [&](double px, double py, const char* anchor, const std::string& what) {
    svg += "<text x=\"" + number(px, 1) + "\" y=\"" + number(py, 1) + "\" text-anchor=\"" + anchor +
           "\">" + what + "</text>\n";
  };
  const double y_step = mark_step(y.high - y.low), x_step = mark_step(x.high - x.low);
  const int y_digits = std::max(0, -static_cast<int>(std::floor(std::log10(y_step) + 1e-9)));
  for (double m = std::ceil(y.low / y_step) * y_step; m <= y.high; m += y_step) {
    svg += "<line class=\"grid\" x1=\"" + number(left, 1) + "\" x2=\"" + number(width - right, 1) +
           "\" y1=\"" + number(y.at(m), 1) + "\" y2=\"" + number(y.at(m), 1) + "\"/>\n";
    text(left - 6, y.at(m) + 4, "end", number(m, y_digits));
  }
  for (double m = std::ceil(x.low / x_step) * x_step; m <= x.high; m += x_step)
    text(x.at(m), height - bottom + 18, "middle", number(m, 0));
  text((left + width - right) / 2, height - 6, "middle", x_name);
  text(left, top - 2, "start", y_name);
  for (const Line& line : lines) {
    svg += "<polyline fill=\"none\" stroke=\"" + line.color + "\" stroke-width=\"" +
           (line.faint ? "1\" opacity=\"0.35" : "2.2") + "\" points=\"";
    for (const auto& [px, py] : line.points)
      svg += number(x.at(px), 1) + "," + number(y.at(py), 1) + " ";
    svg += "\"/>\n";
    for (std::size_t i = 0; i < line.errors.size(); ++i) {
      const auto& [px, py] = line.points[i];
      svg += "<line stroke=\"" + line.color + "\" x1=\"" + number(x.at(px), 1) + "\" x2=\"" +
             number(x.at(px), 1) + "\" y1=\"" + number(y.at(py - line.errors[i]), 1) + "\" y2=\"" +
             number(y.at(py + line.errors[i]), 1) + "\"/>\n";
    }
  }
  double row = top + 16;
  const double legend = legend_at_left ? left + 12 : width - 190;
  for (const Line& line : lines) {
    if (line.faint) continue;
    svg += "<rect x=\"" + number(legend, 0) + "\" y=\"" + number(row - 9, 0) +
           "\" width=\"22\" height=\"4\" fill=\"" + line.color + "\"/>\n";
    text(legend + 30, row - 3, "start", line.name);
    row += 20;
  }
  return svg + "</svg>\n";
}

std::string svg_file(const std::vector<std::string>& charts) {
  const auto count = static_cast<double>(charts.size());
  std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width, 0) +
                    " " + number(count * height, 0) +
                    "\">\n<style>text { font: 13px sans-serif; fill: #343a40 } .grid { stroke: "
                    "#dee2e6 }</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  for (std::size_t i = 0; i < charts.size(); ++i)
    svg += "<svg y=\"" + number(static_cast<double>(i) * height, 0) + "\" height=\"" +
           number(height, 0) + "\">\n" + charts[i] + "</svg>\n";
  return svg + "</svg>\n";
}

}  // namespace engram::chart
