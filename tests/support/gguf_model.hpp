// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Models of a few kilobytes in the GGUF dialects A and B: layers 1 and 14, n-grams of up to 3
// tokens, 2 heads, a map of 50 tokens that merges the last two, tables of 184 and 258 rows.

#include "gguf_writer.hpp"

#include <engram/addressing/make_layout.hpp>
#include <engram/tokenizer/token_map.hpp>

inline std::vector<std::int32_t> gguf_model_map() {
  std::vector<std::int32_t> map;
  for (std::int32_t i = 0; i < 50; ++i) map.push_back(i < 49 ? i : 48);
  return map;
}

/// The layout of the models; pad is the canonical id of token 2.
inline engram::Layout gguf_model_layout() {
  engram::AddressingConfig config;
  config.layer_ids = {1, 14};
  config.max_ngram_size = 3;
  config.n_head_per_ngram = 2;
  config.engram_vocab_size = {40, 40};
  return engram::make_layout(config, engram::TokenMap::make(gguf_model_map()).value()).value();
}

inline std::string gguf_model_rows(std::size_t bytes, std::uint64_t seed) {
  std::string rows;
  for (std::size_t i = 0; i < bytes; ++i) {
    seed = engram::splitmix64(seed);
    rows += static_cast<char>(seed >> 24);
  }
  return rows;
}

/// The layout's numbers as the arrays of a file have them.
template <class T>
std::vector<T> gguf_model_array(std::vector<std::uint64_t> (*of)(const engram::LayerLayout&)) {
  std::vector<T> all;
  for (const engram::LayerLayout& layer : gguf_model_layout().layers)
    for (const std::uint64_t number : of(layer)) all.push_back(static_cast<T>(number));
  return all;
}
inline std::vector<std::uint64_t> gguf_primes(const engram::LayerLayout& layer) {
  return layer.moduli;
}
inline std::vector<std::uint64_t> gguf_multipliers(const engram::LayerLayout& layer) {
  return layer.multipliers;
}
inline std::vector<std::uint64_t> gguf_offsets(const engram::LayerLayout& layer) {
  return {layer.offsets.begin(), layer.offsets.end()};
}

inline GgufWriter gguf_model_a() {
  GgufWriter w;
  w.text("general.architecture", "deepseek41");
  const std::string at = "deepseek41.engram.";
  w.numbers<std::uint32_t>(at + "layer_ids", {1, 14});
  w.numbers<std::uint32_t>(at + "rows", {184, 258});
  w.number<std::uint32_t>(at + "compressed_vocab_size", 49);
  w.number<std::uint32_t>(at + "pad_id", 2);
  std::vector<std::uint32_t> map;
  for (const std::int32_t id : gguf_model_map()) map.push_back(static_cast<std::uint32_t>(id));
  w.numbers(at + "token_map", map);
  w.numbers(at + "primes", gguf_model_array<std::uint32_t>(gguf_primes));
  w.numbers(at + "multipliers", gguf_model_array<std::uint64_t>(gguf_multipliers));
  w.text(at + "encoding", "e4m3_e8m0_32_row264");
  w.tensors.push_back({"blk.1.engram_embd.weight", {264, 184}, 24, gguf_model_rows(264 * 184, 1)});
  w.tensors.push_back({"blk.14.engram_embd.weight", {264, 258}, 24, gguf_model_rows(264 * 258, 2)});
  return w;
}

/// Rows of `width` elements in a type of that number, `row_bytes` each.
inline GgufWriter gguf_model_b(const std::string& arch = "deepseek41", std::uint32_t type = 8,
                               std::uint32_t width = 64, std::size_t row_bytes = 68) {
  GgufWriter w;
  w.text("general.architecture", arch);
  const std::string at = arch + ".engram.";
  w.numbers<std::uint32_t>(at + "layer_ids", {1, 14});
  w.number<std::uint32_t>(at + "head_count", 2);
  w.number<std::uint32_t>(at + "key_length", width);
  w.number<std::uint32_t>(at + "max_ngram_size", 3);
  w.number<std::uint32_t>(at + "pad_id", 2);
  w.numbers(at + "token_map", gguf_model_map());
  w.numbers(at + "primes", gguf_model_array<std::uint64_t>(gguf_primes));
  w.numbers(at + "multipliers", gguf_model_array<std::uint64_t>(gguf_multipliers));
  w.numbers(at + "offsets", gguf_model_array<std::uint64_t>(gguf_offsets));
  for (const std::uint64_t layer : {std::uint64_t{1}, std::uint64_t{14}}) {
    const std::size_t rows = layer == 1 ? 184 : 258;
    w.tensors.push_back({"blk." + std::to_string(layer) + ".engram_embd.weight",
                         {width, rows},
                         type,
                         gguf_model_rows(rows * row_bytes, layer)});
  }
  return w;
}
