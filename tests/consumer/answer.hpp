// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What every consumer project computes: one line of text that touches each floor of the library.
// However a program was compiled and linked, the line must be the same.

#include <engram/engram.hpp>

#include <span>
#include <string>
#include <vector>

// In an unnamed namespace, because a program may hold several copies, each compiled differently.
namespace {

// 500 tokens, half of them the token map's repeats, addressed under one kind of hash.
template <class Addressing>
std::string digest_of_rows(engram::Mixer mixer) {
  std::vector<std::int32_t> canonical_ids;
  for (std::int32_t i = 0; i < 300; ++i) canonical_ids.push_back(i / 2);
  const engram::TokenMap map = engram::TokenMap::make(canonical_ids).value();

  engram::AddressingConfig config;
  config.engram_vocab_size = {1000, 2000, 3000};
  config.max_ngram_size = 4;
  config.n_head_per_ngram = 8;
  config.layer_ids = {1, 14};
  config.mixer = mixer;
  const engram::Layout layout = engram::make_layout(config, map).value();
  const auto front = engram::make_front_end<Addressing>(layout, map).value();

  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 500; ++i) tokens.push_back(i * i % 299);
  std::vector<std::int64_t> rows(500 * 2 * 24);
  engram::NgramState state = front.initial_state();
  const engram::Status status = front.address(
      tokens, state,
      engram::View<std::int64_t, 3>(rows.data(), 500, front.num_layers(), front.num_columns()));
  return std::string(to_string(status.code)) + " " + engram::layout_digest(layout) + " " +
         engram::sha256_hex(std::as_bytes(std::span(rows)));
}

std::string answer() {
  return digest_of_rows<engram::MultiplicativeXor>(engram::Mixer::multiplicative_xor) + "; " +
         digest_of_rows<engram::Polynomial>(engram::Mixer::polynomial);
}

}  // namespace
