// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The alphabet in which byte-level BPE tokenizers (GPT-2 and its heirs) spell bytes: 256 visible
// characters, one for each byte. Used to read token strings and by encoders to write them.

#include <engram/unicode/utf8.hpp>

#include <optional>

ENGRAM_BEGIN_NAMESPACE

/// True for a byte that spells itself: visible Latin-1, that is 21-7E, A1-AC, AE-FF.
constexpr bool is_own_letter(unsigned byte) noexcept {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

/// Both directions of the alphabet. The 68 bytes that do not spell themselves take U+0100 to
/// U+0143 in ascending order.
struct ByteAlphabet {
  char32_t letter[256];      ///< byte -> code point, at most U+0143
  std::int16_t byte[0x144];  ///< code point -> byte, or -1

  constexpr ByteAlphabet() : letter(), byte() {
    for (std::int16_t& b : byte) b = -1;
    char32_t next = 0x100;
    for (unsigned b = 0; b < 256; ++b) {
      letter[b] = is_own_letter(b) ? static_cast<char32_t>(b) : next++;
      byte[letter[b]] = static_cast<std::int16_t>(b);
    }
  }
};
inline constexpr ByteAlphabet byte_alphabet{};

/// The bytes that `token` spells; nothing when any character is outside the alphabet (or the text
/// is not UTF-8): such a token stands for its own text. The bytes need not be UTF-8.
inline std::optional<std::string> decode_byte_alphabet(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Step step = next_code_point(token, at);
    if (step.size == 0 || step.code_point >= 0x144) return std::nullopt;
    const std::int16_t byte = byte_alphabet.byte[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes += static_cast<char>(static_cast<unsigned char>(byte));
    at += step.size;
  }
  return bytes;
}

/// Any bytes, spelled in the alphabet. decode_byte_alphabet() gives them back.
inline std::string encode_byte_alphabet(std::string_view bytes) {
  std::string token;
  token.reserve(bytes.size());
  for (const char b : bytes)
    append_utf8(token, byte_alphabet.letter[static_cast<unsigned char>(b)]);
  return token;
}

ENGRAM_END_NAMESPACE
