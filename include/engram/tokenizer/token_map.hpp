// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Tokenizer compression as a table: one canonical id for each token id. How such a map is built
// from a tokenizer is the business of unicode/; here it is data that is checked, owned and
// identified.

#include <engram/core/sha256.hpp>
#include <engram/core/status.hpp>
#include <engram/tokenizer/compressor.hpp>

#include <cstring>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// A token map: canonical id of every token id, and how many canonical ids there are.
///
/// Immutable after construction; const calls may run concurrently. 4 bytes a token.
class TokenMap {
 public:
  /// Takes the map over. `canonical_size` 0 means: the largest entry plus one.
  ///
  /// Fails with invalid_config (empty map, more than 2^31 entries) or corrupt (index: the first
  /// entry that is negative or not below canonical_size).
  static Result<TokenMap> make(std::vector<std::int32_t> canonical_ids, Index canonical_size = 0);

  /// Reads a saved map: little-endian int32, one entry a token id (the form that is digested).
  ///
  /// Fails like make(), and with corrupt when the byte count is no multiple of 4.
  static Result<TokenMap> from_bytes(Bytes bytes, Index canonical_size = 0);

  /// ok, or a mismatch sentence when the map is not the expected one. 0 or "" skips that check.
  ///
  /// A map of the right size can still be another tokenizer's: ask for the digest where one is
  /// known.
  Result<void> expect(Index vocab_size, Index canonical_size, const std::string& digest) const;

  Index vocab_size() const noexcept { return static_cast<Index>(canonical_ids_.size()); }
  Index canonical_size() const noexcept { return canonical_size_; }
  /// Precondition: 0 <= token < vocab_size().
  CanonicalId operator()(Index token) const noexcept {
    return CanonicalId{canonical_ids_[static_cast<std::size_t>(token)]};
  }
  /// SHA-256 of the map as little-endian int32, the form published for released models.
  std::string digest() const { return sha256_hex(bytes()); }
  /// The map as it is saved: little-endian int32.
  Bytes bytes() const noexcept {
    return Bytes(reinterpret_cast<const std::byte*>(canonical_ids_.data()), 4 * vocab_size());
  }
  View<const std::int32_t, 1> canonical_ids() const noexcept { return canonical_ids_; }

 private:
  TokenMap(std::vector<std::int32_t> ids, Index canonical_size)
      : canonical_ids_(std::move(ids)), canonical_size_(canonical_size) {}

  std::vector<std::int32_t> canonical_ids_;
  Index canonical_size_ = 0;
};
static_assert(check_token_compressor<TokenMap>());

ENGRAM_ALWAYS_INLINE Result<TokenMap> TokenMap::make(std::vector<std::int32_t> canonical_ids,
                                                     Index canonical_size) {
  if (canonical_size < 0)
    return fail(Code::invalid_config, {"token map: a compressed size of ", canonical_size});
  const auto entries = static_cast<Index>(canonical_ids.size());
  if (entries == 0) return fail(Code::invalid_config, "token map: it has no entries");
  if (entries > Index{1} << 31)
    return fail(Code::invalid_config, "token map: more than 2^31 entries", entries);
  Index largest = -1;
  for (Index i = 0; i < entries; ++i) {
    const std::int32_t id = canonical_ids[static_cast<std::size_t>(i)];
    if (id < 0)
      return fail(Code::corrupt, {"token map: entry ", i, " is ", id, ", which is negative"}, i);
    if (canonical_size > 0 && id >= canonical_size)
      return fail(
          Code::corrupt,
          {"token map: entry ", i, " is ", id, ", expected a canonical id below ", canonical_size},
          i);
    if (id > largest) largest = id;
  }
  return TokenMap(std::move(canonical_ids), canonical_size > 0 ? canonical_size : largest + 1);
}

ENGRAM_ALWAYS_INLINE Result<TokenMap> TokenMap::from_bytes(Bytes bytes, Index canonical_size) {
  if (bytes.size() % 4 != 0)
    return fail(
        Code::corrupt,
        {"token map: ", bytes.size(), " bytes, expected a multiple of 4 (little-endian int32)"},
        bytes.size());
  std::vector<std::int32_t> ids(static_cast<std::size_t>(bytes.size() / 4));
  for (std::size_t i = 0; i < ids.size(); ++i) std::memcpy(&ids[i], bytes.data() + 4 * i, 4);
  return make(std::move(ids), canonical_size);
}

ENGRAM_ALWAYS_INLINE Result<void> TokenMap::expect(Index vocab_size, Index canonical_size,
                                                   const std::string& digest) const {
  const auto wrong = [](const char* what, Piece expected, Piece found) {
    return fail(Code::mismatch, {"token map: ", what, " is ", found.text(), ", expected ",
                                 expected.text(), "; every address depends on the map"});
  };
  if (vocab_size != 0 && vocab_size != this->vocab_size())
    return wrong("number of entries", vocab_size, this->vocab_size());
  if (canonical_size != 0 && canonical_size != canonical_size_)
    return wrong("compressed size", canonical_size, canonical_size_);
  if (!digest.empty()) {
    if (const std::string found = this->digest(); found != digest)
      return wrong("digest", digest, found);
  }
  return {};
}

ENGRAM_END_NAMESPACE
