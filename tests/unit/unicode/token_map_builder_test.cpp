// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/unicode/token_map_builder.hpp>

#include <string>
#include <vector>

using engram::build_token_map;
using engram::Code;
using engram::token_key;

namespace {

std::vector<std::int32_t> map_of(const std::vector<std::string>& tokens) {
  const auto map = build_token_map(tokens);
  INFO(map.message());
  REQUIRE(map.ok());
  std::vector<std::int32_t> ids;
  for (engram::Index t = 0; t < map.value().vocab_size(); ++t)
    ids.push_back(to_integer(map.value()(t)));
  return ids;
}

}  // namespace

TEST_CASE("build token map: no tokens, no map") {
  const auto map = build_token_map({});
  REQUIRE_FALSE(map.ok());
  CHECK(map.status().code == Code::invalid_config);
}

TEST_CASE("build token map: a token that is not UTF-8 is named") {
  const std::vector<std::string> tokens = {"a", "b", "c\xFF", "\x80"};
  const auto map = build_token_map(tokens);
  REQUIRE_FALSE(map.ok());
  CHECK(map.status().code == Code::corrupt);
  CHECK(map.status().index == 2);
  CHECK(map.message() == "token map: token 2: the token is not UTF-8 at byte 1");
  // A broken byte makes the token its own text, so that the byte is not hidden by the alphabet.
  CHECK_FALSE(token_key("\xC4\xA0\xC3").ok());
}

TEST_CASE("build token map: ids count up in order of first appearance") {
  CHECK(map_of({"b", "a", "B", "c", "A", "b"}) == std::vector<std::int32_t>{0, 1, 0, 2, 1, 0});
}

TEST_CASE("token key: bytes that are no UTF-8 keep the token string") {
  CHECK(token_key("\xC3\xA6").value() == "\xC3\xA6");  // letter U+00E6, byte E6 alone
  CHECK(token_key("\xC3\x86").value() == "\xC3\x86");  // letter U+00C6, byte C6: not lowered
  // Bytes EF BF BD are U+FFFD itself: still the token string, as in the reference.
  const std::string letters = engram::encode_byte_alphabet("\xEF\xBF\xBD");
  CHECK(token_key(letters).value() == letters);
  // So is U+FFFD in a text that is not in the alphabet, and nothing else of it is normalised.
  CHECK(token_key("AB \xEF\xBF\xBD").value() == "AB \xEF\xBF\xBD");
}

TEST_CASE("token key: a text outside the alphabet stands for itself") {
  CHECK(token_key("<\xEF\xBD\x9C"
                  "Begin\xEF\xBD\x9C>")
            .value() == "<|begin|>");
  CHECK(token_key("Hello world").value() == "hello world");
  CHECK(token_key("caf\xC3\xA9").value() == "caf\xC3\xA9");  // all letters: bytes 63 61 66 E9
}

TEST_CASE("build token map: both kinds of keys share one dictionary") {
  // Byte E6 alone has the token string U+00E6; bytes C3 A6 decode to that same character.
  const std::string lone = "\xC3\xA6";
  const std::string whole = engram::encode_byte_alphabet("\xC3\xA6");
  const std::string capital = engram::encode_byte_alphabet("\xC3\x86");
  CHECK(map_of({lone, whole, capital, "x"}) == std::vector<std::int32_t>{0, 0, 0, 1});
}

TEST_CASE("build token map: a small vocabulary as the tokenizers library maps it") {
  // Made with tests/oracle/token_map_oracle.py and the Python package tokenizers 0.23.3. The last
  // eleven are added tokens there; the rule is the same.
  const std::vector<std::string> tokens = {"a",
                                           "A",
                                           "\u0120",
                                           "\u010A",
                                           "\u00E9",
                                           "\u00C3",
                                           "\u00C3\u00A9",
                                           "\u00E6",
                                           "\u00E6\u012A",
                                           "\u00C6",
                                           "\u0120a",
                                           "\u0301",
                                           "\u00F0\u0141\u013A",
                                           "\u00EF\u00BF\u00BD",
                                           "\u00EF",
                                           "",
                                           "x y",
                                           "\u0120\u0120",
                                           "\u010D",
                                           "\u0109",
                                           "\u010B",
                                           "\u00C2",
                                           "\u00C2\u0127",
                                           "\u00C2\u0142\u00C2\u0142",
                                           "\u00BF",
                                           "\u00BD",
                                           "\u0120\u00AD",
                                           "\uFFFD",
                                           "abc\uFFFD",
                                           "caf\u00E9",
                                           "Caf\u00E9",
                                           "\u0120X",
                                           "<\uFF5C>",
                                           "E\u0301",
                                           "\u0301\u0302",
                                           "\uE000",
                                           " ",
                                           "\u00C9",
                                           "hello \u00C9"};
  CHECK(map_of(tokens) == std::vector<std::int32_t>{0,  0,  1,  1,  2,  3,  4,  5,  6,  7,
                                                    0,  8,  9,  10, 11, 12, 13, 1,  1,  1,
                                                    14, 15, 16, 1,  17, 18, 19, 20, 21, 22,
                                                    23, 24, 25, 4,  26, 1,  1,  27, 28});
}

TEST_CASE("build token map: time grows with the tokens, not with their square") {
  // All keys differ. A quadratic search over so many would take minutes.
  std::vector<std::string> tokens;
  for (int i = 0; i < 300000; ++i) tokens.push_back(std::to_string(i) + "t");
  const auto map = build_token_map(tokens);
  REQUIRE(map.ok());
  CHECK(map.value().canonical_size() == 300000);
}
