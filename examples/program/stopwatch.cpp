// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "stopwatch.hpp"

#include <chrono>

namespace engram::program {
namespace {

long long now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace

Stopwatch::Stopwatch() : start_(now()) {}

double Stopwatch::seconds() const { return static_cast<double>(now() - start_) / 1e9; }

}  // namespace engram::program
