// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Line charts as SVG.

#include <string>
#include <vector>

namespace engram::chart {

struct Line {
  std::string name, color;
  std::vector<std::pair<double, double>> points;
  bool faint = false;          ///< thin and pale: what lies behind the others
  std::vector<double> errors;  ///< half the height of a bar at each point; empty: none
};

/// Axes with round numbers, the horizontal one from 0 unless all points are far from it, the lines,
/// and a legend for those that are not faint, at the upper right, or the left for lines that rise.
/// Text takes the colour of the page's.
std::string line_chart(const std::vector<Line>& lines, const std::string& x_name,
                       const std::string& y_name, bool legend_at_left = false);

/// Charts below one another as the text of an SVG file, which brings its own colours.
std::string svg_file(const std::vector<std::string>& charts);

/// "3.1416" with that many digits behind the point.
std::string number(double x, int digits);

}  // namespace engram::chart
