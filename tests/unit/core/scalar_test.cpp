// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every bit pattern of the small formats against arithmetic in double (ldexp), and every boundary
// between two neighbours against a search. Comparisons are of bits, so that they hold under
// -ffast-math, where the processor reads subnormal floats as zero.
#include <algorithm>
#include <bit>
#include <catch.hpp>
#include <cmath>
#include <engram/core/scalar.hpp>
#include <limits>
#include <random.hpp>
#include <vector>

using namespace engram;

namespace {

constexpr std::uint32_t sign_bit = 0x80000000;
constexpr std::uint32_t infinity_bits = 0x7F800000;

/// The bits of the float that is exactly x, a finite double in a float's range; else quiet_bug.
constexpr std::uint32_t quiet_bug = 0x7FABCDEF;
std::uint32_t exact_bits(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const auto sign = static_cast<std::uint32_t>(bits >> 63) << 31;
  const int exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1023;
  const std::uint64_t fraction = bits & 0xFFFFFFFFFFFFF;
  if ((bits << 1) == 0) return sign;
  if (exponent > 127 || exponent < -149) return quiet_bug;
  const int drop = exponent >= -126 ? 29 : 29 - 126 - exponent;
  const std::uint64_t whole = exponent >= -126 ? fraction : fraction | (std::uint64_t{1} << 52);
  if (whole & ((std::uint64_t{1} << drop) - 1)) return quiet_bug;
  const auto biased = exponent >= -126 ? static_cast<std::uint32_t>(exponent + 127) << 23 : 0;
  return sign | biased | static_cast<std::uint32_t>(whole >> drop);
}

/// The value of a finite float, from its bits.
double double_of(std::uint32_t bits) {
  const int exponent = static_cast<int>((bits >> 23) & 0xFF);
  const auto fraction = static_cast<double>(bits & 0x7FFFFF);
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -149) : std::ldexp(fraction + 0x1p23, exponent - 150);
  return (bits & sign_bit) != 0 ? -magnitude : magnitude;
}

bool is_nan_bits(std::uint32_t bits) { return (bits & ~sign_bit) > infinity_bits; }

/// A format by its numbers: what its magnitudes are worth, in order.
struct Format {
  int fraction_bits;
  int bias;
  std::uint32_t largest;  ///< the last finite magnitude

  double value(std::uint32_t magnitude) const {
    const int exponent = static_cast<int>(magnitude >> fraction_bits);
    const std::uint32_t one = 1u << fraction_bits;
    const std::uint32_t fraction = magnitude & (one - 1);
    return exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                         : std::ldexp(fraction + one, exponent - bias - fraction_bits);
  }
};
constexpr Format f16{10, 15, 0x7BFF};
constexpr Format bf16{7, 127, 0x7F7F};
constexpr Format e4m3{3, 7, 0x7E};

/// The magnitude nearest to |x|, ties to even, `largest + 1` standing for infinity.
std::uint32_t nearest(const Format& format, double x) {
  x = std::fabs(x);
  std::uint32_t low = 0, high = format.largest + 1;  // value(low) <= x < value(high)
  if (x >= format.value(high)) return high;
  while (high - low > 1) {
    const std::uint32_t middle = (low + high) / 2;
    (format.value(middle) <= x ? low : high) = middle;
  }
  const double below = x - format.value(low);
  const double above = format.value(high) - x;
  return below < above || (below == above && low % 2 == 0) ? low : high;
}

/// Counts disagreements and keeps the first, because a CHECK for each of millions is slow.
struct Mismatches {
  std::uint64_t count = 0;
  std::uint64_t first = 0;
  void compare(std::uint64_t found, std::uint64_t expected, std::uint64_t where) {
    if (found == expected) return;
    if (count++ == 0) first = where;
  }
};
#define CHECK_NONE(m)                           \
  do {                                          \
    INFO("first at " << std::hex << (m).first); \
    CHECK((m).count == 0);                      \
  } while (false)

/// What encoding each of a float's bit patterns has to give, but for NaN.
template <class Encode>
void check_encode(const Format& format, unsigned sign_shift, bool saturates, const Encode& encode) {
  Mismatches wrong;
  const auto check = [&](std::uint32_t bits) {
    const bool infinite = (bits & ~sign_bit) == infinity_bits;
    std::uint32_t expected = infinite ? format.largest + 1 : nearest(format, double_of(bits));
    if (saturates && expected > format.largest) expected = format.largest;
    wrong.compare(encode(from_bits(bits)), expected | ((bits >> 31) << sign_shift), bits);
  };
  for (std::uint32_t m = 0; m <= format.largest; ++m) {  // every value, tie, and their neighbours
    for (const double x :
         {format.value(m), format.value(m) / 2 + format.value(m + 1) / 2, format.value(m + 1)}) {
      if (x >= 0x1p128) continue;
      const std::uint32_t bits = exact_bits(x);
      REQUIRE(bits != quiet_bug);
      for (const std::uint32_t at : {bits, bits + 1, bits == 0 ? 0 : bits - 1})
        for (const std::uint32_t sign : {0u, sign_bit})
          if (!is_nan_bits(at)) check(at | sign);
    }
  }
  Random random(99);
  for (int i = 0; i < 300000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random.bits());
    if (!is_nan_bits(bits)) check(bits);
  }
  for (std::uint32_t exponent = 0; exponent < 256; ++exponent)
    for (const std::uint32_t fraction : {0u, 1u, 0x3FFFFFu, 0x400000u, 0x7FFFFFu})
      if (const std::uint32_t bits = (exponent << 23) | fraction; !is_nan_bits(bits)) check(bits);
  CHECK_NONE(wrong);
}

}  // namespace

TEST_CASE("scalar: every f16 and bf16 has its value") {
  Mismatches wrong;
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    const std::uint32_t sign = (code & 0x8000) << 16;
    const std::uint32_t magnitude = code & 0x7FFF;
    const std::uint32_t half = to_bits(to_float(F16{static_cast<std::uint16_t>(code)}));
    const std::uint32_t brain = to_bits(to_float(Bf16{static_cast<std::uint16_t>(code)}));
    if (magnitude <= f16.largest)
      wrong.compare(half, sign | exact_bits(f16.value(magnitude)), code);
    else if (magnitude == f16.largest + 1)
      wrong.compare(half, sign | infinity_bits, code);
    else  // the payload moves up with the fraction
      wrong.compare(half, sign | infinity_bits | ((magnitude & 0x3FF) << 13), code);
    if (magnitude <= bf16.largest)
      wrong.compare(brain, sign | exact_bits(bf16.value(magnitude)), code);
    else
      wrong.compare(brain, sign | (magnitude << 16), code);
  }
  CHECK_NONE(wrong);
}

TEST_CASE("scalar: every e4m3 and e8m0 has its value") {
  Mismatches wrong;
  for (std::uint32_t code = 0; code < 0x100; ++code) {
    const std::uint32_t small = to_bits(to_float(E4m3{static_cast<std::uint8_t>(code)}));
    const std::uint32_t scale = to_bits(to_float(E8m0{static_cast<std::uint8_t>(code)}));
    if ((code & 0x7F) == 0x7F)
      CHECK(is_nan_bits(small));
    else
      wrong.compare(small, ((code & 0x80) << 24) | exact_bits(e4m3.value(code & 0x7F)), code);
    if (code == 255)
      CHECK(is_nan_bits(scale));
    else
      wrong.compare(scale, exact_bits(std::ldexp(1.0, static_cast<int>(code) - 127)), code);
  }
  CHECK_NONE(wrong);
}

TEST_CASE("scalar: every code times every scale, subnormals and overflow included") {
  Mismatches wrong;
  for (std::uint32_t code = 0; code < 0x100; ++code)
    for (std::uint32_t scale = 0; scale < 0x100; ++scale) {
      const std::uint32_t found = to_bits(
          scaled(E4m3{static_cast<std::uint8_t>(code)}, E8m0{static_cast<std::uint8_t>(scale)}));
      const std::uint32_t where = code << 8 | scale;
      if ((code & 0x7F) == 0x7F || scale == 255) {
        wrong.compare(is_nan_bits(found), true, where);
        continue;
      }
      const double x = std::ldexp(e4m3.value(code & 0x7F), static_cast<int>(scale) - 127);
      const std::uint32_t magnitude = x >= 0x1p128 ? infinity_bits : exact_bits(x);
      wrong.compare(found, ((code & 0x80) << 24) | magnitude, where);
    }
  CHECK_NONE(wrong);
}

TEST_CASE("scalar: f16 is the nearest, ties to even, infinity from 65520 on") {
  check_encode(f16, 15, false, [](float x) { return to_f16(x).bits; });
  CHECK(to_f16(65519.996f).bits == 0x7BFF);
  CHECK(to_f16(65520.0f).bits == 0x7C00);
  CHECK(to_f16(-65520.0f).bits == 0xFC00);
  CHECK(to_f16(0x1p-25f).bits == 0);  // a tie between 0 and the smallest
  CHECK(to_f16(-0.0f).bits == 0x8000);
}

TEST_CASE("scalar: bf16 is the nearest, ties to even, infinity where it rounds beyond the last") {
  check_encode(bf16, 15, false, [](float x) { return to_bf16(x).bits; });
  CHECK(to_bf16(from_bits(0x7F7F7FFF)).bits == 0x7F7F);
  CHECK(to_bf16(from_bits(0x7F7F8000)).bits == 0x7F80);
  CHECK(to_bf16(from_bits(0x80000001)).bits == 0x8000);  // rounds to zero and keeps the sign
}

TEST_CASE("scalar: e4m3 is the nearest, ties to even, and never beyond 448") {
  check_encode(e4m3, 7, true, [](float x) { return to_e4m3(x).bits; });
  CHECK(to_e4m3(from_bits(infinity_bits)).bits == 0x7E);
  CHECK(to_e4m3(from_bits(infinity_bits | sign_bit)).bits == 0xFE);
  CHECK(to_e4m3(1e30f).bits == 0x7E);
  CHECK(to_e4m3(464.0f).bits == 0x7E);  // the tie with what would be 480
  CHECK(to_e4m3(0x1p-10f).bits == 0);
}

TEST_CASE("scalar: NaN stays NaN, quiet, with its sign") {
  for (const std::uint32_t sign : {0u, sign_bit})
    for (const std::uint32_t payload :
         {1u, 0x1FFFu, 0x2000u, 0xFFFFu, 0x10000u, 0x3FFFFFu, 0x400000u, 0x400001u, 0x7FFFFFu}) {
      const float x = from_bits(sign | infinity_bits | payload);
      CHECK(is_nan(x));
      const std::uint16_t half = to_f16(x).bits;
      CHECK((half & 0x7E00) == 0x7E00);
      CHECK((half >> 15) == (sign >> 31));
      const std::uint16_t brain = to_bf16(x).bits;
      CHECK((brain & 0x7FC0) == 0x7FC0);
      CHECK((brain >> 15) == (sign >> 31));
      CHECK(to_e4m3(x).bits == (sign == 0 ? 0x7F : 0xFF));
    }
  CHECK_FALSE(is_nan(from_bits(infinity_bits)));
  CHECK_FALSE(is_nan(from_bits(infinity_bits | sign_bit)));
  CHECK_FALSE(is_nan(0.0f));
}

TEST_CASE("scalar: to float and back is the same code, NaN included when it is quiet") {
  Mismatches wrong;
  for (std::uint32_t code = 0; code < 0x10000; ++code) {
    const F16 half{static_cast<std::uint16_t>(code)};
    const Bf16 brain{static_cast<std::uint16_t>(code)};
    const bool is_half_nan = (code & 0x7FFF) > 0x7C00;
    const bool is_brain_nan = (code & 0x7FFF) > 0x7F80;
    wrong.compare(from_float<F16>(to_float(half)).bits, is_half_nan ? code | 0x200 : code, code);
    wrong.compare(from_float<Bf16>(to_float(brain)).bits, is_brain_nan ? code | 0x40 : code, code);
  }
  for (std::uint32_t code = 0; code < 0x100; ++code) {
    const E4m3 small{static_cast<std::uint8_t>(code)};
    wrong.compare(to_e4m3(to_float(small)).bits, code, code);
  }
  CHECK_NONE(wrong);
  for (const std::uint32_t bits : {0u, sign_bit, 1u, 0x7F800001u, 0xFFFFFFFFu, 0x3F800000u})
    CHECK(to_bits(from_float<float>(from_bits(bits))) == bits);
}

TEST_CASE("scalar: the conversions are constant expressions, and the types what files hold") {
  static_assert(to_f16(1.5f).bits == 0x3E00 && to_bf16(1.5f).bits == 0x3FC0);
  static_assert(to_e4m3(1.5f).bits == 0x3C && to_float(E4m3{0x3C}) == 1.5f);
  static_assert(scaled(E4m3{0x3C}, E8m0{128}) == 3.0f && to_float(E8m0{}) == 1.0f);
  static_assert(sizeof(Bf16) == 2 && sizeof(F16) == 2 && sizeof(E4m3) == 1 && sizeof(E8m0) == 1);
  static_assert(!Element<double> && !Element<E4m3> && !Element<const float>);
  CHECK(to_float(F16{}) == 0.0f);
}
