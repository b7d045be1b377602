// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows stored as plain numbers: float, bf16 or f16, one behind the other, at any address.

#include <engram/codec/codec.hpp>
#include <engram/core/lanes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Rows of T. Widening to float is exact for all three types; NaN stays NaN.
template <Element T>
struct PlainCodec {
  static constexpr Index size = sizeof(T);

  ENGRAM_HD constexpr Index code_bytes(Index width) const noexcept {
    return width > 0 && width <= INT64_MAX / size ? width * size : -1;
  }
  ENGRAM_HD constexpr Index scale_bytes(Index) const noexcept { return 0; }
  ENGRAM_HD ENGRAM_ALWAYS_INLINE float value(RowBytes row, Index d) const noexcept {
    T element;
    __builtin_memcpy(static_cast<void*>(&element), row.codes + d * size, sizeof(T));
    return to_float(element);
  }
};
using F32Codec = PlainCodec<float>;
using Bf16Codec = PlainCodec<Bf16>;
using F16Codec = PlainCodec<F16>;
static_assert(check_row_codec<F32Codec>() && check_row_codec<Bf16Codec>() &&
              check_row_codec<F16Codec>());

/// decode_row with the lanes of the running loop: a copy when the row already has the type asked
/// for.
template <class Lanes, Element T, Element Out>
ENGRAM_ALWAYS_INLINE void decode_row(const Lanes& lanes, const PlainCodec<T>&, RowBytes row,
                                     Index width, Out* out) noexcept {
  if constexpr (std::is_same_v<T, Out>) {
    lanes.copy(out, row.codes, width * PlainCodec<T>::size);
  } else {
    for (Index d = 0; d < width; d += lanes.width)
      lanes.store(out + d,
                  lanes.template load_bytes<T>(row.codes + d * PlainCodec<T>::size, width - d),
                  width - d);
  }
}

ENGRAM_END_NAMESPACE
