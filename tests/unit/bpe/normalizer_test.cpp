// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The normal forms that an encoder applies before it cuts.

#include "normalizer.hpp"

#include "catch.hpp"
#include "tiny_tokenizer.hpp"

using engram::Code;
using engram::bpe::Normalizer;
using engram::test::json;

namespace {

std::string normalized(const std::string& entry, const std::string& text) {
  const auto made = Normalizer::make(json(entry));
  INFO(entry << ": " << made.message());
  REQUIRE(made.ok());
  return made.value().apply(text).value();
}

}  // namespace

TEST_CASE("encoder's normalizer: the four forms") {
  const std::string text = "\u00E9e\u0301\uFB01\u0323\u0307s\n\uAC00";
  CHECK(normalized(R"({"type": "NFC"})", text) == "\u00E9\u00E9\uFB01\u0323\u0307s\n\uAC00");
  CHECK(normalized(R"({"type": "NFD"})", text) ==
        "e\u0301e\u0301\uFB01\u0323\u0307s\n\u1100\u1161");
  CHECK(normalized(R"({"type": "NFKC"})", text) == "\u00E9\u00E9f\u1ECB\u0307s\n\uAC00");
  CHECK(normalized(R"({"type": "NFKD"})", text) == "e\u0301e\u0301fi\u0323\u0307s\n\u1100\u1161");
  CHECK(normalized("null", text) == text);
  CHECK(normalized(R"({"type": "Sequence", "normalizers": []})", text) == text);
  CHECK(normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "NFC"}]})",
                   "\uFB01\u0323") == "f\u1ECB");
  CHECK(normalized(R"({"type": "NFC"})", "").empty());
  CHECK(normalized(R"({"type": "NFC"})", std::string("a\0b", 3)) == std::string("a\0b", 3));
}

TEST_CASE("encoder's normalizer: characters after Unicode 9 stay and separate") {
  // U+1DF9 (a mark of Unicode 10) keeps the marks around it from changing places.
  const std::string text = "a\u0301\u1DF9\u0323\U00011935\U00011930";
  CHECK(normalized(R"({"type": "NFD"})", text) == text);
  CHECK(normalized(R"({"type": "NFKC"})", "\u32FF") == "\u32FF");  // a square of Unicode 12.1
  CHECK(normalized(R"({"type": "NFKC"})", "\u337E") == "\u660E\u6CBB");
}

TEST_CASE("encoder's normalizer: long texts") {
  std::string text, expected;
  for (int i = 0; i < 300000; ++i) {
    text += "e\u0301";
    expected += "\u00E9";
  }
  CHECK(normalized(R"({"type": "NFC"})", text) == expected);
}

TEST_CASE("encoder's normalizer: others are refused by name") {
  for (const std::string kind : {"Lowercase", "Replace", "Prepend", "Strip", "BertNormalizer"}) {
    const auto made = Normalizer::make(json(R"({"type": ")" + kind + R"("})"));
    CHECK(made.status().code == Code::unsupported);
    CHECK(made.message() == "normalizer '" + kind + "' is not supported");
  }
  CHECK(Normalizer::make(json("{}")).status().code == Code::corrupt);
  CHECK(Normalizer::make(json(R"({"type": "Sequence"})")).status().code == Code::corrupt);
}
