// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Text for language models to learn from: documents as token ids, split into those that are
// trained on and those that are held out. By default the C++ headers of this machine.

#include "bpe/encoder.hpp"

#include <engram/tokenizer/token_map.hpp>

#include <optional>

namespace engram::text {

struct CorpusOptions {
  std::string text;       ///< a UTF-8 file; empty: the headers below /usr/include
  std::string tokenizer;  ///< a tokenizer.json; empty: one is trained on a sample of the text
  std::int32_t vocab_size = 2048;  ///< of the tokenizer that is trained
  Index enough_tokens = 8'000'000;
};

/// A document: a header, or a piece of the user's text.
struct Document {
  std::string name;
  std::vector<std::int32_t> tokens;
};

struct Corpus {
  bpe::Encoder encoder;
  TokenMap map;
  std::vector<Document> training, held_out;
  std::string source;  ///< where the text is from, in words
  Index bytes = 0;     ///< of the documents that were kept
  std::string digest;  ///< SHA-256 of them, one behind the other
  /// What stands between documents; none between pieces of one text, and none with a tokenizer of
  /// the user's, of which nobody says which token that is.
  std::optional<std::int32_t> end;

  static Index tokens_of(const std::vector<Document>& documents) {
    Index count = 0;
    for (const Document& d : documents) count += static_cast<Index>(d.tokens.size());
    return count;
  }
};

/// Headers: files in the order of their paths' hashes, comments at their start left out, up to
/// `enough_tokens`; a file of whose 3-grams of tokens more than 80 % stand in files before it is
/// dropped; every twentieth that is kept is held out. The user's text: pieces of about 4,000 bytes,
/// cut at line ends, every twentieth held out.
///
/// Fails with io (nothing to read), corrupt (not UTF-8, with the byte) and what the tokenizer's
/// reader says.
Result<Corpus> read_corpus(const CorpusOptions& options);

/// Windows of `length` tokens, which overlap nowhere, of the documents one behind the other, with
/// `end` behind each; in an order drawn by seed, so that the first few are a sample of all.
/// [windows, length]
std::vector<std::int32_t> cut_windows(const std::vector<Document>& documents,
                                      std::optional<std::int32_t> end, Index length,
                                      std::uint64_t seed);

}  // namespace engram::text
