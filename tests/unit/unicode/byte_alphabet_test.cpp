// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/unicode/byte_alphabet.hpp>

#include <set>
#include <string>

using engram::decode_byte_alphabet;
using engram::encode_byte_alphabet;

TEST_CASE("byte alphabet: a text with any other character spells nothing") {
  CHECK_FALSE(decode_byte_alphabet("a b").has_value());           // a plain space
  CHECK_FALSE(decode_byte_alphabet("a\n").has_value());           // a plain control character
  CHECK_FALSE(decode_byte_alphabet("\x7F").has_value());          //
  CHECK_FALSE(decode_byte_alphabet("\xC2\xA0").has_value());      // U+00A0
  CHECK_FALSE(decode_byte_alphabet("\xC2\xAD").has_value());      // U+00AD
  CHECK_FALSE(decode_byte_alphabet("\xC5\x84").has_value());      // U+0144, just beyond
  CHECK_FALSE(decode_byte_alphabet("\xEF\xBD\x9C").has_value());  // U+FF5C
  CHECK_FALSE(decode_byte_alphabet("a\xC4").has_value());         // no UTF-8
  CHECK_FALSE(decode_byte_alphabet("\xFF").has_value());
}

TEST_CASE("byte alphabet: known letters") {
  CHECK(encode_byte_alphabet(" the") == "\xC4\xA0the");             // U+0120
  CHECK(encode_byte_alphabet("\n") == "\xC4\x8A");                  // U+010A
  CHECK(encode_byte_alphabet(std::string(1, '\0')) == "\xC4\x80");  // U+0100, the first
  CHECK(encode_byte_alphabet("\xAD") == "\xC5\x83");                // U+0143, the last
  CHECK(encode_byte_alphabet("\xC3\xA9") == "\xC3\x83\xC2\xA9");    // e acute: U+00C3 U+00A9
  CHECK(encode_byte_alphabet("~") == "~");
  CHECK(decode_byte_alphabet("\xC4\xA0the") == " the");
  CHECK(decode_byte_alphabet("") == "");
}

TEST_CASE("byte alphabet: 256 bytes, 256 letters, back and forth") {
  std::set<std::string> letters;
  std::string all;
  for (int b = 0; b < 256; ++b) {
    const std::string byte(1, static_cast<char>(static_cast<unsigned char>(b)));
    letters.insert(encode_byte_alphabet(byte));
    CHECK(decode_byte_alphabet(encode_byte_alphabet(byte)) == byte);
    all += byte;
  }
  CHECK(letters.size() == 256);
  CHECK(decode_byte_alphabet(encode_byte_alphabet(all)) == all);
}

TEST_CASE("byte alphabet: as many characters are letters as there are bytes") {
  int letters = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    engram::append_utf8(text, c);
    if (decode_byte_alphabet(text)) ++letters;
  }
  CHECK(letters == 256);
}
