// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Text to train on: how a file is split, what is refused, windows, n-gram counts.
#if __has_include("text/corpus.hpp")

#include <catch.hpp>
#include <contains.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include "text/corpus.hpp"
#include "text/ngram_counts.hpp"

#include <engram/io/file.hpp>

#include <algorithm>
#include <filesystem>
#include <map>

using namespace engram;
using namespace engram::text;

namespace {

std::string write_text(const std::string& name, const std::string& text) {
  const std::string path = scratch_path(name);
  write_file(path, as_bytes(text)).value();
  return path;
}

Result<Corpus> read(const std::string& path) {
  CorpusOptions options;
  options.text = path;
  options.vocab_size = 300;
  return read_corpus(options);
}

std::string spelled(const Corpus& corpus, const Document& document) {
  std::string text;
  for (const std::int32_t token : document.tokens) text += corpus.encoder.token(token);
  return text;
}

TokenMap halved_map(std::int32_t size) {
  std::vector<std::int32_t> canonical;
  for (std::int32_t i = 0; i < size; ++i) canonical.push_back(i / 2);
  return TokenMap::make(canonical).value();
}

}  // namespace

TEST_CASE("a text of the user's is cut into pieces that put it together again") {
  std::string text;
  Random random(1);
  while (text.size() < 200'000) {
    for (Index i = random.below(40); i >= 0; --i)
      text += random.below(9) == 0 ? "\u00E9" : std::string(1, "abc de"[random.below(6)]);
    if (random.below(300) != 0) text += '\n';
  }
  const std::string path = write_text("demo_text.txt", text);
  const Corpus corpus = read(path).value();
  CHECK(corpus.bytes == static_cast<Index>(text.size()));
  CHECK(corpus.digest == sha256_hex(as_bytes(text)));
  CHECK_FALSE(corpus.end);

  std::string together;
  std::size_t trained = 0, held_out = 0;
  while (trained + held_out < corpus.training.size() + corpus.held_out.size()) {
    const bool twentieth = (trained + held_out + 1) % 20 == 0;
    together +=
        spelled(corpus, twentieth ? corpus.held_out[held_out++] : corpus.training[trained++]);
  }
  CHECK(together == text);
  for (const Document& d : corpus.training) CHECK(spelled(corpus, d).size() <= 8003);
  CHECK(read(path).value().digest == corpus.digest);
  std::filesystem::remove(path);
}

TEST_CASE("a text that cannot be read is refused by name") {
  const Result<Corpus> absent = read("/no/such/text");
  CHECK(absent.status().code == Code::io);
  CHECK(contains(absent.message(), "/no/such/text"));

  const std::string broken = write_text("demo_broken.txt", "good \xFF");
  CHECK(read(broken).status().code == Code::corrupt);
  CHECK(read(broken).status().index == 5);
  std::filesystem::remove(broken);

  const std::string empty = write_text("demo_empty.txt", "");
  CHECK(read(empty).status().code == Code::io);
  std::filesystem::remove(empty);
}

TEST_CASE("windows hold every token once, in another order") {
  std::vector<Document> documents;
  std::int32_t next = 1;
  for (const int size : {5, 1, 30, 7}) {
    documents.push_back({"", {}});
    for (int i = 0; i < size; ++i) documents.back().tokens.push_back(next++);
  }
  const std::vector<std::int32_t> windows = cut_windows(documents, 0, 4, 1);
  REQUIRE(windows.size() == 44);  // of 43 tokens and 4 ends
  CHECK(windows == cut_windows(documents, 0, 4, 1));
  CHECK(windows != cut_windows(documents, 0, 4, 2));
  std::map<std::int32_t, int> times;
  for (const std::int32_t token : windows) ++times[token];
  for (const auto& [token, count] : times) CHECK((token == 0 || count == 1));

  std::vector<std::int32_t> plain = cut_windows(documents, std::nullopt, 1, 3);
  std::sort(plain.begin(), plain.end());
  REQUIRE(plain.size() == 43);
  CHECK(plain.front() == 1);
  CHECK(plain.back() == 43);
}

TEST_CASE("n-grams are counted by canonical id, and sequences do not see each other") {
  const TokenMap map = halved_map(8);
  NgramCounts counts(map);
  const std::vector<std::int32_t> first = {0, 2, 4, 0, 2}, second = {1, 3, 5};
  counts.add(first);
  counts.add(second);  // the first three by their other spellings
  CHECK(counts.count(first, 1, 2) == 3);
  CHECK(counts.count(first, 2, 2) == 2);
  CHECK(counts.count(first, 2, 3) == 2);
  CHECK(counts.count(first, 4, 3) == 1);
  CHECK(counts.count(first, 0, 2) == 2);  // nothing stood before either
  CHECK(counts.count(first, 3, 2) == 1);  // behind 4, not at a start
  const std::vector<std::int32_t> other = {6, 6};
  CHECK(counts.count(other, 1, 2) == 0);
  CHECK(counts.stratum(other, 1, 2) == 0);
  CHECK(counts.stratum(first, 1, 2) == 1);

  NgramCounts many(map);
  const std::size_t expected[] = {0, 1, 1, 1, 2};
  for (const std::size_t stratum : expected) {
    CHECK(many.stratum(second, 2, 3) == stratum);
    many.add(second);
  }
  for (int i = 5; i < 16; ++i) many.add(second);
  CHECK(many.stratum(second, 2, 3) == 3);
  for (int i = 16; i < 64; ++i) many.add(second);
  CHECK(many.stratum(second, 2, 3) == 4);
}

#endif
