// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the look-back of an n-gram stops. Four causes exist: the sequence starts (the initial
// state), a position is masked, a document starts inside the sequence (both are marks of the call),
// or the model was trained to stop at its end-of-sequence token (a policy, because it follows from
// the ids).

#include <engram/core/mark.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Which boundary a model was trained with. Part of the layout and of its digest.
enum class BoundaryKind : std::int32_t {
  sequence_start = 0,  ///< start of sequence and masked positions only (DeepSeek-V4.1, the paper)
  eos = 1,  ///< also after each end-of-sequence token, which closes its own segment (Qwen)
  position_reset = 2,  ///< also where position ids start again (packed documents)
};

struct BoundaryRule {
  BoundaryKind kind = BoundaryKind::sequence_start;
  std::int32_t eos = -1;  ///< canonical id, -1 unless kind is eos

  friend constexpr bool operator==(const BoundaryRule&, const BoundaryRule&) = default;
};

/// Boundary policy: nothing in the ids stops the look-back.
struct SequenceStart {
  ENGRAM_HD constexpr bool closes(CanonicalId) const noexcept { return false; }
  constexpr BoundaryRule rule() const noexcept { return {}; }
};

/// Boundary policy: n-grams after `eos` do not reach back to it; its own still reach back.
struct EosBarrier {
  CanonicalId eos;

  ENGRAM_HD constexpr bool closes(CanonicalId id) const noexcept { return id == eos; }
  constexpr BoundaryRule rule() const noexcept { return {BoundaryKind::eos, to_integer(eos)}; }
};

/// Boundary policy: documents start where the caller sets Mark::start (see mark_position_resets).
struct PositionReset {
  ENGRAM_HD constexpr bool closes(CanonicalId) const noexcept { return false; }
  constexpr BoundaryRule rule() const noexcept { return {BoundaryKind::position_reset, -1}; }
};

/// Boundary policy chosen at run time, from a layout.
struct RuntimeBoundary {
  BoundaryRule stored;

  ENGRAM_HD constexpr bool closes(CanonicalId id) const noexcept {
    return stored.kind == BoundaryKind::eos && to_integer(id) == stored.eos;
  }
  constexpr BoundaryRule rule() const noexcept { return stored; }
};

ENGRAM_BEGIN_LOOPS

/// Sets Mark::start where a position id does not grow, the sign of a new document in a packed
/// batch.
///
/// positions  [T] int32 or int64 position ids: a View, vector, span or array in host memory.
/// previous   the position id before positions(0); -1 at the start of a sequence.
/// marks      [T] bits are added, none is cleared.
/// Status     shape_mismatch when the lengths differ.  Cost  O(T).
template <class Positions>
Status mark_position_resets(const Positions& positions, Index previous,
                            View<Mark, 1> marks) noexcept {
  const View ids(positions);
  if (ids.extent(0) != marks.extent(0)) return {Code::shape_mismatch, 0, marks.extent(0)};
  for (Index t = 0; t < ids.extent(0); ++t) {
    if (ids(t) <= previous) marks(t) |= Mark::start;
    previous = ids(t);
  }
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
