// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Row ids to decoded rows, a warp for each row: what gather.cuh runs for every codec, and what its
// faster copies are held against.

#include <engram/codec/codec.hpp>
#include <engram/codec/plain.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

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
