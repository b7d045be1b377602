// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of GGUF files in the block formats Q8_0, Q2_K, Q3_K, Q4_K and Q6_K. A block holds its scales
// beside its codes, so a row is one run of bytes; groups of 16 or 32 elements share a scale, and in
// two of the formats a minimum that is subtracted.
//
// Bit for bit what the gguf package (0.19) and ggml give. A scale is a half times an integer of at
// most 7 bits, an element that times a code of at most 6: exact as floats, none of them subnormal.
// Only the minimum's subtraction rounds, once. So neither -ffast-math, nor fused operations, nor
// flush to zero change a value. A half that is infinite or NaN gives what float arithmetic gives.

#include <engram/codec/codec.hpp>
#include <engram/core/lanes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A half at any address, as a float.
ENGRAM_HD ENGRAM_ALWAYS_INLINE float half_at(const std::byte* at) noexcept {
  F16 half;
  __builtin_memcpy(static_cast<void*>(&half), at, sizeof half);
  return to_float(half);
}

/// 32 elements under one half: d, then signed bytes.
struct Q8_0Block {
  static constexpr Index elements = 32, bytes = 34, group_size = 32;

  struct Group {
    float scale, minimum;
    const std::byte* codes;
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int code(Index i) const noexcept {
      return static_cast<std::int8_t>(codes[i]);
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Group group(const std::byte* block, Index) noexcept {
    return {half_at(block), 0, block + 2};
  }
};

/// 16 groups of 16 codes of 2 bits. 16 bytes of scales (low half) and minima (high half); 64 of
/// codes, those of elements 0, 32, 64, 96 in one byte; d; that of the minima.
struct Q2_KBlock {
  static constexpr Index elements = 256, bytes = 84, group_size = 16;

  struct Group {
    float scale, minimum;
    const std::byte* codes;
    int shift;
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int code(Index i) const noexcept {
      return (static_cast<int>(codes[i]) >> shift) & 3;
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Group group(const std::byte* block, Index g) noexcept {
    const int packed = static_cast<int>(block[g]);
    return {half_at(block + 80) * static_cast<float>(packed & 15),
            half_at(block + 82) * static_cast<float>(packed >> 4),
            block + 16 + g / 8 * 32 + g % 2 * 16, static_cast<int>(g % 8 / 2 * 2)};
  }
};

/// 16 groups of 16 codes of 3 bits. 32 bytes of high bits, one bit of each for 32 elements, whose
/// absence subtracts 4; 64 of low bits as in Q2_K; 12 of 6-bit scales, 32 too large; d.
struct Q3_KBlock {
  static constexpr Index elements = 256, bytes = 110, group_size = 16;

  struct Group {
    float scale, minimum;
    const std::byte* codes;
    const std::byte* high;
    int shift, high_shift;
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int code(Index i) const noexcept {
      return ((static_cast<int>(codes[i]) >> shift) & 3) +
             (((static_cast<int>(high[i]) >> high_shift) & 1) << 2) - 4;
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Group group(const std::byte* block, Index g) noexcept {
    const std::byte* const scales = block + 96;
    const int low = static_cast<int>(scales[g % 8]) >> (g < 8 ? 0 : 4) & 15;
    const int high = static_cast<int>(scales[8 + g % 4]) >> (g / 4 * 2) & 3;
    return {half_at(block + 108) * static_cast<float>((low | high << 4) - 32),
            0,
            block + 32 + g / 8 * 32 + g % 2 * 16,
            block + g % 2 * 16,
            static_cast<int>(g % 8 / 2 * 2),
            static_cast<int>(g / 2)};
  }
};

/// 8 groups of 32 codes of 4 bits. d; that of the minima; 12 bytes of 6-bit scales and minima, the
/// upper two bits of the last four of each behind the others; 128 of codes, elements 0 and 32 in
/// one byte.
struct Q4_KBlock {
  static constexpr Index elements = 256, bytes = 144, group_size = 32;

  struct Group {
    float scale, minimum;
    const std::byte* codes;
    int shift;
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int code(Index i) const noexcept {
      return (static_cast<int>(codes[i]) >> shift) & 15;
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Group group(const std::byte* block, Index g) noexcept {
    const std::byte* const packed = block + 4;
    const auto at = [packed](Index i) { return static_cast<int>(packed[i]); };
    const int scale = g < 4 ? at(g) & 63 : (at(g + 4) & 15) | at(g - 4) >> 6 << 4;
    const int minimum = g < 4 ? at(g + 4) & 63 : at(g + 4) >> 4 | at(g) >> 6 << 4;
    return {half_at(block) * static_cast<float>(scale),
            half_at(block + 2) * static_cast<float>(minimum), block + 16 + g / 2 * 32,
            static_cast<int>(g % 2 * 4)};
  }
};

/// 16 groups of 16 codes of 6 bits, 32 too large. 128 bytes of low halves, elements 0 and 64 in one
/// byte; 64 of upper bits, those of elements 0, 32, 64, 96 in one byte; 16 signed scales; d.
struct Q6_KBlock {
  static constexpr Index elements = 256, bytes = 210, group_size = 16;

  struct Group {
    float scale, minimum;
    const std::byte* codes;
    const std::byte* high;
    int shift, high_shift;
    ENGRAM_HD ENGRAM_ALWAYS_INLINE int code(Index i) const noexcept {
      return (((static_cast<int>(codes[i]) >> shift) & 15) |
              ((static_cast<int>(high[i]) >> high_shift) & 3) << 4) -
             32;
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Group group(const std::byte* block, Index g) noexcept {
    const Index part = g % 8 / 2;  // of 32 elements, in a half of 128
    return {half_at(block + 208) * static_cast<float>(static_cast<std::int8_t>(block[192 + g])),
            0,
            block + g / 8 * 64 + part % 2 * 32 + g % 2 * 16,
            block + 128 + g / 8 * 32 + g % 2 * 16,
            static_cast<int>(part / 2 * 4),
            static_cast<int>(part * 2)};
  }
};

/// Rows of blocks, one behind the other, at any address.
template <class Block>
struct BlockCodec {
  ENGRAM_HD constexpr Index code_bytes(Index width) const noexcept {
    const bool fits =
        width > 0 && width % Block::elements == 0 && width <= INT64_MAX / Block::bytes;
    return fits ? width / Block::elements * Block::bytes : -1;
  }
  ENGRAM_HD constexpr Index scale_bytes(Index) const noexcept { return 0; }
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float value(RowBytes row, Index d) const noexcept {
    const std::byte* const block = row.codes + d / Block::elements * Block::bytes;
    const auto group = Block::group(block, d % Block::elements / Block::group_size);
    return group.scale * static_cast<float>(group.code(d % Block::group_size)) - group.minimum;
  }
};
using Q8_0Codec = BlockCodec<Q8_0Block>;
using Q2_KCodec = BlockCodec<Q2_KBlock>;
using Q3_KCodec = BlockCodec<Q3_KBlock>;
using Q4_KCodec = BlockCodec<Q4_KBlock>;
using Q6_KCodec = BlockCodec<Q6_KBlock>;
static_assert(check_row_codec<Q8_0Codec>() && check_row_codec<Q2_KCodec>() &&
              check_row_codec<Q3_KCodec>() && check_row_codec<Q4_KCodec>() &&
              check_row_codec<Q6_KCodec>());

/// decode_row that unpacks a group's scale once. The lanes are those of the compiler: it makes
/// vectors of the inner loop, whose results nothing else can point to.
template <class Lanes, class Block, Element Out>
ENGRAM_ALWAYS_INLINE void decode_row(const Lanes&, const BlockCodec<Block>&, RowBytes row,
                                     Index width, Out* out) noexcept {
  constexpr Index size = Block::group_size;
  const std::byte* block = row.codes;
  for (Index d = 0; d < width; d += Block::elements, block += Block::bytes)
    for (Index g = 0; g < Block::elements / size; ++g, out += size) {
      const auto group = Block::group(block, g);
      Out values[size];
      for (Index i = 0; i < size; ++i)
        values[i] =
            from_float<Out>(group.scale * static_cast<float>(group.code(i)) - group.minimum);
      __builtin_memcpy(static_cast<void*>(out), values, sizeof values);
    }
}

ENGRAM_END_NAMESPACE
