// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The 32 lanes of core/lanes.hpp as the 32 threads of a warp: each thread holds one lane's float
// and runs the body itself. What a warp can do that a thread cannot, is asked of `Warp`, so that
// this also runs where there is no GPU (tests/unit/cuda).

#include <engram/core/math.hpp>
#include <engram/core/scalar.hpp>

#include <cstddef>

ENGRAM_BEGIN_NAMESPACE

/// Warp: `int lane()`, this thread's; `float from_lane_xor(float x, int mask)`, what lane() ^ mask
/// gave; `bool all(bool)`. All threads make the same calls.
template <class Warp>
struct WarpLanes {
  static constexpr int width = 32;

  /// One float for each lane: this thread's.
  struct Float {
    float own;

    ENGRAM_HD ENGRAM_ALWAYS_INLINE Float& operator+=(const Float& b) noexcept {
      own += b.own;
      return *this;
    }
    ENGRAM_HD ENGRAM_ALWAYS_INLINE friend Float operator+(const Float& a, const Float& b) noexcept {
      return {a.own + b.own};
    }
    ENGRAM_HD ENGRAM_ALWAYS_INLINE friend Float operator*(const Float& a, const Float& b) noexcept {
      return {a.own * b.own};
    }
    ENGRAM_HD ENGRAM_ALWAYS_INLINE friend Float operator/(const Float& a, const Float& b) noexcept {
      return {a.own / b.own};
    }
  };

  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float all(float x) noexcept { return {x}; }

  /// Elements at[0] to at[31]; those from `count` on are 0 and not touched.
  ENGRAM_ANY_LANES
  template <Element T>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float load(const T* at, Index count = width) noexcept {
    const int lane = Warp::lane();
    return {lane < count ? to_float(at[lane]) : 0.0f};
  }

  /// Copies bytes that do not overlap: 16, 8 or 4 at a time where both begin at a multiple of that.
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static void copy(void* to, const std::byte* from,
                                                  Index size) noexcept {
    struct alignas(16) Sixteen {
      std::uint64_t half[2];
    };
    auto* const out = static_cast<std::byte*>(to);
    const auto places =
        reinterpret_cast<std::uintptr_t>(out) | reinterpret_cast<std::uintptr_t>(from);
    Index done = 0;
    if (places % 16 == 0)
      done = copy_units<Sixteen>(out, from, size);
    else if (places % 8 == 0)
      done = copy_units<std::uint64_t>(out, from, size);
    else if (places % 4 == 0)
      done = copy_units<std::uint32_t>(out, from, size);
    for (Index i = done + Warp::lane(); i < size; i += width) out[i] = from[i];
  }

  /// Calls f(l), f(l + 32), ... below `count` in lane l.
  ENGRAM_ANY_LANES
  template <class F>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static void each(Index count, const F& f) noexcept {
    for (Index i = Warp::lane(); i < count; i += width) f(i);
  }

  /// A number that all lanes share becomes f(number); what it became. One lane reads and writes it.
  ENGRAM_ANY_LANES
  template <class F>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static float change_one(float* at, const F& f) noexcept {
    const bool is_first = Warp::lane() == 0;
    const float after = f(sum({is_first ? *at : 0.0f}));
    if (is_first) *at = after;
    return after;
  }

  /// Writes lanes 0 to count - 1, rounded to T (to nearest, ties to even).
  ENGRAM_ANY_LANES
  template <Element T>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static void store(T* at, const Float& f,
                                                   Index count = width) noexcept {
    if (const int lane = Warp::lane(); lane < count) at[lane] = from_float<T>(f.own);
  }

  /// The sum over the lanes, in every lane: lane l plus lane l + 16, then l + 8, 4, 2, 1.
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static float sum(const Float& f) noexcept {
    float x = f.own;
    for (int half = width / 2; half > 0; half /= 2) x += Warp::from_lane_xor(x, half);
    return x;
  }

  /// The largest |x| of all lanes, as bits; above those of infinity where a lane is NaN.
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static std::uint32_t largest_magnitude(const Float& f) noexcept {
    std::uint32_t own = to_bits(f.own) & ~float_bits::sign;
    for (int half = width / 2; half > 0; half /= 2) {
      const std::uint32_t other = to_bits(Warp::from_lane_xor(from_bits(own), half));
      own = own > other ? own : other;
    }
    return own;
  }

  /// Whether no lane is NaN or infinite.
  ENGRAM_ANY_LANES
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static bool all_finite(const Float& f) noexcept {
    return Warp::all(is_finite(f.own));
  }

  /// The square root of every lane, correctly rounded.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float sqrt(const Float& x) noexcept {
    return {square_root(x.own)};
  }

  /// e^x, as the processor's library gives it.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float exp(const Float& x) noexcept {
    return {exponential(x.own)};
  }

  /// x / (1 + e^-x); the divisor stays between 1 and 2.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float silu(const Float& x) noexcept {
    const float falling = exponential(negative(x.own));
    const float y = x.own / (1.0f + falling);
    return {is_negative(x.own) ? y * falling : y};
  }

  /// The derivative of silu: s + x s (1 - s) with s = 1 / (1 + e^-x).
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Float silu_slope(const Float& x) noexcept {
    const float falling = exponential(negative(x.own));
    const float upper = 1.0f / (1.0f + falling);
    const float both = falling * upper * upper;  // s (1 - s), the same for x and -x
    return {(is_negative(x.own) ? upper * falling : upper) + x.own * both};
  }

 private:
  /// As many whole units as there are; their bytes.
  template <class Unit>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static Index copy_units(std::byte* to, const std::byte* from,
                                                         Index size) noexcept {
    const Index count = size / Index{sizeof(Unit)};
    for (Index i = Warp::lane(); i < count; i += width)
      reinterpret_cast<Unit*>(to)[i] = reinterpret_cast<const Unit*>(from)[i];
    return count * Index{sizeof(Unit)};
  }
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static bool is_negative(float x) noexcept {
    return (to_bits(x) & float_bits::sign) != 0;
  }
  /// -|x|.
  ENGRAM_HD ENGRAM_ALWAYS_INLINE static float negative(float x) noexcept {
    return from_bits(to_bits(x) | float_bits::sign);
  }
};

ENGRAM_END_NAMESPACE
