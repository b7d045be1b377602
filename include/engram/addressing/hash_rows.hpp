// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids of a batch of windows. The plain loop serves every addresser. On x86 processors with
// AVX-512 the remainders of eight heads are taken at once in floating point and corrected to be
// exact; which loop runs is decided at run time, so that a program built with plain -O2 has it.

#include <engram/addressing/modular_hash.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// Windows that are hashed at a time: they and their mixes stay in the first-level cache.
inline constexpr Index window_block = 64;

#if ENGRAM_X86_TARGETS

/// Whether this processor runs the AVX-512 loop.
inline bool has_avx512() noexcept {
  static const bool yes = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
  return yes;
}

/// Whether the calling thread rounds to nearest, as the floating-point quotient below assumes.
inline bool rounds_to_nearest() noexcept {
  const volatile double one = 1.0;
  const volatile double tiny = 0x1p-60;
  return one + tiny == one && one - tiny == one;
}

/// Below this modulus the quotient of a 64-bit mix has too many bits for a double's estimate.
inline constexpr std::uint64_t avx512_smallest_modulus = 1 << 15;

/// hash_window for up to window_block windows, eight columns at a time. The same bits.
///
/// The quotient q = n / d of a mix n < 2^64 by d >= 2^15 is below 2^49. As doubles n, 1 / d and
/// their product are each off by at most 2^-53 of their value (d too when d > 2^53, but then q <
/// 2^11), so the estimate is off by less than 3/16 + 2^-40. Adding 1.5 * 2^52 gives a sum in [2^52,
/// 2^53), whose low bits are the estimate rounded to an integer, off by 1/2 more: less than 11/16
/// in all. So n - q * d lies strictly between -d and d, and one addition of d makes it the
/// remainder. No value is subnormal (flush-to-zero does not matter), and the sum is read as bits
/// (so that -ffast-math cannot cancel the constant). Not for compilers told to divide
/// approximately.
template <class Mix, class Row>
__attribute__((target("avx512f,avx512dq"))) void hash_windows_avx512(const ModularHashRef& hash,
                                                                     const NgramWindow* windows,
                                                                     Index count, Row* rows,
                                                                     Index stride) noexcept {
  using U64x8 = std::uint64_t __attribute__((vector_size(64)));
  using I64x8 = std::int64_t __attribute__((vector_size(64)));
  using F64x8 = double __attribute__((vector_size(64)));
  using I32x8 = std::int32_t __attribute__((vector_size(32)));
  std::uint64_t mixes[window_block][max_order];
  double as_double[window_block][max_order];

  // The mixes of all orders at once: products side by side, then each combined with those before
  // it.
  const auto combine = [](U64x8& mix, const U64x8& with) {
    if constexpr (Mix::kind == Mixer::polynomial) {
      mix += with;
    } else {
      mix ^= with;
    }
  };
  U64x8 multipliers;
  __builtin_memcpy(&multipliers, hash.multipliers, 64);
  const I64x8 pad = I64x8{} + hash.pad;
  const U64x8 none{};
  for (Index t = 0; t < count; ++t) {
    I32x8 narrow;
    __builtin_memcpy(&narrow, windows[t].ids, 32);
    const I64x8 ids = __builtin_convertvector(narrow, I64x8);
    const I64x8 blocked = ids >> 63;
    U64x8 mix = (U64x8)((ids & ~blocked) | (pad & blocked)) * multipliers;
    combine(mix, __builtin_shufflevector(mix, none, 8, 0, 1, 2, 3, 4, 5, 6));
    combine(mix, __builtin_shufflevector(mix, none, 8, 8, 0, 1, 2, 3, 4, 5));
    combine(mix, __builtin_shufflevector(mix, none, 8, 8, 8, 8, 0, 1, 2, 3));
    mix ^= U64x8{} + hash.salt;
    const F64x8 real = __builtin_convertvector(mix, F64x8);
    __builtin_memcpy(mixes[t], &mix, 64);
    __builtin_memcpy(as_double[t], &real, 64);
  }

  const F64x8 round = F64x8{} + 0x1.8p52;
  const U64x8 round_bits = (U64x8)round;
  Index column = 0;
  for (int order = 1; order <= hash.orders; ++order) {
    for (int left = hash.heads; left > 0; left -= 8) {
      U64x8 divisor;
      I64x8 offset;
      __builtin_memcpy(&divisor, hash.divisors + column, 64);
      __builtin_memcpy(&offset, hash.offsets + column, 64);
      const F64x8 inverse = 1.0 / __builtin_convertvector(divisor, F64x8);
      const int lanes = left < 8 ? left : 8;
      Row* out = rows + column;
      for (Index t = 0; t < count; ++t, out += stride) {
        const U64x8 quotient = (U64x8)(as_double[t][order] * inverse + round) - round_bits;
        const I64x8 rest = (I64x8)(mixes[t][order] - quotient * divisor);
        const I64x8 row = rest + ((I64x8)divisor & (rest >> 63)) + offset;
        if (lanes < 8) {
          for (int lane = 0; lane < lanes; ++lane) out[lane] = static_cast<Row>(row[lane]);
        } else if constexpr (sizeof(Row) == 8) {
          __builtin_memcpy(out, &row, 64);
        } else {
          const I32x8 short_row = __builtin_convertvector(row, I32x8);
          __builtin_memcpy(out, &short_row, 32);
        }
      }
      column += lanes;
    }
  }
}

#endif  // ENGRAM_X86_TARGETS

/// The rows of `count` windows in every layer. Writes nothing else.
///
/// rows  [count, L, H] int32 or int64, wide enough for the last row, token and layer strides free,
///       host memory.
template <Addresser A, class Row>
void address_windows(const A& addresser, const NgramWindow* windows, Index count,
                     View<Row, 3> rows) noexcept {
  RowId ids[(max_order - 1) * max_heads];
  for (Index t = 0; t < count; ++t) {
    for (int l = 0; l < addresser.num_layers(); ++l) {
      addresser.address(l, windows[t], ids);
      for (Index c = 0; c < addresser.num_columns(); ++c)
        rows(t, l, c) = static_cast<Row>(to_integer(ids[c]));
    }
  }
}

/// The same for remainder hashes.
template <class Mix, class Row>
void address_windows(const ModularHash<Mix>& addresser, const NgramWindow* windows, Index count,
                     View<Row, 3> rows) noexcept {
#if ENGRAM_X86_TARGETS
  const bool wide = has_avx512() && addresser.smallest_modulus() >= avx512_smallest_modulus &&
                    rounds_to_nearest();
#endif
  for (int l = 0; l < addresser.num_layers(); ++l) {
    const ModularHashRef hash = addresser.ref(l);
    const View<Row, 2> layer = rows.template at<1>(l);
#if ENGRAM_X86_TARGETS
    if (wide) {
      for (Index t = 0; t < count; t += window_block)
        hash_windows_avx512<Mix>(hash, windows + t,
                                 count - t < window_block ? count - t : window_block,
                                 layer.data() + t * layer.stride(0), layer.stride(0));
      continue;
    }
#endif
    for (Index t = 0; t < count; ++t)
      hash_window<Mix>(hash, windows[t], layer.data() + t * layer.stride(0));
  }
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
