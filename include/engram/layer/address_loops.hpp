// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The passes behind FrontEnd, as free functions: check everything, then compress and window the
// tokens block by block and hand each block to the addresser. A block is small enough that its
// windows stay in the first-level cache between the two.

#include <engram/addressing/hash_rows.hpp>
#include <engram/ngram/extractor.hpp>
#include <engram/tokenizer/compressor.hpp>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// The view that CPU loops take: plain int32 or int64 in memory that the host reaches.
template <class T, int Rank, class Space>
View<T, Rank> ids_on_host(View<T, Rank, Space> view) noexcept {
  static_assert(sizeof(T) == sizeof(std::int32_t)
                    ? std::is_same_v<std::remove_const_t<T>, std::int32_t>
                    : std::is_same_v<std::remove_const_t<T>, std::int64_t>,
                "engram: ids, rows and positions are std::int32_t or std::int64_t");
  return on_host(view);
}

inline Mark mark_at(View<const Mark, 1> marks, Index t) noexcept {
  return marks.extent(0) == 0 ? Mark::token : marks(t);
}

/// bad_mark at the first mark that is none, bad_token at the first token id that has no canonical
/// id and would be looked at.
template <class Compressor, class Token>
Status check_tokens(const Compressor& compressor, View<const Token, 1> tokens,
                    View<const Mark, 1> marks) noexcept {
  const Index count = tokens.extent(0);
  if (count < 0) return {Code::shape_mismatch, 0, 0};
  if (marks.extent(0) != 0 && marks.extent(0) != count) return {Code::shape_mismatch, 0, count};
  for (Index t = 0; t < marks.extent(0); ++t)
    if (!is_valid(marks(t))) return {Code::bad_mark, 0, t};
  const auto vocab = static_cast<std::uint64_t>(compressor.vocab_size());
  for (Index t = 0; t < count; ++t) {
    const Mark mark = mark_at(marks, t);
    if (static_cast<std::uint64_t>(tokens(t)) >= vocab && !has(mark, Mark::dead) &&
        !has(mark, Mark::padding))
      return {Code::bad_token, 0, t};
  }
  return {};
}

/// shape_mismatch or too_narrow unless `rows` is [count, L, H] of a type that holds every row.
template <class A, class Row>
Status check_rows(const A& addresser, Index count, View<Row, 3> rows) noexcept {
  const Index expected[3] = {count, addresser.num_layers(), addresser.num_columns()};
  for (int r = 0; r < 3; ++r)
    if (rows.extent(r) != expected[r]) return {Code::shape_mismatch, 0, expected[r]};
  for (int l = 0; l < addresser.num_layers() && sizeof(Row) == 4; ++l)
    if (addresser.num_rows(l) - 1 > INT32_MAX)
      return {Code::too_narrow, 0, addresser.num_rows(l) - 1};
  return {};
}

template <class X, class Compressor>
Status check_state(const X& extractor, const Compressor& compressor,
                   const NgramState& state) noexcept {
  if (!is_valid(state, extractor.max_ngram_size(), compressor.canonical_size()))
    return {Code::bad_state};
  const BoundaryRule rule = extractor.boundary_rule();
  for (const std::int32_t id : state.ids)  // what closed a segment is not remembered
    if (rule.kind == BoundaryKind::eos && id == rule.eos) return {Code::bad_state};
  return {};
}

/// One step of a sequence. Padding leaves the state alone; its window is never used.
template <class Compressor, class X, class Token>
NgramWindow push_token(const Compressor& compressor, const X& extractor, NgramState& state,
                       Token token, Mark mark) noexcept {
  if (has(mark, Mark::padding)) return {};
  const CanonicalId id = has(mark, Mark::dead) ? dead_id : compressor(static_cast<Index>(token));
  return extractor.push(state, id, mark);
}

template <class Row>
void clear_rows(View<Row, 3> rows, Index t) noexcept {
  for (Index l = 0; l < rows.extent(1); ++l)
    for (Index c = 0; c < rows.extent(2); ++c) rows(t, l, c) = static_cast<Row>(to_integer(no_row));
}

/// Checked tokens to rows. state_before(t) names the state that token t continues.
template <class Compressor, class X, class A, class Token, class Row, class StateBefore>
void address_blocks(const Compressor& compressor, const X& extractor, const A& addresser,
                    View<const Token, 1> tokens, View<const Mark, 1> marks, View<Row, 3> rows,
                    StateBefore state_before) noexcept {
  NgramWindow windows[window_block];
  const Index count = tokens.extent(0);
  for (Index begin = 0; begin < count; begin += window_block) {
    const Index block = count - begin < window_block ? count - begin : window_block;
    for (Index i = 0; i < block; ++i)
      windows[i] = push_token(compressor, extractor, state_before(begin + i), tokens(begin + i),
                              mark_at(marks, begin + i));
    address_windows(addresser, windows, block, rows.slice(begin, block));
    for (Index t = begin; t < begin + block && marks.extent(0) != 0; ++t)
      if (has(marks(t), Mark::padding)) clear_rows(rows, t);
  }
}

template <class Compressor, class X, class A, class Token, class Row>
Status address_sequence(const Compressor& compressor, const X& extractor, const A& addresser,
                        View<const Token, 1> tokens, View<const Mark, 1> marks, NgramState& state,
                        View<Row, 3> rows) noexcept {
  if (Status s = check_rows(addresser, tokens.extent(0), rows); !s.ok()) return s;
  if (Status s = check_state(extractor, compressor, state); !s.ok()) return s;
  if (Status s = check_tokens(compressor, tokens, marks); !s.ok()) return s;
  NgramState running = state;
  address_blocks(compressor, extractor, addresser, tokens, marks, rows,
                 [state_now = &running](Index) -> NgramState& { return *state_now; });
  state = running;
  return {};
}

template <class Compressor, class X, class A, class Token, class Start, class Row>
Status address_sequences(const Compressor& compressor, const X& extractor, const A& addresser,
                         View<const Token, 1> tokens, View<const Mark, 1> marks,
                         View<const Start, 1> starts, View<NgramState, 1> states,
                         View<Row, 3> rows) noexcept {
  const Index count = tokens.extent(0);
  const Index sequences = states.extent(0);
  if (Status s = check_rows(addresser, count, rows); !s.ok()) return s;
  if (starts.extent(0) != sequences + 1) return {Code::shape_mismatch, 0, sequences + 1};
  for (Index s = 0; s <= sequences; ++s)
    if (starts(s) < (s == 0 ? 0 : starts(s - 1)) || starts(s) > count || (s == 0 && starts(s) != 0))
      return {Code::bad_sequence, 0, s};
  for (Index s = 0; s < sequences; ++s)
    if (!check_state(extractor, compressor, states(s)).ok()) return {Code::bad_state, 0, s};
  const Index used = starts(sequences);
  if (marks.extent(0) != 0 && marks.extent(0) != count) return {Code::shape_mismatch, 0, count};
  const View<const Mark, 1> used_marks = marks.extent(0) == 0 ? marks : marks.slice(0, used);
  if (Status s = check_tokens(compressor, tokens.slice(0, used), used_marks); !s.ok()) return s;
  Index sequence = 0;
  address_blocks(compressor, extractor, addresser, tokens.slice(0, used), used_marks,
                 rows.slice(0, used), [&](Index t) -> NgramState& {
                   while (t >= starts(sequence + 1)) ++sequence;
                   return states(sequence);
                 });
  for (Index t = used; t < count; ++t) clear_rows(rows, t);
  return {};
}

template <class Compressor, class X, class A, class Token, class Parent, class Row>
Status address_drafts(const Compressor& compressor, const X& extractor, const A& addresser,
                      View<const Token, 1> tokens, View<const Mark, 1> marks,
                      View<const Parent, 1> parents, const NgramState& root,
                      View<NgramState, 1> node_states, View<Row, 3> rows) noexcept {
  const Index count = tokens.extent(0);
  if (Status s = check_rows(addresser, count, rows); !s.ok()) return s;
  if (parents.extent(0) != count || node_states.extent(0) != count)
    return {Code::shape_mismatch, 0, count};
  for (Index t = 0; t < count; ++t)
    if (parents(t) < -1 || parents(t) >= t) return {Code::bad_parent, 0, t};
  if (Status s = check_state(extractor, compressor, root); !s.ok()) return s;
  if (Status s = check_tokens(compressor, tokens, marks); !s.ok()) return s;
  const NgramState from_root = root;  // root may lie in node_states
  address_blocks(compressor, extractor, addresser, tokens, marks, rows,
                 [&](Index t) -> NgramState& {
                   const Index parent = parents(t);
                   node_states(t) = parent < 0 ? from_root : node_states(parent);
                   return node_states(t);
                 });
  return {};
}

template <class Compressor, class X, class Token>
Status advance_state(const Compressor& compressor, const X& extractor, View<const Token, 1> tokens,
                     View<const Mark, 1> marks, NgramState& state) noexcept {
  if (Status s = check_state(extractor, compressor, state); !s.ok()) return s;
  if (Status s = check_tokens(compressor, tokens, marks); !s.ok()) return s;
  for (Index t = 0; t < tokens.extent(0); ++t)
    (void)push_token(compressor, extractor, state, tokens(t), mark_at(marks, t));
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
