// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How long something has taken, by a clock that nobody sets.

namespace engram::program {

/// Starts when it is made. Copies go on from the same moment.
class Stopwatch {
 public:
  Stopwatch();
  double seconds() const;

 private:
  long long start_;  // nanoseconds of the clock
};

}  // namespace engram::program
