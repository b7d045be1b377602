// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Constants and row ids of published models, bit for bit. Its own main and only the floors, so that
// it runs wherever the library compiles: other processors, other flags.

#include "../hash_cases.hpp"

#include <cstring>

namespace {

using namespace engram;

int failures = 0;
int checks = 0;

void check(bool good, const std::string& what) {
  ++checks;
  if (good) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

std::vector<std::int64_t> widen(const std::vector<std::uint64_t>& numbers) {
  return {numbers.begin(), numbers.end()};
}

/// Row ids [T, L, H] of a case's tokens.
template <class Row>
std::vector<std::int64_t> rows_of(const HashCase& c) {
  const auto front = make_front_end(c.layout, IdentityCompressor(c.layout.canonical_size)).value();
  NgramState state = state_of(c, front);
  const std::vector<Mark> marks = c.marks();
  const Index tokens = View(c.ids).size(), layers = front.num_layers();
  std::vector<Row> rows(static_cast<std::size_t>(tokens * layers * front.num_columns()));
  const Status status = front.address(
      c.ids, state, View<Row, 3>(rows.data(), tokens, layers, front.num_columns()), marks);
  check(status.ok(), c.name + ": address is ok");
  return {rows.begin(), rows.end()};
}

std::vector<std::int64_t> rows_of(const Layout& layout, const std::vector<std::int64_t>& ids) {
  return rows_of<std::int64_t>(HashCase{"", layout, ids, {}, {}});
}

/// Of all published cases.
void row_ids(const std::string& folder) {
  for (const HashCase& c : hash_cases(folder)) {
    check(rows_of<std::int64_t>(c) == c.rows, c.name + ": rows");
    check(rows_of<std::int32_t>(c) == c.rows, c.name + ": int32 rows");
  }
}

template <class Rows>
std::string digest_int64(const Rows& rows) {
  return sha256_hex(
      Bytes(reinterpret_cast<const std::byte*>(rows.data()), static_cast<Index>(8 * rows.size())));
}

void check_layout(const Layout& layout, const Value& primes, const Value& offsets,
                  const Value& rows, const std::string& name) {
  for (std::size_t l = 0; l < layout.layers.size(); ++l) {
    check(widen(layout.layers[l].moduli) == primes[l].numbers(), name + ": primes");
    check(layout.layers[l].offsets == offsets[l].numbers(), name + ": offsets");
    check(layout.layers[l].rows == rows[l].integer(), name + ": rows");
  }
}

void demo(const std::string& folder) {
  const Value golden = read_values(folder + "/vectors/demo_hash_vectors.json");
  for (const Value& c : golden["cases"].items) {
    const std::string name = "demo, compressed vocabulary " + c["compressed_vocab"].text;
    AddressingConfig config = demo_preset().config;
    const Index size = c["compressed_vocab"].integer();
    const Layout layout = make_layout(config, IdentityCompressor(size)).value();
    check_layout(layout, golden["primes"], golden["offsets"], golden["rows"], name);
    check(multiplier_bound(static_cast<std::uint64_t>(size)) == c["multiplier_bound"].natural(),
          name + ": bound");
    for (std::size_t l = 0; l < 2; ++l)
      check(widen(layout.layers[l].multipliers) == c["multipliers"][l].numbers(),
            name + ": multipliers");
  }
}

void deepseek(const std::string& folder) {
  const Preset preset = deepseek_v41_preset();
  const Value constants = read_values(folder + "/vectors/v41_constants.json");
  const Layout layout = make_layout(preset.config, IdentityCompressor(99092)).value();
  check_layout(layout, constants["primes"], constants["offsets"], constants["rows"], "V4.1");
  std::vector<std::int64_t> multipliers;
  for (const LayerLayout& layer : layout.layers)
    for (const std::uint64_t m : layer.multipliers)
      multipliers.push_back(static_cast<std::int64_t>(m));
  check(multipliers == constants["multipliers"].numbers(), "V4.1: multipliers");
  check(multipliers == widen(preset.published.multipliers), "V4.1: the preset's multipliers");
  check(preset.published.rows == constants["rows"].numbers(), "V4.1: the preset's rows");
  check(preset.published.token_map == constants["token_map_sha256"]["int32_le"].text,
        "V4.1: the preset's map digest");
  const Value& generators = constants["numpy_generator"];
  for (std::size_t i = 0; i < generators.keys.size(); ++i) {
    NumpyGenerator random(generators[i]["seed"].natural());
    for (const Value& raw : generators[i]["first_raw_u64"].items)
      check(random.next() == raw.natural(), "V4.1: raw draws of layer " + generators.keys[i]);
  }
  // Published digests of the original program's output for token ids 0 and 3.
  const auto rows = rows_of(layout, {0, 3});
  check(digest_int64(rows) == "f5a64799492bea90bc6d87f0cb8a67bb983441e1cd9c12ec2e7b8df6cbcfee1d",
        "V4.1: digest of both layers");
  std::vector<std::int64_t> layer[2];
  for (std::size_t i = 0; i < rows.size(); ++i) layer[i / 24 % 2].push_back(rows[i]);
  check(
      digest_int64(layer[0]) == "8e0187ea859a7db65517a540eb5210457ec907fd0b2f44042d830366cbedbda5",
      "V4.1: digest of layer 1");
  check(
      digest_int64(layer[1]) == "33e046238287e6e8b7c3466bdb4b7b47182ad19f9115afac8a1983ede219ba80",
      "V4.1: digest of layer 14");
}

/// A published miniature: N = 4, two heads, tables so small that only the plain loop serves them.
void miniature() {
  AddressingConfig config;
  config.engram_vocab_size = {64, 64, 64};
  config.max_ngram_size = 4;
  config.n_head_per_ngram = 2;
  config.layer_ids = {1, 4};
  const Layout layout = make_layout(config, IdentityCompressor(64)).value();
  check(widen(layout.layers[0].moduli) == std::vector<std::int64_t>{67, 71, 73, 79, 83, 89},
        "miniature: primes of layer 1");
  check(widen(layout.layers[1].moduli) == std::vector<std::int64_t>{97, 101, 103, 107, 109, 113},
        "miniature: primes of layer 4");
  const auto rows = rows_of(layout, {2, 17, 47, 13, 32, 59, 39, 29, 42, 31, 36, 6});
  // Index-weighted checksums, [T][L][H] order, weights from 1.
  std::int64_t all = 0;
  std::int64_t first = 0;
  std::int64_t place = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all += rows[i] * static_cast<std::int64_t>(i + 1);
    if (i / 6 % 2 == 0) first += rows[i] * ++place;
  }
  check(all == 2759806, "miniature: checksum of all rows is " + std::to_string(all));
  check(first == 591023, "miniature: checksum of layer 1 is " + std::to_string(first));
}

void qwen(const std::string& folder) {
  const Preset preset = qwen38_ple_preset();
  const Value golden = read_values(folder + "/vectors/qwen_ple_vectors.json");
  const Layout layout =
      make_layout(preset.config, IdentityCompressor(preset.published.vocab_size)).value();
  check(widen(layout.layers[0].moduli) == golden["primes"].numbers(), "Qwen: primes");
  check(widen(layout.layers[0].multipliers) == golden["multipliers"].numbers(),
        "Qwen: multipliers");
  check(layout.layers[0].multipliers == preset.published.multipliers,
        "Qwen: the preset's multipliers");
  check(layout.layers[0].rows == golden["rows"].integer(), "Qwen: rows");
  check(layout.layers[0].rows == preset.published.rows[0], "Qwen: the preset's rows");
  check(stored_rows(layout.layers[0].rows, preset.config.row_multiple) ==
            golden["stored_rows"].integer(),
        "Qwen: stored rows");
}

/// The multipliers of the hash that hash_cases.hpp works out by hand.
void by_hand() {
  std::uint64_t m[3];
  numpy_multipliers(0, 1, 1000, m, 3);
  check(m[0] == 7593627661414631 && m[1] == 479593001838623 && m[2] == 3563315849468963,
        "by hand: multipliers");
}

/// NumPy's own draws for many seeds, layers and vocabularies (tests/oracle/numpy_draws.py).
void numpy(const std::string& folder) {
  const Value golden = read_values(folder + "/vectors/numpy_draws.json");
  for (const Value& draw : golden["draws"].items) {
    std::uint64_t m[8];
    numpy_multipliers(draw["seed"].natural(), draw["layer"].natural(), draw["size"].natural(), m,
                      8);
    for (std::size_t i = 0; i < 8; ++i)
      check(m[i] == draw["multipliers"][i].natural(),
            "NumPy: seed " + draw["seed"].text + ", size " + draw["size"].text);
  }
}

/// Digests of the presets' layouts. They identify tables, so they must never change.
void digests() {
  const auto digest = [](const Preset& preset, Index size) {
    return layout_digest(make_layout(preset.config, IdentityCompressor(size)).value());
  };
  check(digest(demo_preset(), 98627) ==
            "1f4f5670dd084bafe7fb4c3f8c95227242b12682370be65488063a96ee559175",
        "digest of the demo's layout");
  check(digest(deepseek_v41_preset(), 99092) ==
            "94066f330c7a45d3c006aeedc178185e7724f13a0b1f9f7787a69320859763c5",
        "digest of V4.1's layout");
  check(digest(qwen38_ple_preset(), 248320) ==
            "7ba07fb29f88621e49baa7e9be60a6a7e7e3b7a5e6de264e2cfb6e3128f3fc8c",
        "digest of Qwen's layout");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: hash_vectors FOLDER-OF-GOLDEN-FILES\n");
    return 2;
  }
  const std::string folder = argv[1];
  row_ids(folder);
  demo(folder);
  deepseek(folder);
  miniature();
  qwen(folder);
  by_hand();
  numpy(folder);
  digests();
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
