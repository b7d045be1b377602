// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Token ids to row ids where every token is on its own: instead of a state that moves from token to
// token, each looks back at the N - 1 tokens that its n-grams reach, and only the first ones of a
// call at the state that the call before left. The same bits as layer/address_loops.hpp.

#include <engram/addressing/modular_hash.hpp>
#include <engram/core/view.hpp>
#include <engram/cuda/sequence_starts.hpp>
#include <engram/ngram/suffix.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The tables of all layers, one behind the other; memory of whoever runs the bodies.
struct HashTables {
  const std::uint64_t* multipliers = nullptr;  ///< [L, 8], 0 from N on
  const std::uint64_t* divisors = nullptr;     ///< [L, H]
  const std::uint64_t* inverses = nullptr;     ///< [L, H] of Reciprocal
  const Index* offsets = nullptr;              ///< [L, H]
  std::uint64_t salt = 0;
  std::int32_t pad = 0;
  std::int32_t heads = 0;    ///< K
  std::int32_t layers = 0;   ///< L
  std::int32_t columns = 0;  ///< H

  ENGRAM_HD ModularHashRef of(Index layer) const noexcept {
    const Index at = layer * columns;
    return {multipliers + layer * Index{max_order},
            divisors + at,
            inverses + at,
            offsets + at,
            salt,
            pad,
            columns / heads,
            heads};
  }
};

/// A token's rows in every layer, a lane for each; -1 where it has none.
ENGRAM_ANY_LANES
template <class Mix, class Lanes, class Row>
ENGRAM_HD ENGRAM_ALWAYS_INLINE void write_rows(const Lanes& lanes, const HashTables& tables,
                                               const NgramWindow& window, bool has_rows,
                                               View<Row, 3> rows, Index t) noexcept {
  lanes.each(rows.extent(1), [&](Index layer) {
    Row* const out = rows.data() + t * rows.stride(0) + layer * rows.stride(1);
    if (has_rows) return hash_window<Mix>(tables.of(layer), window, out);
    for (Index column = 0; column < rows.extent(2); ++column) out[column] = -1;
  });
}

/// Tokens as the bodies read them, and what they know of them.
template <class Boundary, class Token>
struct TokenReader {
  View<const Token, 1> tokens;
  View<const Mark, 1> marks;              ///< [T] or empty
  View<const std::int32_t, 1> canonical;  ///< [vocab] of the compressor; empty: ids are canonical
  Index vocab_size;
  SuffixNgrams<Boundary> extractor;

  ENGRAM_HD Mark mark(Index t) const noexcept {
    return marks.extent(0) == 0 ? Mark::token : marks(t);
  }
  ENGRAM_HD bool is_padding(Index t) const noexcept { return has(mark(t), Mark::padding); }
  /// Whether token t has a canonical id or needs none.
  ENGRAM_HD bool is_good(Index t) const noexcept {
    return has(mark(t), Mark::dead) || is_padding(t) ||
           static_cast<std::uint64_t>(tokens(t)) < static_cast<std::uint64_t>(vocab_size);
  }
  /// Moves the state over token t, which is no padding. One without a canonical id counts as dead.
  ENGRAM_HD NgramWindow push(NgramState& state, Index t) const noexcept {
    const auto token = static_cast<Index>(tokens(t));
    if (has(mark(t), Mark::dead) || !is_good(t))
      return extractor.push(state, dead_id, mark(t) | Mark::dead);
    return extractor.push(
        state,
        CanonicalId{canonical.extent(0) == 0 ? static_cast<std::int32_t>(token) : canonical(token)},
        mark(t));
  }

  /// The state in front of token t, whose predecessors previous(t), previous(previous(t)), ...
  /// names, negative where there are no more: then `begin` is the state in front of them.
  template <class Previous>
  ENGRAM_HD NgramState state_before(Index t, const Previous& previous,
                                    const NgramState& begin) const noexcept {
    Index reached[max_order - 1];
    int count = 0;
    const int most = extractor.max_ngram_size() - 1;
    for (Index at = previous(t); at >= 0 && count < most; at = previous(at))
      if (!is_padding(at)) reached[count++] = at;
    NgramState state = count < most ? begin : extractor.initial_state();
    while (count > 0) (void)push(state, reached[--count]);
    return state;
  }
};

/// Rows of one token in every layer; item t. Padding and slots behind the last sequence get -1, a
/// token without a canonical id too, and is reported as bad_token.
///
/// Report: void report(Code, Index) const.
template <class Mix, class Boundary, class Token, class Start, class Row, class Report>
struct AddressBody {
  TokenReader<Boundary, Token> reader;
  SequenceStarts<Start> sequences;
  View<const NgramState, 1> states;  ///< [S] in front of this call's tokens
  HashTables tables;
  View<Row, 3> rows;  ///< [T, L, H]
  Report errors;

  struct Found {
    NgramWindow window{};
    bool has_rows = false;
    Code wrong = Code::ok;
  };
  /// The window of a token, and what is wrong with it.
  ENGRAM_HD Found look_at(Index t) const noexcept {
    Found found;
    const Index s = sequences.of(t);
    if (s < 0) return found;
    if (!is_valid(reader.mark(t))) found.wrong = Code::bad_mark;
    if (reader.is_padding(t)) return found;
    if (!reader.is_good(t)) {
      found.wrong = Code::bad_token;
      return found;
    }
    const Index first = sequences.begin(s);
    const Index begin = first < 0 ? 0 : first;
    NgramState state = reader.state_before(
        t, [begin](Index at) { return at > begin ? at - 1 : Index{-1}; }, states(s));
    found.window = reader.push(state, t);
    found.has_rows = true;
    return found;
  }

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    const Found found = look_at(t);
    if (found.wrong != Code::ok) lanes.each(1, [&](Index) { errors.report(found.wrong, t); });
    write_rows<Mix>(lanes, tables, found.window, found.has_rows, rows, t);
  }
};

/// Moves each sequence's state behind the tokens of the call; item s. After AddressBody. Starts
/// that fall or lie beyond the tokens are reported as bad_sequence; the state stays.
template <class Boundary, class Token, class Start, class Report>
struct StateBody {
  TokenReader<Boundary, Token> reader;
  SequenceStarts<Start> sequences;
  View<NgramState, 1> states;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index s) const noexcept {
    const Index count = reader.tokens.extent(0);
    const Index begin = sequences.begin(s);
    const Index end = sequences.end(s, count);
    lanes.each(1, [&](Index) {
      if (begin < 0 || begin > end || end > count) {
        errors.report(Code::bad_sequence, s + 1);
        return;
      }
      states(s) = reader.state_before(
          end, [begin](Index at) { return at > begin ? at - 1 : Index{-1}; }, states(s));
    });
  }
};

/// Rows of a draft tree's token, and the state behind it; item t. A parent that is no earlier token
/// counts as the root, and is reported as bad_parent.
template <class Mix, class Boundary, class Token, class Parent, class Row, class Report>
struct AddressTreeBody {
  TokenReader<Boundary, Token> reader;
  View<const Parent, 1> parents;
  View<const NgramState, 1> root;  ///< [1]
  View<NgramState, 1> node_states;
  HashTables tables;
  View<Row, 3> rows;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    const auto parent_of = [this](Index at) {
      const auto parent = static_cast<Index>(parents(at));
      return parent < at ? parent : Index{-1};
    };
    NgramState state = reader.state_before(t, parent_of, root(0));
    NgramWindow window{};
    const bool is_token = !reader.is_padding(t);
    const bool has_rows = is_token && reader.is_good(t);
    if (is_token) window = reader.push(state, t);
    lanes.each(1, [&](Index) {
      node_states(t) = state;
      if (parents(t) < -1 || parents(t) >= t) errors.report(Code::bad_parent, t);
      if (!is_valid(reader.mark(t))) errors.report(Code::bad_mark, t);
      if (is_token && !has_rows) errors.report(Code::bad_token, t);
    });
    write_rows<Mix>(lanes, tables, window, has_rows, rows, t);
  }
};

ENGRAM_END_NAMESPACE
