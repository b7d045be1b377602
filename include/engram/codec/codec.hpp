// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns a row's bytes into numbers. A codec knows nothing of where the bytes
// are.

#include <engram/codec/row_bytes.hpp>
#include <engram/core/scalar.hpp>

#include <concepts>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// Row codec: a row's bytes -> its elements.
///
/// Semantics (docs/concepts.md): `code_bytes(width)` and `scale_bytes(width)` are what a row of
/// `width` elements takes, -1 when no row has that width; `value(row, d)` is element d as a float,
/// exact, defined for every byte pattern, pure; rows may stand at any address. Trivially copyable,
/// so that kernels can hold it.
template <class C>
concept RowCodec = std::is_trivially_copyable_v<C> &&
    requires(const C c, Index width, RowBytes row) {
  { c.code_bytes(width) } -> std::same_as<Index>;
  { c.scale_bytes(width) } -> std::same_as<Index>;
  { c.value(row, width) } -> std::same_as<float>;
};

/// One sentence for each operation that C lacks; true when C models RowCodec.
template <class C>
constexpr bool check_row_codec() {
  static_assert(std::is_trivially_copyable_v<C>, "engram: a RowCodec must be trivially copyable");
  static_assert(
      requires(const C c, Index width) {
        { c.code_bytes(width) } -> std::same_as<Index>;
      },
      "engram: a RowCodec needs 'Index code_bytes(Index width) const'");
  static_assert(
      requires(const C c, Index width) {
        { c.scale_bytes(width) } -> std::same_as<Index>;
      },
      "engram: a RowCodec needs 'Index scale_bytes(Index width) const'");
  static_assert(
      requires(const C c, RowBytes row, Index d) {
        { c.value(row, d) } -> std::same_as<float>;
      },
      "engram: a RowCodec needs 'float value(RowBytes row, Index d) const'");
  return RowCodec<C>;
}

/// All elements of a row, rounded to Out. The plain loop, for every codec; the library's codecs
/// have faster ones beside them, which give the same bits.
template <class Lanes, RowCodec C, Element Out>
ENGRAM_ALWAYS_INLINE void decode_row(const Lanes&, const C& codec, RowBytes row, Index width,
                                     Out* out) noexcept {
  for (Index d = 0; d < width; ++d) out[d] = from_float<Out>(codec.value(row, d));
}

ENGRAM_END_NAMESPACE
