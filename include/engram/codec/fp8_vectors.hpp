// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// 64 e4m3 codes to bf16 at once, by looking up both bytes of each result in tables of 128 entries.
// For x86-64 processors with AVX-512 VBMI; written as single instructions, because the header with
// the compiler's own names for them costs more to parse than the rest of the library.

#include <engram/core/scalar.hpp>

#include <cstddef>

ENGRAM_BEGIN_NAMESPACE
#if ENGRAM_X86_TARGETS

using U8x64 = std::uint8_t __attribute__((vector_size(64)));
using U16x32 = std::uint16_t __attribute__((vector_size(64)));
using U32x16 = std::uint32_t __attribute__((vector_size(64)));
using I64x8Index = std::int64_t __attribute__((vector_size(64)));

/// The two bytes of the bf16 of each code without its sign.
struct E4m3Tables {
  alignas(64) std::uint8_t low[128];
  alignas(64) std::uint8_t high[128];
};
inline constexpr E4m3Tables e4m3_tables = [] {
  E4m3Tables t{};
  for (unsigned code = 0; code < 128; ++code) {
    const std::uint16_t bits = to_bf16(to_float(E4m3{static_cast<std::uint8_t>(code)})).bits;
    t.low[code] = static_cast<std::uint8_t>(bits);
    t.high[code] = static_cast<std::uint8_t>(bits >> 8);
  }
  return t;
}();

/// The largest upper byte of a code that is a number, that of 448; NaN has 0x7F.
inline constexpr std::uint8_t e4m3_largest_high = e4m3_tables.high[0x7E];

ENGRAM_BEGIN_LOOPS
/// Whether this processor runs E4m3Decoder.
inline bool has_avx512_vbmi() noexcept {
  static const bool yes = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512vbmi");
  return yes;
}
ENGRAM_END_LOOPS

/// The tables in registers. Made once for each loop.
struct E4m3Decoder {
  U8x64 low[2];
  U8x64 high[2];

  ENGRAM_ALWAYS_INLINE __attribute__((target("avx512f,avx512bw,avx512vbmi")))
  E4m3Decoder() noexcept {
    __builtin_memcpy(low, e4m3_tables.low, sizeof low);
    __builtin_memcpy(high, e4m3_tables.high, sizeof high);
  }

  /// The bf16 of 64 codes; `first` and `second` take the codes by eights in turn: first has those
  /// of 0-7, 16-23, 32-39 and 48-55. `top` becomes the bytewise maximum of itself and the upper
  /// bytes without signs, which is above e4m3_largest_high where a code was NaN.
  ENGRAM_ALWAYS_INLINE __attribute__((target("avx512f,avx512bw,avx512vbmi"))) void interleaved(
      const U8x64& codes, U16x32& first, U16x32& second, U8x64& top) const noexcept {
    U8x64 lows = codes;
    U8x64 highs = codes;
    __asm__("vpermi2b %2, %1, %0" : "+v"(lows) : "v"(low[0]), "v"(low[1]));
    __asm__("vpermi2b %2, %1, %0" : "+v"(highs) : "v"(high[0]), "v"(high[1]));
    __asm__("vpmaxub %1, %0, %0" : "+v"(top) : "v"(highs));
    highs |= codes & 0x80;
    __asm__("vpunpcklbw %2, %1, %0" : "=v"(first) : "v"(lows), "v"(highs));
    __asm__("vpunpckhbw %2, %1, %0" : "=v"(second) : "v"(lows), "v"(highs));
  }

  /// The same with first = the codes 0-31 and second = 32-63, in order.
  ENGRAM_ALWAYS_INLINE __attribute__((target("avx512f,avx512bw,avx512vbmi"))) void in_order(
      const std::byte* codes, U16x32& first, U16x32& second, U8x64& top) const noexcept {
    I64x8Index eights;
    __builtin_memcpy(&eights, codes, 64);
    eights = __builtin_shufflevector(eights, eights, 0, 4, 1, 5, 2, 6, 3, 7);
    interleaved((U8x64)eights, first, second, top);
  }
};

/// Adds `shift` (k << 7 in both halves of each 32 bits) to every bf16 but zeros: a product by 2^k,
/// exact where the result is a normal number.
ENGRAM_ALWAYS_INLINE __attribute__((target("avx512f,avx512bw"))) void scale_bf16(
    U16x32& values, const U32x16& shift) noexcept {
  U16x32 magnitude{};
  magnitude += 0x7FFF;  // (nvcc does not survive a constant vector made in one expression)
  std::uint64_t not_zero;
  __asm__("vptestmw %2, %1, %0" : "=Yk"(not_zero) : "v"(values), "v"(magnitude));
  __asm__("vpaddw %1, %0, %0%{%2%}" : "+v"(values) : "v"(shift), "Yk"(not_zero));
}

#endif  // ENGRAM_X86_TARGETS
ENGRAM_END_NAMESPACE
