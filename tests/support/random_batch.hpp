// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sequences of random lengths in one batch, and marks of its tokens.

#include <engram/core/mark.hpp>
#include <engram/core/view.hpp>
#include <random.hpp>

#include <algorithm>
#include <vector>

namespace random_batches {

using namespace engram;

/// Ascending from 0; some sequences may be empty, and tokens behind the last.
template <class Start>
std::vector<Start> random_starts(Index tokens, Index sequences, Random& random) {
  std::vector<Start> starts;
  for (Index s = 0; s <= sequences; ++s)
    starts.push_back(static_cast<Start>(random.below(tokens + 1)));
  starts.front() = 0;
  std::sort(starts.begin(), starts.end());
  return starts;
}

/// Of any kind, mostly a plain token.
inline Mark random_mark(Random& random) {
  const Index kind = random.below(12);
  return kind == 0   ? Mark::dead
         : kind == 1 ? Mark::padding
         : kind == 2 ? Mark::start
         : kind == 3 ? Mark::dead | Mark::start
                     : Mark::token;
}

}  // namespace random_batches
