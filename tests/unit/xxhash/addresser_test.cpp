// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/make_layout.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/tokenizer/identity.hpp>
#include <engram/xxhash/addresser.hpp>

#include <catch.hpp>
#include <contains.hpp>
#include <cstring>

using namespace engram;

namespace {

Layout xx_layout(std::uint64_t salt = 0) {
  AddressingConfig config;
  config.engram_vocab_size = {1000, 100000};
  config.max_ngram_size = 3;
  config.n_head_per_ngram = 2;
  config.layer_ids = {3, 5};
  config.mixer = Mixer::xxh3;
  config.salt = salt;
  return make_layout(config, IdentityCompressor(500)).value();
}

}  // namespace

TEST_CASE("XxHash hashes the newest n ids of each order") {
  const Layout layout = xx_layout(9);
  const XxHash hash = XxHash::make(layout).value();
  const NgramWindow window{{7, 8, -1, -1, -1, -1, -1, -1}};
  RowId out[4];
  hash.address(1, window, out);
  const LayerLayout& layer = layout.layers[1];
  const std::int32_t ids[3] = {7, 8, layout.pad};
  for (std::size_t c = 0; c < 4; ++c) {
    const std::uint64_t mix =
        XXH3_64bits_withSeed(ids, c < 2 ? 8 : 12, layer.multipliers[0]) ^ layout.salt;
    CHECK(to_integer(out[c]) == static_cast<Index>(mix % layer.moduli[c]) + layer.offsets[c]);
  }
}

TEST_CASE("XxHash serves a front end through the generic loop") {
  const Layout layout = xx_layout();
  const auto front =
      FrontEnd<IdentityCompressor, SuffixNgrams<SequenceStart>, XxHash>::make(
          IdentityCompressor(500), SuffixNgrams(3, SequenceStart{}), XxHash::make(layout).value())
          .value();
  const std::vector<int> tokens = {1, 2, 3, 4, 5};
  std::vector<std::int32_t> rows(5 * 2 * 4);
  NgramState state = front.initial_state();
  REQUIRE(front.address(tokens, state, View<std::int32_t, 3>(rows.data(), 5, 2, 4)).ok());
  RowId out[4];
  front.addresser().address(1, NgramWindow{{3, 2, 1, -1, -1, -1, -1, -1}}, out);
  for (int c = 0; c < 4; ++c)
    CHECK(rows[static_cast<std::size_t>(2 * 8 + 4 + c)] == to_integer(out[c]));
}

TEST_CASE("XxHash refuses other mixers' layouts") {
  Layout layout = xx_layout();
  layout.mixer = Mixer::multiplicative_xor;
  CHECK_FALSE(XxHash::make(layout).ok());  // one seed is no row of multipliers
  AddressingConfig config;
  config.engram_vocab_size = {10};
  config.max_ngram_size = 2;
  config.layer_ids = {0};
  const auto other = XxHash::make(make_layout(config, IdentityCompressor(5)).value());
  CHECK(contains(other.message(), "XxHash computes mixer 2"));
}
