// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From a model's configuration to its layout: draws the multipliers, finds the moduli, adds up the
// offsets. What a released model fixed in code is a rule here, and every rule can be replaced by
// explicit values, for checkpoints that store them.

#include <engram/addressing/layout.hpp>
#include <engram/addressing/moduli.hpp>
#include <engram/addressing/multipliers.hpp>
#include <engram/tokenizer/compressor.hpp>

ENGRAM_BEGIN_NAMESPACE

enum class MultiplierSource : std::int32_t { numpy = 0, splitmix = 1, explicit_values = 2 };

/// What decides a model's addresses, under the names of the reference code's configuration.
struct AddressingConfig {
  std::vector<Index> engram_vocab_size;  ///< requested rows of each head, one entry an order
  std::int32_t max_ngram_size = 3;       ///< N
  std::int32_t n_head_per_ngram = 8;     ///< K
  std::vector<std::int32_t>
      layer_ids;            ///< 0-based; their order decides which layer gets which primes
  std::int32_t pad_id = 2;  ///< token id as the tokenizer has it
  std::uint64_t seed = 0;
  Index compressed_vocab_size = 0;  ///< what the model says, checked against the map; 0: not said
  std::uint64_t salt = 0;
  Mixer mixer = Mixer::multiplicative_xor;
  BoundaryRule boundary;  ///< eos: token id as the tokenizer has it
  MultiplierSource multiplier_source = MultiplierSource::numpy;
  std::vector<std::uint64_t> multipliers;  ///< explicit: [layers * N]; polynomial: [layers] bases;
                                           ///< xxh3: [layers] seeds
  ModulusRule modulus_rule = ModulusRule::unique_primes;
  std::vector<std::uint64_t> moduli;  ///< explicit: [layers * H]
};

ENGRAM_BEGIN_LOOPS

/// The multipliers of the layer at place l of the configuration; the caller has checked the counts.
inline std::vector<std::uint64_t> make_multipliers(const AddressingConfig& config, std::size_t l,
                                                   Index canonical_size) {
  const auto n = static_cast<std::size_t>(config.max_ngram_size);
  std::size_t drawn = config.mixer == Mixer::multiplicative_xor ? n : 1;
  std::vector<std::uint64_t> multipliers(drawn);
  const auto size = static_cast<std::uint64_t>(canonical_size);
  switch (config.multiplier_source) {
    case MultiplierSource::numpy:
      numpy_multipliers(config.seed, static_cast<std::uint64_t>(config.layer_ids[l]), size,
                        multipliers.data(), static_cast<int>(drawn));
      break;
    case MultiplierSource::splitmix:
      splitmix_multipliers(config.seed, l, size, multipliers.data(), static_cast<int>(drawn));
      break;
    case MultiplierSource::explicit_values:
      for (std::size_t i = 0; i < drawn; ++i) multipliers[i] = config.multipliers[l * drawn + i];
      break;
  }
  if (config.mixer == Mixer::polynomial) {
    const std::uint64_t base = multipliers[0];
    multipliers = std::vector<std::uint64_t>(n, 1);
    for (std::size_t i = 1; i < n; ++i) multipliers[i] = multipliers[i - 1] * base;
  }
  return multipliers;
}

/// What keeps a configuration from becoming a layout; empty when nothing does.
inline std::string config_fault(const AddressingConfig& config, Index canonical_size) {
  if (canonical_size < 1 || canonical_size > Index{1} << 31)
    return sentence({"compressed vocabulary is ", canonical_size, ", expected 1 to 2^31"});
  if (config.max_ngram_size < 2 || config.max_ngram_size > max_order)
    return sentence({"max_ngram_size is ", config.max_ngram_size, ", expected 2 to ", max_order});
  if (config.n_head_per_ngram < 1 || config.n_head_per_ngram > max_heads)
    return sentence(
        {"n_head_per_ngram is ", config.n_head_per_ngram, ", expected 1 to ", max_heads});
  const std::size_t layers = config.layer_ids.size();
  if (layers < 1 || layers > max_layers)
    return sentence({"there are ", layers, " layer ids, expected 1 to ", max_layers});
  for (const std::int32_t id : config.layer_ids)
    if (id < 0) return sentence({"layer id ", id, " is negative"});
  const auto n = static_cast<std::size_t>(config.max_ngram_size);
  const auto wrong_count = [](const char* what, std::size_t found, std::size_t expected,
                              const char* each) {
    return sentence({found, " ", what, ", expected ", expected, ", ", each});
  };
  if (config.multiplier_source == MultiplierSource::numpy) {
    for (const std::int32_t id : config.layer_ids)
      if (config.seed > ~std::uint64_t{0} - layer_seed_step * static_cast<std::uint64_t>(id))
        return sentence({"seed + 10007 * ", id, " overflows 64 bits"});
    if (multiplier_bound(static_cast<std::uint64_t>(canonical_size)) <= std::uint64_t{1} << 32)
      return sentence({"a compressed vocabulary of ", canonical_size,
                       " is beyond NumPy's 64-bit draw; take splitmix or explicit multipliers"});
  }
  const std::size_t drawn = config.mixer == Mixer::multiplicative_xor ? n : 1;
  if (config.multiplier_source == MultiplierSource::explicit_values &&
      config.multipliers.size() != layers * drawn)
    return wrong_count("multipliers", config.multipliers.size(), layers * drawn,
                       drawn == 1 ? "one for each layer" : "max_ngram_size for each layer");
  const std::size_t columns = (n - 1) * static_cast<std::size_t>(config.n_head_per_ngram);
  if (config.modulus_rule == ModulusRule::explicit_values) {
    if (config.moduli.size() != layers * columns)
      return wrong_count("moduli", config.moduli.size(), layers * columns,
                         "(max_ngram_size - 1) * n_head_per_ngram for each layer");
  } else if (config.engram_vocab_size.size() != n - 1) {
    return wrong_count("sizes", config.engram_vocab_size.size(), n - 1,
                       "one for each order from 2 to max_ngram_size");
  }
  return {};
}

/// The layout of a configured model over a tokenizer compression.
///
/// Fails with mismatch when the compressed vocabulary is not the configured one, with bad_token
/// when pad or eos are no token ids, with invalid_config for what cannot be hashed. Cost  about a
/// millisecond for DeepSeek-V4.1's 48 primes.
template <class Compressor>
Result<Layout> make_layout(const AddressingConfig& config, const Compressor& compressor) {
  static_assert(check_token_compressor<Compressor>());
  const Index canonical_size = compressor.canonical_size();
  if (config.compressed_vocab_size != 0 && config.compressed_vocab_size != canonical_size)
    return fail(Code::mismatch,
                {"layout: the compressed vocabulary is ", canonical_size, ", expected ",
                 config.compressed_vocab_size, "; every multiplier depends on it"});
  if (const std::string fault = config_fault(config, canonical_size); !fault.empty())
    return fail(Code::invalid_config, {"layout: ", fault});
  const BoundaryRule rule = config.boundary;
  for (const std::int32_t id : {config.pad_id, rule.kind == BoundaryKind::eos ? rule.eos : 0})
    if (id < 0 || id >= compressor.vocab_size())
      return fail(Code::bad_token, {"layout: pad or end-of-sequence id ", id,
                                    " is not a token id below ", compressor.vocab_size()});
  Layout layout;
  layout.max_ngram_size = config.max_ngram_size;
  layout.heads = config.n_head_per_ngram;
  layout.canonical_size = canonical_size;
  layout.pad = to_integer(compressor(config.pad_id));
  layout.salt = config.salt;
  layout.mixer = config.mixer;
  layout.boundary = rule;
  if (rule.kind == BoundaryKind::eos) layout.boundary.eos = to_integer(compressor(rule.eos));
  layout.token_map = compressor.digest();

  const bool given = config.modulus_rule == ModulusRule::explicit_values;
  const std::size_t layers = config.layer_ids.size();
  Result<std::vector<std::uint64_t>> made =
      given ? Result(std::vector<std::uint64_t>())
            : make_moduli(config.modulus_rule, config.engram_vocab_size, config.n_head_per_ngram,
                          static_cast<int>(layers));
  if (!made.ok()) return made.failure();
  const std::vector<std::uint64_t>& moduli = given ? config.moduli : made.value();
  const auto columns = static_cast<std::size_t>(layout.columns());
  for (std::size_t l = 0; l < layers; ++l) {
    LayerLayout& layer = layout.layers.emplace_back();
    layer.layer_id = config.layer_ids[l];
    layer.multipliers = make_multipliers(config, l, canonical_size);
    std::uint64_t rows = 0;
    for (std::size_t c = 0; c < columns; ++c) {
      const std::uint64_t modulus = moduli[l * columns + c];
      layer.moduli.push_back(modulus);
      layer.offsets.push_back(static_cast<Index>(rows));
      rows += modulus < INT64_MAX - rows ? modulus : INT64_MAX - rows;  // validate() refuses these
    }
    layer.rows = static_cast<Index>(rows);
  }
  if (Result<void> valid = validate(layout); !valid.ok()) return valid.failure();
  return layout;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
