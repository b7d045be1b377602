// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/unicode/normalizer.hpp>

#include <unicode/ustring.h>

#include <random>
#include <string>
#include <vector>

using engram::canonical_key;
using engram::Code;
using engram::normalize;

namespace {

std::string utf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) engram::append_utf8(out, c);
  return out;
}

std::string normalized(std::u32string_view text) {
  const auto result = normalize(utf8(text));
  REQUIRE(result.ok());
  return result.value();
}

// One pass of ICU's own normaliser over a whole text.
std::u16string icu_pass(const UNormalizer2* form, const std::u16string& text) {
  std::u16string out(text.size() * 20 + 20, u'\0');
  UErrorCode error = U_ZERO_ERROR;
  const std::int32_t size =
      unorm2_normalize(form, text.data(), static_cast<std::int32_t>(text.size()), out.data(),
                       static_cast<std::int32_t>(out.size()), &error);
  REQUIRE(U_SUCCESS(error));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

// Steps 1 to 4 as they are written down: whole-text NFKC, whole-text NFD, then marks and case.
std::string fold_in_two_passes(const std::u32string& text) {
  std::u16string units;
  for (const char32_t c : text) {
    UChar pair[2];
    std::int32_t n = 0;
    U16_APPEND_UNSAFE(pair, n, c);
    units.append(pair, static_cast<std::size_t>(n));
  }
  UErrorCode error = U_ZERO_ERROR;
  units = icu_pass(unorm2_getNFKCInstance(&error), units);
  units = icu_pass(unorm2_getNFDInstance(&error), units);
  std::string out;
  const auto size = static_cast<std::int32_t>(units.size());
  for (std::int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U16_NEXT(units.data(), i, size, c);
    const auto code_point = static_cast<char32_t>(c);
    if (!engram::is_mark_in_unicode_9(code_point))
      engram::append_utf8(out, engram::to_lower_case(code_point));
  }
  return out;
}

}  // namespace

TEST_CASE("normalize: a text that is not UTF-8 is refused at the faulty byte") {
  const std::pair<std::string, engram::Index> cases[] = {{"\xFF", 0},
                                                         {"ab\xC3", 2},
                                                         {"\xC3\xA9\xED\xA0\x80", 2},
                                                         {"a\x80", 1},
                                                         {"\xF4\x90\x80\x80", 0}};
  for (const auto& [text, at] : cases) {
    for (const auto make : {normalize, canonical_key}) {
      const auto result = make(text);
      REQUIRE_FALSE(result.ok());
      CHECK(result.status().code == Code::corrupt);
      CHECK(result.status().index == at);
      CHECK(result.message().find("not UTF-8 at byte " + std::to_string(at)) != std::string::npos);
    }
  }
}

TEST_CASE("normalize: each step does what it says") {
  CHECK(normalized(U"\uFB01\uFF21\u2460\u33A2") == "fia1km2");  // compatibility
  CHECK(normalized(U"\u00C9e\u0301A\u030A") == "eea");          // canonical, marks
  CHECK(normalized(U"\uD55C") == utf8(U"\u1112\u1161\u11AB"));  // jamo stay apart
  CHECK(normalized(U"\u1112\u1161\u11AB") == utf8(U"\u1112\u1161\u11AB"));
  CHECK(normalized(U"\u0915\u093F\u20DD!") == utf8(U"\u0915!"));  // Mc and Me go too
  CHECK(normalized(U"\u30AC\u0439") == utf8(U"\u30AB\u0438"));
  CHECK(normalized(U"\u0130\u1E9E\u03A3\u03A3") == utf8(U"i\u00DF\u03C3\u03C3"));  // lower case
  CHECK(normalized(U"a \t\r\n b\u00A0\u3000c") == "a b c");                        // runs of blanks
  CHECK(normalized(U"a\v\v b") == "a\v\v b");                     // VT is none of them
  CHECK(normalized(U"\u2028\v a\u0085\u1680") == "a");            // white space at the ends
  CHECK(normalized(U"\u200Ba\u200B") == utf8(U"\u200Ba\u200B"));  // no White_Space
  CHECK(normalized(U"a\uE000b\uE000") == "a b ");                 // the guard, last
}

TEST_CASE("normalize: only white space is one space or nothing") {
  for (const char32_t* blank :
       {U" ", U"\t", U"\n", U"\r\n", U" \t ", U"\u00A0", U"\u3000", U"\uE000"})
    CHECK(normalized(blank) == " ");
  for (const char32_t* nothing : {U"", U"\v", U" \v ", U"\u0085", U"\u2028", U"\u0301", U"\v\f"})
    CHECK(normalized(nothing).empty());
  CHECK(normalized(U"\u00A8") == " ");    // decomposes to space and mark
  CHECK(normalized(U" \u0301 ") == " ");  // the mark goes before the run is closed
  CHECK(normalized(U"\uE000\uE000") == "  ");
}

TEST_CASE("canonical key: what normalises to nothing keeps its own text") {
  CHECK(canonical_key("\v").value() == "\v");
  CHECK(canonical_key(" \v ").value() == " \v ");
  CHECK(canonical_key("\xCC\x81").value() == "\xCC\x81");
  CHECK(canonical_key("").value().empty());
  CHECK(canonical_key(" The\n").value() == "the");
}

TEST_CASE("normalize: characters younger than the reference's tables stay as they are") {
  CHECK(normalized(U"a\u07FDb") == utf8(U"a\u07FDb"));          // a mark of Unicode 11
  CHECK(normalized(U"\u32FF") == utf8(U"\u32FF"));              // a compatibility sign of 12.1
  CHECK(normalized(U"a\U0001E4ECb") == utf8(U"a\U0001E4ECb"));  // a mark of 15.0
  CHECK(normalized(U"a\u1CF2\u1CF3b") == "ab");                 // marks until 12.0
  CHECK(normalized(U"a\U000111C9b") == utf8(U"a\U000111C9b"));  // no mark until 11.0
  CHECK(normalized(U"a\u1DF5b") == "ab");                       // a mark of 9.0: known
  // Lower case is that of Unicode 17, with capitals that ICU need not know.
  CHECK(normalized(U"\U0001E900\uA7C0") == utf8(U"\U0001E922\uA7C1"));
  CHECK(normalized(U"\u1C89\uA7CB\uA7CC\uA7CE\uA7D2\uA7D4\uA7DA\uA7DC") ==
        utf8(U"\u1C8A\u0264\uA7CD\uA7CF\uA7D3\uA7D5\uA7DB\u019B"));
  CHECK(normalized(U"\U00010D50\U00010D65\U00016EA0\U00016EB8") ==
        utf8(U"\U00010D70\U00010D85\U00016EBB\U00016ED3"));
  CHECK(normalized(U"\U00010D66\U00016EB9") == utf8(U"\U00010D66\U00016EB9"));
}

TEST_CASE("normalize: White_Space is ICU's") {
  for (char32_t c = 0; c < 0x110000; ++c)
    if (engram::is_white_space(c) != (u_isUWhiteSpace(static_cast<UChar32>(c)) != 0))
      FAIL_CHECK("U+" << std::hex << static_cast<std::uint32_t>(c));
}

TEST_CASE("normalize: only marks have a combining class, so that order cannot matter") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    const auto code_point = static_cast<UChar32>(c);
    if (engram::unicode_age(c) <= 9 && u_getCombiningClass(code_point) != 0 &&
        !engram::is_mark_in_unicode_9(c))
      FAIL_CHECK("U+" << std::hex << static_cast<std::uint32_t>(c));
  }
}

TEST_CASE("normalize: one pass, a character at a time, equals NFKC then NFD of the whole text") {
  // Characters of Unicode 9, where ICU's passes and the reference's agree; half of the texts are
  // rich in what could interact: marks, jamo, letters with decompositions.
  std::vector<char32_t> assigned;
  std::vector<char32_t> rich;
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfkd = unorm2_getNFKDInstance(&error);
  REQUIRE(U_SUCCESS(error));
  for (char32_t c = 1; c < 0x110000; ++c) {
    const auto code_point = static_cast<UChar32>(c);
    if (engram::unicode_age(c) > 9 || U_IS_SURROGATE(code_point)) continue;
    assigned.push_back(c);
    UChar units[32];
    if (unorm2_getDecomposition(nfkd, code_point, units, 32, &error) >= 0 ||
        engram::is_mark_in_unicode_9(c) || (c >= 0x1100 && c < 0x1200))
      rich.push_back(c);
  }
  REQUIRE(assigned.size() > 100000);
  std::mt19937 random(20260110);
  for (int i = 0; i < 40000; ++i) {
    const std::vector<char32_t>& from = i % 2 == 0 ? assigned : rich;
    std::u32string text;
    const std::size_t size = 1 + random() % 12;
    while (text.size() < size) text += from[random() % from.size()];
    const auto folded = engram::fold_characters(utf8(text));
    REQUIRE(folded.ok());
    if (folded.value() != fold_in_two_passes(text)) FAIL_CHECK("text " << i);
  }
}

TEST_CASE("normalize: ASCII text needs no tables and gets the same result") {
  // Every text of three characters from a set with all kinds, against the rules written out.
  const std::string kinds =
      " \t\r\n\v\f\x1C\x7F"
      "aZ_9";
  for (const char a : kinds)
    for (const char b : kinds)
      for (const char c : kinds) {
        std::string run;
        for (const char x : {a, b, c}) {
          const bool blank = x == ' ' || x == '\t' || x == '\r' || x == '\n';
          if (blank && !run.empty() && run.back() == ' ') continue;
          run += blank ? ' ' : x == 'Z' ? 'z' : x;
        }
        if (run != " ") {
          const std::string white = " \t\n\v\f\r";
          const auto begin = run.find_first_not_of(white);
          run = begin == std::string::npos
                    ? ""
                    : run.substr(begin, run.find_last_not_of(white) - begin + 1);
        }
        if (normalize(std::string{a, b, c}).value() != run)
          FAIL_CHECK(int{a} << ' ' << int{b} << ' ' << int{c});
      }
}
