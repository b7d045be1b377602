// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a program that works for minutes says meanwhile on standard output: to someone who watches
// a terminal, or to a file that is read later.

#include "stopwatch.hpp"

#include <cstdio>
#include <string>

namespace engram::program {

/// Whether standard output is a terminal, not a file or a pipe.
bool is_terminal();

/// What is left when `done` of `all` equal parts took that long. done: above 0.
double seconds_left(double elapsed, double done, double all);

/// A line below 80 columns that says how far the work is: redrawn on a terminal, else a new line
/// every 10 seconds.
class ProgressLine {
 public:
  explicit ProgressLine(bool redrawn = is_terminal(), std::FILE* out = stdout)
      : redrawn_(redrawn), out_(out) {}

  /// Prints the text where it is time for it; the last one always, and ends the line. The next one
  /// is the first of another line.
  void show(const std::string& text, bool last);

 private:
  bool redrawn_;
  std::FILE* out_;
  Stopwatch since_;
  double next_ = 0;        // seconds of the stopwatch
  std::size_t width_ = 0;  // of what stands on the terminal's line
};

}  // namespace engram::program
