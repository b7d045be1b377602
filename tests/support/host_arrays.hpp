// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Host memory that plays a GPU's, for tests that run on either.

#include <algorithm>
#include <cstddef>
#include <deque>
#include <vector>

/// Memory that plays a GPU's.
class HostArrays {
 public:
  template <class E>
  E* put(const std::vector<E>& elements) {
    const auto* const from = reinterpret_cast<const std::byte*>(elements.data());
    arrays_.emplace_back(from, from + elements.size() * sizeof(E));
    return reinterpret_cast<E*>(arrays_.back().data());
  }
  template <class E>
  void get(const E* from, std::vector<E>& elements) const {
    std::copy(from, from + elements.size(), elements.begin());
  }

 private:
  std::deque<std::vector<std::byte>> arrays_;
};
