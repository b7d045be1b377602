// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of DeepSeek-V4.1 to numbers, 16 bytes of output a thread: codes and scales of eight such
// pieces are on the way before the first is decoded. gather.cuh runs it on a GPU, tests/unit/cuda
// without one.

#include <engram/codec/fp8.hpp>
#include <engram/cuda/row_groups.hpp>
#include <engram/cuda/streaming.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Two bf16 times powers of two, where the products are normal numbers or 0. The factors may be
/// subnormal, and no flag of a compiler flushes them.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint32_t scale_pair_fp8(std::uint32_t pair,
                                                            std::uint32_t by) noexcept {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(pair), "r"(by), "r"(0x80008000));
  return product;
#else
  const auto product = [pair, by](int shift) {
    const std::uint32_t sign = pair >> shift & 0x8000;
    const std::uint32_t bits = pair >> shift & 0x7FFF;
    if (bits == 0) return sign;
    // A subnormal number is its bits times 2^-133.
    const std::uint32_t normal =
        bits >= 0x80 ? bits : (to_bits(static_cast<float>(bits)) >> 16) - (133u << 7);
    return sign | (normal + (by >> shift & 0x7F80) - (127u << 7));
  };
  return product(0) | product(16) << 16;
#endif
}

/// Bytes 2 * half and 2 * half + 1 of `low`, each with that of `high` above it.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint32_t interleave_bytes(std::uint32_t low, std::uint32_t high,
                                                              int half) noexcept {
#if defined(__CUDA_ARCH__)
  return __byte_perm(low, high, half == 0 ? 0x5140 : 0x7362);
#else
  low >>= 16 * half;
  high >>= 16 * half;
  return (low & 0xFF) | (high & 0xFF) << 8 | (low & 0xFF00) << 8 | (high & 0xFF00) << 16;
#endif
}

/// Has the upper bit of a byte set where one of the four codes is NaN; other bits mean nothing.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint32_t nan_bits_fp8(std::uint32_t codes) noexcept {
  return (codes & 0x7F7F7F7F) + 0x01010101;
}

/// Four codes, none of them NaN, times a plain scale: bf16, exact.
///
/// A code's bits, where a bf16 has its last four bits of exponent and its first three of mantissa,
/// are a number too small by 2^120, subnormal where the code is.
ENGRAM_HD ENGRAM_ALWAYS_INLINE Words<2> decode_four_fp8(std::uint32_t codes,
                                                        std::uint8_t scale) noexcept {
  const std::uint32_t high = (codes & 0x80808080) | (codes >> 4 & 0x07070707);
  const std::uint32_t low = codes << 4 & 0xF0F0F0F0;
  const std::uint32_t by = scale * 0x00800080U;
  Words<2> pairs;
  ENGRAM_CUDA_UNROLL
  for (int half = 0; half < 2; ++half)
    pairs.of[half] =
        scale_pair_fp8(scale_pair_fp8(interleave_bytes(low, high, half), 0x7B807B80), by);
  return pairs;
}

/// 16 bytes of elements, as decode_four_fp8.
template <class Out>
ENGRAM_HD ENGRAM_ALWAYS_INLINE Words<4> decode_piece_fp8(const Words<4 / int{sizeof(Out)}>& codes,
                                                         std::uint8_t scale) noexcept {
  const Words<2> first = decode_four_fp8(codes.of[0], scale);
  if constexpr (std::is_same_v<Out, Bf16>) {
    const Words<2> second = decode_four_fp8(codes.of[1], scale);
    return {{first.of[0], first.of[1], second.of[0], second.of[1]}};
  } else {
    static_assert(std::is_same_v<Out, float>);
    return {
        {first.of[0] << 16, first.of[0] & 0xFFFF0000, first.of[1] << 16, first.of[1] & 0xFFFF0000}};
  }
}

/// Decodes rows whose output is `groups.units` times 16 bytes at multiples of 16, and whose codes
/// begin at multiples of 16 / sizeof(Out); scales may stand anywhere. The bits are those of
/// from_float<Out>(Fp8Codec().value(row, d)), NaN included; zeros where there is no row.
///
/// Groups: RowGroups with Bf16 or float for its output.
template <class Groups>
struct DecodeFp8Body {
  using Out = typename Groups::element_type;
  static constexpr int blocks_at_once = 6;  ///< of a multiprocessor: 80 registers a thread

  Groups groups;

  ENGRAM_ANY_LANES
  template <class Grid>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Grid& grid) const noexcept {
    constexpr int words = 4 / int{sizeof(Out)};
    constexpr int pieces_of_a_scale = int{Fp8Codec::block} / (4 * words);
    groups.each(grid, [&](int lane, const auto& ahead) {
      // Neighbours write neighbouring pieces, so that a warp's store fills whole sectors.
      ENGRAM_CUDA_ROLLED
      for (int first = lane; first < groups.units; first += 2 * Groups::threads) {
        const bool has_second = groups.units - first > Groups::threads;
        const int unit[2] = {first, has_second ? first + Groups::threads : first};
        Words<words> codes[rows_ahead][2];
        std::uint8_t scales[rows_ahead][2];
        ENGRAM_CUDA_UNROLL
        for (int a = 0; a < rows_ahead; ++a) {
          const RowBytes from = groups.ref(static_cast<Index>(ahead.row[a]));
          ENGRAM_CUDA_UNROLL
          for (int i = 0; i < 2; ++i) {
            codes[a][i] = read_once<words>(from.codes + Index{4 * words} * unit[i]);
            scales[a][i] = read_byte_once(from.scales + unit[i] / pieces_of_a_scale);
          }
        }
        // Without a branch, so that all loads are made before the first is waited for.
        bool plain_scales = true;
        std::uint32_t nan_bits = 0;
        ENGRAM_CUDA_UNROLL
        for (int a = 0; a < rows_ahead; ++a) {
          ENGRAM_CUDA_UNROLL
          for (int i = 0; i < 2; ++i) {
            const std::uint8_t scale = ahead.is_row[a] ? scales[a][i] : std::uint8_t{127};
            plain_scales &= is_plain_scale(scale);
            ENGRAM_CUDA_UNROLL
            for (std::uint32_t& word : codes[a][i].of) {
              word &= ahead.is_row[a] ? ~0U : 0U;
              nan_bits |= nan_bits_fp8(word);
            }
            const Words<4> piece = decode_piece_fp8<Out>(codes[a][i], scale);
            if (i == 0 || has_second) write_once(ahead.to[a] + Index{16} * unit[i], piece);
          }
        }
        if (!plain_scales || (nan_bits & 0x80808080) != 0)
          decode_odd_pieces(ahead.first, ahead.step, unit);
      }
    });
  }

 private:
  /// The same pieces for any scales and codes, one element after the other, over what was written.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void decode_odd_pieces(Index item, Index step,
                                                        const int (&unit)[2]) const noexcept {
    constexpr Index count = 16 / Index{sizeof(Out)};
    ENGRAM_CUDA_ROLLED
    for (int a = 0; a < rows_ahead && item < groups.rows.size(); ++a, item += step) {
      std::byte* to;
      const auto row = groups.id_of(item, to);
      if (!groups.is_row(row)) continue;
      const RowBytes from = groups.ref(static_cast<Index>(row));
      ENGRAM_CUDA_ROLLED
      for (Index i = 0; i < 2 * count; ++i) {
        const Index d = (i < count ? unit[0] : unit[1] - 1) * count + i;
        reinterpret_cast<Out*>(to)[d] = from_float<Out>(Fp8Codec().value(from, d));
      }
    }
  }
};

ENGRAM_END_NAMESPACE
