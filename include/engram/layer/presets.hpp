// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Published models as values, with the constants that were published beside them. Nothing is
// computed from the constants: tests hold the generators against them, and make_layout(preset, map)
// refuses a token map that is not the model's.

#include <engram/layer/config.hpp>

#include <string_view>

ENGRAM_BEGIN_NAMESPACE

/// What a model's authors or its checkpoint state, to be compared with what we compute.
struct PublishedConstants {
  Index vocab_size = 0;                    ///< entries of the token map; 0: not stated
  std::string token_map;                   ///< SHA-256 of the map as little-endian int32, or empty
  std::vector<Index> rows;                 ///< [layers] sum of the moduli
  std::vector<std::uint64_t> multipliers;  ///< [layers * N], or empty
  std::vector<Index> stored_rows;          ///< [layers] rows with padding
};

struct Preset {
  std::string_view name;
  EngramConfig config;
  PublishedConstants published;
};

ENGRAM_BEGIN_LOOPS

/// The paper's demo (engram_demo_v1.py): its compressed vocabulary is the tokenizer's, so the
/// multipliers follow from the map. The table sizes do not.
inline Preset demo_preset() {
  Preset p{"demo", {}, {}};
  p.config.engram_vocab_size = {646400, 646400};
  p.config.max_ngram_size = 3;
  p.config.n_head_per_ngram = 8;
  p.config.layer_ids = {1, 15};
  p.config.n_embed_per_ngram = 512;
  p.config.hidden_size = 1024;
  p.config.hc_mult = 4;
  p.config.kernel_size = 4;
  p.config.bias = true;
  p.config.norm_eps = 1.1920929e-7f;  // PyTorch's default for float
  p.config.conv_eps = 1e-5f;
  p.published.rows = {10344164, 10348242};
  p.published.stored_rows = p.published.rows;
  return p;
}

/// DeepSeek-V4.1-Flash: two tables of 384 million rows. Source: its config.json and released code.
inline Preset deepseek_v41_preset() {
  Preset p{"deepseek-v4.1", {}, {}};
  p.config.engram_vocab_size = {16000000, 16000000, 16000000};
  p.config.max_ngram_size = 4;
  p.config.n_head_per_ngram = 8;
  p.config.layer_ids = {1, 14};
  p.config.compressed_vocab_size = 99092;
  p.config.n_embed_per_ngram = 2048;
  p.config.hidden_size = 5120;
  p.config.hc_mult = 4;
  p.config.norm_eps = 1e-20f;
  p.published.vocab_size = 129280;
  p.published.token_map = "c60a86322ec17b4142bfef3c57a8d81fb428550cdf487f88a4320cb59fe46481";
  p.published.rows = {384006168, 384016682};
  p.published.multipliers = {76632096046245, 4839876093313,  35959672319349, 73987337458391,
                             67716810739261, 51510806800915, 30921347202721, 82619226485591};
  p.published.stored_rows = p.published.rows;
  return p;
}

/// Qwen3.8-Flash-Next's n-gram embedding ("PLE"): raw token ids, windows closed by the
/// end-of-sequence token, which is also what blocked places hash as. Source: Hugging Face
/// transformers, model type qwen4_exp, and the released checkpoint's own constants.
inline Preset qwen38_ple_preset() {
  Preset p{"qwen3.8-ple", {}, {}};
  p.config.engram_vocab_size = {20000000, 20000000};
  p.config.max_ngram_size = 3;
  p.config.n_head_per_ngram = 8;
  p.config.layer_ids = {1};
  p.config.pad_id = 248044;
  p.config.seed = 1234;
  p.config.compressed_vocab_size = 248320;
  p.config.boundary = {BoundaryKind::eos, 248044};
  p.config.multiplier_source = MultiplierSource::splitmix;
  p.config.modulus_rule = ModulusRule::nth_prime;
  p.config.n_embed_per_ngram = 1280;
  p.config.hidden_size = 2560;
  p.config.hc_mult = 4;
  p.config.kernel_size = 4;  // its epsilons are in the checkpoint's own config.json
  p.config.row_multiple = 128;
  p.published.vocab_size = 248320;
  p.published.rows = {320001446};
  p.published.multipliers = {23703573157769, 20109073645365, 8052911324071};
  p.published.stored_rows = {320001536};
  return p;
}

/// The preset of that name, or a failure that lists the names.
inline Result<Preset> find_preset(std::string_view name) {
  for (Preset (*make)() : {demo_preset, deepseek_v41_preset, qwen38_ple_preset})
    if (Preset p = make(); p.name == name) return p;
  return fail(Code::invalid_config, {"preset '", name,
                                     "' is unknown; there are demo, deepseek-v4.1 "
                                     "and qwen3.8-ple"});
}

/// The layout of a published model over its own tokenizer compression.
///
/// Fails with mismatch when the compressor's size or digest is not the published one (where one is
/// published, and unless the compressor is an identity over canonical ids), or the row counts are
/// not; also as the other make_layout.
template <class Compressor>
Result<Layout> make_layout(const Preset& preset, const Compressor& compressor) {
  const PublishedConstants& known = preset.published;
  const std::string digest = compressor.digest();
  if (digest != "none") {
    if (known.vocab_size != 0 && compressor.vocab_size() != known.vocab_size)
      return fail(Code::mismatch, {preset.name, ": the token map has ", compressor.vocab_size(),
                                   " entries, expected ", known.vocab_size});
    if (!known.token_map.empty() && digest != known.token_map)
      return fail(Code::mismatch, {preset.name, ": the token map's digest is ", digest,
                                   ", expected ", known.token_map});
  }
  Result<Layout> layout = make_layout(preset.config, compressor);
  for (std::size_t l = 0; layout.ok() && l < known.rows.size(); ++l)
    if (layout.value().layers[l].rows != known.rows[l])
      return fail(Code::mismatch,
                  {preset.name, ": layer number ", l, " has ", layout.value().layers[l].rows,
                   " rows, expected ", known.rows[l]});
  return layout;
}

/// Rows of a stored table: the layout's, rounded up to the model's multiple (at least 1).
constexpr Index stored_rows(Index rows, Index multiple) noexcept {
  return (rows + multiple - 1) / multiple * multiple;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
