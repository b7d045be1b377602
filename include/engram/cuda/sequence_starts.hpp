// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the sequences of a ragged batch begin, as kernels ask: each token on its own.

#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Which sequence a token is in.
template <class Start>
struct SequenceStarts {
  View<const Start, 1> starts;  ///< [S + 1] ascending from 0; empty: one sequence of all tokens

  ENGRAM_HD Index begin(Index s) const noexcept {
    return starts.extent(0) == 0 ? 0 : static_cast<Index>(starts(s));
  }
  ENGRAM_HD Index end(Index s, Index tokens) const noexcept {
    return starts.extent(0) == 0 ? tokens : static_cast<Index>(starts(s + 1));
  }
  /// -1: behind the last one.
  ENGRAM_HD Index of(Index t) const noexcept {
    const Index sequences = starts.extent(0) - 1;
    if (sequences < 0) return 0;
    if (t >= starts(sequences)) return -1;
    Index low = 0;
    for (Index high = sequences; high - low > 1;) {
      const Index middle = (low + high) / 2;
      (starts(middle) <= t ? low : high) = middle;
    }
    return low;
  }
};

ENGRAM_END_NAMESPACE
