// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Suffix n-grams: at each position the last 2, 3, ..., N tokens, cut short by boundaries.
// Source: the paper's section 2.2; blocking as in DeepSeek-V4.1 (once blocked, all older places
// are).

#include <engram/ngram/extractor.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Windows of the last `max_ngram_size` tokens (2 to 8) under a boundary policy.
///
/// Because whatever stops a look-back also stops every longer one, a boundary simply empties the
/// state: what is no longer remembered can not be reached.
template <class Boundary = SequenceStart>
class SuffixNgrams {
 public:
  /// Precondition: 2 <= max_ngram_size <= max_order.
  ENGRAM_HD constexpr SuffixNgrams(int max_ngram_size, Boundary boundary) noexcept
      : max_ngram_size_(max_ngram_size), boundary_(boundary) {}
  /// The same for a policy that holds nothing.
  ENGRAM_HD constexpr explicit SuffixNgrams(int max_ngram_size) noexcept
      requires(std::is_empty_v<Boundary>)
      : SuffixNgrams(max_ngram_size, Boundary{}) {}

  ENGRAM_HD constexpr int max_ngram_size() const noexcept { return max_ngram_size_; }
  constexpr BoundaryRule boundary_rule() const noexcept { return boundary_.rule(); }
  ENGRAM_HD constexpr NgramState initial_state() const noexcept {
    return initial_ngram_state(max_ngram_size_);
  }

  /// The window at the next position. A dead position has an empty window; padding is the caller's
  /// business and must not be pushed.
  ENGRAM_ALWAYS_INLINE ENGRAM_HD constexpr NgramWindow push(NgramState& state, CanonicalId id,
                                                            Mark mark) const noexcept {
    NgramWindow window{};
    const bool dead = has(mark, Mark::dead);
    if (dead || has(mark, Mark::start)) state = initial_state();
    window.ids[0] = dead ? -1 : to_integer(id);
    for (int s = 1; s < max_order; ++s) window.ids[s] = state.ids[s - 1];
    if (boundary_.closes(id)) {
      state = initial_state();
    } else {
      for (int s = 0; s < max_order - 1; ++s)
        state.ids[s] = s < max_ngram_size_ - 1 ? window.ids[s] : -1;
    }
    return window;
  }

 private:
  int max_ngram_size_;
  [[no_unique_address]] Boundary boundary_;
};
static_assert(check_ngram_extractor<SuffixNgrams<SequenceStart>>());
static_assert(check_ngram_extractor<SuffixNgrams<EosBarrier>>());
static_assert(check_ngram_extractor<SuffixNgrams<RuntimeBoundary>>());

ENGRAM_END_NAMESPACE
