// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Text to token ids, as the tokenizer.json of a byte-level BPE tokenizer says. Gives the ids of the
// `tokenizers` package without adding special tokens; docs/bpe.md has the evidence and the limits.

#include "added_tokens.hpp"
#include "merge_table.hpp"
#include "normalizer.hpp"
#include "pre_tokenizer.hpp"

#include <array>

ENGRAM_BEGIN_NAMESPACE
struct TokenizerJson;
ENGRAM_END_NAMESPACE

namespace engram::bpe {

/// A tokenizer, ready to encode. Immutable; const calls may run concurrently.
class Encoder {
 public:
  /// From a tokenizer.json that has been read.
  ///
  /// Fails with unsupported for a normalizer, pre-tokenizer, regular expression or added-token flag
  /// that would not give the reference's ids, naming it, and with corrupt or invalid_config for
  /// tokens that do not fit together.
  static Result<Encoder> make(TokenizerJson tokenizer);

  /// The ids of the text. The text of an added token gives that token's id wherever it stands.
  ///
  /// Fails with corrupt (index: byte offset) when the text is not UTF-8. Linear in the text; a
  /// piece of n bytes takes n log n. Pieces seen before in the same call are looked up.
  Result<std::vector<std::int32_t>> encode(std::string_view utf8) const;

  /// The ids of one piece, as if the pre-tokenizer had sent it. Any bytes.
  std::vector<std::int32_t> encode_piece(std::string_view bytes) const;

  /// The bytes that a token stands for; they need not be UTF-8 by themselves. Precondition:
  /// 0 <= id < vocab_size().
  const std::string& token(std::int32_t id) const { return tokens_[static_cast<std::size_t>(id)]; }
  std::int32_t vocab_size() const noexcept { return static_cast<std::int32_t>(tokens_.size()); }

 private:
  class PieceCache;
  class PieceEncoder;

  Result<void> read_tokens(TokenizerJson& tokenizer);
  Result<void> read_merges(const TokenizerJson& tokenizer);
  Result<void> read_added_tokens(const TokenizerJson& tokenizer);
  void append_piece(std::string_view bytes, std::vector<std::int32_t>& ids) const;
  /// The id of the token that is the whole piece, or -1; only where ignore_merges asks for it.
  std::int32_t find_whole(std::string_view bytes) const;

  std::vector<std::string> tokens_;  // bytes of each id
  std::array<std::int32_t, 256> byte_ids_{};
  MergeTable merges_;
  std::vector<std::int32_t> by_text_;  // hash table of ids, empty without ignore_merges
  AddedTokenMatcher plain_, normalized_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
};

}  // namespace engram::bpe
