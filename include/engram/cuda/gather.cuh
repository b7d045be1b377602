// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a table in memory that the GPU reads (its own, page-locked, mapped) to rows in order. The
// memory decides the speed when enough reads are on the way: rows that need no decoding, and fp8
// rows, are written 16 bytes a thread, several rows being read before the first is written.

#include <engram/cuda/copy_rows_body.hpp>
#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/decode_fp8.hpp>
#include <engram/cuda/gather_body.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/strided_rows.hpp>
#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Runs a body whose threads share the work themselves.
template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block, Body::blocks_at_once)
    run_on_grid(Body body) {
  body(HardwareGrid());
}

/// Whether rows begin at multiples of `align` bytes, and their places at multiples of 16.
template <class Out, class Space>
bool begin_at_multiples(StridedRows from, int align, View<Out, 2, Space> out) noexcept {
  const auto read =
      reinterpret_cast<std::uintptr_t>(from.base) | static_cast<std::uintptr_t>(from.stride);
  const auto written = reinterpret_cast<std::uintptr_t>(out.data()) |
                       static_cast<std::uintptr_t>(out.stride(0) * Index{sizeof(Out)});
  return read % static_cast<unsigned>(align) == 0 && written % 16 == 0;
}

/// Launches Body<RowGroups<...>> for rows of `units` times 16 bytes of output. A group has a thread
/// for each `pieces` of them, at most a warp for all.
template <template <class> class Body, class Ref, class Row, class Out>
ENGRAM_HIDDEN void launch_in_groups(const CudaDevice& device, const Ref& ref,
                                    View<const Row, 2> rows, Index num_rows, int units, int pieces,
                                    View<Out, 2> out) noexcept {
  const auto run = [&](auto group, auto flat) {
    constexpr int threads = decltype(group)::value;
    using Groups = RowGroups<threads, decltype(flat)::value, Ref, Row, Out, ErrorWord>;
    device.launch(rows.size(), rows_ahead * (threads_of_a_block / threads),
                  run_on_grid<Body<Groups>>,
                  Body<Groups>{Groups{ref, rows, num_rows, units, out, device.error_word()}});
  };
  const auto run_in_groups = [&](auto flat) {
    const int wanted = (units - 1) / pieces + 1;
    if (wanted <= 4)
      run(std::integral_constant<int, 4>(), flat);
    else if (wanted <= 8)
      run(std::integral_constant<int, 8>(), flat);
    else if (wanted <= 16)
      run(std::integral_constant<int, 16>(), flat);
    else
      run(std::integral_constant<int, 32>(), flat);
  };
  if (rows.stride(0) == rows.extent(1) && out.stride(0) == out.extent(1))
    run_in_groups(std::true_type());
  else
    run_in_groups(std::false_type());
}

/// Reads and decodes rows on the device's stream.
///
/// store    DeviceStore, PinnedStore or another whose memory the GPU reads.
/// row_ids  [T, H] int32 or int64, memory of the GPU; -1: no row.
/// out      [T, H * width] float, Bf16 or F16, memory of the GPU, token stride free; zeros where
///          there is no row.
/// Status   shape_mismatch, mismatch (rows of this width have other bytes; index: those expected);
///          then nothing was launched. device.wait() says bad_row (index: place in [T * H]) for the
///          first id that is neither -1 nor a row.
/// Cost     one launch. Rows of Out, and fp8 rows to Bf16 or float, go 16 written bytes a thread
///          where they begin at multiples of 16 bytes (fp8: 8) and their places in `out` at
///          multiples of 16; else a warp decodes 32 elements at a time.
template <AddressableStore Store, RowCodec Codec, class Row, class Out, class RowSpace,
          class OutSpace>
ENGRAM_HIDDEN Status gather(const CudaDevice& device, const Store& store, const Codec& codec,
                            Index width, View<Row, 2, RowSpace> row_ids,
                            View<Out, 2, OutSpace> out) noexcept {
  static_assert(Store::space_type::device_accessible && RowSpace::device_accessible &&
                    OutSpace::device_accessible,
                "engram: a gather on the GPU reads and writes memory that the GPU reaches");
  using Ref = decltype(store.ref());
  using Id = std::remove_const_t<Row>;
  const View<const Id, 2> rows = row_ids.for_body();
  const View<Out, 2> to = out.for_body();
  if (Status s = check_gather(store, codec, width, rows, to); !s.ok()) return s;
  constexpr bool is_copy = std::is_same_v<Codec, PlainCodec<Out>>;
  constexpr bool is_fp8 = std::is_same_v<Codec, Fp8Codec> && !std::is_same_v<Out, F16>;
  if constexpr ((is_copy || is_fp8) && std::is_same_v<Ref, StridedRows>) {
    constexpr int align = is_copy ? 16 : 16 / int{sizeof(Out)};
    const Index bytes = width * Index{sizeof(Out)};
    if (bytes % 16 == 0 && bytes <= Index{1} << 30 && begin_at_multiples(store.ref(), align, to)) {
      const auto units = static_cast<int>(bytes / 16);
      if constexpr (is_copy)
        launch_in_groups<CopyRowsBody>(device, store.ref(), rows, store.num_rows(), units, 1, to);
      else
        launch_in_groups<DecodeFp8Body>(device, store.ref(), rows, store.num_rows(), units, 2, to);
      return {};
    }
  }
  device.for_items(rows.size(),
                   GatherRowBody<Ref, Codec, Id, Out, ErrorWord>{
                       store.ref(), codec, rows, store.num_rows(), width, to, device.error_word()});
  return {};
}

/// The rows of a table.
template <class Store, class Codec, class Row, class Out, class RowSpace, class OutSpace>
ENGRAM_HIDDEN Status gather(const CudaDevice& device, const Table<Store, Codec>& table,
                            View<Row, 2, RowSpace> row_ids, View<Out, 2, OutSpace> out) noexcept {
  return gather(device, table.store(), table.codec(), table.row_width(), row_ids, out);
}

ENGRAM_END_NAMESPACE
