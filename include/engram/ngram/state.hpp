// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one sequence remembers between calls: its last N - 1 canonical ids. The state is a value: a
// copy is a snapshot, an assignment rolls back a rejected draft, two copies are a fork, and its 32
// bytes are what one process hands to another.

#include <engram/ngram/window.hpp>

#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// The id state of one sequence.
///
/// Byte layout, which is also the exchange format: seven little-endian int32 canonical ids, newest
/// first, then a little-endian int32 `length` = N - 1. -1 stands for a place that is blocked:
/// before the sequence, before a masked position or before a boundary; behind a -1 only -1 follows,
/// and places from `length` on are -1. Equal states give equal rows for every continuation.
struct NgramState {
  std::int32_t ids[max_order - 1];
  std::int32_t length;

  friend constexpr bool operator==(const NgramState&, const NgramState&) = default;
};
static_assert(sizeof(NgramState) == 32 && std::is_trivially_copyable_v<NgramState>);

/// The state before the first token, for n-grams of up to `max_ngram_size` tokens.
ENGRAM_HD constexpr NgramState initial_ngram_state(int max_ngram_size) noexcept {
  NgramState state{};
  for (std::int32_t& id : state.ids) id = -1;
  state.length = max_ngram_size - 1;
  return state;
}

ENGRAM_BEGIN_LOOPS

/// True when a state that came from elsewhere is one that this geometry could have produced.
ENGRAM_HD constexpr bool is_valid(const NgramState& state, int max_ngram_size,
                                  Index canonical_size) noexcept {
  if (state.length != max_ngram_size - 1) return false;
  bool blocked = false;
  for (int s = 0; s < max_order - 1; ++s) {
    const std::int32_t id = state.ids[s];
    if (id < -1 || id >= canonical_size) return false;
    if (id >= 0 && (blocked || s >= state.length)) return false;
    blocked = blocked || id < 0;
  }
  return true;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
