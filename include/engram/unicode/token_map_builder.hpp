// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From a tokenizer's token strings to its token map. No checkpoint stores the map; every engine
// derives it, and one differing entry moves every address. The strings come from tokenizer.json
// (io/) or from a GGUF file's token list.

#include <engram/tokenizer/token_map.hpp>
#include <engram/unicode/byte_alphabet.hpp>
#include <engram/unicode/normalizer.hpp>

#include <span>
#include <unordered_map>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// What a token is compared by: tokens with equal keys share a canonical id.
///
/// `token`: its string in the tokenizer's file, in the byte alphabet or, with any character outside
/// it (added tokens), the text itself. A token whose bytes are no UTF-8, or hold U+FFFD, cannot be
/// told from other broken ones once decoded; its string is its key, not normalised. Any other has
/// canonical_key() of its text.
///
/// Fails with corrupt when `token` is not UTF-8. Spec: deepseek-v41 2.1.
inline Result<std::string> token_key(std::string_view token) {
  const std::optional<std::string> bytes = decode_byte_alphabet(token);
  const std::string_view text = bytes ? std::string_view(*bytes) : token;
  if (const std::size_t at = find_invalid_utf8(text); at < text.size()) {
    if (bytes) return std::string(token);
    return fail(Code::corrupt, {"the token is not UTF-8 at byte ", at}, static_cast<Index>(at));
  }
  if (text.find("\xEF\xBF\xBD") != std::string_view::npos) return std::string(token);
  return canonical_key(text);
}

/// The token map of a tokenizer: entry i belongs to tokens[i]. Canonical ids count up in the order
/// in which keys first appear; keys of both kinds share one dictionary.
///
/// The list must be the tokenizer's own, added tokens included and nothing more: rows that a model
/// file adds to fill its vocabulary would get canonical ids of their own, and with them every
/// address would change.
///
/// Fails with corrupt (index: the token) for a string that is not UTF-8, with invalid_config for an
/// empty list. About a microsecond a token; const, any thread.
inline Result<TokenMap> build_token_map(std::span<const std::string> tokens) {
  std::unordered_map<std::string, std::int32_t> seen;
  seen.reserve(tokens.size());
  std::vector<std::int32_t> ids;
  ids.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Result<std::string> key = token_key(tokens[i]);
    if (!key.ok())
      return fail(key.status().code, {"token map: token ", i, ": ", key.message()},
                  static_cast<Index>(i));
    const auto next = static_cast<std::int32_t>(seen.size());
    ids.push_back(seen.try_emplace(std::move(key).value(), next).first->second);
  }
  return TokenMap::make(std::move(ids));
}

ENGRAM_END_NAMESPACE
