// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns a model's token ids into canonical ids: spellings of one word share
// an address. What a type must offer, and the sentence a compiler prints when it does not.

#include <engram/core/ids.hpp>

#include <concepts>
#include <string>

ENGRAM_BEGIN_NAMESPACE

/// Tokenizer compression: raw token id -> canonical id.
///
/// Semantics (docs/concepts.md): total on [0, vocab_size()), results in [0, canonical_size()),
/// pure, never throws, safe to call from several threads. `digest()` is the SHA-256 of the map as
/// little-endian int32, or "none" when there is no map; it is part of the layout, hence of every
/// table's identity.
template <class C>
concept TokenCompressor = requires(const C c, Index token) {
  { c.vocab_size() } -> std::same_as<Index>;
  { c.canonical_size() } -> std::same_as<Index>;
  { c(token) } -> std::same_as<CanonicalId>;
  { c.digest() } -> std::convertible_to<std::string>;
};

/// One sentence for each operation that C lacks; true when C models TokenCompressor.
template <class C>
constexpr bool check_token_compressor() {
  static_assert(
      requires(const C c) {
        { c.vocab_size() } -> std::same_as<Index>;
      },
      "engram: a TokenCompressor needs 'Index vocab_size() const'");
  static_assert(
      requires(const C c) {
        { c.canonical_size() } -> std::same_as<Index>;
      },
      "engram: a TokenCompressor needs 'Index canonical_size() const'");
  static_assert(
      requires(const C c, Index t) {
        { c(t) } -> std::same_as<CanonicalId>;
      },
      "engram: a TokenCompressor needs 'CanonicalId operator()(Index token) const'");
  static_assert(
      requires(const C c) {
        { c.digest() } -> std::convertible_to<std::string>;
      },
      "engram: a TokenCompressor needs 'std::string digest() const'");
  return TokenCompressor<C>;
}

ENGRAM_END_NAMESPACE
