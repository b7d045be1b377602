// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The front end: token ids in, row ids out, for every Engram layer of a model in one pass. It needs
// nothing but the ids, so an engine can run it before the first block, on another thread, or alone.

#include <engram/addressing/hash_rows.hpp>
#include <engram/addressing/layout.hpp>
#include <engram/layer/address_loops.hpp>
#include <engram/ngram/suffix.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Compressor + extractor + addresser, composed. Owns the three; const calls may run concurrently.
///
/// Arguments that several calls share:
///   tokens  [T] int32 or int64 token ids: a View, vector, span or array in memory that the host
///           reaches.
///   marks   [T] or empty: masked positions, document starts, padding slots (core/mark.hpp).
///   rows    [T, L, H] int32 or int64 in memory that the host reaches, token and layer strides
///           free; must not overlap the inputs. Row ids of layer l are in [0, num_rows(l)); padding
///           slots get -1.
/// Every call checks its arguments first: on any status but ok nothing has been written.
///   shape_mismatch  extents disagree (index: the extent expected)
///   bad_token       a token id is negative or beyond the compressor (index: its position); the ids
///                   of masked and padding positions are not looked at
///   bad_mark        a mark that is none (index: its position)
///   bad_state       a state that this geometry and boundary cannot have produced
///   too_narrow      int32 rows and a table beyond 2^31 rows (index: its last row)
/// Cost  O(T * L * H), no allocation, runs on the calling thread.
template <class Compressor, class Extractor, class Addressing>
class FrontEnd {
  static_assert(check_token_compressor<Compressor>());
  static_assert(check_ngram_extractor<Extractor>());
  static_assert(check_addresser<Addressing>());

 public:
  /// Fails with mismatch when the parts disagree on N, on the compressed vocabulary or on the
  /// boundary rule, and with invalid_config when the addresser is larger than a layout may be.
  ENGRAM_ALWAYS_INLINE static Result<FrontEnd> make(Compressor compressor, Extractor extractor,
                                                    Addressing addresser) {
    const Index limit = Index{max_order - 1} * max_heads;
    if (addresser.num_columns() < 1 || addresser.num_columns() > limit ||
        addresser.num_layers() < 1 || addresser.num_layers() > static_cast<int>(max_layers) ||
        addresser.max_ngram_size() < 2 || addresser.max_ngram_size() > max_order)
      return fail(Code::invalid_config,
                  {"front end: the addresser has ", addresser.num_layers(), " layers of ",
                   addresser.num_columns(), " columns and n-grams of ", addresser.max_ngram_size(),
                   " tokens; at most ", max_layers, ", ", limit, " and ", max_order});
    if constexpr (requires {
                    { addresser.boundary_rule() } -> std::same_as<BoundaryRule>;
                  }) {
      if (!(addresser.boundary_rule() == extractor.boundary_rule()))
        return fail(Code::mismatch, {"front end: the extractor's boundary is kind ",
                                     static_cast<int>(extractor.boundary_rule().kind), " with eos ",
                                     extractor.boundary_rule().eos, ", the layout's is kind ",
                                     static_cast<int>(addresser.boundary_rule().kind), " with eos ",
                                     addresser.boundary_rule().eos});
    }
    if (extractor.max_ngram_size() != addresser.max_ngram_size())
      return fail(Code::mismatch,
                  {"front end: the extractor's n-grams have up to ", extractor.max_ngram_size(),
                   " tokens, the addresser's ", addresser.max_ngram_size()});
    if (compressor.canonical_size() != addresser.canonical_size())
      return fail(Code::mismatch,
                  {"front end: the compressor has ", compressor.canonical_size(),
                   " canonical ids, the addresser expects ", addresser.canonical_size()});
    return FrontEnd(std::move(compressor), extractor, std::move(addresser));
  }

  /// One sequence, or the next chunk of one. The state moves behind the last token: any chunking of
  /// a sequence gives the rows of one call.
  template <class Tokens, class Row, class Space>
  ENGRAM_ALWAYS_INLINE Status address(const Tokens& tokens, NgramState& state,
                                      View<Row, 3, Space> rows,
                                      View<const Mark, 1> marks = {}) const noexcept {
    return address_sequence(compressor_, extractor_, addresser_, ids_on_host(View(tokens)), marks,
                            state, ids_on_host(rows));
  }

  /// Many sequences behind each other in one array.
  ///
  /// sequence_starts  [S + 1] int32 or int64, ascending from 0: sequence s is
  ///                  [starts(s), starts(s + 1)). Slots from starts(S) to T belong to no sequence
  ///                  and get row -1.
  /// states           [S] one a sequence, moved on.
  /// Status           also bad_sequence (index: the entry of sequence_starts).
  template <class Tokens, class Starts, class Row, class Space>
  ENGRAM_ALWAYS_INLINE Status address_batch(const Tokens& tokens, const Starts& sequence_starts,
                                            View<NgramState, 1> states, View<Row, 3, Space> rows,
                                            View<const Mark, 1> marks = {}) const noexcept {
    return address_sequences(compressor_, extractor_, addresser_, ids_on_host(View(tokens)), marks,
                             ids_on_host(View(sequence_starts)), states, ids_on_host(rows));
  }

  /// A draft tree: each token follows its parent, so that branches share their beginnings. Equal to
  /// one address() call for each path from the root.
  ///
  /// parents      [T] int32 or int64, index of an earlier token, or -1: follows `root`.
  /// root         the state of the accepted text; unchanged.
  /// node_states  [T] written: the state behind each token. Accepting a draft up to token t is
  ///              `state = node_states[t]`.
  /// Status       also bad_parent (index: the node).
  template <class Tokens, class Parents, class Row, class Space>
  ENGRAM_ALWAYS_INLINE Status address_tree(const Tokens& tokens, const Parents& parents,
                                           const NgramState& root, View<NgramState, 1> node_states,
                                           View<Row, 3, Space> rows,
                                           View<const Mark, 1> marks = {}) const noexcept {
    return address_drafts(compressor_, extractor_, addresser_, ids_on_host(View(tokens)), marks,
                          ids_on_host(View(parents)), root, node_states, ids_on_host(rows));
  }

  /// Moves a state over tokens without their rows: after a prefix whose rows are cached. Only the
  /// last N - 1 tokens that are no padding make a difference, so a suffix that holds them is
  /// enough.
  template <class Tokens>
  ENGRAM_ALWAYS_INLINE Status advance(const Tokens& tokens, NgramState& state,
                                      View<const Mark, 1> marks = {}) const noexcept {
    return advance_state(compressor_, extractor_, ids_on_host(View(tokens)), marks, state);
  }

  NgramState initial_state() const noexcept { return extractor_.initial_state(); }
  int num_layers() const noexcept { return addresser_.num_layers(); }
  Index num_columns() const noexcept { return addresser_.num_columns(); }
  Index num_rows(int layer) const noexcept { return addresser_.num_rows(layer); }

  const Compressor& compressor() const noexcept { return compressor_; }
  const Extractor& extractor() const noexcept { return extractor_; }
  const Addressing& addresser() const noexcept { return addresser_; }

 private:
  ENGRAM_ALWAYS_INLINE FrontEnd(Compressor compressor, Extractor extractor, Addressing addresser)
      : compressor_(std::move(compressor)),
        extractor_(extractor),
        addresser_(std::move(addresser)) {}

  Compressor compressor_;
  Extractor extractor_;
  Addressing addresser_;
};

ENGRAM_BEGIN_LOOPS

/// The front end of a layout: addresses by remainders under the layout's own boundary rule.
///
/// `make_front_end(layout, map)` gives multiplicative XOR, `make_front_end<Polynomial>(layout,
/// map)` the polynomial. Fails with mismatch when the compressor is not the one the layout was made
/// for (its digest), and with what FrontEnd::make and ModularHash::make say.
template <class Addressing = MultiplicativeXor, class Compressor>
Result<FrontEnd<Compressor, SuffixNgrams<RuntimeBoundary>, Addressing>> make_front_end(
    const Layout& layout, Compressor compressor) {
  if (const std::string digest = compressor.digest(); digest != layout.token_map)
    return fail(Code::mismatch, {"front end: the token map's digest is ", digest,
                                 ", the layout was made for ", layout.token_map});
  Result<Addressing> addresser = Addressing::make(layout);
  if (!addresser.ok()) return addresser.failure();
  return FrontEnd<Compressor, SuffixNgrams<RuntimeBoundary>, Addressing>::make(
      std::move(compressor), SuffixNgrams(layout.max_ngram_size, RuntimeBoundary{layout.boundary}),
      std::move(addresser).value());
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
