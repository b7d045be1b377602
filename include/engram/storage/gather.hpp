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

/// How far ahead of its use a row is asked for: about 8 KiB in flight, which is what it takes to
/// cover a miss at one core's share of the memory's rate.
ENGRAM_HD constexpr Index prefetch_distance(Index row_bytes) noexcept {
  const Index rows = 8192 / (row_bytes > 0 ? row_bytes : 1);
  return rows < 4 ? 4 : rows > 32 ? 32 : rows;
}

/// Decodes the rows of 16 tokens; the item is their number.
///
/// Ref: row id -> RowBytes. Tokens without rows (id -1) become zeros.
template <class Ref, class Codec, class Row, class Out>
struct GatherBody {
  static constexpr Index tokens_per_item = 16;

  Ref ref;
  Codec codec;
  View<const Row, 2> rows;
  Index width;
  View<Out, 2> out;

  static constexpr Index items(Index tokens) noexcept {
    return (tokens + tokens_per_item - 1) / tokens_per_item;
  }

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index columns = rows.extent(1);
    const Index code_bytes = codec.code_bytes(width);
    const Index scale_bytes = codec.scale_bytes(width);
    const Index distance = prefetch_distance(code_bytes + scale_bytes);
    const Index skip_tokens = distance / columns;
    const Index skip_columns = distance % columns;
    const Index begin = item * tokens_per_item;
    const Index end =
        begin + tokens_per_item < rows.extent(0) ? begin + tokens_per_item : rows.extent(0);
    // Inlined by force: a function that only prefetches has no effect in the compiler's eyes, and
    // calls of it vanish.
    const auto ask_for = [&](Index t, Index c) __attribute__((always_inline)) {
      if (t >= rows.extent(0) || rows(t, c) < 0) return;
      const RowBytes row = ref(static_cast<Index>(rows(t, c)));
      for (Index b = 0; b < code_bytes; b += 64) __builtin_prefetch(row.codes + b, 0, 2);
      __builtin_prefetch(row.codes + code_bytes - 1, 0, 2);
      if (scale_bytes > 0) {
        __builtin_prefetch(row.scales, 0, 2);
        __builtin_prefetch(row.scales + scale_bytes - 1, 0, 2);
      }
    };
    for (Index i = 0, t = begin, c = 0; i < distance && t < end; ++i) {
      ask_for(t, c);
      if (++c == columns) {
        c = 0;
        ++t;
      }
    }
    for (Index t = begin; t < end; ++t) {
      Out* to = out.data() + t * out.stride(0);
      for (Index c = 0; c < columns; ++c, to += width) {
        const bool wraps = c + skip_columns >= columns;
        ask_for(t + skip_tokens + (wraps ? 1 : 0), c + skip_columns - (wraps ? columns : 0));
        if (const auto row = static_cast<Index>(rows(t, c)); row >= 0)
          decode_row(lanes, codec, ref(row), width, to);
        else
          for (Index d = 0; d < width; ++d) to[d] = Out{};
      }
    }
  }
};

ENGRAM_END_NAMESPACE
