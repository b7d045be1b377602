// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Scales in tiles: each has one place, all places are written, and codes are the CPU's.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/cuda/scale_tiles.hpp>

#include <vector>

using namespace engram;
using elements::at;

TEST_CASE("scale tiles: each scale has a place of its own, within the tiles") {
  for (const ScaleTiles tiles : {ScaleTiles{1, 1}, {128, 4}, {129, 5}, {300, 12}}) {
    std::vector<int> taken(at(tiles.bytes()));
    for (Index row = 0; row < tiles.rows; ++row)
      for (Index block = 0; block < tiles.blocks; ++block) ++taken.at(at(tiles.place(row, block)));
    Index count = 0;
    for (const int n : taken) {
      REQUIRE(n <= 1);
      count += n;
    }
    CHECK(count == tiles.rows * tiles.blocks);
  }
  // By hand, from the layout's description: a tile's first 16 bytes are 4 blocks of rows 0, 32,
  // 64, 96.
  const ScaleTiles tiles{256, 8};
  CHECK(tiles.bytes() == 2048);
  CHECK(tiles.place(0, 3) == 3);
  CHECK(tiles.place(32, 0) == 4);
  CHECK(tiles.place(96, 3) == 15);
  CHECK(tiles.place(1, 0) == 16);
  CHECK(tiles.place(127, 3) == 511);
  CHECK(tiles.place(0, 4) == 512);
  CHECK(tiles.place(128, 0) == 1024);
}

TEST_CASE("scale tiles: rows are quantised as on the CPU, and what fills a tile is a number") {
  constexpr Index tokens = 5, inputs = 160, stride = 163;
  Random random(1);
  std::vector<Bf16> e(at(tokens * stride));
  for (Bf16& x : e)
    x.bits = static_cast<std::uint16_t>(random.below(2) << 15 | random.below(140) << 7 |
                                        random.below(128));
  e[at(2 * stride + 70)] = Bf16{0x7F80};
  const ScaleTiles layout{tokens, inputs / 32};
  std::vector<E4m3> codes(at(tokens * inputs));
  std::vector<E8m0> tiles(at(layout.bytes()), E8m0{255});
  REQUIRE(quantise_codes(ThreadedDevice(),
                         DeviceView<const Bf16, 2>(e.data(), tokens, inputs).with_stride<0>(stride),
                         DeviceView<E4m3, 2>(codes.data(), tokens, inputs),
                         DeviceView<E8m0, 1>(tiles.data(), layout.bytes()))
              .ok());
  Index spoiled = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index b = 0; b < layout.blocks; ++b) {
      E4m3 expected[32];
      const E8m0 scale = quantise_activations(View<const Bf16, 1>(&e[at(t * stride + b * 32)], 32),
                                              View<E4m3, 1>(expected, 32));
      E8m0& found = tiles[at(layout.place(t, b))];
      CHECK(found == scale);
      spoiled += scale.bits == 255;
      found.bits = 0;
      for (Index i = 0; i < 32; ++i) REQUIRE(codes[at(t * inputs + b * 32 + i)] == expected[at(i)]);
    }
  CHECK(spoiled == 1);
  for (const E8m0 scale : tiles) REQUIRE(scale.bits == 0);
}

TEST_CASE("scale tiles: shapes that disagree are refused") {
  const ThreadedDevice device;
  using Scales = DeviceView<const E8m0, 2>;
  using Tiles = DeviceView<E8m0, 1>;
  using Codes = DeviceView<E4m3, 2>;
  CHECK(tile_scales(device, Scales(nullptr, 2, 3), Tiles(nullptr, 511)) ==
        Status{Code::shape_mismatch, 0, 512});
  const auto refused = [&](Index inputs, Codes codes, Index tiles) {
    return quantise_codes(device, DeviceView<const Bf16, 2>(nullptr, 3, inputs), codes,
                          Tiles(nullptr, tiles));
  };
  CHECK(refused(70, Codes(nullptr, 3, 70), 512) == Status{Code::shape_mismatch, 0, 64});
  CHECK(refused(64, Codes(nullptr, 2, 64), 512) == Status{Code::shape_mismatch, 0, 3});
  CHECK(refused(64, Codes(nullptr, 3, 96), 512) == Status{Code::shape_mismatch, 0, 64});
  CHECK(refused(64, Codes(nullptr, 3, 64).with_stride<0>(80), 512) ==
        Status{Code::shape_mismatch, 0, 64});
  CHECK(refused(64, Codes(nullptr, 3, 64), 1024) == Status{Code::shape_mismatch, 0, 512});
}
