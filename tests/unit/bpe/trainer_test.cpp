// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Training: order of merges, ties, determinism, and files that read back to the same ids.

#include "trainer.hpp"

#include "../../golden/random_text.hpp"
#include "catch.hpp"
#include "tiny_tokenizer.hpp"

#include <filesystem>
#include <limits>

using engram::Code;
using engram::TokenizerJson;
using engram::bpe::Encoder;
using engram::bpe::Trainer;
using engram::bpe::TrainerOptions;
using Merges = std::vector<std::pair<std::string, std::string>>;

namespace {

Trainer make(TrainerOptions options) {
  auto made = Trainer::make(std::move(options));
  INFO(made.message());
  REQUIRE(made.ok());
  return std::move(made).value();
}

TokenizerJson train(TrainerOptions options,
                    const std::vector<std::pair<std::string, std::int64_t>>& pieces) {
  Trainer trainer = make(std::move(options));
  for (const auto& [piece, count] : pieces) REQUIRE(trainer.add_piece(piece, count).ok());
  auto trained = trainer.train();
  INFO(trained.message());
  REQUIRE(trained.ok());
  return std::move(trained).value();
}

TrainerOptions options(std::int32_t vocab_size, std::int64_t min_frequency = 1) {
  TrainerOptions out;
  out.vocab_size = vocab_size;
  out.min_frequency = min_frequency;
  return out;
}

std::string refusal(TrainerOptions o) {
  const auto made = Trainer::make(std::move(o));
  CHECK_FALSE(made.ok());
  return made.message();
}

}  // namespace

TEST_CASE("trainer: the most frequent pair first") {
  // hug x10, pug x5, pun x12, bun x4, hugs x5: the example of many introductions.
  const TokenizerJson t =
      train(options(260), {{"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}});
  CHECK(t.merges == Merges{{"u", "g"}, {"u", "n"}, {"h", "ug"}, {"p", "un"}});
  CHECK(t.tokens.size() == 260);
  CHECK(t.tokens[256] == "ug");
  CHECK(t.tokens[259] == "pun");
  CHECK(t.added_tokens.empty());
}

TEST_CASE("trainer: ties go to the lower left id, then to the lower right id") {
  CHECK(train(options(258), {{"cd", 3}, {"cb", 3}, {"xa", 3}}).merges ==
        Merges{{"c", "b"}, {"c", "d"}});
  // Ids follow the alphabet: 'a' is lower than the letter of the space, and a merged token higher.
  CHECK(train(options(259), {{" a", 3}, {"ab", 3}, {"abz", 2}, {" q", 2}}).merges ==
        Merges{{"a", "b"}, {"\u0120", "a"}, {"\u0120", "q"}});
}

TEST_CASE("trainer: pairs that overlap themselves are counted as they stand") {
  CHECK(train(options(1000), {{"aaaaa", 1}}).merges ==
        Merges{{"a", "a"}, {"aa", "a"}, {"aa", "aaa"}});
  CHECK(train(options(1000), {{"abababab", 1}}).merges ==
        Merges{{"a", "b"}, {"ab", "ab"}, {"abab", "abab"}});
}

TEST_CASE("trainer: min_frequency and the wanted size end the training") {
  const std::vector<std::pair<std::string, std::int64_t>> pieces = {
      {"ab", 3}, {"cd", 2}, {"ef", 1}};
  CHECK(train(options(1000, 1), pieces).merges.size() == 3);
  CHECK(train(options(1000, 2), pieces).merges.size() == 2);
  CHECK(train(options(1000, 3), pieces).merges.size() == 1);
  CHECK(train(options(1000, 4), pieces).merges.empty());
  CHECK(train(options(256), pieces).merges.empty());
  CHECK(train(options(257), pieces).merges.size() == 1);
}

TEST_CASE("trainer: special tokens get the first ids, bytes follow in alphabet order") {
  TrainerOptions o = options(259);
  o.special_tokens = {"<s>", "</s>"};
  const TokenizerJson t = train(o, {{"ab", 1}});
  CHECK(t.tokens[0] == "<s>");
  CHECK(t.tokens[1] == "</s>");
  CHECK(t.tokens[2] == "!");
  CHECK(t.tokens[257] == "\u0143");
  CHECK(t.tokens[258] == "ab");
  REQUIRE(t.added_tokens.size() == 2);
  CHECK(t.added_tokens[1].id == 1);
  CHECK(t.added_tokens[1].special);
  CHECK_FALSE(t.added_tokens[1].normalized);
  // One that spells a merge or a byte shares the id.
  o = options(259);
  o.special_tokens = {"ab", "a"};
  const TokenizerJson shared = train(o, {{"abc", 2}});
  CHECK(shared.tokens.size() == 258);
  CHECK(shared.merges == Merges{{"a", "b"}, {"ab", "c"}});
  CHECK(shared.tokens[257] == "abc");
}

TEST_CASE("trainer: the order of the texts does not matter, and the file is the same bytes") {
  std::vector<std::string> texts;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    texts.push_back(engram::test::random_text(seed, 4000, {}));
  Trainer forward = make(options(700));
  Trainer backward = make(options(700));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    REQUIRE(forward.add(texts[i]).ok());
    REQUIRE(backward.add(texts[texts.size() - 1 - i]).ok());
  }
  CHECK(forward.pieces() == backward.pieces());
  CHECK(forward.distinct_pieces() == backward.distinct_pieces());
  const std::string a = engram::bpe::to_json_text(forward.train().value()).value();
  const std::string b = engram::bpe::to_json_text(backward.train().value()).value();
  CHECK(a == b);
}

TEST_CASE("trainer: the file that is written reads back to the same tokenizer") {
  TrainerOptions o = options(600);
  o.special_tokens = {"<|end|>", "\"quoted\\\"", "\u00E9\n"};
  Trainer trainer = make(o);
  const std::string text =
      engram::test::random_text(11, 60000, std::vector<std::string_view>{"the ", "of ", "<|end|>"});
  REQUIRE(trainer.add(text).ok());
  const TokenizerJson trained = trainer.train().value();
  const std::string path = std::string(ENGRAM_SCRATCH_DIR) + "/bpe_trainer_test.json";
  const auto written = engram::bpe::write_tokenizer_json(trained, path);
  INFO(written.message());
  REQUIRE(written.ok());
  auto read = engram::read_tokenizer_json(path);
  std::filesystem::remove(path);
  INFO(read.message());
  REQUIRE(read.ok());
  CHECK(read.value().tokens == trained.tokens);
  CHECK(read.value().merges == trained.merges);
  CHECK(read.value().added_tokens.size() == 3);
  CHECK(engram::bpe::to_json_text(read.value()).value() ==
        engram::bpe::to_json_text(trained).value());

  const Encoder ours = Encoder::make(trained).value();
  const Encoder again = Encoder::make(std::move(read).value()).value();
  const auto ids = ours.encode(text).value();
  CHECK(ids == again.encode(text).value());
  CHECK(ids.size() < text.size());
  std::string decoded;
  for (const std::int32_t id : ids) decoded += ours.token(id);
  CHECK(decoded == text);
}

TEST_CASE("trainer: what it cannot do is refused") {
  CHECK(refusal(options(255)) ==
        "vocab_size is 255, expected at least 256: 256 bytes and 0 special tokens");
  CHECK(refusal(options(300, 0)) == "min_frequency is below 1");
  TrainerOptions o = options(300);
  o.special_tokens = {"<s>", ""};
  CHECK(refusal(o) == "special token 1: it is empty or not UTF-8");
  o.special_tokens = {"<s>", "\xFF"};
  CHECK(refusal(o) == "special token 1: it is empty or not UTF-8");
  o.special_tokens = {"<s>", "<s>"};
  CHECK(refusal(o) == "special token 1: '<s>' is there already");
  o = options(300);
  o.pre_tokenizer = std::string("null");
  CHECK(refusal(o).find("'ByteLevel'") != std::string::npos);
  o.pre_tokenizer = std::string("{");
  CHECK(refusal(o).find("pre-tokenizer: not JSON") == 0);
  o.pre_tokenizer = R"({"type": "Whitespace"})";
  CHECK(refusal(o) == "pre-tokenizer 'Whitespace' is not supported");

  Trainer trainer = make(options(300));
  CHECK(trainer.train().message() == "trainer: no text was added");
  const auto broken = trainer.add("good, then \xC3(");
  CHECK(broken.status().code == Code::corrupt);
  CHECK(broken.status().index == 11);
  CHECK(trainer.pieces() == 0);
  CHECK(trainer.add_piece("ab", -1).status().code == Code::invalid_config);
  CHECK(trainer.add_piece("ab", std::numeric_limits<std::int64_t>::max()).status().code ==
        Code::invalid_config);
  CHECK(trainer.add_piece("ab", std::int64_t{1} << 61).ok());
  CHECK(trainer.add_piece("a", 1).status().code == Code::invalid_config);
  CHECK(trainer.add_piece("", 5).ok());
  CHECK(trainer.train().value().merges == Merges{{"a", "b"}});

  TokenizerJson bad;
  bad.tokens = {"a", "\xFF"};
  CHECK(engram::bpe::to_json_text(bad).message() == "token 1: its text is not UTF-8");
  CHECK(engram::bpe::write_tokenizer_json(TokenizerJson(), "/nowhere/at/all.json").status().code ==
        Code::io);
}
