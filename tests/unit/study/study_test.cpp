// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Studies of many models: what they remember, how they choose, and what they call a difference.
#if __has_include(<Eigen/Core>) && __has_include("study/study.hpp")

#include <catch.hpp>
#include <contains.hpp>
#include <scratch.hpp>

#include "study/statistics.hpp"
#include "study/study.hpp"

#include <engram/io/file.hpp>

#include <filesystem>

using namespace engram;
using namespace engram::study;

namespace {

const Outcome some{1000, 100, 4.25, 4.125, 1.5};

text::Corpus small_corpus(const std::string& name) {
  std::string text;
  for (int i = 0; i < 6000; ++i)
    text += sentence({"int f", i % 7, "(int a", i % 11, ") { return ", i % 13, "; }\n"});
  const std::string path = scratch_path(name);
  write_file(path, as_bytes(text)).value();
  text::CorpusOptions options;
  options.text = path;
  options.vocab_size = 300;
  return text::read_corpus(options).value();
}

Variant small_variant(const char* name, Index experts) {
  Variant variant{name, {}, true};
  variant.config.vocab_size = 300;
  variant.config.width = 16;
  variant.config.blocks = 1;
  variant.config.heads = 2;
  variant.config.experts = experts;
  variant.config.expert_width = 8;
  variant.config.shared_width = 8;
  return variant;
}

StudyOptions small_options(const std::string& ledger) {
  StudyOptions options;
  options.steps = 3;
  options.sequences = 4;
  options.seeds = 2;
  options.ledger = ledger;
  return options;
}

}  // namespace

TEST_CASE("a mean, its standard error, and what is resolved") {
  const double values[] = {1, 2, 3, 4}, others[] = {0.5, 1.5, 2.5, 3.5}, noisy[] = {0, 3, 2, 4};
  const Estimate e = estimate(values);
  CHECK(e.mean == 2.5);
  CHECK(e.error == Approx(std::sqrt(5.0 / 3 / 4)));
  const Estimate half = paired_difference(values, others);
  CHECK(half.mean == 0.5);
  CHECK(half.error == 0);
  CHECK(is_resolved(half));
  CHECK_FALSE(is_resolved(paired_difference(values, noisy)));
  CHECK_FALSE(is_resolved(paired_difference(std::span(values, 1), std::span(others, 1))));
}

TEST_CASE("a ledger gives back what was added, and refuses what is not its own") {
  const std::string path = scratch_path("ledger.csv");
  std::filesystem::remove(path);
  {
    Ledger ledger = Ledger::open(path, "100 steps").value();
    CHECK(ledger.find({"memory; large", 0.003f, 1}) == nullptr);
    ledger.add({"memory; large", 0.003f, 1}, some).value();
    ledger.add({"memory; large", 0.0015f, 18446744073709551615u}, {1, 2, 1.0 / 3, 2.0 / 3, 0})
        .value();
  }
  Ledger again = Ledger::open(path, "100 steps").value();
  REQUIRE(again.find({"memory; large", 0.003f, 1}) != nullptr);
  CHECK(*again.find({"memory; large", 0.003f, 1}) == some);
  CHECK(again.find({"memory; large", 0.0015f, 18446744073709551615u})->loss == 2.0 / 3);
  CHECK(again.find({"memory", 0.003f, 1}) == nullptr);
  CHECK(again.find({"memory; large", 0.003f, 2}) == nullptr);

  const auto other = Ledger::open(path, "200 steps");
  CHECK(other.status().code == Code::mismatch);
  CHECK(contains(other.message(), "# 100 steps"));
  const std::string whole = read_file(path).value();
  for (const char* wrong :
       {"memory,0.003,1,2,3,4.0,5.0\n", "memory,0.003,1,2,3,4.0,5.0,6.0,7\n",
        "memory,fast,1,2,3,4.0,5.0,6.0\n", "\n", "memory,0.003,1,2,3,4.0,5.0,6"}) {
    INFO(wrong);
    write_file(path, as_bytes(whole + wrong)).value();
    const auto read = Ledger::open(path, "100 steps");
    CHECK(read.status() == Status{Code::corrupt, 0, 5});
  }
  write_file(path, as_bytes(whole)).value();
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  CHECK(again.add({"one more", 0.003f, 1}, some).status().code == Code::io);
  CHECK(again.find({"one more", 0.003f, 1}) == nullptr);
  CHECK(Ledger::open(path, "100 steps").status().code == Code::io);
}

TEST_CASE("a study trains each model once, whoever runs it and on how many threads") {
  const text::Corpus corpus = small_corpus("study.txt");
  const Variant variants[] = {small_variant("few", 2), small_variant("many", 4)};
  const std::string path = scratch_path("study.csv");
  std::filesystem::remove(path);
  volatile std::sig_atomic_t stop = 0;
  const std::vector<Trial> trials = {
      {"few", 0.003f, 1}, {"many", 0.003f, 1}, {"few", 0.003f, 2}, {"many", 0.003f, 2}};
  StudyOptions options = small_options(path);
  {
    Study study = Study::open(corpus, options).value();
    CHECK(study.run(variants, std::span(trials).first(2), stop).value());
  }
  const std::string before = read_file(path).value();
  Study study = Study::open(corpus, options).value();
  stop = 1;
  CHECK_FALSE(study.run(variants, trials, stop).value());
  CHECK(read_file(path).value() == before);
  stop = 0;
  CHECK(study.run(variants, trials, stop).value());
  CHECK(read_file(path).value().starts_with(before));
  const std::vector<double> losses = study.losses("many", 0.003f);
  REQUIRE(losses.size() == 2);
  CHECK(losses[0] != losses[1]);
  CHECK(study.outcome(trials[0]).total < study.outcome(trials[1]).total);

  options.ledger = scratch_path("study_one_thread.csv");
  std::filesystem::remove(options.ledger);
  options.threads = 1;
  Study alone = Study::open(corpus, options).value();
  CHECK(alone.run(variants, trials, stop).value());
  CHECK(alone.losses("many", 0.003f) == losses);

  const Variant impossible[] = {small_variant("none", 0)};
  const std::vector<Trial> refused = {{"none", 0.003f, 1}};
  const auto failed = study.run(impossible, refused, stop);
  CHECK(failed.status().code == Code::invalid_config);
  CHECK(contains(failed.message(), "none, rate 0.003, seed 1"));

  options.steps = 1 << 20;
  options.ledger = scratch_path("study_long.csv");
  const auto short_text = Study::open(corpus, options);
  CHECK(contains(short_text.message(), "the text is too short"));
  options.steps = 0;
  CHECK(Study::open(corpus, options).status().code == Code::invalid_config);
}

TEST_CASE("the chosen rate is the best of at least four, and inside of those that were tried") {
  const text::Corpus corpus = small_corpus("rates.txt");
  const Variant variants[] = {small_variant("few", 2)};
  StudyOptions options = small_options(scratch_path("rates.csv"));
  std::filesystem::remove(options.ledger);
  Study study = Study::open(corpus, options).value();
  volatile std::sig_atomic_t stop = 0;
  const float best = choose_rates(study, variants, stop).value().at(0);
  // After three steps the fastest is best, so all up to the last were tried.
  CHECK(best == 0.024f);
  for (const float rate : {0.0015f, 0.003f, 0.006f, 0.012f})
    CHECK(study.outcome({"few", rate, 1}).choice > study.outcome({"few", best, 1}).choice);
}

#endif
