// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The demo's parts small enough for a test: a text of letters, and models of a few thousand
// parameters.

#include <random.hpp>
#include <scratch.hpp>

#include "demo/report.hpp"

#include <engram/io/file.hpp>

#include <filesystem>
#include <utility>

namespace small_demo {

using namespace engram;
using namespace engram::demo;

inline constexpr Index context = 16;

/// A text whose next letter follows from the last two, up to a coin, with a token a letter.
inline text::Corpus small_corpus() {
  std::string text;
  Random random(1);
  int last = 0, before = 0;
  for (int i = 0; i < 90'000; ++i) {
    const int next =
        static_cast<int>(splitmix64(static_cast<std::uint64_t>(last * 26 + before)) % 25) +
        static_cast<int>(random.below(2));
    before = std::exchange(last, next);
    text += static_cast<char>('a' + next);
    if (i % 50 == 49) text += "<&>\n";
  }
  text::CorpusOptions options;
  options.text = scratch_path("small_demo.txt");
  options.vocab_size = 257;
  write_file(options.text, as_bytes(text)).value();
  text::Corpus corpus = text::read_corpus(options).value();
  std::filesystem::remove(options.text);
  return corpus;
}

inline std::vector<Contender> small_contenders(const text::Corpus& corpus) {
  lm::ModelConfig config;
  config.vocab_size = corpus.encoder.vocab_size();
  config.width = 16;
  config.blocks = 1;
  config.context = context;
  config.heads = 2;
  config.experts = 4;
  config.expert_width = 8;
  config.shared_width = 8;
  std::vector<Contender> contenders;
  for (const Index rows : {0, 700, 1}) {
    if (rows > 0) {
      config.memory.emplace();
      config.memory->block = 0;
      config.memory->row_width = 8;
      config.memory->rows_per_head = {rows, rows};
    }
    contenders.push_back(
        {"model " + std::to_string(rows), lm::Model::make(config, corpus.map).value(), {}, 0, {}});
  }
  return contenders;
}

}  // namespace small_demo
