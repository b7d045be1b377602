// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids of published models, as the golden files hold them.

#include "json_values.hpp"

#include <engram/engram.hpp>

namespace {

using namespace engram;

/// Tokens that follow a history, and their row ids.
struct HashCase {
  std::string name;
  Layout layout;
  std::vector<std::int64_t> ids;      ///< [T] canonical, -1: dead
  std::vector<std::int64_t> history;  ///< canonical, oldest first
  std::vector<std::int64_t> rows;     ///< [T, L, H]

  std::vector<Mark> marks() const {
    std::vector<Mark> all;
    for (const std::int64_t id : ids) all.push_back(id < 0 ? Mark::dead : Mark::token);
    return all;
  }
};

/// The state of a case's front end behind its history.
template <class Front>
NgramState state_of(const HashCase& c, const Front& front) {
  NgramState state = front.initial_state();
  if (c.history.empty()) return state;
  const std::vector<std::int32_t> narrow(c.history.begin(), c.history.end());
  if (!state_from_history(front.extractor(), View(narrow), c.layout.canonical_size, state).ok()) {
    std::printf("FAILED: %s: the history is not accepted\n", c.name.c_str());
    std::exit(1);
  }
  return state;
}

/// The paper's hash worked out by hand: vocabulary 1000, pad 2.
inline HashCase hash_by_hand() {
  AddressingConfig config;
  config.max_ngram_size = 3;
  config.n_head_per_ngram = 1;
  config.layer_ids = {1};
  config.modulus_rule = ModulusRule::explicit_values;
  config.moduli = {646403, 646537};
  return {"by hand",
          make_layout(config, IdentityCompressor(1000)).value(),
          {5, 7, 11},
          {},
          {203567, 646403 + 435964, 587006, 646403 + 468516, 359003, 646403 + 211635}};
}

/// Of the demo, DeepSeek-V4.1, Qwen and by hand.
inline std::vector<HashCase> hash_cases(const std::string& folder) {
  std::vector<HashCase> all{hash_by_hand()};
  const Value demo = read_values(folder + "/vectors/demo_hash_vectors.json");
  for (const Value& c : demo["cases"].items) {
    const IdentityCompressor canonical(c["compressed_vocab"].integer());
    all.push_back({"demo, compressed vocabulary " + c["compressed_vocab"].text,
                   make_layout(demo_preset().config, canonical).value(),
                   c["compressed_ids"].numbers(),
                   {},
                   c["table_rows"].numbers()});
  }
  const Value v41 = read_values(folder + "/vectors/v41_hash_vectors.json");
  for (const Value& c : v41["cases"].items)
    all.push_back({"V4.1: " + c["name"].text,
                   make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value(),
                   c["compressed_ids"].numbers(), c["history"].numbers(),
                   c["expected_rows"].numbers()});
  const Preset preset = qwen38_ple_preset();
  const Value qwen = read_values(folder + "/vectors/qwen_ple_vectors.json");
  for (const Value& c : qwen["cases"].items)
    all.push_back(
        {"Qwen",
         make_layout(preset.config, IdentityCompressor(preset.published.vocab_size)).value(),
         c["token_ids"].numbers(), c["history"].numbers(), c["expected_rows"].numbers()});
  return all;
}

}  // namespace
