// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns a stream of canonical ids into the window that is hashed at each
// position, and carries what must be remembered from one call to the next.

#include <engram/ngram/boundary.hpp>
#include <engram/ngram/state.hpp>

#include <concepts>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// N-gram extraction: one token in, one window out, the state moves on.
///
/// Semantics (docs/concepts.md): `push` is the only change of state and never throws; feeding ids
/// one by one equals feeding them in any chunks; the last N - 1 ids determine the state; nothing
/// older than a boundary appears in a window. Trivially copyable, so that kernels can hold it.
template <class X>
concept NgramExtractor = std::is_trivially_copyable_v<X> &&
    requires(const X x, NgramState& state, CanonicalId id, Mark mark) {
  { x.max_ngram_size() } -> std::same_as<int>;
  { x.initial_state() } -> std::same_as<NgramState>;
  { x.push(state, id, mark) } -> std::same_as<NgramWindow>;
  { x.boundary_rule() } -> std::same_as<BoundaryRule>;
};

/// One sentence for each operation that X lacks; true when X models NgramExtractor.
template <class X>
constexpr bool check_ngram_extractor() {
  static_assert(std::is_trivially_copyable_v<X>,
                "engram: an NgramExtractor must be trivially copyable");
  static_assert(
      requires(const X x) {
        { x.max_ngram_size() } -> std::same_as<int>;
      },
      "engram: an NgramExtractor needs 'int max_ngram_size() const'");
  static_assert(
      requires(const X x) {
        { x.initial_state() } -> std::same_as<NgramState>;
      },
      "engram: an NgramExtractor needs 'NgramState initial_state() const'");
  static_assert(
      requires(const X x, NgramState& s, CanonicalId id, Mark m) {
        { x.push(s, id, m) } -> std::same_as<NgramWindow>;
      },
      "engram: an NgramExtractor needs 'NgramWindow push(NgramState&, CanonicalId, Mark) const'");
  static_assert(
      requires(const X x) {
        { x.boundary_rule() } -> std::same_as<BoundaryRule>;
      },
      "engram: an NgramExtractor needs 'BoundaryRule boundary_rule() const'");
  return NgramExtractor<X>;
}

ENGRAM_BEGIN_LOOPS

/// The state after a history that an engine kept itself: a snapshot taken by another process, the
/// tail of a cached prefix.
///
/// history  exactly N - 1 canonical ids, oldest first, -1 for blocked places, host memory.
/// state    written only on success.
/// Status   bad_state when the length is not N - 1 (index: the length expected) or an id is not in
///          [-1, canonical_size) (index: its position).  Cost  O(N).
template <NgramExtractor X>
Status state_from_history(const X& extractor, View<const std::int32_t, 1> history,
                          Index canonical_size, NgramState& state) noexcept {
  const Index expected = extractor.max_ngram_size() - 1;
  if (history.extent(0) != expected) return {Code::bad_state, 0, expected};
  for (Index i = 0; i < expected; ++i)
    if (history(i) < -1 || history(i) >= canonical_size) return {Code::bad_state, 0, i};
  NgramState derived = extractor.initial_state();
  for (Index i = 0; i < expected; ++i) {
    const Mark mark = history(i) < 0 ? Mark::dead : Mark::token;
    (void)extractor.push(derived, CanonicalId{history(i)}, mark);
  }
  state = derived;
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
