// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// UTF-8 one code point at a time, strict: what this accepts is what the Unicode standard calls well
// formed (no overlong form, no surrogate, nothing above U+10FFFF).

#include <engram/core/ids.hpp>

#include <cstddef>
#include <string>
#include <string_view>

ENGRAM_BEGIN_NAMESPACE

/// A code point and how many bytes it took; size 0: the bytes there are not well formed.
struct Utf8Step {
  char32_t code_point = 0;
  std::size_t size = 0;
};

/// The code point that starts at text[at]. Precondition: at < text.size().
inline Utf8Step next_code_point(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) {
    return static_cast<unsigned>(static_cast<unsigned char>(text[at + i]));
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {static_cast<char32_t>(lead), 1};
  const std::size_t size = lead < 0xC2   ? 0
                           : lead < 0xE0 ? 2
                           : lead < 0xF0 ? 3
                           : lead < 0xF5 ? 4
                                         : 0;
  if (size == 0 || size > text.size() - at) return {};
  // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return {};
  unsigned value = (lead & (0x7Fu >> size)) << 6 | (byte(1) & 0x3F);
  for (std::size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return {};
    value = value << 6 | (byte(i) & 0x3F);
  }
  return {static_cast<char32_t>(value), size};
}

/// Appends one code point. Precondition: no surrogate, at most U+10FFFF.
inline void append_utf8(std::string& text, char32_t code_point) {
  const auto c = static_cast<std::uint32_t>(code_point);
  const auto put = [&text](std::uint32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

/// Offset of the first byte that is not part of well-formed UTF-8; text.size() when there is none.
inline std::size_t find_invalid_utf8(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t size = next_code_point(text, at).size;
    if (size == 0) break;
    at += size;
  }
  return at;
}

ENGRAM_END_NAMESPACE
