// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids to decoded rows: each token's H rows one behind the other. Rows lie anywhere in memory,
// so what costs is waiting for it: the lines of a row are asked for well before the row is read.

#include <engram/codec/codec.hpp>
#include <engram/core/device.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// ok, or bad_row at the first id (index: its place in [T * H]) that is neither -1 nor below
/// num_rows, or that makes a token have a row in some columns only.
template <class Row>
Status check_row_ids(View<const Row, 2> rows, Index num_rows) noexcept {
  static_assert(std::is_same_v<Row, std::int32_t> || std::is_same_v<Row, std::int64_t>,
                "engram: row ids are std::int32_t or std::int64_t");
  const auto limit = static_cast<std::uint64_t>(num_rows);
  for (Index t = 0; t < rows.extent(0); ++t) {
    const bool none = rows(t, 0) == -1;
    for (Index c = 0; c < rows.extent(1); ++c)
      if (none ? rows(t, c) != -1
               : static_cast<std::uint64_t>(static_cast<Index>(rows(t, c))) >= limit)
        return {Code::bad_row, 0, t * rows.extent(1) + c};
  }
  return {};
}

/// shape_mismatch unless `out` is [T, H * width] for rows [T, H].
template <class Row, class Out>
Status check_gather_shapes(View<const Row, 2> rows, Index width, View<Out, 2> out) noexcept {
  if (rows.extent(1) < 1) return {Code::shape_mismatch, 0, 1};
  if (out.extent(0) != rows.extent(0)) return {Code::shape_mismatch, 0, rows.extent(0)};
  if (out.extent(1) != rows.extent(1) * width)
    return {Code::shape_mismatch, 0, rows.extent(1) * width};
  return {};
}

ENGRAM_END_LOOPS

/// How many tokens ahead of its use a token's rows are asked for: about 32 rows, or 32 KiB of them.
/// Fewer leave the memory idle while rows are copied (8 rows of 256 bytes: 30 % slower), more begin
/// to push each other out of the second-level cache.
ENGRAM_HD constexpr Index tokens_ahead(Index columns, Index row_bytes) noexcept {
  const Index fitting = 32768 / (row_bytes > 0 ? row_bytes : 1);
  const Index tokens = ((fitting < 32 ? fitting : 32) + columns / 2) / columns;
  return tokens > 0 ? tokens : 1;
}

/// Asks for every line of `bytes` bytes, to be in the second-level cache: the queue of misses in
/// front of the first level is half as long, and fetching into it was 30 % slower.
ENGRAM_ALWAYS_INLINE void prefetch_lines(const std::byte* at, Index bytes) noexcept {
  ENGRAM_UNROLL(4)
  for (Index b = 0; b < bytes; b += 64) __builtin_prefetch(at + b, 0, 2);
  // The last line begins after the last multiple of 64 when `at` lies far enough within a line.
  if ((reinterpret_cast<std::uintptr_t>(at) & 63) > (static_cast<std::uintptr_t>(-bytes) & 63))
    __builtin_prefetch(at + bytes - 1, 0, 2);
}

/// Rows that are elements and nothing else: no scales, also not within blocks.
template <class Codec>
inline constexpr bool is_plain_codec = false;
template <class Codec>
  requires requires {
    typename std::enable_if_t<Codec().scale_bytes(32) == 0 && (Codec().code_bytes(1) > 0)>;
  }
inline constexpr bool is_plain_codec<Codec> = true;

/// Decodes the rows of 32 tokens; the item is their number.
///
/// Ref: row id -> RowBytes. Tokens without rows (id -1) become zeros.
template <class Ref, class Codec, class Row, class Out>
struct GatherBody {
  static constexpr Index tokens_per_item = 32;

  Ref ref;
  Codec codec;
  View<const Row, 2> rows;
  Index width;
  View<Out, 2> out;

  static constexpr Index items(Index tokens) noexcept {
    return (tokens + tokens_per_item - 1) / tokens_per_item;
  }

  /// Small plain rows have a loop of known width. A processor goes no further ahead than some 300
  /// instructions behind one that waits for the address translation of a prefetch, so the fewer
  /// there are for a row, the more rows are fetched at once (128 and 256 bytes: 1.25 times as
  /// fast).
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    if constexpr (is_plain_codec<Codec>) {
      if (width == 32) return decode_tokens(lanes, item, std::integral_constant<Index, 32>());
      if (width == 64) return decode_tokens(lanes, item, std::integral_constant<Index, 64>());
    } else {
      if (width == 256) return decode_tokens(lanes, item, std::integral_constant<Index, 256>());
    }
    decode_tokens(lanes, item, width);
  }

 private:
  // Inlined by force: a function that only prefetches has no effect in the compiler's eyes, and
  // calls of it vanish.
  ENGRAM_ALWAYS_INLINE void ask_for(Index row, Index code_bytes, Index scale_bytes) const noexcept {
    const RowBytes bytes = ref(row);
    prefetch_lines(bytes.codes, code_bytes);
    if (scale_bytes > 0) prefetch_lines(bytes.scales, scale_bytes);
  }

  template <class Lanes, class Width>
  ENGRAM_ALWAYS_INLINE void decode_tokens(const Lanes& lanes, Index item,
                                          Width elements) const noexcept {
    const GatherBody body = *this;  // what is written may not alias a local
    const Index columns = body.rows.extent(1);
    const Index code_bytes = body.codec.code_bytes(elements);
    const Index scale_bytes = body.codec.scale_bytes(elements);
    const Index ahead = tokens_ahead(columns, code_bytes + scale_bytes);
    const Index begin = item * tokens_per_item;
    const Index tokens = body.rows.extent(0);
    const Index end = begin + tokens_per_item < tokens ? begin + tokens_per_item : tokens;
    const auto ids_of = [&](Index t) { return body.rows.data() + t * body.rows.stride(0); };

    for (Index t = begin; t < begin + ahead && t < end; ++t)
      for (Index c = 0; c < columns && ids_of(t)[0] >= 0; ++c)
        body.ask_for(static_cast<Index>(ids_of(t)[c]), code_bytes, scale_bytes);
    for (Index t = begin; t < end; ++t) {
      Out* to = body.out.data() + t * body.out.stride(0);
      const Row* const ids = ids_of(t);
      if (ids[0] < 0) {
        for (Index d = 0; d < columns * elements; ++d) to[d] = Out{};
        continue;
      }
      // Where there is nothing to ask for, once more for rows that are there, instead of a branch.
      const Row* next = t + ahead < tokens ? ids_of(t + ahead) : ids;
      if (next[0] < 0) next = ids;
      if constexpr (is_plain_codec<Codec>) {
        for (Index c = 0; c < columns; ++c, to += elements) {
          body.ask_for(static_cast<Index>(next[c]), code_bytes, scale_bytes);
          decode_row(lanes, body.codec, body.ref(static_cast<Index>(ids[c])), elements, to);
        }
      } else {
        // Decoding is many instructions a row: between rows, only one or two prefetches would wait
        // for their address translation at a time; at once they wait together (twice as fast).
        for (Index c = 0; c < columns; ++c)
          body.ask_for(static_cast<Index>(next[c]), code_bytes, scale_bytes);
        for (Index c = 0; c < columns; ++c, to += elements)
          decode_row(lanes, body.codec, body.ref(static_cast<Index>(ids[c])), elements, to);
      }
    }
  }
};

ENGRAM_END_NAMESPACE
