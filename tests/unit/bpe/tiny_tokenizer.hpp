// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Hand-made tokenizers for the tests: id b is the byte b, then come the joins of the merges.

#include "encoder.hpp"

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/byte_alphabet.hpp>

namespace engram::test {

/// The parsed text; fails the test's process when it is not JSON.
inline Json json(const std::string& text) { return parse_json(text, "test").value(); }

inline const char* const plain_byte_level =
    R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";

/// 256 bytes and the merges, each a pair of plain texts.
inline TokenizerJson tiny_tokenizer(
    const std::vector<std::pair<std::string, std::string>>& merges = {},
    const std::string& pre_tokenizer = plain_byte_level, const std::string& normalizer = "null") {
  TokenizerJson out;
  for (unsigned byte = 0; byte < 256; ++byte)
    out.tokens.push_back(encode_byte_alphabet(std::string(1, static_cast<char>(byte))));
  for (const auto& [left, right] : merges) {
    out.merges.emplace_back(encode_byte_alphabet(left), encode_byte_alphabet(right));
    const std::string joined = out.merges.back().first + out.merges.back().second;
    if (std::find(out.tokens.begin(), out.tokens.end(), joined) == out.tokens.end())
      out.tokens.push_back(joined);
  }
  out.pre_tokenizer = json(pre_tokenizer);
  out.normalizer = json(normalizer);
  return out;
}

/// Adds a token under the next free id.
inline AddedToken& add_token(TokenizerJson& tokenizer, const std::string& text) {
  AddedToken token;
  token.id = static_cast<std::int32_t>(tokenizer.tokens.size());
  token.content = text;
  tokenizer.tokens.push_back(text);
  tokenizer.added_tokens.push_back(token);
  return tokenizer.added_tokens.back();
}

/// The texts of the ids that the encoder gives.
inline std::vector<std::string> encoded(const bpe::Encoder& encoder, const std::string& text) {
  std::vector<std::string> out;
  for (const std::int32_t id : encoder.encode(text).value()) out.push_back(encoder.token(id));
  return out;
}

}  // namespace engram::test
