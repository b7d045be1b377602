// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Scales of fp8 matrices as GPUs with block scales read them (cuBLAS, "1D block scaling factors
// layout"): tiles of 128 rows by 4 blocks of 32 elements, 512 bytes each, rows 32 apart side by
// side. And fp8 operands of DeepSeek-V4.1 with their scales there.

#include <engram/cuda/kernel_device.hpp>
#include <engram/layer/fp8_projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Where the scale of each 32 elements of a matrix [rows, 32 * blocks] is.
struct ScaleTiles {
  static constexpr Index tile_rows = 128, tile_blocks = 4, tile_bytes = tile_rows * tile_blocks;

  Index rows, blocks;

  ENGRAM_HD constexpr Index tiles_across() const noexcept {
    return (blocks + tile_blocks - 1) / tile_blocks;
  }
  /// Rows with those that fill the last tile.
  ENGRAM_HD constexpr Index whole_rows() const noexcept {
    return (rows + tile_rows - 1) / tile_rows * tile_rows;
  }
  ENGRAM_HD constexpr Index bytes() const noexcept {
    return whole_rows() * tiles_across() * tile_blocks;
  }
  ENGRAM_HD constexpr Index place(Index row, Index block) const noexcept {
    const Index tile = row / tile_rows * tiles_across() + block / tile_blocks;
    return tile * tile_bytes + row % 32 * 16 + row % tile_rows / 32 * tile_blocks +
           block % tile_blocks;
  }
};

/// The scales of a row of weights; the item is the row, with those that fill the last tile. What is
/// no scale is 0, which is a number: 2^-127.
struct TileScalesBody {
  View<const E8m0, 2> scales;  ///< one for each 32 x 32
  ScaleTiles tiles;
  E8m0* out;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index row) const noexcept {
    lanes.each(tiles.tiles_across() * ScaleTiles::tile_blocks, [&](Index b) {
      out[tiles.place(row, b)] =
          row < tiles.rows && b < tiles.blocks ? scales(row / 32, b) : E8m0{0};
    });
  }
};

/// quantise_activations() of 32 elements; item row * blocks + block, blocks counted with those that
/// fill the last tile and only have a scale of 0. Behind these, an item for each row that only
/// fills a tile.
struct QuantiseCodesBody {
  View<const Bf16, 2> e;
  ScaleTiles tiles;
  E4m3* codes;  ///< [rows, 32 * blocks]
  E8m0* scales;

  Index items() const noexcept { return tiles.rows * across() + tiles.whole_rows() - tiles.rows; }

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    if (const Index behind = item - tiles.rows * across(); behind >= 0) {
      lanes.each(across(), [&](Index b) { scales[tiles.place(tiles.rows + behind, b)] = E8m0{0}; });
      return;
    }
    const Index row = item / across(), block = item % across();
    E8m0* const scale = scales + tiles.place(row, block);
    if (block >= tiles.blocks) {
      lanes.each(1, [&](Index) { *scale = E8m0{0}; });
      return;
    }
    const Bf16* const x = e.data() + row * e.stride(0) + block * 32;
    E4m3* const to = codes + (row * tiles.blocks + block) * 32;
    const ActivationScale by = activation_scale(lanes.largest_magnitude(lanes.load(x)));
    lanes.each(32, [&](Index i) {
      to[i] = by.is_nan() ? E4m3{0x7F} : to_e4m3(to_float(x[i]) * by.inverse);
    });
    lanes.each(1, [&](Index) { *scale = by.scale; });
  }

 private:
  ENGRAM_HD constexpr Index across() const noexcept {
    return tiles.tiles_across() * ScaleTiles::tile_blocks;
  }
};

/// The scales of V4.1's weights as a product of fp8 reads them. Once, after loading.
///
/// scales  [N / 32, M / 32] e8m0, one for each 32 x 32 codes, memory of the GPU, row stride free.
/// tiles   [ScaleTiles{N, M / 32}.bytes()] written.
/// Status  shape_mismatch (index: the extent expected); then nothing was launched.
/// Cost    one launch. No allocation, can be captured.
template <KernelDevice Dev>
ENGRAM_HIDDEN Status tile_scales(const Dev& device, DeviceView<const E8m0, 2> scales,
                                 DeviceView<E8m0, 1> tiles) noexcept {
  const ScaleTiles layout{scales.extent(0) * 32, scales.extent(1)};
  if (tiles.extent(0) != layout.bytes()) return {Code::shape_mismatch, 0, layout.bytes()};
  device.for_items(layout.whole_rows(), TileScalesBody{scales.for_body(), layout, tiles.data()});
  return {};
}

/// Rows to codes and scales, as quantise_activations() makes them.
///
/// e       [T, M] bf16, memory of the GPU, M a multiple of 32, token stride free.
/// codes   [T, M] e4m3 written, dense.
/// tiles   [ScaleTiles{T, M / 32}.bytes()] written.
/// Status  shape_mismatch (index: the extent expected); then nothing was launched.
/// Cost    one launch, e read once. No allocation, can be captured.
template <KernelDevice Dev>
ENGRAM_HIDDEN Status quantise_codes(const Dev& device, DeviceView<const Bf16, 2> e,
                                    DeviceView<E4m3, 2> codes, DeviceView<E8m0, 1> tiles) noexcept {
  const Index rows = e.extent(0), inputs = e.extent(1);
  if (inputs % 32 != 0) return {Code::shape_mismatch, 0, inputs / 32 * 32};
  if (codes.extent(0) != rows) return {Code::shape_mismatch, 0, rows};
  if (codes.extent(1) != inputs || codes.stride(0) != inputs)
    return {Code::shape_mismatch, 0, inputs};
  const ScaleTiles layout{rows, inputs / 32};
  if (tiles.extent(0) != layout.bytes()) return {Code::shape_mismatch, 0, layout.bytes()};
  const QuantiseCodesBody body{e.for_body(), layout, codes.data(), tiles.data()};
  device.for_items(body.items(), body);
  return {};
}

ENGRAM_END_NAMESPACE
