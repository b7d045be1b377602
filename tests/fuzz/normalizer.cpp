// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a text and as a token: refused where they stop being UTF-8, or given a key.

#include <engram/unicode/byte_alphabet.hpp>
#include <engram/unicode/normalizer.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

bool is_utf8(std::string_view text) { return engram::find_invalid_utf8(text) == text.size(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  // Any bytes can be spelled, and that spelling is a token with a key.
  const std::string letters = engram::encode_byte_alphabet(text);
  require(engram::decode_byte_alphabet(letters) == std::string(text));
  const auto spelled = engram::token_key(letters);
  require(spelled.ok() && (size == 0) == spelled.value().empty());
  if (!is_utf8(text)) require(spelled.value() == letters);

  const auto normalized = engram::normalize(text);
  const auto key = engram::canonical_key(text);
  require(normalized.ok() == is_utf8(text) && key.ok() == normalized.ok());
  if (!normalized.ok()) {
    const auto at = static_cast<engram::Index>(engram::find_invalid_utf8(text));
    require(normalized.status().index == at && key.status().index == at);
    return 0;
  }
  require(is_utf8(normalized.value()));
  require(key.value() == (normalized.value().empty() ? text : normalized.value()));
  require(engram::token_key(text).ok());
  // Folding a text is folding its characters.
  std::string folded;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t step = engram::next_code_point(text, at).size;
    folded += engram::fold_characters(text.substr(at, step)).value();
    at += step;
  }
  require(engram::fold_characters(text).value() == folded);
  return 0;
}
