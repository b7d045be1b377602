// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Gradients of a layer's small weights, which are sums over all tokens, by as many warps as a GPU
// wants: the tokens are cut into chunks, and the chunks' sums are added in order. How they are cut
// depends on the number of tokens alone, so the bits do too.

#include <engram/training/conv_gradient.hpp>
#include <engram/training/fuse_gradient.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Tokens in chunks of at least 64, at most 128 chunks.
struct TokenChunks {
  Index tokens = 0;

  ENGRAM_HD constexpr Index each() const noexcept {
    return tokens > 64 * 128 ? (tokens + 127) / 128 : 64;
  }
  ENGRAM_HD constexpr Index count() const noexcept { return (tokens + each() - 1) / each(); }
  ENGRAM_HD constexpr Index begin(Index chunk) const noexcept { return chunk * each(); }
  ENGRAM_HD constexpr Index end(Index chunk) const noexcept {
    const Index end = (chunk + 1) * each();
    return end < tokens ? end : tokens;
  }
};

/// The gain's gradient over one chunk; item (chunk * G + g) * blocks + block, a block being the
/// elements of one group of lanes.
template <class Key, class Hidden>
struct GainChunkBody {
  GainGradient<Key, Hidden> gradient;
  TokenChunks chunks;
  Index blocks;
  View<float, 3> sums;  ///< [chunks, G, D] written

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index row = item / blocks, d = item % blocks * lanes.width;
    const Index chunk = row / sums.extent(1), g = row % sums.extent(1);
    lanes.store(row_of(sums, chunk, g) + d,
                gradient.sum(lanes, g, d, chunks.begin(chunk), chunks.end(chunk)),
                sums.extent(2) - d);
  }
};

/// The gradients of the taps and of the norm's gain over one chunk; items as of GainChunkBody.
template <class Value, int MostTaps>
struct ConvWeightChunkBody {
  ConvWeightGradient<Value, MostTaps> gradient;
  TokenChunks chunks;
  Index blocks;
  View<float, 4> sums;  ///< [chunks, taps + 1, G, D] written, the gain's last

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index row = item / blocks, d = item % blocks * lanes.width;
    const Index chunk = row / sums.extent(2), g = row % sums.extent(2);
    const Index taps = sums.extent(1) - 1, left = sums.extent(3) - d;
    typename ConvWeightGradient<Value, MostTaps>::template Sums<typename Lanes::Float> found;
    gradient.sum(lanes, g, d, chunks.begin(chunk), chunks.end(chunk), found);
    const View<float, 3> to = sums.template at<0>(chunk);
    for (Index j = 0; j < taps; ++j) lanes.store(row_of(to, j, g) + d, found.of_tap[j], left);
    lanes.store(row_of(to, taps, g) + d, found.of_gain, left);
  }
};

/// Adds the chunks' sums to a gradient, in order; item (j * G + g) * blocks + block.
struct AddChunksBody {
  View<const float, 4> sums;  ///< [chunks, J, G, D]
  Index blocks;
  View<float, 3> to;  ///< [J, G, D] added to

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index row = item / blocks, d = item % blocks * lanes.width;
    const Index j = row / to.extent(1), g = row % to.extent(1), left = to.extent(2) - d;
    auto sum = lanes.all(0);
    for (Index chunk = 0; chunk < sums.extent(0); ++chunk)
      sum += lanes.load(&sums(chunk, j, g, d), left);
    float* const at = row_of(to, j, g) + d;
    lanes.store(at, lanes.load(at, left) + sum, left);
  }
};

ENGRAM_END_NAMESPACE
