// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Where added tokens are found.

#include "added_tokens.hpp"

#include "catch.hpp"

using engram::Code;
using engram::bpe::AddedTokenMatcher;
using engram::bpe::Needle;

namespace {

// The parts with '|' between them, added tokens as text:id.
std::string parts(std::vector<Needle> needles, const std::string& text) {
  const auto made = AddedTokenMatcher::make(std::move(needles));
  INFO(made.message());
  REQUIRE(made.ok());
  std::vector<AddedTokenMatcher::Part> found;
  made.value().split(text, found);
  std::string out;
  for (const auto& part : found) {
    if (!out.empty()) out += '|';
    out += part.text;
    if (part.id >= 0) out += ':' + std::to_string(part.id);
  }
  return out;
}

}  // namespace

TEST_CASE("added tokens: the leftmost match, of those the longest") {
  CHECK(parts({}, "abc") == "abc");
  CHECK(parts({}, "") == "");
  CHECK(parts({{"a", 1}}, "") == "");
  CHECK(parts({{"<a>", 1}, {"<a><b>", 2}, {"<b>", 3}}, "x<a><b><a>y<b>") ==
        "x|<a><b>:2|<a>:1|y|<b>:3");
  CHECK(parts({{"ab", 1}, {"bcd", 2}}, "abcd") == "ab:1|cd");
  CHECK(parts({{"abcd", 1}, {"bc", 2}}, "abce") == "a|bc:2|e");
  CHECK(parts({{"aa", 1}}, "aaaaa") == "aa:1|aa:1|a");
  CHECK(parts({{"\u00E9", 1}}, "e\u00E9e") == "e|\u00E9:1|e");
  CHECK(AddedTokenMatcher().empty());
}

TEST_CASE("added tokens: white space that a token swallows") {
  CHECK(parts({{"<m>", 1, true, false}}, "a \u3000\n<m> b") == "a| \u3000\n<m>:1| b");
  CHECK(parts({{"<m>", 1, false, true}}, "a <m> \u00A0b") == "a |<m> \u00A0:1|b");
  CHECK(parts({{"<m>", 1, true, true}}, " <m>  <m> ") == " <m>  :1|<m> :1");
  // Not across the token before, and a zero width space is no white space.
  CHECK(parts({{"<m>", 1, true, false}, {"\n", 2}}, "\n<m>\u200B<m>") == "\n:2|<m>:1|\u200B|<m>:1");
  // A token that begins within white space already swallowed is found all the same.
  CHECK(parts({{"<m>", 1, false, true}, {" x", 2}}, "<m> x") == "<m> :1| x:2");
}

TEST_CASE("added tokens: two of one text are refused") {
  const auto made = AddedTokenMatcher::make({{"<a>", 1}, {"<b>", 2}, {"<a>", 3}});
  CHECK(made.status().code == Code::invalid_config);
  CHECK(made.message() == "added tokens: two have the text '<a>'");
  CHECK(made.status().index == 3);
}
