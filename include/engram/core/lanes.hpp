// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A group of 32 logical lanes that work on one item together: on the CPU a few vector registers,
// on a GPU a warp. A loop over a row is written once in terms of lanes; lane l takes the elements
// l, l + 32, l + 64 and so on, and sums over the lanes are taken pairwise in a fixed order. So the
// order of every sum depends on the number of elements alone, on any processor.

#include <engram/core/math.hpp>
#include <engram/core/scalar.hpp>

#include <cstddef>

ENGRAM_BEGIN_NAMESPACE

/// Vector types of 16, 32 or 64 bytes, spelled out because an attribute may not depend on a
/// template's parameter.
template <int Bytes>
struct HostVectors;
template <>
struct HostVectors<16> {
  using F32 = float __attribute__((vector_size(16)));
  using U32 = std::uint32_t __attribute__((vector_size(16)));
  using U64 = std::uint64_t __attribute__((vector_size(16)));
  using I32 = std::int32_t __attribute__((vector_size(16)));
  using U16 = std::uint16_t __attribute__((vector_size(8)));
};
template <>
struct HostVectors<32> {
  using F32 = float __attribute__((vector_size(32)));
  using U32 = std::uint32_t __attribute__((vector_size(32)));
  using U64 = std::uint64_t __attribute__((vector_size(32)));
  using I32 = std::int32_t __attribute__((vector_size(32)));
  using U16 = std::uint16_t __attribute__((vector_size(16)));
};
template <>
struct HostVectors<64> {
  using F32 = float __attribute__((vector_size(64)));
  using U32 = std::uint32_t __attribute__((vector_size(64)));
  using U64 = std::uint64_t __attribute__((vector_size(64)));
  using I32 = std::int32_t __attribute__((vector_size(64)));
  using U16 = std::uint16_t __attribute__((vector_size(32)));
};

/// The lanes of a CPU with vector registers of `Bytes` bytes (16, 32 or 64).
template <int Bytes>
struct HostLanes {
  static constexpr int width = 32;
  static constexpr int bytes = Bytes;
  static constexpr int per_vector = Bytes / 4;
  static constexpr int vectors = width / per_vector;
  using F32 = typename HostVectors<Bytes>::F32;
  using U32 = typename HostVectors<Bytes>::U32;
  using I32 = typename HostVectors<Bytes>::I32;
  using U16 = typename HostVectors<Bytes>::U16;

  /// One float for each lane.
  struct Float {
    F32 part[vectors];

    ENGRAM_ALWAYS_INLINE Float& operator+=(const Float& b) noexcept {
      for (int i = 0; i < vectors; ++i) part[i] += b.part[i];
      return *this;
    }
    ENGRAM_ALWAYS_INLINE friend Float operator+(const Float& a, const Float& b) noexcept {
      Float c;
      for (int i = 0; i < vectors; ++i) c.part[i] = a.part[i] + b.part[i];
      return c;
    }
    ENGRAM_ALWAYS_INLINE friend Float operator*(const Float& a, const Float& b) noexcept {
      Float c;
      for (int i = 0; i < vectors; ++i) c.part[i] = a.part[i] * b.part[i];
      return c;
    }
    ENGRAM_ALWAYS_INLINE friend Float operator/(const Float& a, const Float& b) noexcept {
      Float c;
      for (int i = 0; i < vectors; ++i) c.part[i] = a.part[i] / b.part[i];
      return c;
    }
  };

  /// The same float in every lane.
  ENGRAM_ALWAYS_INLINE static Float all(float x) noexcept {
    Float f;
    for (int i = 0; i < vectors; ++i) f.part[i] = F32{} + x;
    return f;
  }

  /// Elements at[0] to at[31]; those from `count` on are 0 and not touched.
  template <Element T>
  ENGRAM_ALWAYS_INLINE static Float load(const T* at, Index count = width) noexcept {
    Float f;
    if (count >= width) {
      for (int i = 0; i < vectors; ++i) load_vector(at + i * per_vector, f.part[i]);
      return f;
    }
    float lane[width] = {};
    for (Index l = 0; l < count; ++l) lane[l] = to_float(at[l]);
    __builtin_memcpy(f.part, lane, sizeof lane);
    return f;
  }

  /// The same from memory of any alignment.
  template <Element T>
  ENGRAM_ALWAYS_INLINE static Float load_bytes(const std::byte* at, Index count = width) noexcept {
    T elements[width] = {};
    const Index some = count < width ? count : width;
    __builtin_memcpy(static_cast<void*>(elements), at, static_cast<std::size_t>(some) * sizeof(T));
    return load(elements);
  }

  /// Copies bytes between memory of any alignment that does not overlap.
  ENGRAM_ALWAYS_INLINE static void copy(void* to, const std::byte* from, Index size) noexcept {
    auto* out = static_cast<std::byte*>(to);
    Index i = 0;
    ENGRAM_UNROLL(4)
    for (; i + Bytes <= size; i += Bytes) {
      U32 v;
      __builtin_memcpy(&v, from + i, Bytes);
      __builtin_memcpy(out + i, &v, Bytes);
    }
    if (i < size) __builtin_memcpy(out + i, from + i, static_cast<std::size_t>(size - i));
  }

  /// Calls f(0), f(1), ... below `count`, which different lanes may do at once.
  template <class F>
  ENGRAM_ALWAYS_INLINE static void each(Index count, const F& f) noexcept {
    for (Index i = 0; i < count; ++i) f(i);
  }

  /// A number that all lanes share becomes f(number); what it became.
  template <class F>
  ENGRAM_ALWAYS_INLINE static float change_one(float* at, const F& f) noexcept {
    return *at = f(*at);
  }

  /// Writes lanes 0 to count - 1, rounded to T (to nearest, ties to even).
  template <Element T>
  ENGRAM_ALWAYS_INLINE static void store(T* at, const Float& f, Index count = width) noexcept {
    if (count >= width) {
      for (int i = 0; i < vectors; ++i) store_vector(at + i * per_vector, f.part[i]);
      return;
    }
    float lane[width];
    __builtin_memcpy(lane, f.part, sizeof lane);
    for (Index l = 0; l < count; ++l) at[l] = from_float<T>(lane[l]);
  }

  /// The sum over the lanes: lane l plus lane l + 16, then l + 8, 4, 2, 1.
  ENGRAM_ALWAYS_INLINE static float sum(const Float& f) noexcept {
    F32 part[vectors];
    for (int i = 0; i < vectors; ++i) part[i] = f.part[i];
    for (int half = vectors / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return fold(part[0]);
  }

  /// Whether no lane is NaN or infinite.
  ENGRAM_ALWAYS_INLINE static bool all_finite(const Float& f) noexcept {
    I32 outside = {};
    for (int i = 0; i < vectors; ++i) outside |= ((I32)f.part[i] & INT32_MAX) > 0x7F7FFFFF;
    return !any(outside);
  }

  /// The square root of every lane, correctly rounded.
  ENGRAM_ALWAYS_INLINE static Float sqrt(const Float& x) noexcept {
    Float y = x;
    for (int i = 0; i < vectors; ++i) sqrt_vector(y.part[i]);
    return y;
  }

  /// x / (1 + e^-x) in every lane; the divisor stays between 1 and 2.
  ENGRAM_ALWAYS_INLINE static Float silu(const Float& x) noexcept {
    Float falling = x;
    for (int i = 0; i < vectors; ++i) falling.part[i] = (F32)((I32)x.part[i] | INT32_MIN);
    falling = exp(falling);  // of -|x|
    Float y = x / (all(1) + falling);
    for (int i = 0; i < vectors; ++i) {
      const I32 negative = (I32)x.part[i] >> 31;
      const F32 times = (F32)(((I32)falling.part[i] & negative) | (0x3F800000 & ~negative));
      y.part[i] *= times;
    }
    return y;
  }

  /// The derivative of silu: s + x s (1 - s) with s = 1 / (1 + e^-x).
  ENGRAM_ALWAYS_INLINE static Float silu_slope(const Float& x) noexcept {
    Float falling = x;
    for (int i = 0; i < vectors; ++i) falling.part[i] = (F32)((I32)x.part[i] | INT32_MIN);
    falling = exp(falling);  // of -|x|
    const Float upper = all(1) / (all(1) + falling);
    const Float both = falling * upper * upper;  // s (1 - s), the same for x and -x
    Float s = upper;
    for (int i = 0; i < vectors; ++i) {
      const I32 negative = (I32)x.part[i] >> 31;
      const F32 times = (F32)(((I32)falling.part[i] & negative) | (0x3F800000 & ~negative));
      s.part[i] *= times;
    }
    return s + x * both;
  }

  /// e^x in every lane: relative error below 2e-7 (5e-6 where -ffast-math may join the parts of
  /// ln(2)); infinity above 88.72, 0 below -87.33; NaN for NaN.
  ENGRAM_ALWAYS_INLINE static Float exp(const Float& x) noexcept {
    Float e = x;
    for (int i = 0; i < vectors; ++i) exp_vector(e.part[i]);
    return e;
  }

 private:
  // Vectors travel by reference: passed by value they would depend on the instruction set.
  template <class V>
  ENGRAM_ALWAYS_INLINE static float fold(const V& v) noexcept {
    if constexpr (sizeof(V) == 16)
      return (v[0] + v[2]) + (v[1] + v[3]);
    else {
      typename HostVectors<sizeof(V) / 2>::F32 half[2];
      __builtin_memcpy(half, &v, sizeof v);
      half[0] += half[1];
      return fold(half[0]);
    }
  }
  template <class V>
  ENGRAM_ALWAYS_INLINE static bool any(const V& bits) noexcept {
    if constexpr (sizeof(V) == 16) {
      std::uint64_t half[2];
      __builtin_memcpy(half, &bits, sizeof bits);
      return (half[0] | half[1]) != 0;
    } else {
      typename HostVectors<sizeof(V) / 2>::I32 half[2];
      __builtin_memcpy(half, &bits, sizeof bits);
      half[0] |= half[1];
      return any(half[0]);
    }
  }
  // Four lanes at a time: for the sake of errno compilers take sqrtf() one by one.
  ENGRAM_ALWAYS_INLINE static void sqrt_vector(F32& v) noexcept {
#if defined(__SSE__)
    HostVectors<16>::F32 four[Bytes / 16];
    __builtin_memcpy(four, &v, Bytes);
    for (auto& f : four) f = __builtin_ia32_sqrtps(f);
    __builtin_memcpy(&v, four, Bytes);
#else
    for (int l = 0; l < per_vector; ++l) v[l] = square_root(v[l]);
#endif
  }
  ENGRAM_ALWAYS_INLINE static void load_vector(const float* at, F32& v) noexcept {
    __builtin_memcpy(&v, at, Bytes);
  }
  ENGRAM_ALWAYS_INLINE static void load_vector(const Bf16* at, F32& v) noexcept {
    U16 narrow;
    __builtin_memcpy(&narrow, at, Bytes / 2);
    v = (F32)(__builtin_convertvector(narrow, U32) << 16);
  }
  ENGRAM_ALWAYS_INLINE static void load_vector(const F16* at, F32& v) noexcept {
    for (int l = 0; l < per_vector; ++l) v[l] = to_float(at[l]);
  }
  ENGRAM_ALWAYS_INLINE static void store_vector(float* at, const F32& v) noexcept {
    __builtin_memcpy(at, &v, Bytes);
  }
  ENGRAM_ALWAYS_INLINE static void store_vector(Bf16* at, const F32& v) noexcept {
    const U32 bits = (U32)v;
    const U32 rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    const U32 quiet = (bits >> 16) | 0x40;
    const U32 is_nan = (U32)((bits & ~float_bits::sign) > float_bits::infinity);
    const U16 narrow = __builtin_convertvector((quiet & is_nan) | (rounded & ~is_nan), U16);
    __builtin_memcpy(static_cast<void*>(at), &narrow, Bytes / 2);
  }
  ENGRAM_ALWAYS_INLINE static void store_vector(F16* at, const F32& v) noexcept {
    for (int l = 0; l < per_vector; ++l) at[l] = to_f16(v[l]);
  }

  // 2^n * e^r with n the nearest integer to x log2(e), |r| <= ln(2) / 2; the polynomial is the
  // Taylor series to r^7, whose remainder is below 6e-9 there.
  ENGRAM_ALWAYS_INLINE static void exp_vector(F32& x) noexcept {
    const I32 too_small = x < -87.33654f;
    const I32 too_large = x > 88.72283f;
    const I32 is_nan = ((I32)x & INT32_MAX) > 0x7F800000;
    const I32 outside = too_small | too_large | is_nan;
    const F32 y = (F32)((I32)x & ~outside);
    const F32 scaled = y * 1.44269504f;
    const I32 half = ((I32)scaled & INT32_MIN) | 0x3F000000;  // 0.5 with the sign of x
    const I32 n = __builtin_convertvector(scaled + (F32)half, I32);
    const F32 real = __builtin_convertvector(n, F32);
    const F32 r = (y - real * 0.693359375f) + real * 2.12194440e-4f;  // ln(2) in two parts
    F32 p = r * (1.0f / 5040) + (1.0f / 720);
    p = p * r + (1.0f / 120);
    p = p * r + (1.0f / 24);
    p = p * r + (1.0f / 6);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const I32 e = (I32)p + (n << 23);  // on bits: as a factor, 2^128 would be infinite
    const I32 special = (too_large & 0x7F800000) | ((I32)x & is_nan);
    x = (F32)((e & ~outside) | special);
  }
};

ENGRAM_END_NAMESPACE
