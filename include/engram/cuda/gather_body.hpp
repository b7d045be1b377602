// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids to decoded rows, a warp for each row: what gather.cuh runs for every codec, and what its
// faster copies are held against.

#include <engram/codec/codec.hpp>
#include <engram/codec/plain.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>
#include <engram/storage/gather.hpp>

ENGRAM_BEGIN_NAMESPACE

/// shape_mismatch, or mismatch (index: the bytes of a row's codes expected), unless rows of a store
/// fit codec and output.
template <class Store, class Codec, class Row, class Out>
Status check_gather(const Store& store, const Codec& codec, Index width, View<const Row, 2> rows,
                    View<Out, 2> out) noexcept {
  if (Status s = check_gather_shapes(rows, width, out); !s.ok()) return s;
  if (codec.code_bytes(width) != store.row_bytes() ||
      codec.scale_bytes(width) != store.scale_bytes())
    return {Code::mismatch, 0, codec.code_bytes(width)};
  return {};
}

/// Decodes one row; item t * H + c. Id -1 gives zeros; any other that is no row gives zeros too,
/// and is reported as bad_row with its item.
///
/// NaN stays NaN, with other bits than the CPU's where a codec multiplies (the GGUF formats').
///
/// Ref: row id -> RowBytes. Report: void report(Code, Index) const.
template <class Ref, class Codec, class Row, class Out, class Report>
struct GatherRowBody {
  Ref ref;
  Codec codec;
  View<const Row, 2> rows;
  Index num_rows;
  Index width;
  View<Out, 2> out;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / rows.extent(1);
    const Index c = item % rows.extent(1);
    const auto row = static_cast<Index>(rows(t, c));
    Out* const to = out.data() + t * out.stride(0) + c * width;
    if (row < 0 || row >= num_rows) {
      if (row != -1) lanes.each(1, [&](Index) { errors.report(Code::bad_row, item); });
      lanes.each(width, [&](Index d) { to[d] = Out{}; });
      return;
    }
    const RowBytes from = ref(row);
    if constexpr (std::is_same_v<Codec, PlainCodec<Out>>)
      lanes.copy(to, from.codes, width * Index{sizeof(Out)});
    else
      lanes.each(width, [&](Index d) { to[d] = from_float<Out>(codec.value(from, d)); });
  }
};

ENGRAM_END_NAMESPACE
