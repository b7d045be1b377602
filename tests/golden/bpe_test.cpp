// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The byte-level BPE encoder, pre-tokenizers and trainer against the Python package tokenizers
// 0.23.3. Golden values by tests/oracle/{encode,pre_tokenizer,trainer}_oracle.py; the random texts
// for them are written to the folder that ENGRAM_WRITE_RANDOM_TEXT names, when it is set.

#include "catch.hpp"
#include "encoder.hpp"
#include "random_text.hpp"
#include "trainer.hpp"

#include <engram/core/sha256.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/byte_alphabet.hpp>

#include <cstdlib>
#include <iostream>

namespace {

// A file of the data folder, or nothing after saying which one is missing.
std::string shared_data(const std::string& file) {
  std::string folder = ENGRAM_SHARED_DATA_DIR;
  if (const char* set = std::getenv("ENGRAM_SHARED_DATA_DIR")) folder = set;
  const std::string path = (folder.empty() ? "ENGRAM_SHARED_DATA_DIR" : folder) + "/" + file;
  auto bytes = engram::read_file(path);
  if (!folder.empty() && bytes.ok()) return std::move(bytes).value();
  std::cout << "[skipped] needs " << path << ", which is not there\n";
  return "";
}

const char* const deepseek = "tokenizers/deepseek-v3/tokenizer.json";

std::string digest(const std::vector<std::int32_t>& ids) {
  std::string bytes;
  for (const std::int32_t id : ids)
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift);
  return engram::sha256_hex(engram::as_bytes(bytes));
}

// True when the regular expression engine knows what the golden values rest on.
bool unicode_fits() {
  const std::string version = engram::bpe::Regex::unicode_version();
  const int major = std::atoi(version.c_str());
  if (major >= 14 && major <= 16) return true;
  std::cout << "[skipped] needs PCRE2 with Unicode 14 to 16, found " << version << "\n";
  return false;
}

// Special tokens of DeepSeek-V3, with and without the flag `normalized`, and parts of them.
constexpr std::string_view added[] = {
    "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "<\uFF5CUser\uFF5C>",
    "<\uFF5CAssistant\uFF5C>",
    "<|EOT|>",
    "<\uFF5Cfim\u2581hole\uFF5C>",
    "<\uFF5Cplace\u2581holder\u2581no\u258117\uFF5C>",
    "<\uFF5Cplace\u2581holder\u2581no\u2581170\uFF5C>",
    "<\uFF5Ctool\u2581sep\uFF5C>",
    "<\uFF5Ctool\u2581call",
    "<|EOT|",
    "<\uFF5C",
};

std::string random_text(std::uint64_t seed, std::size_t size) {
  std::string text = engram::test::random_text(seed, size, added);
  if (const char* folder = std::getenv("ENGRAM_WRITE_RANDOM_TEXT")) {
    const std::string path = std::string(folder) + "/random-" + std::to_string(seed) + ".txt";
    engram::write_file(path, std::as_bytes(std::span(text))).value();
  }
  return text;
}

engram::bpe::Encoder make_encoder(const std::string& json, const std::string& normalizer = "") {
  auto read = engram::parse_tokenizer_json(json, deepseek);
  INFO(read.message());
  REQUIRE(read.ok());
  engram::TokenizerJson tokenizer = std::move(read).value();
  if (!normalizer.empty())
    tokenizer.normalizer = engram::parse_json(normalizer, "normalizer").value();
  auto made = engram::bpe::Encoder::make(std::move(tokenizer));
  INFO(made.message());
  REQUIRE(made.ok());
  return std::move(made).value();
}

void check_ids(const engram::bpe::Encoder& encoder, const std::string& text, std::size_t count,
               const std::string& expected) {
  const auto ids = encoder.encode(text);
  INFO(ids.message());
  REQUIRE(ids.ok());
  CHECK(ids.value().size() == count);
  CHECK(digest(ids.value()) == expected);
}

}  // namespace

TEST_CASE("golden: DeepSeek-V3 ids of English") {
  const std::string json = shared_data(deepseek);
  if (json.empty()) return;
  const engram::bpe::Encoder encoder = make_encoder(json);
  const struct {
    const char* file;
    std::size_t count;
    const char* digest;
  } texts[] = {
      {"text/tinyshakespeare.txt", 300896,
       "74a1a6ce89e742c7a1eed7efe627ccee3e2f179fe155cc6357fcb86ff3514615"},
      {"text/wikitext2-test.txt", 299432,
       "f1350b1a345442f718717f51f870d6c78b9e112c5a6b70990b85ebb18fca4fe9"},
      {"text/wikitext2-valid.txt", 262149,
       "c50b07d2c957e312dce9913e4f27d27fce2dab6313401172702ba6453c2553ad"},
  };
  for (const auto& [file, count, expected] : texts)
    if (const std::string text = shared_data(file); !text.empty())
      check_ids(encoder, text, count, expected);
}

TEST_CASE("golden: DeepSeek-V3 ids of a megabyte of random UTF-8") {
  const std::string text = random_text(1, 1000000);
  const std::string json = shared_data(deepseek);
  if (json.empty() || !unicode_fits()) return;
  check_ids(make_encoder(json), text, 661529,
            "8daeaf06da37ff6da558e60471b2fe10443dd7b704a857936f6974632761ade5");
}

TEST_CASE("golden: ids with normal forms before") {
  const std::string text = random_text(2, 200000);
  const std::string json = shared_data(deepseek);
  if (json.empty() || !unicode_fits()) return;
  check_ids(make_encoder(json, R"({"type": "NFC"})"), text, 132299,
            "cafb173666a79f4b5a3f9a38e953273cf1c4caf9d2754dde1cfc0549b4458709");
  check_ids(make_encoder(json, R"({"type": "NFKD"})"), text, 133017,
            "ab8bef7632b82d86242ef4e250adabd6361b910153be2a91be212d14e27d5469");
}

TEST_CASE("golden: the pre-tokenizers of released tokenizers") {
  if (!unicode_fits()) return;
  const std::string text = random_text(2, 200000);
  const std::string path = std::string(ENGRAM_TEST_DIR) + "/golden/vectors/pre_tokenizers.json";
  const auto vectors = engram::parse_json(engram::read_file(path).value(), path);
  INFO(vectors.message());
  REQUIRE(vectors.ok());
  struct Digester final : engram::bpe::PieceSink {
    void piece(std::string_view piece) override {
      const std::string line = engram::encode_byte_alphabet(piece) + "\n";
      sha.update(engram::as_bytes(line));
      ++count;
    }
    engram::Sha256 sha;
    engram::Index count = 0;
  };
  for (const engram::Json& vector : *vectors.value().as_array()) {
    const auto made = engram::bpe::PreTokenizer::make(*vector.find("pre_tokenizer"));
    INFO(*vector.find("name")->as_string() << ": " << made.message());
    REQUIRE(made.ok());
    engram::bpe::MatchScratch scratch;
    Digester digester;
    REQUIRE(made.value().split(text, scratch, digester).ok());
    CHECK(digester.count == *vector.find("pieces")->as_integer());
    CHECK(digester.sha.hex() == *vector.find("sha256")->as_string());
  }
}

TEST_CASE("golden: the trainer's merges are those of the package") {
  const std::string text = shared_data("text/tinyshakespeare.txt");
  if (text.empty()) return;
  engram::bpe::TrainerOptions options;
  options.vocab_size = 4096;
  options.special_tokens = {"<s>", "</s>"};
  engram::bpe::Trainer trainer = engram::bpe::Trainer::make(options).value();
  REQUIRE(trainer.add(text).ok());
  const auto trained = trainer.train();
  REQUIRE(trained.ok());
  CHECK(trained.value().tokens.size() == 4096);
  std::string lines;
  for (const auto& [left, right] : trained.value().merges) lines += left + " " + right + "\n";
  CHECK(engram::sha256_hex(engram::as_bytes(lines)) ==
        "f183b9aa02c680f82180161c0b85510d144cf38f83e7a4d42344b63b95dbe7f2");
}
