// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of DeepSeek-V4.1: e4m3 codes with one e8m0 scale for each 32 of them, kept apart or behind
// the codes. A looked-up element is code * 2^(scale - 127), exact as a float; as a bf16 it is exact
// too, subnormals aside. Source: DeepSeek-V4.1-Flash's released code.

#include <engram/codec/codec.hpp>
#include <engram/codec/fp8_vectors.hpp>
#include <engram/core/lanes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// e4m3 with e8m0 per 32. Codes 0x7F and 0xFF and the scale 255 give NaN; scale 0 is 2^-127;
/// products beyond the largest float are infinite.
struct Fp8Codec {
  static constexpr Index block = 32;

  ENGRAM_HD constexpr Index code_bytes(Index width) const noexcept {
    return width > 0 && width % block == 0 ? width : -1;
  }
  ENGRAM_HD constexpr Index scale_bytes(Index width) const noexcept {
    return width > 0 && width % block == 0 ? width / block : -1;
  }
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float value(RowBytes row, Index d) const noexcept {
    return scaled(E4m3{static_cast<std::uint8_t>(row.codes[d])},
                  E8m0{static_cast<std::uint8_t>(row.scales[d / block])});
  }
};
static_assert(check_row_codec<Fp8Codec>());

/// Scales for which every code but 0 and NaN becomes a normal number: the product's exponent is the
/// sum of the exponents and nothing rounds.
ENGRAM_HD constexpr bool is_plain_scale(std::uint8_t scale) noexcept {
  return scale >= 10 && scale <= 246;  // 2^-117 to 2^119
}

/// What each code is without a scale, as bits of a float.
struct E4m3Values {
  std::uint32_t of[256];
};
inline constexpr E4m3Values e4m3_values = [] {
  E4m3Values values{};
  for (unsigned code = 0; code < 256; ++code)
    values.of[code] = to_bits(to_float(E4m3{static_cast<std::uint8_t>(code)}));
  return values;
}();

/// 32 elements under one plain scale.
template <class Lanes, Element Out>
ENGRAM_ALWAYS_INLINE void decode_block_fp8(const Lanes& lanes, const std::byte* codes,
                                           std::uint8_t scale, Out* out) noexcept {
  using U32 = typename Lanes::U32;
  const std::uint32_t shift = (scale - 127u) << 23;
  typename Lanes::Float f;
  ENGRAM_UNROLL(8)
  for (int i = 0; i < Lanes::vectors; ++i) {
    U32 bits{};
    ENGRAM_UNROLL(16)
    for (int l = 0; l < Lanes::per_vector; ++l)
      bits[l] = e4m3_values.of[static_cast<std::uint8_t>(codes[i * Lanes::per_vector + l])];
    const U32 magnitude = bits & ~float_bits::sign;
    const U32 scales = (U32)(magnitude != 0) & (U32)(magnitude < float_bits::infinity);
    f.part[i] = (typename Lanes::F32)(bits + (shift & scales));
  }
  lanes.store(out, f);
}

/// `count` elements, a multiple of 32, for any scales.
template <class Lanes, Element Out>
ENGRAM_ALWAYS_INLINE void decode_blocks_fp8(const Lanes& lanes, RowBytes row, Index count,
                                            Out* out) noexcept {
  for (Index d = 0; d < count; d += Fp8Codec::block) {
    const auto scale = static_cast<std::uint8_t>(row.scales[d / Fp8Codec::block]);
    if (is_plain_scale(scale))
      decode_block_fp8(lanes, row.codes + d, scale, out + d);
    else
      for (Index i = d; i < d + Fp8Codec::block; ++i)
        out[i] = from_float<Out>(Fp8Codec().value(row, i));
  }
}

#if ENGRAM_X86_TARGETS
/// 64 * Chunks elements. False when a scale is not plain or a code is NaN; then what was written
/// means nothing.
template <int Chunks, Element Out>
ENGRAM_ALWAYS_INLINE __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))) bool
decode_chunks_fp8(const E4m3Decoder& decoder, const std::byte* codes, const std::byte* scales,
                  Out* out) noexcept {
  static_assert(Chunks >= 1 && Chunks <= 4);
  using U32x8 = std::uint32_t __attribute__((vector_size(32)));
  std::uint64_t bytes = 0x7F7F7F7F7F7F7F7F;
  __builtin_memcpy(&bytes, scales, 2 * Chunks);
  U32x8 wide;
  __asm__("vpmovzxbd %1, %0" : "=v"(wide) : "m"(bytes));
  const U32x8 low = (wide << 7) - (127u << 7);
  const U32x8 pairs = (low & 0xFFFF) | (low << 16);
  // Through memory, from where a load spreads 32 bits to a register at no cost.
  alignas(32) std::uint32_t shift[8];
  __builtin_memcpy(shift, &pairs, sizeof shift);

  U8x64 top{};
  ENGRAM_UNROLL(4)
  for (int c = 0; c < Chunks; ++c) {
    U16x32 part[2];
    decoder.in_order(codes + 64 * c, part[0], part[1], top);
    ENGRAM_UNROLL(2)
    for (int half = 0; half < 2; ++half) {
      U32x16 by;
      __asm__("vpbroadcastd %1, %0" : "=v"(by) : "m"(shift[2 * c + half]));
      scale_bf16(part[half], by);
      Out* const to = out + 64 * c + 32 * half;
      if constexpr (std::is_same_v<Out, Bf16>) {
        __builtin_memcpy(static_cast<void*>(to), &part[half], 64);
      } else {
        static_assert(std::is_same_v<Out, float>);
        // A bf16 in the upper half of 32 bits is a float.
        const U32x16 two = (U32x16)part[half];
        const U32x16 even = two << 16;
        const U32x16 uneven = two & 0xFFFF0000;
        const U32x16 first = __builtin_shufflevector(even, uneven, 0, 16, 1, 17, 2, 18, 3, 19, 4,
                                                     20, 5, 21, 6, 22, 7, 23);
        const U32x16 second = __builtin_shufflevector(even, uneven, 8, 24, 9, 25, 10, 26, 11, 27,
                                                      12, 28, 13, 29, 14, 30, 15, 31);
        __builtin_memcpy(to, &first, 64);
        __builtin_memcpy(to + 16, &second, 64);
      }
    }
  }

  const U32x8 odd = wide - 10;  // plain: at most 236
  U32x8 most{};
  most += 236;
  U8x64 number{};
  number += e4m3_largest_high;
  std::uint64_t any_nan;
  std::uint64_t any_odd;
  __asm__("vpcmpnleub %2, %1, %0" : "=Yk"(any_nan) : "v"(top), "v"(number));
  __asm__("vpcmpnleud %2, %1, %0" : "=Yk"(any_odd) : "v"(odd), "v"(most));
  return (any_nan | any_odd) == 0;
}

ENGRAM_BEGIN_LOOPS
/// decode_blocks_fp8, apart, so that the loop that hardly ever calls it stays small.
template <Element Out>
[[gnu::noinline, gnu::cold]] void decode_odd_fp8(const std::byte* codes, const std::byte* scales,
                                                 Index count, Out* out) noexcept {
  decode_blocks_fp8(HostLanes<16>(), {codes, scales}, count, out);
}

/// The first elements of a row, a multiple of 64; returns how many.
template <Element Out>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"))) Index decode_row_fp8(
    const std::byte* codes, const std::byte* scales, Index width, Out* out) noexcept {
  const E4m3Decoder decoder;
  Index left = width;
  for (; left >= 256; left -= 256, codes += 256, scales += 8, out += 256)
    if (!decode_chunks_fp8<4>(decoder, codes, scales, out)) decode_odd_fp8(codes, scales, 256, out);
  for (; left >= 64; left -= 64, codes += 64, scales += 2, out += 64)
    if (!decode_chunks_fp8<1>(decoder, codes, scales, out)) decode_odd_fp8(codes, scales, 64, out);
  return width - left;
}
ENGRAM_END_LOOPS
#endif

/// decode_row for fp8, 64 elements at a time where the processor can, else 32.
template <class Lanes, Element Out>
ENGRAM_ALWAYS_INLINE void decode_row(const Lanes& lanes, const Fp8Codec&, RowBytes row, Index width,
                                     Out* out) noexcept {
  Index d = 0;
#if ENGRAM_X86_TARGETS
  if constexpr (Lanes::bytes == 64 && !std::is_same_v<Out, F16>) {
    if (has_avx512_vbmi()) d = decode_row_fp8(row.codes, row.scales, width, out);
  }
#endif
  decode_blocks_fp8(lanes, {row.codes + d, row.scales + d / Fp8Codec::block}, width - d, out + d);
}

ENGRAM_END_NAMESPACE
