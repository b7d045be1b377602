// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What the translator of regular expressions accepts, changes and refuses.

#include "oniguruma.hpp"

#include "catch.hpp"
#include "regex.hpp"

#include <vector>

using engram::Code;
using engram::bpe::MatchScratch;
using engram::bpe::Regex;
using engram::bpe::Span;
using engram::bpe::translate_oniguruma;

namespace {

// The texts of all matches, with '|' between them.
std::string matches(const std::string& pattern, const std::string& text) {
  const auto regex = Regex::make(pattern);
  INFO(pattern << ": " << regex.message());
  REQUIRE(regex.ok());
  MatchScratch scratch;
  Span found, previous;
  std::string all;
  for (bool first = true;
       regex.value().next(text, first ? nullptr : &previous, scratch, found) == 1; first = false) {
    if (!first) all += '|';
    all += text.substr(found.begin, found.end - found.begin);
    previous = found;
  }
  return all;
}

}  // namespace

TEST_CASE("regex: spaces are White_Space and nothing else") {
  // U+180E and the zero width space are none, the line feed of mainframes and the vertical tab are.
  CHECK(matches(R"(\s+)", "a\u0085\x0B b\u180E\u200Bc\u3000") == "\u0085\x0B |\u3000");
  CHECK(matches(R"(\S+)", "a\u0085b\u180Ec d") == "a|b\u180Ec|d");
  CHECK(matches(R"([^\S\n]+)", "a \n\tb") == " |\t");
  CHECK(matches(R"([^\s\p{L}]+)", "a!? b\u180E") == "!?|\u180E");
}

TEST_CASE("regex: properties know Unicode 16") {
  // A letter of Unicode 16, a mark of 16, a digit of 15, a symbol of 15.1, a letter of 15.1.
  CHECK(matches(R"(\p{L}+)", "x\U00001C89-\U0002EBF0") == "x\U00001C89|\U0002EBF0");
  CHECK(matches(R"(\p{M})", "a\U00000897") == "\U00000897");
  CHECK(matches(R"(\d+|\p{Nd})", "1\U00011F50") == "1\U00011F50");
  CHECK(matches(R"(\D+)", "1\U00011F50x") == "x");
  CHECK(matches(R"([\p{P}\p{S}]+)", "a\u2FFC!b") == "\u2FFC!");
  CHECK(matches(R"(\P{L}+)", "a\U00001C8912b") == "12");
  CHECK(matches(R"(\p{^N}+)", "1a2") == "a");
  CHECK(matches(R"(\p{Lu}\p{Ll}+)", "ABcd\U0000A7DA\U0000A7DB") == "Bcd|\U0000A7DA\U0000A7DB");
}

TEST_CASE("regex: classes, groups and repeats") {
  CHECK(matches(R"([a[bc]d]+)", "xabcdx") == "abcd");
  CHECK(matches(R"([^(\s|[.,!])]+)", "ab, (c)|d") == "ab|c|d");
  CHECK(matches(R"([-a]+|[c-]+|[\]\-^]+)", "-a!c-]^") == "-a|c-|]^");
  CHECK(matches(R"([+\-./:-]+)", "a+-b/:") == "+-|/:");
  CHECK(matches(R"([\u4E00-\u9FA5\x{3040}-\x{309F}\x41]+)", "\u4E2D\u3042Ab") == "\u4E2D\u3042A");
  CHECK(matches(R"((?i:'s|'ll)|(?:x)(y)?)", "'S 'lL xyx '\u017F") == "'S|'lL|xy|x|'\u017F");
  CHECK(matches(R"('(?i:[sdmt]|ll))", "'D 'LL") == "'D|'LL");
  CHECK(matches(R"(a{2}|b{1,2}|c{2,}|d{,2}e)", "aaabbbcccde") == "aa|bb|b|ccc|de");
  CHECK(matches(R"(a{1,3}?|b+?|c*+d|x?+y)", "aabbccdxy") == "a|a|b|b|ccd|xy");
  CHECK(matches(R"((?>a+)b|\s+(?!\S)|(?<=c)d|(?<!c)e(?=f))", "aab   cdceef") == "aab|  |d|e");
  CHECK(matches(".+", "ab\ncd\r\n") == "ab|cd\r");
  CHECK(matches(R"(\t|\n|\r|\f|\v|\.)", "\t\n\r\f\v.") == "\t|\n|\r|\f|\v|.");
  CHECK(matches("x*", "axxb") == "|xx|");
  CHECK(matches("", "ab") == "||");
}

TEST_CASE("regex: what cannot be translated is refused by name") {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {R"(a\w)", "byte 2: the escape \\w is not supported"},
      {R"(\bx)", "byte 1: the escape \\b is not supported"},
      {R"((a)\1)", "byte 4: the escape \\1 is not supported"},
      {R"(\p{Han}+)", "the property \\p{Han}"},
      {R"(\p{Mn})", "the property \\p{Mn}"},
      {R"(\pL)", "a property without braces"},
      {R"([\P{L}])", "the negated property \\P{L} in a class"},
      {R"([\D])", "\\D in a class"},
      {R"(^a)", "the anchor ^"},
      {R"(a$)", "the anchor $"},
      {R"([a&&b])", "the class operator &&"},
      {R"([[:alpha:]])", "a POSIX bracket"},
      {R"([a[^b]])", "a negated class inside a class"},
      {R"([]a])", "']' as first member of a class"},
      {R"([a-\d])", "'-' before a set in a class"},
      {R"([\d-z])", "'-' after a set in a class"},
      {R"([a-c-e])", "'-' after a range"},
      {R"([[a]-b])", "'-' in the middle of a class"},
      {R"([--a])", "a range that begins with '-'"},
      {R"((?<n>a))", "a group '(?<'"},
      {R"((?m:a))", "a group '(?m'"},
      {R"((?#c))", "a group '(?#'"},
      {R"(+a)", "a quantifier without something to repeat"},
      {R"(a+*)", "a quantifier without something to repeat"},
      {R"((?=a)+)", "a quantifier without something to repeat"},
      {R"(a{x})", "'{' that is no repeat count"},
      {R"(a{2}?)", "a lazy fixed repeat count"},
      {R"(a{1,2}+)", "a possessive repeat count"},
      {R"(a{3,2})", "a repeat count that runs backwards"},
      {R"((?i:\p{L}))", "in caseless text"},
      {R"((?i:[^a]))", "a negated class in caseless text"},
      {"(?i:\u00E4)", "a character beyond ASCII in caseless text"},
      {R"((?i:lass))", "caseless \"ss\""},
      {R"(\xFF)", "a byte escape above \\x7F"},
  };
  for (const auto& [pattern, reason] : refused) {
    const auto result = translate_oniguruma(pattern);
    INFO(pattern << ": " << result.message());
    CHECK(result.status().code == Code::unsupported);
    CHECK(result.message().find(reason) != std::string::npos);
    CHECK(result.message().find("regular expression, byte ") == 0);
  }
  const std::vector<std::pair<std::string, std::string>> broken = {
      {"(a", "a group has no closing ')'"},      {"a)", "')' without '('"},
      {"[a", "a class has no closing ']'"},      {"[", "a class has no closing ']'"},
      {"a\\", "nothing follows the backslash"},  {"[z-a]", "the range of a class runs backwards"},
      {"\\u12", "wrong number of digits"},       {"\\x{110000}", "is no code point"},
      {"\\x{D800}", "is no code point"},         {"a\xFF", "byte 1: not UTF-8"},
      {"[a\\", "nothing follows the backslash"},
  };
  for (const auto& [pattern, reason] : broken) {
    const auto result = translate_oniguruma(pattern);
    INFO(pattern << ": " << result.message());
    CHECK(result.status().code == Code::corrupt);
    CHECK(result.message().find(reason) != std::string::npos);
  }
  // What only the engine can judge.
  const auto result = Regex::make("(?<=a+)b");
  CHECK(result.status().code == Code::unsupported);
  CHECK(result.message().find("the engine refuses it") != std::string::npos);
}

TEST_CASE("regex: a literal stands for itself") {
  const auto regex = Regex::make_literal("[a]*\u00E9");
  REQUIRE(regex.ok());
  MatchScratch scratch;
  Span found;
  CHECK(regex.value().next("x[a]*\u00E9", nullptr, scratch, found) == 1);
  CHECK(found.begin == 1);
  CHECK(found.end == 7);
  CHECK(regex.value().next("aaa", nullptr, scratch, found) == 0);
  CHECK(Regex::make_literal("a\x80").status().index == 1);
}
