// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Trains a byte-level BPE tokenizer on text, so that demos and experiments on any corpus have a
// tokenizer that belongs to it. Deterministic: the same counts give the same tokenizer on every
// machine, whatever the order of the texts.

#include "pre_tokenizer.hpp"

#include <functional>
#include <unordered_map>

ENGRAM_BEGIN_NAMESPACE
struct TokenizerJson;
ENGRAM_END_NAMESPACE

namespace engram::bpe {

/// The `pre_tokenizer` entry that the trainer uses unless told otherwise: the pattern of Llama 3.
extern const char* const default_pre_tokenizer;

/// What to train.
struct TrainerOptions {
  /// Special tokens, the 256 bytes and the merged tokens together.
  std::int32_t vocab_size = 8192;
  /// Pairs seen less often are not merged.
  std::int64_t min_frequency = 2;
  /// Get the first ids, in this order.
  std::vector<std::string> special_tokens;
  /// JSON of the `pre_tokenizer` entry; must end with ByteLevel.
  std::string pre_tokenizer = default_pre_tokenizer;
};

/// Counts the pieces of texts, then learns the merges.
///
/// Merges the most frequent pair of neighbouring tokens, again and again; of equally frequent ones
/// that of the lower left id, then of the lower right id, like the `tokenizers` package. Ids: the
/// special tokens, the 256 bytes in the order of their letters in the byte alphabet, then the new
/// tokens as they come. Training stops at the wanted size or when no pair is frequent enough: then
/// there are fewer tokens.
class Trainer {
 public:
  /// Fails with invalid_config (a size too small for bytes and special tokens, min_frequency below
  /// 1, an empty or repeated special token) or as PreTokenizer::make().
  static Result<Trainer> make(TrainerOptions options);

  /// Counts the pieces of a text. Special tokens in it count as plain text.
  ///
  /// Fails with corrupt (index: byte offset) when it is not UTF-8; nothing is counted then. Fails
  /// also like add_piece() and PreTokenizer::split(), with part of the text counted.
  Result<void> add(std::string_view utf8);
  /// Counts one piece `count` times. Any bytes.
  ///
  /// Fails with invalid_config when the piece is longer than 2^31 bytes, the count negative, or all
  /// pieces together more than 2^62 bytes.
  Result<void> add_piece(std::string_view piece, std::int64_t count);

  /// Learns from what was added. Fails with invalid_config when nothing was.
  ///
  /// Cost: about the sum over merges of the distinct pieces that hold the merged pair. One thread.
  Result<TokenizerJson> train() const;

  /// How many different pieces were added, and how many in all.
  std::size_t distinct_pieces() const noexcept { return counts_.size(); }
  std::int64_t pieces() const noexcept { return pieces_; }

 private:
  struct Hash {
    std::size_t operator()(std::string_view text) const noexcept;
    using is_transparent = void;
  };
  class Counter;

  TrainerOptions options_;
  PreTokenizer pre_tokenizer_;
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> counts_;
  std::int64_t pieces_ = 0;
  std::int64_t bytes_ = 0;  // of all pieces, each as often as it was counted
};

/// The text of a tokenizer.json for it: what this library and the `tokenizers` package read back to
/// the same ids. The bytes depend on nothing but `tokenizer`.
///
/// Fails with unsupported when a token is not UTF-8 text.
Result<std::string> to_json_text(const TokenizerJson& tokenizer);

/// Writes that text to a file. Fails also with io.
Result<void> write_tokenizer_json(const TokenizerJson& tokenizer, const std::string& path);

}  // namespace engram::bpe
