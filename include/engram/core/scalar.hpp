// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The small number formats of stored rows and weights: bf16, f16, e4m3 (the "fn" variant) and the
// power-of-two scale e8m0. Everything is done on bits, so that no compiler flag and no processor
// mode (-ffast-math, flush to zero) changes a value.

#include <engram/core/ids.hpp>

#include <concepts>

ENGRAM_BEGIN_NAMESPACE

/// bfloat16: the upper half of a float.
struct Bf16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(Bf16, Bf16) = default;
};

/// IEEE half precision.
struct F16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(F16, F16) = default;
};

/// 8-bit float: sign, 4 exponent bits (bias 7), 3 mantissa bits; no infinities, 0x7F and 0xFF are
/// NaN, the largest value is 448, the smallest 2^-9.
struct E4m3 {
  std::uint8_t bits = 0;
  friend constexpr bool operator==(E4m3, E4m3) = default;
};

/// 8-bit scale: 2^(bits - 127); 255 is NaN; 0 is 2^-127, which is subnormal as a float.
struct E8m0 {
  std::uint8_t bits = 127;
  friend constexpr bool operator==(E8m0, E8m0) = default;
};

/// What hidden states, decoded rows and weights are made of.
template <class T>
concept Element = std::same_as<T, float> || std::same_as<T, Bf16> || std::same_as<T, F16>;

namespace float_bits {
inline constexpr std::uint32_t sign = 0x80000000;
inline constexpr std::uint32_t infinity = 0x7F800000;
inline constexpr std::uint32_t nan = 0x7FC00000;
inline constexpr std::uint32_t implicit_one = 0x00800000;
}  // namespace float_bits

ENGRAM_HD constexpr std::uint32_t to_bits(float x) noexcept {
  return __builtin_bit_cast(std::uint32_t, x);
}
ENGRAM_HD constexpr float from_bits(std::uint32_t bits) noexcept {
  return __builtin_bit_cast(float, bits);
}
ENGRAM_HD constexpr bool is_nan(float x) noexcept {
  return (to_bits(x) & ~float_bits::sign) > float_bits::infinity;
}
/// Neither NaN nor infinite, by bits: right under -ffast-math too.
ENGRAM_HD constexpr bool is_finite(float x) noexcept {
  return (to_bits(x) & ~float_bits::sign) < float_bits::infinity;
}

ENGRAM_HD constexpr float to_float(float x) noexcept { return x; }

ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr float to_float(Bf16 x) noexcept {
  return from_bits(std::uint32_t{x.bits} << 16);
}

ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr float to_float(F16 x) noexcept {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  std::uint32_t exponent = (x.bits >> 10) & 31u;
  std::uint32_t mantissa = x.bits & 0x3FFu;
  if (exponent == 31) return from_bits(sign | float_bits::infinity | (mantissa << 13));
  if (exponent == 0) {
    if (mantissa == 0) return from_bits(sign);
    for (exponent = 1; (mantissa & 0x400) == 0; mantissa <<= 1) --exponent;
    mantissa &= 0x3FF;
  }
  return from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr float to_float(E4m3 x) noexcept {
  const std::uint32_t sign = (x.bits & 0x80u) << 24;
  const std::uint32_t magnitude = x.bits & 0x7Fu;
  if (magnitude == 0x7F) return from_bits(sign | float_bits::nan);
  if (magnitude >= 8) return from_bits(sign | ((magnitude << 20) + (120u << 23)));
  // m * 2^-9: the bits of the integer m as a float, nine exponents lower.
  return from_bits(sign |
                   (magnitude == 0 ? 0 : to_bits(static_cast<float>(magnitude)) - (9u << 23)));
}

ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr float to_float(E8m0 x) noexcept {
  if (x.bits == 255) return from_bits(float_bits::nan);
  return from_bits(x.bits == 0 ? float_bits::implicit_one >> 1 : std::uint32_t{x.bits} << 23);
}

/// code * 2^(scale - 127), as a float product gives it: exact, subnormals included; infinity when
/// beyond the largest float; NaN when either is.
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr float scaled(E4m3 code, E8m0 scale) noexcept {
  const std::uint32_t bits = to_bits(to_float(code));
  const std::uint32_t sign = bits & float_bits::sign;
  const std::uint32_t magnitude = bits & ~float_bits::sign;
  if (scale.bits == 255 || magnitude > float_bits::infinity)
    return from_bits(sign | float_bits::nan);
  if (magnitude == 0) return from_bits(sign);
  const int exponent = static_cast<int>(magnitude >> 23) + scale.bits - 127;
  const std::uint32_t mantissa = magnitude & (float_bits::implicit_one - 1);
  if (exponent >= 255) return from_bits(sign | float_bits::infinity);
  if (exponent >= 1)
    return from_bits(sign | (static_cast<std::uint32_t>(exponent) << 23) | mantissa);
  return from_bits(sign | ((mantissa | float_bits::implicit_one) >> (1 - exponent)));
}

/// The nearest bf16, ties to even; NaN stays NaN (quiet).
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr Bf16 to_bf16(float x) noexcept {
  const std::uint32_t bits = to_bits(x);
  if (is_nan(x)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}

/// The nearest f16, ties to even; beyond 65504 infinity; NaN stays NaN (quiet).
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr F16 to_f16(float x) noexcept {
  const std::uint32_t bits = to_bits(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000;
  const std::uint32_t magnitude = bits & ~float_bits::sign;
  if (magnitude > float_bits::infinity)
    return {static_cast<std::uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF))};
  if (magnitude >= 0x477FF000)  // rounds to 2^16 or more
    return {static_cast<std::uint16_t>(sign | 0x7C00)};
  if (magnitude >= 0x38800000)  // normal: 2^-14 or more
    return {static_cast<std::uint16_t>(
        sign | ((magnitude - (112u << 23) + 0xFFF + ((magnitude >> 13) & 1)) >> 13))};
  if (magnitude < 0x33000000) return {static_cast<std::uint16_t>(sign)};  // below half of 2^-24
  const std::uint32_t shift = 126 - (magnitude >> 23);
  const std::uint32_t significand =
      (magnitude & (float_bits::implicit_one - 1)) | float_bits::implicit_one;
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t rest = significand - (kept << shift);
  const std::uint32_t half = 1u << (shift - 1);
  return {static_cast<std::uint16_t>(
      sign | (kept + (rest > half || (rest == half && (kept & 1) == 1) ? 1u : 0u)))};
}

/// The nearest e4m3, ties to even, of x limited to [-448, 448]; NaN stays NaN.
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr E4m3 to_e4m3(float x) noexcept {
  const std::uint32_t bits = to_bits(x);
  const std::uint32_t sign = (bits >> 24) & 0x80;
  std::uint32_t magnitude = bits & ~float_bits::sign;
  if (magnitude > float_bits::infinity) return {static_cast<std::uint8_t>(sign | 0x7F)};
  constexpr std::uint32_t largest = 0x43E00000;  // 448
  if (magnitude > largest) magnitude = largest;
  if (magnitude >= 0x3C800000)  // normal: 2^-6 or more
    return {static_cast<std::uint8_t>(
        sign | ((magnitude - (120u << 23) + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20))};
  if (magnitude < 0x3A800000) return {static_cast<std::uint8_t>(sign)};  // below half of 2^-9
  const std::uint32_t shift = 141 - (magnitude >> 23);
  const std::uint32_t significand =
      (magnitude & (float_bits::implicit_one - 1)) | float_bits::implicit_one;
  const std::uint32_t kept = significand >> shift;
  const std::uint32_t rest = significand - (kept << shift);
  const std::uint32_t half = 1u << (shift - 1);
  return {static_cast<std::uint8_t>(
      sign | (kept + (rest > half || (rest == half && (kept & 1) == 1) ? 1u : 0u)))};
}

/// x as an element of that type, rounded to nearest, ties to even.
template <Element T>
ENGRAM_HD ENGRAM_ALWAYS_INLINE constexpr T from_float(float x) noexcept {
  if constexpr (std::same_as<T, Bf16>)
    return to_bf16(x);
  else if constexpr (std::same_as<T, F16>)
    return to_f16(x);
  else
    return x;
}

ENGRAM_END_NAMESPACE
