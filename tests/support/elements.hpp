// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Vectors of elements, and how far they are from the expected ones.

#include <engram/core/scalar.hpp>
#include <engram/core/view.hpp>
#include <random.hpp>

#include <cmath>
#include <cstring>
#include <vector>

namespace elements {

using namespace engram;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Multiples of 1 / parts, from -1000 to 1000 of them.
template <class T>
std::vector<T> random_elements(Index count, Random& random, float parts = 500) {
  std::vector<T> all;
  for (Index i = 0; i < count; ++i)
    all.push_back(from_float<T>(static_cast<float>(random.below(2001) - 1000) / parts));
  return all;
}

/// What no call leaves as it is by chance.
template <class T>
std::vector<T> poisoned(Index count) {
  std::vector<T> all(at(count));
  std::memset(static_cast<void*>(all.data()), 0xA5, all.size() * sizeof(T));
  return all;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(static_cast<const void*>(a.data()),
                                                           b.data(), a.size() * sizeof(T)) == 0);
}

/// How many numbers are further apart than bound * (1 + |expected|); a NaN is near a NaN, an
/// infinity near itself.
template <class T>
Index count_far(const std::vector<T>& found, const std::vector<T>& expected, double bound) {
  if (found.size() != expected.size()) return -1;
  Index far = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double f = to_float(found[i]), e = to_float(expected[i]);
    const bool is_near =
        f == e || (std::isnan(f) && std::isnan(e)) || std::abs(f - e) <= bound * (1 + std::abs(e));
    far += is_near ? 0 : 1;
  }
  return far;
}

}  // namespace elements
