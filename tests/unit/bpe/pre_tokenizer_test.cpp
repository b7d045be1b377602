// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// How texts are cut: every kind of step, every behavior, and what is refused.

#include "pre_tokenizer.hpp"

#include "catch.hpp"
#include "tiny_tokenizer.hpp"

using engram::Code;
using engram::bpe::PreTokenizer;
using engram::test::json;
using Pieces = std::vector<std::string>;

namespace {

struct Collector final : engram::bpe::PieceSink {
  void piece(std::string_view text) override { pieces.emplace_back(text); }
  Pieces pieces;
};

Pieces cut(const std::string& entry, const std::string& text) {
  const auto made = PreTokenizer::make(json(entry));
  INFO(entry << ": " << made.message());
  REQUIRE(made.ok());
  engram::bpe::MatchScratch scratch;
  Collector collector;
  REQUIRE(made.value().split(text, scratch, collector).ok());
  return collector.pieces;
}

std::string split(const std::string& kind, const std::string& pattern, const std::string& behavior,
                  bool invert = false) {
  return R"({"type": "Split", "pattern": {")" + kind + R"(": ")" + pattern +
         R"("}, "behavior": ")" + behavior + R"(", "invert": )" + (invert ? "true}" : "false}");
}

std::string refusal(const std::string& entry, Code code) {
  const auto made = PreTokenizer::make(json(entry));
  INFO(entry);
  CHECK(made.status().code == code);
  return made.message();
}

}  // namespace

TEST_CASE("pre-tokenizer: null keeps the text whole") {
  CHECK(cut("null", "a b") == Pieces{"a b"});
  CHECK(cut("null", "").empty());
  CHECK_FALSE(PreTokenizer::make(engram::Json()).value().byte_level());
}

TEST_CASE("pre-tokenizer: Split, each behavior") {
  const auto with = [](const char* behavior, bool invert) {
    return cut(split("Regex", "-", behavior, invert), "the-final--countdown");
  };
  CHECK(with("Isolated", false) == Pieces{"the", "-", "final", "-", "-", "countdown"});
  CHECK(with("Isolated", true) == Pieces{"the", "-", "final", "-", "-", "countdown"});
  CHECK(with("Removed", false) == Pieces{"the", "final", "countdown"});
  CHECK(with("Removed", true) == Pieces{"-", "-", "-"});
  CHECK(with("MergedWithPrevious", false) == Pieces{"the-", "final-", "-", "countdown"});
  CHECK(with("MergedWithPrevious", true) == Pieces{"the", "-final", "-", "-countdown"});
  CHECK(with("MergedWithNext", false) == Pieces{"the", "-final", "-", "-countdown"});
  CHECK(with("MergedWithNext", true) == Pieces{"the-", "final-", "-", "countdown"});
  CHECK(with("Contiguous", false) == Pieces{"the", "-", "final", "--", "countdown"});
  CHECK(with("Contiguous", true) == Pieces{"the", "-", "final", "--", "countdown"});
}

TEST_CASE("pre-tokenizer: Split at the ends of the text") {
  CHECK(cut(split("Regex", "-", "MergedWithNext"), "a-") == Pieces{"a", "-"});
  CHECK(cut(split("Regex", "-", "MergedWithNext"), "--a") == Pieces{"-", "-a"});
  CHECK(cut(split("Regex", "-", "MergedWithPrevious"), "-a") == Pieces{"-", "a"});
  CHECK(cut(split("Regex", "-", "Removed"), "--").empty());
  CHECK(cut(split("Regex", "-", "Contiguous"), "--") == Pieces{"--"});
}

TEST_CASE("pre-tokenizer: a pattern that matches nothing at all splits between characters") {
  CHECK(cut(split("String", "", "Isolated"), "a\u00E9b") == Pieces{"a", "\u00E9", "b"});
  CHECK(cut(split("Regex", "x*", "Isolated"), "axb") == Pieces{"a", "x", "b"});
}

TEST_CASE("pre-tokenizer: Split by a plain text") {
  CHECK(cut(split("String", ".*", "Isolated"), "a.*b") == Pieces{"a", ".*", "b"});
  CHECK(cut(split("String", "\\n", "Removed"), "a\nb\n") == Pieces{"a", "b"});
}

TEST_CASE("pre-tokenizer: Digits") {
  const std::string one = R"({"type": "Digits", "individual_digits": true})";
  const std::string all = R"({"type": "Digits", "individual_digits": false})";
  CHECK(cut(one, "a12\u00BD") == Pieces{"a", "1", "2", "\u00BD"});
  CHECK(cut(all, "a12\u00BDb3") == Pieces{"a", "12\u00BD", "b", "3"});
  // A digit of Unicode 17 counts: the package's Digits are newer than its regular expressions.
  CHECK(cut(all, "a\U00011DE0") == Pieces{"a", "\U00011DE0"});
}

TEST_CASE("pre-tokenizer: ByteLevel") {
  const std::string gpt2 =
      R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})";
  CHECK(PreTokenizer::make(json(gpt2)).value().byte_level());
  CHECK(cut(gpt2, "I'm 12  ok!?\n\n x") ==
        Pieces{"I", "'m", " 12", " ", " ok", "!?", "\n\n", " x"});
  const std::string prefix = R"({"type": "ByteLevel", "add_prefix_space": true})";
  CHECK(cut(prefix, "a b") == Pieces{" a", " b"});
  CHECK(cut(prefix, " a") == Pieces{" a"});
  CHECK(cut(prefix, "").empty());
  CHECK(cut(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})", "a b") ==
        Pieces{" a b"});
}

TEST_CASE("pre-tokenizer: a Sequence cuts the pieces of the step before") {
  const std::string steps =
      R"({"type": "Sequence", "pretokenizers": [)" + split("Regex", "\\\\p{N}{1,3}", "Isolated") +
      R"(, {"type": "Sequence", "pretokenizers": [)" + split("Regex", "\\\\s", "MergedWithNext") +
      R"(]}, {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}]})";
  // The prefix is put before every piece that does not begin with a space.
  CHECK(cut(steps, "ab 1234") == Pieces{" ab", " ", " 123", " 4"});
  // A look ahead ends with the piece, not with the text.
  const std::string ahead = R"({"type": "Sequence", "pretokenizers": [)" +
                            split("Regex", "x", "Isolated") + ", " +
                            split("Regex", "\\\\s+(?!\\\\S)", "Isolated") + "]}";
  CHECK(cut(ahead, "a  xb  c") == Pieces{"a", "  ", "x", "b", " ", " c"});
  CHECK(cut(R"({"type": "Sequence", "pretokenizers": []})", "a b") == Pieces{"a b"});
}

TEST_CASE("pre-tokenizer: what is not supported is refused by name") {
  for (const std::string kind : {"Metaspace", "Whitespace", "Punctuation", "BertPreTokenizer"})
    CHECK(refusal(R"({"type": ")" + kind + R"("})", Code::unsupported) ==
          "pre-tokenizer '" + kind + "' is not supported");
  CHECK(refusal(split("Regex", "a", "Merged"), Code::unsupported) ==
        "pre-tokenizer 'Split': the behavior 'Merged' is not supported");
  CHECK(refusal(split("Regex", "a\\\\w", "Isolated"), Code::unsupported) ==
        "pre-tokenizer 'Split': regular expression, byte 2: the escape \\w is not supported");
  CHECK(refusal(R"({"type": "Sequence", "pretokenizers": [)" +
                    std::string(engram::test::plain_byte_level) +
                    R"(, {"type": "Digits", "individual_digits": true}]})",
                Code::unsupported) == "pre-tokenizer 'Digits' after 'ByteLevel' is not supported");
  std::string many = R"({"type": "Sequence", "pretokenizers": [)";
  for (int i = 0; i < 65; ++i) many += (i == 0 ? "" : ", ") + split("String", "a", "Isolated");
  CHECK(refusal(many + "]}", Code::unsupported) == "pre-tokenizer: more than 64 steps");
}

TEST_CASE("pre-tokenizer: missing and wrong fields") {
  CHECK(refusal("[]", Code::corrupt).find("'type' is not a text") != std::string::npos);
  CHECK(refusal(R"({"type": 3})", Code::corrupt).find("'type'") != std::string::npos);
  CHECK(refusal(R"({"type": "Sequence"})", Code::corrupt).find("'pretokenizers'") !=
        std::string::npos);
  CHECK(refusal(R"({"type": "Split"})", Code::corrupt).find("'pattern'") != std::string::npos);
  CHECK(refusal(R"({"type": "Split", "pattern": "a"})", Code::corrupt).find("'pattern'") !=
        std::string::npos);
  CHECK(refusal(R"({"type": "Split", "pattern": {"String": "a"}, "invert": false})", Code::corrupt)
            .find("'behavior'") != std::string::npos);
  CHECK(refusal(R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolated"})",
                Code::corrupt)
            .find("'invert'") != std::string::npos);
  CHECK(refusal(R"({"type": "ByteLevel"})", Code::corrupt).find("'add_prefix_space'") !=
        std::string::npos);
  CHECK(refusal(R"({"type": "Digits"})", Code::corrupt).find("'individual_digits'") !=
        std::string::npos);
}
