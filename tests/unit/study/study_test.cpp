// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Studies of many models: what they remember, how they choose, and what they call a difference.
#if __has_include(<Eigen/Core>) && __has_include("study/study.hpp")

#include <catch.hpp>
#include <contains.hpp>
#include <scratch.hpp>

#include "study/statistics.hpp"
#include "study/study.hpp"

#include <engram/io/file.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

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

std::string new_path(const std::string& name) {
  const std::string path = scratch_path(name);
  std::filesystem::remove(path);
  return path;
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
  CHECK_FALSE(is_resolved(paired_difference(values, values)));  // the same is not better
  CHECK_FALSE(is_resolved(paired_difference(std::span(values, 1), std::span(others, 1))));
}

TEST_CASE("a ledger gives back what was added, and refuses what is not its own") {
  const std::string path = new_path("ledger.csv");
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
  Ledger elsewhere = Ledger::open(path, "100 steps").value();
  elsewhere.add({"theirs", 0.003f, 1}, some).value();
  CHECK(again.add({"ours", 0.003f, 1}, some).status().code == Code::mismatch);
  CHECK(again.find({"ours", 0.003f, 1}) == nullptr);
  CHECK(Ledger::open(path, "100 steps").value().find({"theirs", 0.003f, 1}) != nullptr);
  elsewhere.add({"diverged", 0.003f, 1}, {1, 2, INFINITY, INFINITY, 3}).value();
  CHECK(Ledger::open(path, "100 steps").value().find({"diverged", 0.003f, 1})->loss == INFINITY);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  CHECK(again.add({"one more", 0.003f, 1}, some).status().code == Code::io);
  CHECK(Ledger::open(path, "100 steps").status().code == Code::io);
  CHECK(Ledger::open(path + "/no/such/folder.csv", "100 steps").status().code == Code::io);
}

TEST_CASE(
    "a study trains each model once, whoever runs it, on any threads, and interrupted or not") {
  const text::Corpus corpus = small_corpus("study.txt");
  const Variant variants[] = {small_variant("few", 2), small_variant("many", 4)};
  const std::vector<Trial> trials = {
      {"few", 0.003f, 2}, {"many", 0.003f, 2}, {"few", 0.003f, 3}, {"many", 0.003f, 3}};
  std::atomic<bool> stop = false;
  const auto lines_of = [](const std::string& path) {
    const std::string text = read_file(path).value();
    return std::count(text.begin(), text.end(), '\n');
  };
  StudyOptions options = small_options(new_path("study.csv"));
  options.steps = 40;
  Study whole = Study::open(corpus, options).value();
  REQUIRE(whole.run(variants, trials, stop).value());
  CHECK(lines_of(options.ledger) == 2 + 4);
  const std::vector<double> losses = whole.losses("many", 0.003f);
  REQUIRE(losses.size() == 2);
  CHECK(losses[0] != losses[1]);
  CHECK(whole.outcome(trials[0]).total < whole.outcome(trials[1]).total);

  options.ledger = new_path("study_interrupted.csv");
  for (int round = 0; round < 16; ++round) {
    Study study = Study::open(corpus, options).value();
    stop = false;
    std::jthread interrupt([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(3 << round));
      stop = true;
    });
    if (study.run(variants, trials, stop).value()) break;
  }
  Study again = Study::open(corpus, options).value();
  stop = true;
  CHECK(again.run(variants, trials, stop).value());  // nothing is left to do
  CHECK(lines_of(options.ledger) == 2 + 4);
  for (const Trial& trial : trials) {
    CHECK(again.outcome(trial).loss == whole.outcome(trial).loss);
    CHECK(again.outcome(trial).choice == whole.outcome(trial).choice);
  }

  stop = false;
  options.ledger = new_path("study_one_thread.csv");
  options.threads = 1;
  Study alone = Study::open(corpus, options).value();
  CHECK(alone.run(variants, trials, stop).value());
  CHECK(alone.losses("many", 0.003f) == losses);
}

TEST_CASE("a study says which model cannot be made, and goes on over one that diverges") {
  const text::Corpus corpus = small_corpus("failing.txt");
  StudyOptions options = small_options(new_path("failing.csv"));
  Study study = Study::open(corpus, options).value();
  const std::atomic<bool> stop = false;
  const Variant variants[] = {small_variant("none", 0), small_variant("few", 2)};
  const std::vector<Trial> impossible = {{"none", 0.003f, 1}};
  const auto failed = study.run(variants, impossible, stop);
  CHECK(failed.status().code == Code::invalid_config);
  CHECK(contains(failed.message(), "none, rate 0.003, seed 1"));
  const std::vector<Trial> too_fast = {{"few", 1e30f, 1}, {"few", 0.003f, 1}};
  CHECK(study.run(variants, too_fast, stop).value());
  CHECK(study.outcome(too_fast[0]).loss == INFINITY);
  CHECK(study.outcome(too_fast[1]).loss < 10);

  options.steps = 1 << 20;
  options.ledger = new_path("long.csv");
  const auto short_text = Study::open(corpus, options);
  CHECK(contains(short_text.message(), "the text is too short"));
  CHECK_FALSE(std::filesystem::exists(options.ledger));
  options.steps = 0;
  CHECK(Study::open(corpus, options).status().code == Code::invalid_config);
}

TEST_CASE("a rate is chosen by the windows for choice, and further ones are tried at both ends") {
  const text::Corpus corpus = small_corpus("rates.txt");
  const Variant variants[] = {small_variant("few", 2)};
  const StudyOptions options = small_options(new_path("rates.csv"));
  const std::atomic<bool> stop = false;
  // Models that nobody trains: the ledger has all that is asked for.
  const auto chosen = [&](const std::vector<std::pair<float, double>>& choices) {
    std::filesystem::remove(options.ledger);
    (void)Study::open(corpus, options).value();
    std::string text = read_file(options.ledger).value();
    for (const auto& [rate, choice] : choices) {
      char line[100];
      std::snprintf(line, sizeof line, "few,%g,1,1,1,%g,%g,1\n", double{rate}, choice, -choice);
      text += line;
    }
    write_file(options.ledger, as_bytes(text)).value();
    Study study = Study::open(corpus, options).value();
    const float best = choose_rates(study, variants, stop).value().at(0);
    CHECK(read_file(options.ledger).value() == text);
    return best;
  };
  CHECK(chosen({{0.0015f, 4}, {0.003f, 2}, {0.006f, 1}, {0.012f, 3}}) == 0.006f);
  CHECK(chosen({{0.0015f, 1}, {0.003f, 2}, {0.006f, 3}, {0.012f, 4}, {0.00075f, 5}}) == 0.0015f);
  CHECK(chosen({{0.0015f, 4}, {0.003f, 3}, {0.006f, 2}, {0.012f, 1}, {0.024f, 0.5}}) == 0.024f);
  CHECK(chosen({{0.0015f, INFINITY}, {0.003f, 3}, {0.006f, 2}, {0.012f, INFINITY}}) == 0.006f);
  CHECK(is_outermost(0.024f));
  CHECK_FALSE(is_outermost(0.012f));

  std::filesystem::remove(options.ledger);
  Study study = Study::open(corpus, options).value();
  CHECK(choose_rates(study, variants, stop).value().at(0) == 0.024f);  // after so few steps
}

#endif
