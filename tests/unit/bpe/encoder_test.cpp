// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Encoding with hand-made tokenizers: ids by rank, added tokens, refusals, long words.

#include "encoder.hpp"

#include "catch.hpp"
#include "tiny_tokenizer.hpp"

#include <chrono>

using engram::Code;
using engram::TokenizerJson;
using engram::bpe::Encoder;
using engram::test::add_token;
using engram::test::encoded;
using engram::test::tiny_tokenizer;
using Ids = std::vector<std::int32_t>;
using Texts = std::vector<std::string>;

namespace {

Encoder make(TokenizerJson tokenizer) {
  auto made = Encoder::make(std::move(tokenizer));
  INFO(made.message());
  REQUIRE(made.ok());
  return std::move(made).value();
}

engram::Failure refusal(TokenizerJson tokenizer) {
  const auto made = Encoder::make(std::move(tokenizer));
  CHECK_FALSE(made.ok());
  return made.failure();
}

const char* const gpt2 = R"({"type": "ByteLevel", "add_prefix_space": false})";

}  // namespace

TEST_CASE("encoder: bytes and merges by rank") {
  const Encoder bytes = make(tiny_tokenizer());
  CHECK(bytes.encode("a\u00E9").value() == Ids{0x61, 0xC3, 0xA9});
  CHECK(bytes.encode("").value().empty());
  CHECK(bytes.encode(std::string(1, '\0')).value() == Ids{0});
  CHECK(bytes.vocab_size() == 256);
  CHECK(bytes.token(0x20) == " ");

  // "ab" before "bc" although both fit; "abc" needs the join of "ab" and "c".
  const Encoder encoder = make(tiny_tokenizer({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {" ", "abc"}}));
  CHECK(encoded(encoder, "abc bc abc") == Texts{"abc", " ", "bc", " abc"});
  CHECK(encoder.encode("ab").value() == Ids{256});
  CHECK(encoder.token(259) == " abc");
  CHECK(encoder.encode_piece("abc") == Ids{258});
  CHECK(encoder.encode_piece("\xFF") == Ids{0xFF});
  CHECK(encoder.encode_piece("").empty());
}

TEST_CASE("encoder: merges stay within the pieces of the pre-tokenizer") {
  const Encoder encoder = make(tiny_tokenizer({{"a", " "}, {" ", "a"}, {"a", "a"}}, gpt2));
  CHECK(encoded(encoder, "aa a aa") == Texts{"aa", " a", " a", "a"});
}

TEST_CASE("encoder: the same pieces again, short and long, give the same ids") {
  const Encoder encoder = make(tiny_tokenizer({{"a", "b"}, {"ab", "ab"}}, gpt2));
  std::string text;
  Ids expected;
  for (int i = 0; i < 5000; ++i) {
    std::string piece = " ";
    for (int n = 0; n < 1 + (i * 7) % 90; ++n) piece += "abba"[(n + i % 3) % 4];
    text += piece;
    const Ids ids = encoder.encode_piece(piece);
    expected.insert(expected.end(), ids.begin(), ids.end());
  }
  CHECK(encoder.encode(text).value() == expected);
}

TEST_CASE("encoder: ignore_merges takes a piece that is a token") {
  TokenizerJson tokenizer = tiny_tokenizer({{"a", "b"}}, gpt2);
  tokenizer.tokens.push_back("abc");
  tokenizer.tokens.push_back("\u0120x");
  CHECK(encoded(make(tokenizer), "abc x") == Texts{"ab", "c", " ", "x"});
  tokenizer.ignore_merges = true;
  CHECK(encoded(make(tokenizer), "abc x") == Texts{"abc", " x"});
  CHECK(encoded(make(tokenizer), "abcd") == Texts{"ab", "c", "d"});
}

TEST_CASE("encoder: added tokens come first, not normalized ones before normalized ones") {
  TokenizerJson tokenizer =
      tiny_tokenizer({{"a", "<"}}, engram::test::plain_byte_level, R"({"type": "NFC"})");
  add_token(tokenizer, "<\u00E9>").normalized = true;
  add_token(tokenizer, "<e\u0301>!");
  add_token(tokenizer, "<x>").special = true;
  const Encoder encoder = make(tokenizer);
  // In the text as it is, "<e + accent>!" is found. Elsewhere the accent joins its letter first.
  CHECK(encoder.encode("a<x><e\u0301>!<e\u0301><\u00E9>").value() == Ids{'a', 259, 258, 257, 257});
  CHECK(encoder.token(258) == "<e\u0301>!");
  CHECK(encoder.token(256) == "a<");
  // The text of a normalized token is normalized as well.
  TokenizerJson decomposed = tiny_tokenizer({}, gpt2, R"({"type": "NFC"})");
  add_token(decomposed, "e\u0301").normalized = true;
  CHECK(make(decomposed).encode("\u00E9").value() == Ids{256});
  // lstrip and rstrip reach the matcher.
  TokenizerJson strip = tiny_tokenizer({}, gpt2);
  add_token(strip, "<m>").lstrip = true;
  CHECK(make(strip).encode("a  <m> b").value() == Ids{'a', 256, ' ', 'b'});
}

TEST_CASE("encoder: an added token whose text is in the byte alphabet stands for that text") {
  TokenizerJson tokenizer = tiny_tokenizer({}, gpt2);
  add_token(tokenizer, "\u0120x");
  const Encoder encoder = make(tokenizer);
  CHECK(encoder.token(256) == "\u0120x");
  CHECK(encoder.encode(" x\u0120x").value() == Ids{' ', 'x', 256});
}

TEST_CASE("encoder: text that is not UTF-8 is refused with the place") {
  const Encoder encoder = make(tiny_tokenizer());
  const std::vector<std::pair<std::string, engram::Index>> broken = {
      {"\x80", 0},     {"ab\xFF", 2},       {"a\xC3", 1},      {"a\xC3(", 1},
      {"\xC0\x80", 0}, {"\xED\xA0\x80", 0}, {"ab\xE2\x82", 2}, {"\xF4\x90\x80\x80", 0},
  };
  for (const auto& [text, at] : broken) {
    const auto ids = encoder.encode(text);
    CHECK(ids.status().code == Code::corrupt);
    CHECK(ids.status().index == at);
    CHECK(ids.message() == "text: not UTF-8 at byte " + std::to_string(at));
  }
}

TEST_CASE("encoder: tokenizers that would not give the reference's ids are refused by name") {
  TokenizerJson single = tiny_tokenizer();
  add_token(single, "<w>").single_word = true;
  CHECK(refusal(single).status.code == Code::unsupported);
  CHECK(refusal(single).message == "added token '<w>': the flag single_word is not supported");

  CHECK(refusal(tiny_tokenizer({}, "null")).message.find("does not end with 'ByteLevel'") !=
        std::string::npos);
  CHECK(refusal(tiny_tokenizer({}, R"({"type": "Metaspace"})")).message ==
        "pre-tokenizer 'Metaspace' is not supported");
  CHECK(refusal(tiny_tokenizer({}, gpt2, R"({"type": "Lowercase"})")).message ==
        "normalizer 'Lowercase' is not supported");

  TokenizerJson no_a = tiny_tokenizer();
  no_a.tokens['a'] = "aa";
  CHECK(refusal(no_a).status.index == 'a');
  CHECK(refusal(no_a).message.find("no token for the byte 97;") != std::string::npos);
  TokenizerJson no_ff = tiny_tokenizer();
  no_ff.tokens[0xFF] = "aa";  // no text holds that byte
  CHECK(Encoder::make(no_ff).ok());

  TokenizerJson merge = tiny_tokenizer({{"a", "b"}});
  merge.merges.emplace_back("ab", "c");
  CHECK(refusal(merge).status.code == Code::corrupt);
  CHECK(refusal(merge).message == "merge 1 ('ab' 'c'): 'abc' is not a token");

  TokenizerJson twice = tiny_tokenizer();
  add_token(twice, "<a>");
  add_token(twice, "<a>");
  CHECK(refusal(twice).message == "added tokens: two have the text '<a>'");
  TokenizerJson beyond = tiny_tokenizer();
  add_token(beyond, "<a>").id = 300;
  CHECK(refusal(beyond).status.code == Code::corrupt);
}

TEST_CASE("encoder: a word of a megabyte takes no quadratic time") {
  std::vector<std::pair<std::string, std::string>> doubling;
  for (std::string half = "a"; half.size() < 1024; half += half) doubling.emplace_back(half, half);
  const Encoder encoder = make(tiny_tokenizer(doubling, gpt2));
  const auto start = std::chrono::steady_clock::now();
  const Ids ids = encoder.encode(std::string(1 << 20, 'a')).value();
  CHECK(ids == Ids(1024, 256 + 9));
  // Spaces that no letter follows make the regular expression step back.
  CHECK(encoder.encode(std::string(1 << 20, ' ') + "a").value().size() == (1 << 20) + 1);
  CHECK(encoder.encode(std::string(1 << 20, '7')).value().size() == 1 << 20);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  CHECK(took.count() < 60);  // quadratic: more than an hour
}
