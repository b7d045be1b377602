// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random layouts of front ends, and batches and trees of tokens for them.

#include <elements.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/tokenizer/token_map.hpp>
#include <random_batch.hpp>

#include <utility>
#include <vector>

namespace front_end_case {

using namespace engram;

inline TokenMap token_map(std::int32_t vocab, std::int32_t canonical) {
  std::vector<std::int32_t> map;
  for (std::int32_t i = 0; i < vocab; ++i) map.push_back(i % canonical);
  return TokenMap::make(std::move(map), canonical).value();
}

/// For `canonical` ids; `rows` of a head, about.
inline Layout random_layout(Random& random, const TokenMap& map, std::int32_t canonical,
                            Index most_heads, Index rows) {
  EngramConfig config = demo_preset().config;
  config.max_ngram_size = static_cast<int>(2 + random.below(7));
  config.n_head_per_ngram = static_cast<int>(1 + random.below(most_heads));
  config.engram_vocab_size.assign(elements::at(config.max_ngram_size - 1),
                                  rows + random.below(rows / 100));
  config.compressed_vocab_size = canonical;
  config.pad_id = static_cast<std::int32_t>(random.below(canonical));
  config.layer_ids = {1, 5, 9};
  Layout layout = make_layout(config, map).value();
  if (random.below(2) == 0)
    layout.boundary = {BoundaryKind::eos, static_cast<std::int32_t>(random.below(20))};
  layout.salt = random.bits();
  return layout;
}

template <class Start>
struct Batch {
  std::vector<int> tokens;
  std::vector<Mark> marks;
  std::vector<Start> starts;
};

template <class Start>
Batch<Start> random_batch(Index count, Index sequences, Index vocab, Random& random) {
  Batch<Start> batch;
  for (Index t = 0; t < count; ++t) {
    batch.tokens.push_back(static_cast<int>(random.zipf(vocab)));
    batch.marks.push_back(random_batches::random_mark(random));
  }
  batch.starts = random_batches::random_starts<Start>(count, sequences, random);
  return batch;
}

/// Of a draft tree: each token's is one before it, or -1.
inline std::vector<int> random_parents(Index count, Random& random) {
  std::vector<int> parents;
  for (Index t = 0; t < count; ++t) parents.push_back(static_cast<int>(random.below(t + 1)) - 1);
  return parents;
}

}  // namespace front_end_case
