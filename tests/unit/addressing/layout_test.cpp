// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/layout_bytes.hpp>
#include <engram/layer/presets.hpp>
#include <engram/tokenizer/identity.hpp>
#include <engram/tokenizer/token_map.hpp>

#include <catch.hpp>
#include <contains.hpp>
#include <functional>

using namespace engram;

namespace {

AddressingConfig small_config() {
  AddressingConfig config;
  config.engram_vocab_size = {64, 64, 64};
  config.max_ngram_size = 4;
  config.n_head_per_ngram = 2;
  config.layer_ids = {1, 4};
  return config;
}

Layout small_layout() { return make_layout(small_config(), IdentityCompressor(64)).value(); }

void refused(const AddressingConfig& config, const std::string& words, Index size = 64,
             Code code = Code::invalid_config) {
  const auto result = make_layout(config, IdentityCompressor(size));
  INFO(words << " in: " << result.message());
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code == code);
  CHECK(contains(result.message(), words));
}

}  // namespace

TEST_CASE("what cannot be addressed is refused in a sentence") {
  const auto with = [](const std::function<void(AddressingConfig&)>& change) {
    AddressingConfig config = small_config();
    change(config);
    return config;
  };
  refused(with([](auto& c) { c.max_ngram_size = 1; }), "max_ngram_size is 1, expected 2 to 8");
  refused(with([](auto& c) { c.max_ngram_size = 9; }), "max_ngram_size is 9");
  refused(with([](auto& c) { c.n_head_per_ngram = 0; }), "n_head_per_ngram is 0");
  refused(with([](auto& c) { c.n_head_per_ngram = -3; }), "n_head_per_ngram is -3");
  refused(with([](auto& c) { c.n_head_per_ngram = 257; }), "expected 1 to 256");
  refused(with([](auto& c) { c.layer_ids = {}; }), "0 layer ids");
  refused(with([](auto& c) { c.layer_ids = {1, 1}; }), "layer 1: the layer id stands twice");
  refused(with([](auto& c) { c.layer_ids = {-1}; }), "layer id -1 is negative");
  refused(with([](auto& c) { c.engram_vocab_size = {64, 64}; }), "2 sizes, expected 3");
  refused(with([](auto& c) { c.engram_vocab_size = {64, 0, 64}; }), "order 3 asks for 0 rows");
  refused(with([](auto& c) { c.engram_vocab_size = {64, -5, 64}; }), "asks for -5 rows");
  refused(with([](auto& c) { c.engram_vocab_size = {64, 64, INT64_MAX}; }), "below 2^63");
  refused(with([](auto& c) {
            c.engram_vocab_size = {64, INT64_MAX / 3, INT64_MAX / 3};
          }),
          "add up to more than 2^63 - 1 rows");
  refused(with([](auto& c) {
            c.modulus_rule = ModulusRule::power_of_two;
            c.engram_vocab_size = {64, 64, INT64_MAX};
          }),
          "below 2^63");
  refused(with([](auto& c) { c.seed = ~std::uint64_t{0}; }), "overflows 64 bits");
  refused(with([](auto& c) { c.pad_id = 64; }), "id 64 is not a token id below 64", 64,
          Code::bad_token);
  refused(with([](auto& c) { c.pad_id = -1; }), "id -1", 64, Code::bad_token);
  refused(with([](auto& c) {
            c.boundary = {BoundaryKind::eos, 64};
          }),
          "id 64", 64, Code::bad_token);
  refused(with([](auto& c) { c.boundary = {BoundaryKind::sequence_start, 5}; }), "expected -1");
  refused(with([](auto& c) { c.compressed_vocab_size = 65; }), "is 64, expected 65", 64,
          Code::mismatch);
  refused(small_config(), "compressed vocabulary is 0", 0);
  refused(small_config(), "beyond NumPy's 64-bit draw", Index{1} << 31);
}

TEST_CASE("explicit multipliers and moduli are counted and checked") {
  AddressingConfig config = small_config();
  config.multiplier_source = MultiplierSource::explicit_values;
  config.multipliers = {1, 3, 5, 7, 9, 11, 13};
  refused(config, "7 multipliers, expected 8");
  config.multipliers.push_back(14);
  refused(config, "layer 4: multiplier 3 is 14, which is even");
  config.multipliers.back() = 0x7FFFFFFFFFFFFFFF / 63 + 1;
  config.multipliers.back() |= 1;
  refused(config, "overflows 63 bits");
  config.multipliers.back() = 15;
  REQUIRE(make_layout(config, IdentityCompressor(64)).ok());
  config.modulus_rule = ModulusRule::explicit_values;
  config.moduli.assign(11, 7);
  refused(config, "11 moduli, expected 12");
  config.moduli.assign(12, 7);
  config.moduli[8] = 0;
  refused(config, "layer 4: modulus 2 is 0");
  config.moduli[8] = 9;
  const Layout layout = make_layout(config, IdentityCompressor(64)).value();
  CHECK(layout.layers[1].offsets == std::vector<Index>{0, 7, 14, 23, 30, 37});
  CHECK(layout.layers[1].rows == 44);
}

TEST_CASE("modulus rules") {
  const auto moduli = [](ModulusRule rule, std::vector<Index> sizes, int heads, int layers) {
    return make_moduli(rule, sizes, heads, layers).value();
  };
  using List = std::vector<std::uint64_t>;
  CHECK(moduli(ModulusRule::unique_primes, {10, 10}, 2, 2) == List{11, 13, 17, 19, 23, 29, 31, 37});
  CHECK(moduli(ModulusRule::unique_primes, {10, 4}, 2, 1) == List{11, 13, 5, 7});
  CHECK(moduli(ModulusRule::nth_prime, {10, 10}, 2, 2) == List{11, 13, 17, 19, 23, 29, 31, 37});
  CHECK(moduli(ModulusRule::nth_prime, {10, 4}, 2, 1) == List{11, 13, 11, 13});
  CHECK(moduli(ModulusRule::odd_ratio, {100, 101}, 2, 1) == List{101, 103, 105, 107});
  CHECK(moduli(ModulusRule::power_of_two, {1, 64, 65}, 1, 1) == List{1, 64, 128});
  CHECK(moduli(ModulusRule::unique_primes, {1}, 3, 1) == List{2, 3, 5});
}

TEST_CASE("the polynomial's multipliers are powers of one base") {
  AddressingConfig config = small_config();
  config.mixer = Mixer::polynomial;
  config.multiplier_source = MultiplierSource::explicit_values;
  config.multipliers = {1000000007, 3};
  const Layout layout = make_layout(config, IdentityCompressor(64)).value();
  const std::uint64_t b = 1000000007;
  CHECK(layout.layers[0].multipliers == std::vector<std::uint64_t>{1, b, b * b, b * b * b});
  CHECK(layout.layers[1].multipliers == std::vector<std::uint64_t>{1, 3, 9, 27});
  config.multipliers = {2, 3};
  refused(config, "which is even");
  Layout broken = layout;
  broken.layers[0].multipliers[2] += 2;
  CHECK(contains(validate(broken).message(), "not a power of the base"));
}

TEST_CASE("pad and end-of-sequence go through the map") {
  const TokenMap map = TokenMap::make({0, 1, 1, 2, 0}).value();
  AddressingConfig config = small_config();
  config.pad_id = 4;
  config.boundary = {BoundaryKind::eos, 3};
  const Layout layout = make_layout(config, map).value();
  CHECK(layout.pad == 0);
  CHECK(layout.boundary.eos == 2);
  CHECK(layout.canonical_size == 3);
  CHECK(layout.token_map == map.digest());
}

TEST_CASE("canonical bytes come back as they went") {
  Layout layout = small_layout();
  layout.token_map = std::string(64, 'a');
  layout.salt = 0xFEDCBA9876543210;
  layout.boundary = {BoundaryKind::eos, 5};
  const std::string bytes = serialize(layout);
  CHECK(parse_layout(as_bytes(bytes)).value() == layout);
  CHECK(layout_digest(layout).size() == 64);
  CHECK(layout_digest(layout) != layout_digest(small_layout()));
}

TEST_CASE("damaged layout bytes are refused with their place") {
  const std::string bytes = serialize(small_layout());
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    const auto result = parse_layout(as_bytes(bytes.substr(0, cut)));
    INFO("cut at " << cut);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code == Code::corrupt);
  }
  CHECK(contains(parse_layout(as_bytes(bytes + "x")).message(), "bytes follow"));
  std::string other = bytes;
  other[8] = 2;
  CHECK(parse_layout(as_bytes(other)).status().code == Code::unsupported);
  int accepted = 0;
  for (std::size_t at = 0; at < bytes.size();
       ++at) {  // any flipped byte: refused or another layout
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x40);
    const auto result = parse_layout(as_bytes(flipped));
    if (result.ok()) {
      CHECK_FALSE(first_difference(small_layout(), result.value()).empty());
      ++accepted;
    }
  }
  CHECK(accepted > 0);
}

TEST_CASE("the first difference is named") {
  const auto difference = [](const std::function<void(Layout&)>& change) {
    Layout other = small_layout();
    change(other);
    return first_difference(small_layout(), other);
  };
  CHECK(difference([](Layout&) {}).empty());
  CHECK(difference([](Layout& l) { l.heads = 3; }) == "heads: expected 2, found 3");
  CHECK(difference([](Layout& l) { l.pad = 3; }) == "pad: expected 2, found 3");
  CHECK(difference([](Layout& l) { l.salt = 9; }) == "salt: expected 0, found 9");
  CHECK(difference([](Layout& l) { l.boundary.kind = BoundaryKind::position_reset; }) ==
        "boundary kind: expected 0, found 2");
  CHECK(difference([](Layout& l) { l.token_map = std::string(64, 'f'); }) ==
        "token map digest: expected none, found " + std::string(64, 'f'));
  CHECK(difference([](Layout& l) { l.layers.pop_back(); }) ==
        "number of layers: expected 2, found 1");
  CHECK(difference([](Layout& l) { l.layers[1].layer_id = 7; }) ==
        "layer_id of layer number 1: expected 4, found 7");
  CHECK(difference([](Layout& l) { l.layers[1].moduli[4] = 111; }) ==
        "layer 4, moduli[4]: expected 109, found 111");
  CHECK(difference([](Layout& l) {
          l.layers[0].offsets[1] = 1;
          l.layers[1].moduli[4] = 111;
        }) == "layer 1, offsets[1]: expected 67, found 1");
  CHECK(difference([](Layout& l) { l.layers[1].rows = 1; }) ==
        "layer 4, rows: expected 630, found 1");
}

TEST_CASE("presets are found by name") {
  for (const char* name : {"demo", "deepseek-v4.1", "qwen3.8-ple"})
    CHECK(find_preset(name).value().name == name);
  CHECK(contains(find_preset("gpt").message(), "demo, deepseek-v4.1"));
}
