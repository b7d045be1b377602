// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Products of bf16 rows with fp8 weights straight from their stored bytes, one power-of-two scale
// for each 32 x 32 tile. Two fast loops for x86-64 processors with AVX-512 VBMI and BF16, chosen at
// run time, and a plain one for every processor.
//
// The order of a sum depends on the number of inputs alone. Fast loops: in each fp8_k_block inputs
// lane l of 16 adds the inputs 2 l and 2 l + 1 of each 32 in turn, the lanes are added pairwise
// (l and l + 8, then 4, 2, 1), and the blocks in order. Both give the same bits: a product with a
// power of two is the same number whichever factor the power was folded into. Numbers below 2^-126,
// factors and sums, count as 0 there; that is less than 2^-125 per input.

#include <engram/codec/fp8.hpp>
#include <engram/core/device.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Rows of fp8 weights. Row n and its scales make output n.
struct Fp8Weights {
  const std::byte* codes = nullptr;
  Index code_stride = 0;
  const std::byte* scales = nullptr;  ///< of rows 32 i to 32 i + 31: at scales + i * scale_stride
  Index scale_stride = 0;
  Index inputs = 0;

  ENGRAM_HD constexpr RowBytes row(Index n) const noexcept {
    return {codes + n * code_stride, scales + n / Fp8Codec::block * scale_stride};
  }
  /// The rows from n on, n a multiple of 32.
  ENGRAM_HD constexpr Fp8Weights from_row(Index n) const noexcept {
    return {row(n).codes, code_stride, row(n).scales, scale_stride, inputs};
  }
};

/// Outputs at most that the fast loops make in one call.
inline constexpr Index fp8_tile = 64;
/// Inputs whose sum stays in registers; decoded, eight rows of them fit the first-level cache.
inline constexpr Index fp8_k_block = 1536;

#if ENGRAM_X86_TARGETS
ENGRAM_BEGIN_LOOPS
/// Whether this processor runs the fast loops.
inline bool has_avx512_bf16() noexcept {
  static const bool yes = has_avx512_vbmi() && __builtin_cpu_supports("avx512dq") &&
                          __builtin_cpu_supports("avx512bf16");
  return yes;
}
ENGRAM_END_LOOPS

using F32x16 = float __attribute__((vector_size(64)));
using F32x8 = float __attribute__((vector_size(32)));

/// sum += a . b in each of 16 lanes of two bf16.
ENGRAM_ALWAYS_INLINE
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) void dot_bf16(
    F32x16& sum, const U16x32& a, const U16x32& b) noexcept {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

/// to[i] += the sum of the lanes of acc[i * Stride].
template <int Stride>
ENGRAM_ALWAYS_INLINE
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) void
    add_sums_of_8(const F32x16* acc, float* to) noexcept {
  F32x16 two[4];
  ENGRAM_UNROLL(4)
  for (int i = 0; i < 4; ++i) {
    const F32x16& a = acc[2 * i * Stride];
    const F32x16& b = acc[(2 * i + 1) * Stride];
    two[i] =
        __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
        __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  }
  F32x16 four[2];
  ENGRAM_UNROLL(2)
  for (int i = 0; i < 2; ++i) {
    const F32x16& a = two[2 * i];
    const F32x16& b = two[2 * i + 1];
    four[i] =
        __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
        __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  const F32x16 pairs = __builtin_shufflevector(four[0], four[1], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9,
                                               24, 25, 12, 13, 28, 29) +
                       __builtin_shufflevector(four[0], four[1], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11,
                                               26, 27, 14, 15, 30, 31);
  // Lanes 0, 4, 8, 12 now belong to the first four, 2, 6, 10, 14 to the others.
  const F32x8 sums = __builtin_shufflevector(pairs, pairs, 0, 4, 8, 12, 2, 6, 10, 14) +
                     __builtin_shufflevector(pairs, pairs, 1, 5, 9, 13, 3, 7, 11, 15);
  F32x8 total;
  __builtin_memcpy(&total, to, sizeof total);
  total += sums;
  __builtin_memcpy(to, &total, sizeof total);
}

ENGRAM_BEGIN_LOOPS

/// Whether decoding to bf16 is exact under every scale of the outputs, whole tiles of 32.
inline bool has_plain_scales(const Fp8Weights& weights, ItemRange outputs) noexcept {
  bool plain = true;
  for (Index n = outputs.begin; n < outputs.end; n += Fp8Codec::block) {
    const std::byte* const scales = weights.row(n).scales;
    for (Index b = 0; b < weights.inputs / Fp8Codec::block; ++b)
      plain &= is_plain_scale(static_cast<std::uint8_t>(scales[b]));
  }
  return plain;
}

/// From one decoded row to the next: the rows' elements of one input do not share a cache set.
inline constexpr Index fp8_k_stride = fp8_k_block + 32;

/// Three tokens by eight outputs: adds the products of `chunks` times 32 inputs.
///
/// x        the tokens' inputs.
/// decoded  eight rows, fp8_k_stride apart.
/// to       sums of a token, those of the next fp8_tile behind.
[[gnu::noinline]] __attribute__((
    target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) inline void
multiply_3_by_8(const Bf16* const* x, const Bf16* decoded, Index chunks, float* to) noexcept {
  F32x16 acc[24];
  ENGRAM_UNROLL(24)
  for (int i = 0; i < 24; ++i) acc[i] = F32x16{};
  for (Index k = 0; k < 32 * chunks; k += 32) {
    U16x32 e[3];
    ENGRAM_UNROLL(3)
    for (int t = 0; t < 3; ++t) __builtin_memcpy(&e[t], x[t] + k, 64);
    ENGRAM_UNROLL(8)
    for (int n = 0; n < 8; ++n) {
      U16x32 w;
      __builtin_memcpy(&w, decoded + n * fp8_k_stride + k, 64);
      ENGRAM_UNROLL(3)
      for (int t = 0; t < 3; ++t) dot_bf16(acc[3 * n + t], e[t], w);
    }
  }
  ENGRAM_UNROLL(3)
  for (int t = 0; t < 3; ++t) add_sums_of_8<3>(acc + t, to + t * fp8_tile);
}

/// Any number of tokens: eight rows at a time are decoded, then meet all tokens of a block.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) inline void
project_fp8_many(const Fp8Weights& weights, ItemRange outputs, View<const Bf16, 2> e,
                 View<Bf16, 2> out) noexcept {
  constexpr Index most = 129;  // tokens of a block: their inputs stay in the second-level cache
  if (e.extent(0) < 1) return;
  const Index blocks = (e.extent(0) + most - 1) / most;
  const Index tokens = ((e.extent(0) + blocks - 1) / blocks + 2) / 3 * 3;
  alignas(64) Bf16 decoded[8 * fp8_k_stride];
  alignas(64) float sums[most * fp8_tile];
  const HostLanes<64> lanes;
  for (Index first = 0; first < e.extent(0); first += tokens) {
    const Index count = e.extent(0) - first < tokens ? e.extent(0) - first : tokens;
    __builtin_memset(sums, 0, sizeof sums);
    for (Index m = 0; m < weights.inputs; m += fp8_k_block) {
      const Index some = weights.inputs - m < fp8_k_block ? weights.inputs - m : fp8_k_block;
      for (Index n = outputs.begin; n < outputs.end; n += 8) {
        for (Index i = 0; i < 8; ++i) {
          const RowBytes row = weights.row(n + i);
          decode_row(lanes, Fp8Codec(), {row.codes + m, row.scales + m / Fp8Codec::block}, some,
                     decoded + i * fp8_k_stride);
          // Runs this short are not guessed by the processor: the eight rows that come next.
          const bool more = n + 8 < outputs.end;
          const std::byte* const next =
              weights.row(i + (more ? n + 8 : outputs.begin)).codes + m + (more ? 0 : fp8_k_block);
          for (Index b = 0; b < some; b += 64) __builtin_prefetch(next + b, 0, 2);
        }
        for (Index t = 0; t < count; t += 3) {
          const Bf16* x[3];  // behind the last token: that one again, into sums that no one reads
          for (Index i = 0; i < 3; ++i)
            x[i] = e.data() + (first + (t + i < count ? t + i : count - 1)) * e.stride(0) + m;
          multiply_3_by_8(x, decoded, some / 32, sums + t * fp8_tile + (n - outputs.begin));
        }
      }
    }
    for (Index t = 0; t < count; ++t)
      for (Index n = outputs.begin; n < outputs.end; n += 32)
        lanes.store(&out(first + t, n), lanes.load(sums + t * fp8_tile + (n - outputs.begin)));
  }
}

/// Inputs whose activations are scaled at a time.
inline constexpr Index fp8_panel = 4 * fp8_k_block;

/// x * 2^(scales - 127) for `inputs` activations, numbers below 2^-126 as 0, then 32 zeros. False
/// when a result would be no normal number.
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) inline bool
scale_activations(const Bf16* x, const std::byte* scales, Index inputs,
                  std::uint16_t* to) noexcept {
  U16x32 bad{};
  for (Index m = 0; m < inputs; m += 32) {
    const int k = static_cast<int>(scales[m / 32]) - 127;
    const U16x32 shift = U16x32{} + static_cast<std::uint16_t>(static_cast<unsigned>(k) << 7);
    U16x32 v;
    __builtin_memcpy(&v, x + m, 64);
    const U16x32 exponent = v & 0x7F80;
    const U16x32 is_number = (U16x32)(exponent != 0);
    bad |= is_number & (U16x32)(exponent + shift - 0x80 > 0x7E80);
    bad |= (U16x32)(exponent == 0x7F80);
    v = (v & is_number) + (shift & is_number);
    __builtin_memcpy(to + m, &v, 64);
  }
  __builtin_memset(to + inputs, 0, 64);
  std::uint64_t any;
  __asm__("vptestmw %1, %1, %0" : "=Yk"(any) : "v"(bad));
  return any == 0;
}

/// The products of 64 inputs, 8 / Tokens rows by Tokens tokens; x as in multiply_codes.
template <int Tokens>
ENGRAM_ALWAYS_INLINE
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) void
    multiply_64_codes(const E4m3Decoder& decoder, const std::byte* codes, Index stride,
                      const std::uint16_t* x, F32x16* acc) noexcept {
  U16x32 e[2 * Tokens];
  ENGRAM_UNROLL(4)
  for (int t = 0; t < Tokens; ++t) __builtin_memcpy(&e[2 * t], x + t * (fp8_panel + 32), 128);
  ENGRAM_UNROLL(8)
  for (int r = 0; r < 8 / Tokens; ++r) {
    U16x32 w[2];
    U8x64 top{};
    decoder.in_order(codes + r * stride, w[0], w[1], top);
    ENGRAM_UNROLL(4)
    for (int t = 0; t < Tokens; ++t) {
      dot_bf16(acc[r * Tokens + t], e[2 * t], w[0]);
      dot_bf16(acc[r * Tokens + t], e[2 * t + 1], w[1]);
    }
  }
}

/// 8 / Tokens rows by Tokens tokens: adds the products of `inputs` inputs.
///
/// x   scaled activations, fp8_panel + 32 of each token.
/// to  [row][token].
template <int Tokens>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) void
multiply_codes(const std::byte* codes, Index stride, const std::uint16_t* x, Index inputs,
               float* to) noexcept {
  constexpr int rows = 8 / Tokens;
  const E4m3Decoder decoder;
  F32x16 acc[8];
  ENGRAM_UNROLL(8)
  for (int i = 0; i < 8; ++i) acc[i] = F32x16{};
  for (; inputs >= 64; inputs -= 64, codes += 64, x += 64) {
    // The rows that come next, at the same inputs.
    ENGRAM_UNROLL(8)
    for (int r = 0; r < rows; ++r) __builtin_prefetch(codes + (r + rows) * stride, 0, 2);
    multiply_64_codes<Tokens>(decoder, codes, stride, x, acc);
  }
  if (inputs > 0) {
    alignas(64) std::byte last[64 * rows] = {};
    for (int r = 0; r < rows; ++r) __builtin_memcpy(last + 64 * r, codes + r * stride, 32);
    multiply_64_codes<Tokens>(decoder, last, 64, x, acc);
  }
  add_sums_of_8<1>(acc, to);
}

/// 1 to Tokens (1, 2 or 4) tokens: codes are decoded in registers, scales folded into activations.
/// False when those do not allow it: then what was written means nothing.
template <int Tokens>
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512bf16"))) bool
project_fp8_few(const Fp8Weights& weights, ItemRange outputs, View<const Bf16, 2> e,
                View<Bf16, 2> out) noexcept {
  constexpr int rows = 8 / Tokens;
  alignas(64) std::uint16_t panel[Tokens * (fp8_panel + 32)];
  alignas(64) float sums[32 * Tokens];
  for (Index begin = outputs.begin; begin < outputs.end; begin += 32) {
    __builtin_memset(sums, 0, sizeof sums);
    for (Index m = 0; m < weights.inputs; m += fp8_panel) {
      const Index some = weights.inputs - m < fp8_panel ? weights.inputs - m : fp8_panel;
      for (Index t = 0; t < Tokens; ++t) {
        const Bf16* const x = e.data() + (t < e.extent(0) ? t : 0) * e.stride(0) + m;
        if (!scale_activations(x, weights.row(begin).scales + m / 32, some,
                               panel + t * (fp8_panel + 32)))
          return false;
      }
      for (Index n = 0; n < 32; n += rows)
        for (Index b = 0; b < some; b += fp8_k_block)
          multiply_codes<Tokens>(weights.row(begin + n).codes + m + b, weights.code_stride,
                                 panel + b, some - b < fp8_k_block ? some - b : fp8_k_block,
                                 sums + n * Tokens);
    }
    for (Index t = 0; t < Tokens && t < e.extent(0); ++t)
      for (Index n = 0; n < 32; ++n) out(t, begin + n) = to_bf16(sums[n * Tokens + t]);
  }
  return true;
}

ENGRAM_END_LOOPS
#endif  // ENGRAM_X86_TARGETS
ENGRAM_END_NAMESPACE
