// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// DeepSeek-V4.1's module as module_vectors.json holds it: its table, weights, tokens and streams.

#include "filler.hpp"
#include "json_values.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/engram.hpp>

namespace {

using namespace engram;

inline E4m3 filler_code(const std::string& name, std::uint64_t i) {
  const std::uint64_t r = filler_word(name, i);
  return {static_cast<std::uint8_t>((r & 1) << 7 | (6 + (r >> 1) % 3) << 3 | ((r >> 8) & 7))};
}

inline std::vector<Bf16> bf16_bits(const Value& list) {
  std::vector<Bf16> values;
  for (const std::int64_t bits : list.numbers())
    values.push_back({static_cast<std::uint16_t>(bits)});
  return values;
}

/// What the file says, and the arrays that it describes.
struct V41Case {
  using Table = engram::Table<HostStore, Fp8Codec>;
  using Front = decltype(make_front_end(Layout(), IdentityCompressor(2)).value());

  Value file;
  Index row_width, width, branches;
  Layout layout;
  std::remove_cvref_t<Front> front;
  int layer;  ///< of the layout's
  Table table;
  Index inputs;
  std::vector<E4m3> codes{};    ///< [(G + 1) D, M]
  std::vector<E8m0> scales{};   ///< [(G + 1) D / 32, M / 32]
  std::vector<float> matrix{};  ///< both of them as numbers
  std::vector<float> gain{};
  FusionConfig config{};
  std::vector<std::int64_t> ids;
  std::vector<Mark> marks{};
  std::vector<int> rows{};  ///< [T, L, H]
  std::vector<Bf16> hidden;

  explicit V41Case(const Value& f)
      : file(f),
        row_width(f["head_dim"].integer()),
        width(f["dim"].integer()),
        branches(f["hc_mult"].integer()),
        layout(layout_of(f)),
        front(make_front_end(layout, IdentityCompressor(f["compressed_vocab"].integer())).value()),
        layer(static_cast<int>(f["layer_hash_index"].integer())),
        table(table_of(f, front.num_rows(layer), row_width)),
        inputs(layout.columns() * row_width),
        ids(f["compressed_ids"].numbers()),
        hidden(bf16_bits(f["x_bf16_bits"])) {
    const std::string tag = f["tag"].text;
    const Index outputs = width * (branches + 1);
    codes.resize(static_cast<std::size_t>(outputs * inputs));
    scales.resize(static_cast<std::size_t>(outputs / 32 * (inputs / 32)));
    matrix.resize(codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = filler_code(tag + "/wkv.weight", i);
    for (std::size_t i = 0; i < scales.size(); ++i)
      scales[i].bits = static_cast<std::uint8_t>(126 + filler_word(tag + "/wkv.scale", i) % 2);
    for (Index n = 0; n < outputs; ++n)
      for (Index k = 0; k < inputs; ++k)
        matrix[static_cast<std::size_t>(n * inputs + k)] =
            scaled(codes[static_cast<std::size_t>(n * inputs + k)],
                   scales[static_cast<std::size_t>(n / 32 * (inputs / 32) + k / 32)]);
    gain.resize(static_cast<std::size_t>(branches * width));
    for (std::size_t i = 0; i < gain.size(); ++i) {
      float product = 1;
      for (const char* name : {"/q_weight", "/k_weight"})
        product *=
            to_float(to_bf16(static_cast<float>(1 + (2 * filler_uniform(tag + name, i) - 1) / 4)));
      gain[i] = product;
    }
    config.query_eps = config.key_eps = static_cast<float>(f["eps"].real());
    for (const std::int64_t id : ids) marks.push_back(id < 0 ? Mark::dead : Mark::token);
    rows.resize(static_cast<std::size_t>(tokens() * 2 * layout.columns()));
    NgramState state = front.initial_state();
    if (!front.address(ids, state, View<int, 3>(rows.data(), tokens(), 2, layout.columns()), marks)
             .ok()) {
      std::printf("FAILED: row ids of the V4.1 module\n");
      std::exit(1);
    }
  }
  V41Case(const V41Case&) = delete;

  Index tokens() const { return static_cast<Index>(ids.size()); }
  View<const int, 2> layer_rows() const {
    return View<const int, 3>(rows.data(), tokens(), 2, layout.columns()).at<1>(layer);
  }
  FusionWeights fusion() const {
    return {View<const float, 2>(gain.data(), branches, width), {}, {}};
  }

 private:
  static Layout layout_of(const Value& f) {
    EngramConfig config;
    config.engram_vocab_size = f["size_per_order"].numbers();
    config.n_head_per_ngram = static_cast<std::int32_t>(f["heads"].integer());
    config.max_ngram_size = static_cast<std::int32_t>(f["max_ngram"].integer());
    for (const std::int64_t id : f["layer_ids"].numbers())
      config.layer_ids.push_back(static_cast<std::int32_t>(id));
    config.pad_id = static_cast<std::int32_t>(f["pad"].integer());
    return make_layout(config, IdentityCompressor(f["compressed_vocab"].integer())).value();
  }
  static Table table_of(const Value& f, Index rows, Index row_width) {
    const std::string tag = f["tag"].text;
    HostStore store = HostStore::make(rows, row_width, row_width / 32).value();
    for (Index r = 0; r < rows; ++r) {
      const MutableRowBytes row = store.mutable_ref()(r);
      for (Index k = 0; k < row_width; ++k)
        row.codes[k] = std::byte{
            filler_code(tag + "/embed.weight", static_cast<std::uint64_t>(r * row_width + k)).bits};
      for (Index b = 0; b < row_width / 32; ++b)
        row.scales[b] =
            std::byte(127 + filler_word(tag + "/embed.scale",
                                        static_cast<std::uint64_t>(r * (row_width / 32) + b)) %
                                2);
    }
    return Table::make(std::move(store), {}, row_width).value();
  }
};

}  // namespace
