// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/hash_rows.hpp>
#include <engram/layer/presets.hpp>
#include <engram/ngram/suffix.hpp>
#include <engram/tokenizer/identity.hpp>

#include <catch.hpp>
#include <cfenv>
#include <contains.hpp>
#include <cstdio>
#include <random.hpp>

using namespace engram;

namespace {

/// A row id as the specification states it, with `%`.
std::vector<std::int64_t> rows_by_rule(const Layout& layout, const NgramWindow& window) {
  std::vector<std::int64_t> rows;
  for (const LayerLayout& layer : layout.layers) {
    std::uint64_t sum = 0;
    for (int order = 0; order < layout.max_ngram_size; ++order) {
      const std::int32_t id = window.ids[order] < 0 ? layout.pad : window.ids[order];
      const std::uint64_t product =
          static_cast<std::uint64_t>(id) * layer.multipliers[static_cast<std::size_t>(order)];
      sum = layout.mixer == Mixer::polynomial ? sum + product : sum ^ product;
      const std::uint64_t mix = sum ^ layout.salt;
      for (int head = 0; head < layout.heads && order > 0; ++head) {
        const auto c = static_cast<std::size_t>((order - 1) * layout.heads + head);
        rows.push_back(static_cast<std::int64_t>(mix % layer.moduli[c]) + layer.offsets[c]);
      }
    }
  }
  return rows;
}

template <class Mix, class Row>
void check_rows(const Layout& layout, std::uint64_t seed) {
  const auto addresser = ModularHash<Mix>::make(layout).value();
  Random random(seed);
  constexpr Index count = 150;
  std::vector<NgramWindow> windows(count);
  for (NgramWindow& w : windows)
    for (int s = 0; s < max_order; ++s)
      w.ids[s] = static_cast<std::int32_t>(random.below(layout.canonical_size + 2) - 2);
  for (int s = 0; s < max_order; ++s)
    windows[0].ids[s] = static_cast<std::int32_t>(layout.canonical_size - 1);

  const auto layers = static_cast<Index>(layout.layers.size());
  const Index columns = layout.columns();
  constexpr Row guard = 77;  // rows are padded: nothing may be written between them
  const Index stride = layers * columns + 3;
  std::vector<Row> rows(static_cast<std::size_t>(count * stride), guard);
  const auto view =
      View<Row, 3>(rows.data(), count, layers, columns).template with_stride<0>(stride);
  address_windows(addresser, windows.data(), count, view);
  std::vector<RowId> one(static_cast<std::size_t>(columns));
  for (Index t = 0; t < count; ++t) {
    const auto expected = rows_by_rule(layout, windows[static_cast<std::size_t>(t)]);
    for (Index l = 0; l < layers; ++l) {
      addresser.address(static_cast<int>(l), windows[static_cast<std::size_t>(t)], one.data());
      for (Index c = 0; c < columns; ++c) {
        const std::int64_t row = expected[static_cast<std::size_t>(l * columns + c)];
        REQUIRE(view(t, l, c) == row);
        REQUIRE(to_integer(one[static_cast<std::size_t>(c)]) == row);
        REQUIRE(row < addresser.num_rows(static_cast<int>(l)));
      }
    }
    for (Index pad = 0; pad < 3; ++pad)
      REQUIRE(rows[static_cast<std::size_t>((t + 1) * stride - 1 - pad)] == guard);
  }
}

AddressingConfig config_of(int n, int heads, Index size) {
  AddressingConfig config;
  config.max_ngram_size = n;
  config.n_head_per_ngram = heads;
  config.engram_vocab_size.assign(static_cast<std::size_t>(n - 1), size);
  config.layer_ids = {1, 2};
  return config;
}

}  // namespace

TEST_CASE("batches of windows give the rows of the rule, for any N, heads and table size") {
  std::uint64_t seed = 0;
  for (const int n : {2, 3, 4, 8}) {
    for (const int heads : {1, 2, 3, 7, 8, 9, 16, 19}) {
      for (const Index size : {Index{3}, Index{4000}, Index{32768}, Index{16000000}}) {
        const AddressingConfig config = config_of(n, heads, size);
        const Layout layout = make_layout(config, IdentityCompressor(99092)).value();
        INFO("N " << n << ", heads " << heads << ", size " << size);
        check_rows<XorMix, std::int64_t>(layout, ++seed);
        if (layout.layers[1].rows < INT32_MAX) check_rows<XorMix, std::int32_t>(layout, ++seed);
      }
    }
  }
}

TEST_CASE("tables beyond 2^31 rows a head, and mixes of all 64 bits") {
  AddressingConfig config = config_of(3, 8, Index{1} << 40);
  check_rows<XorMix, std::int64_t>(make_layout(config, IdentityCompressor(129280)).value(), 1);
  config.salt = 0xF123456789ABCDEF;
  check_rows<XorMix, std::int64_t>(make_layout(config, IdentityCompressor(129280)).value(), 2);
  config.mixer = Mixer::polynomial;
  check_rows<SumMix, std::int64_t>(make_layout(config, IdentityCompressor(129280)).value(), 3);
  config.engram_vocab_size = {40000, 500000};
  check_rows<SumMix, std::int64_t>(make_layout(config, IdentityCompressor(129280)).value(), 4);
}

namespace {

/// Every mix can be had: ids and pad 0, so that the salt is the mix.
template <class Mix>
void check_mixes(std::uint64_t first_modulus) {
  Layout layout;
  layout.max_ngram_size = 2;
  layout.heads = first_modulus < std::uint64_t{1} << 59 ? 8 : 1;
  layout.canonical_size = 2;
  layout.mixer = Mix::kind;
  LayerLayout& layer = layout.layers.emplace_back();
  layer.multipliers = {1, 1};
  for (int c = 0; c < layout.heads; ++c) {
    layer.moduli.push_back(first_modulus + static_cast<std::uint64_t>(c));
    layer.offsets.push_back(layer.rows);
    layer.rows += static_cast<Index>(layer.moduli.back());
  }
  const std::uint64_t most = ~std::uint64_t{0};
  std::vector<std::uint64_t> mixes = {0, 1, most, most - 1, most / 2, most / 2 + 1};
  Random random(first_modulus);
  for (const std::uint64_t d : layer.moduli) {
    std::vector<std::uint64_t> multiples = {d, most / d * d, most / d * d - d, most / 2 / d * d};
    for (int i = 0; i < 20; ++i) multiples.push_back((random.bits() >> random.below(8)) / d * d);
    for (const std::uint64_t m : multiples)
      for (const std::uint64_t n : {m - 1, m, m + 1, m + d / 2, m + d / 2 + 1}) mixes.push_back(n);
  }
  const NgramWindow window{{0, 0, -1, -1, -1, -1, -1, -1}};
  std::vector<Index> rows(static_cast<std::size_t>(layout.heads));
  for (const std::uint64_t n : mixes) {
    layout.salt = n;
    const auto hash = ModularHash<Mix>::make(layout).value();
    address_windows(hash, &window, 1, View<Index, 3>(rows.data(), 1, 1, layout.heads));
    for (std::size_t c = 0; c < rows.size(); ++c)
      if (static_cast<std::uint64_t>(rows[c] - layer.offsets[c]) != n % layer.moduli[c])
        FAIL(n << " mod " << layer.moduli[c]);
  }
}

}  // namespace

TEST_CASE("batches are exact at the edges of every quotient") {
#if ENGRAM_X86_TARGETS
  if (!has_avx512())
    std::printf("[skipped] this processor has no AVX-512: only the plain loop ran\n");
#endif
  for (const std::uint64_t d :
       {(1ull << 15) - 4, 1ull << 15, 40009ull, 65536ull, 16000057ull, (1ull << 31) - 1,
        (1ull << 32) - 4, (1ull << 40) + 1, (1ull << 52) - 4, (1ull << 53) - 4, (1ull << 57) + 1,
        (1ull << 60) - 1, (1ull << 62) - 57, (1ull << 63) - 25}) {
    check_mixes<XorMix>(d);
    check_mixes<SumMix>(d);
  }
  SUCCEED("no remainder differed");
}

TEST_CASE("the salt is XORed into the mix, whichever the mixer") {
  // By hand: ids 5 and 7, base 3: 5 + 7 * 3 = 26; 26 ^ 12 = 22.
  AddressingConfig config = config_of(2, 1, 100);
  config.layer_ids = {1};
  config.mixer = Mixer::polynomial;
  config.multiplier_source = MultiplierSource::explicit_values;
  config.multipliers = {3};
  config.salt = 12;
  const auto hash = Polynomial::make(make_layout(config, IdentityCompressor(64)).value()).value();
  RowId row{};
  hash.address(0, NgramWindow{{5, 7, -1, -1, -1, -1, -1, -1}}, &row);
  CHECK(to_integer(row) == 22);
}

#if defined(FE_UPWARD)
TEST_CASE("row ids do not depend on the caller's rounding mode") {
  const Layout layout =
      make_layout(deepseek_v41_preset().config, IdentityCompressor(99092)).value();
  struct Restore {
    ~Restore() { std::fesetround(FE_TONEAREST); }
  } restore;
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    REQUIRE(std::fesetround(mode) == 0);
    check_rows<XorMix, std::int64_t>(layout, 5);
  }
}
#endif

TEST_CASE("a salt gives other rows, and salt 0 the trained ones") {
  AddressingConfig config = config_of(3, 8, 100000);
  const NgramWindow window{{5, 7, 11, -1, -1, -1, -1, -1}};
  std::vector<RowId> rows[3];
  for (const std::uint64_t salt : {std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{1}}) {
    config.salt = salt;
    const auto hash =
        MultiplicativeXor::make(make_layout(config, IdentityCompressor(1000)).value()).value();
    std::vector<RowId> out(16);
    hash.address(0, window, out.data());
    rows[salt] = out;
    if (salt == 0) rows[2] = out;
  }
  CHECK(rows[0] == rows[2]);
  CHECK(rows[0] != rows[1]);
}

TEST_CASE("an addresser refuses the layout of another mixer") {
  const Layout layout = make_layout(config_of(3, 2, 64), IdentityCompressor(64)).value();
  const auto wrong = Polynomial::make(layout);
  CHECK(wrong.status().code == Code::unsupported);
  CHECK(contains(wrong.message(), "the layout has mixer 0"));
}
