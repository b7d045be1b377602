// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "geometry.hpp"

#include "numbers.hpp"

#include <engram/tokenizer/identity.hpp>

namespace engram::cli {

GeometryOptions::GeometryOptions(CLI::App& command, std::string fallback)
    : command_(&command), fallback_(std::move(fallback)) {
  const auto group = "Geometry: a preset, or its parts, which also override a preset";
  const auto add = [&](const char* name, auto& value, const char* help) {
    return command.add_option(name, value, help)->group(group);
  };
  add("--preset", preset_, "demo, deepseek-v4.1 or qwen3.8-ple")
      ->check(CLI::IsMember({"demo", "deepseek-v4.1", "qwen3.8-ple"}));
  add("--layers", layers_, "layer ids, 0-based: 1,14");
  add("--sizes", sizes_, "requested rows of each head, one for each order: 64,64,64");
  add("--heads", heads_, "heads an order");
  add("--max-ngram", max_ngram_, "tokens of the longest n-gram, 2 to 8");
  add("--compressed-vocab", compressed_vocab_, "number of canonical ids");
  add("--pad", pad_, "canonical id of blocked places (2)");
  add("--seed", seed_, "seed of the multipliers (0)");
  add("--salt", salt_, "namespace, XORed into every hash (0)");
  add("--boundary", boundary_, "none, eos:ID (canonical) or starts:0,17 (positions)");
  add("--mixer", mixer_, "xor or polynomial")->check(CLI::IsMember({"xor", "polynomial"}));
  add("--multipliers", multipliers_, "numpy, splitmix, or the numbers themselves");
  add("--moduli", moduli_, "unique-primes, nth-prime, odd, pow2, or the numbers themselves");
}

void GeometryOptions::need(const char* option) const {
  if (!given(option)) throw CLI::RequiredError(sentence({option, " (or --preset)"}));
}

void GeometryOptions::read_boundary(AddressingConfig& config,
                                    std::vector<std::int64_t>& starts) const {
  const std::string_view text = boundary_;
  if (text == "none") {
    config.boundary = {};
  } else if (text.substr(0, 4) == "eos:") {
    config.boundary = {BoundaryKind::eos, number_of<std::int32_t>("--boundary", text.substr(4))};
  } else if (text.substr(0, 7) == "starts:") {
    starts = numbers_of<std::int64_t>("--boundary", text.substr(7));
    config.boundary = {BoundaryKind::position_reset, -1};
  } else {
    throw CLI::ValidationError("--boundary", "is none, eos:ID or starts:0,17");
  }
}

void GeometryOptions::override_parts(AddressingConfig& config,
                                     std::vector<std::int64_t>& starts) const {
  if (given("--layers")) config.layer_ids = numbers_of<std::int32_t>("--layers", layers_);
  if (given("--sizes")) config.engram_vocab_size = numbers_of<Index>("--sizes", sizes_);
  if (given("--heads")) config.n_head_per_ngram = number_of<std::int32_t>("--heads", heads_);
  if (given("--max-ngram"))
    config.max_ngram_size = number_of<std::int32_t>("--max-ngram", max_ngram_);
  if (given("--compressed-vocab"))
    config.compressed_vocab_size = number_of<Index>("--compressed-vocab", compressed_vocab_);
  if (given("--pad")) config.pad_id = number_of<std::int32_t>("--pad", pad_);
  if (given("--seed")) config.seed = number_of<std::uint64_t>("--seed", seed_);
  if (given("--salt")) config.salt = number_of<std::uint64_t>("--salt", salt_);
  if (given("--boundary")) read_boundary(config, starts);
  if (given("--mixer"))
    config.mixer = mixer_ == "xor" ? Mixer::multiplicative_xor : Mixer::polynomial;
  if (multipliers_ == "numpy") {
    config.multiplier_source = MultiplierSource::numpy;
  } else if (multipliers_ == "splitmix") {
    config.multiplier_source = MultiplierSource::splitmix;
  } else if (given("--multipliers")) {
    config.multiplier_source = MultiplierSource::explicit_values;
    config.multipliers = numbers_of<std::uint64_t>("--multipliers", multipliers_);
  }
  const std::pair<const char*, ModulusRule> rules[] = {
      {"unique-primes", ModulusRule::unique_primes},
      {"nth-prime", ModulusRule::nth_prime},
      {"odd", ModulusRule::odd_ratio},
      {"pow2", ModulusRule::power_of_two}};
  bool named = false;
  for (const auto& [name, rule] : rules) {
    if (moduli_ != name) continue;
    config.modulus_rule = rule;
    named = true;
  }
  if (given("--moduli") && !named) {
    config.modulus_rule = ModulusRule::explicit_values;
    config.moduli = numbers_of<std::uint64_t>("--moduli", moduli_);
  }
}

Result<Geometry> GeometryOptions::resolve(const std::optional<TokenMap>& map) const {
  bool any_part = false;
  for (const char* part : {"--layers", "--sizes", "--heads", "--max-ngram"})
    any_part = any_part || given(part);
  const std::string name = given("--preset") || any_part ? preset_ : fallback_;
  Preset preset;
  preset.config.compressed_vocab_size = 0;
  if (!name.empty()) preset = find_preset(name).value();
  AddressingConfig config = preset.config;
  Geometry geometry;
  override_parts(config, geometry.document_starts);
  for (const std::int64_t start : geometry.document_starts)
    if (start < 0)
      return fail(Code::bad_sequence, {"--boundary starts: position ", start, " is negative"});
  if (config.modulus_rule == ModulusRule::explicit_values && given("--sizes") &&
      config.engram_vocab_size.size() + 1 != static_cast<std::size_t>(config.max_ngram_size))
    return fail(Code::invalid_config, {"--sizes: ", config.engram_vocab_size.size(),
                                       " sizes, expected ", config.max_ngram_size - 1});
  if (name.empty()) {
    for (const char* part : {"--layers", "--heads", "--max-ngram"}) need(part);
    if (config.modulus_rule != ModulusRule::explicit_values) need("--sizes");
  }
  if (map) {
    // A released model is known by its map; another vocabulary than its own makes it another model.
    if (config.compressed_vocab_size == preset.config.compressed_vocab_size) {
      const PublishedConstants& known = preset.published;
      if (Result<void> same =
              map->expect(known.vocab_size, config.compressed_vocab_size, known.token_map);
          !same.ok())
        return same.failure();
    }
    for (std::int32_t* id : {&config.pad_id, &config.boundary.eos}) {
      const bool canonical = id == &config.pad_id ? given("--pad") : given("--boundary");
      if (canonical || *id < 0) continue;
      if (*id >= map->vocab_size())
        return fail(Code::bad_token, {"token map: it has no entry for the ",
                                      id == &config.pad_id ? "pad" : "end-of-sequence", " id ", *id,
                                      "; name the canonical id"});
      *id = to_integer((*map)(*id));
    }
  } else if (config.compressed_vocab_size == 0 && !given("--compressed-vocab")) {
    throw CLI::RequiredError("--compressed-vocab (or a token map)");
  }
  const Index size = map ? map->canonical_size() : config.compressed_vocab_size;
  Result<Layout> layout = make_layout(config, IdentityCompressor(size));
  if (!layout.ok()) return layout.failure();
  geometry.layout = std::move(layout).value();
  if (map) geometry.layout.token_map = map->digest();
  geometry.seed = config.seed;
  return geometry;
}

}  // namespace engram::cli
