// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a few seeds say: a mean, how far it may be off, and whether a difference is more than noise.

#include <cmath>
#include <span>
#include <vector>

namespace engram::study {

struct Estimate {
  double mean = 0;
  double error = INFINITY;  ///< standard error of the mean; of one value nobody knows it
};

inline Estimate estimate(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double x : values) sum += x;
  const double mean = sum / n;
  for (const double x : values) squares += (x - mean) * (x - mean);
  return {mean, values.size() < 2 ? INFINITY : std::sqrt(squares / (n - 1) / n)};
}

/// Of values that belong together, those of one seed for instance: a - b.
inline Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  std::vector<double> differences;
  for (std::size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return estimate(differences);
}

/// Whether it differs from 0, by two standard errors or more. Of three values that are noise,
/// chance alone has it so about one time in five.
inline bool is_resolved(const Estimate& difference) {
  return difference.mean != 0 && std::fabs(difference.mean) >= 2 * difference.error;
}

}  // namespace engram::study
