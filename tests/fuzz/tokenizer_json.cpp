// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a tokenizer.json: refused with a sentence, or consistent and good for a token map.

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_set>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = engram::parse_tokenizer_json(text, "input");
  if (!read.ok()) {
    require(read.message().size() > 7 && read.message().size() < 1000);
    require(engram::find_invalid_utf8(read.message()) == read.message().size());
    return 0;
  }
  const engram::TokenizerJson& tokenizer = read.value();
  require(!tokenizer.tokens.empty() && tokenizer.tokens.size() <= size);
  std::unordered_set<std::string_view> tokens;
  for (const std::string& token : tokenizer.tokens) {
    require(engram::find_invalid_utf8(token) == token.size());
    require(tokens.insert(token).second);
  }
  for (const auto& [left, right] : tokenizer.merges)
    require(tokens.contains(left) && tokens.contains(right) && tokens.contains(left + right));
  for (const engram::AddedToken& added : tokenizer.added_tokens)
    require(tokenizer.tokens.at(static_cast<std::size_t>(added.id)) == added.content);
  const auto map = engram::build_token_map(tokenizer.tokens);
  require(map.ok());
  require(map.value().vocab_size() == static_cast<engram::Index>(tokenizer.tokens.size()));
  require(map.value().canonical_size() <= map.value().vocab_size());
  require(to_integer(map.value()(0)) == 0);
  return 0;
}
