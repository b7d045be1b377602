// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/unicode/utf8.hpp>

#include <string>

using engram::append_utf8;
using engram::find_invalid_utf8;
using engram::next_code_point;

TEST_CASE("utf8: ill-formed sequences have size 0") {
  const std::string bad[] = {
      "\x80",  // continuation alone
      "\xBF",  //
      "\xC0\x80",
      "\xC1\xBF",  // overlong, 2 bytes
      "\xE0\x80\x80",
      "\xE0\x9F\xBF",  // overlong, 3 bytes
      "\xF0\x80\x80\x80",
      "\xF0\x8F\xBF\xBF",  // overlong, 4 bytes
      "\xED\xA0\x80",
      "\xED\xBF\xBF",      // surrogates
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xF5\x80\x80\x80",
      "\xFE",
      "\xFF",
      "\xC3",
      "\xC3\x28",
      "\xE2\x82",
      "\xE2\x28\xA1",
      "\xE2\x82\x28",  // cut or interrupted
      "\xF0\x9F\x98",
      "\xF0\x28\x8C\xBC",
      "\xF0\x90\x28\xBC",
      "\xF0\x28\x8C\x28",
      "\xF0\x9F\x98\xC0",
  };
  for (const std::string& bytes : bad) {
    CHECK(next_code_point(bytes, 0).size == 0);
    CHECK(find_invalid_utf8("ab\xC3\xA9" + bytes) == 4);
    CHECK(find_invalid_utf8(bytes + "ab") == 0);
  }
}

TEST_CASE("utf8: every code point is written and read back") {
  std::string all;
  bool same = true;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string one;
    append_utf8(one, c);
    const engram::Utf8Step step = next_code_point(one, 0);
    const std::size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    same = same && step.code_point == c && step.size == one.size() && one.size() == size;
    all += one;
  }
  CHECK(same);
  CHECK(find_invalid_utf8(all) == all.size());
}

TEST_CASE("utf8: nothing but code points is accepted") {
  // All sequences of two and three bytes: as many are accepted as there are code points.
  long two = 0;
  long three = 0;
  std::string bytes(3, '\0');
  for (int a = 0x80; a < 0x100; ++a)
    for (int b = 0; b < 0x100; ++b) {
      bytes[0] = static_cast<char>(a);
      bytes[1] = static_cast<char>(b);
      two += next_code_point(std::string_view(bytes).substr(0, 2), 0).size == 2 ? 1 : 0;
      for (int c = 0; c < 0x100; ++c) {
        bytes[2] = static_cast<char>(c);
        three += next_code_point(bytes, 0).size == 3 ? 1 : 0;
      }
    }
  CHECK(two == 0x800 - 0x80);
  CHECK(three == 0x10000 - 0x800 - 0x800);
}
