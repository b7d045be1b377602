// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a table in memory that the GPU reads (its own, page-locked, mapped) to rows in order. The
// memory decides the speed when enough reads are on the way: rows that need no decoding are copied
// 16 bytes a thread, several rows before the first is written.

#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/gather_body.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/strided_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Copies rows of `units` times 16 bytes: groups of Group threads take four rows at a time. Ids,
/// rows and stores each without a branch between them, so that all four are on the way at once;
/// what is no row reads row 0 and keeps nothing of it. Flat: ids and output are dense.
template <int Group, bool Flat, class Ref, class Row, class Out>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block, 8)
    copy_rows_by_16(Ref ref, View<const Row, 2> rows, Index num_rows, int units, View<Out, 2> out,
                    ErrorWord errors) {
  constexpr int ahead = 4;
  const Index count = rows.extent(0) * rows.extent(1);
  const Index groups = Index{gridDim.x} * (threads_of_a_block / Group);
  const Index first = Index{blockIdx.x} * (threads_of_a_block / Group) + threadIdx.x / Group;
  const int lane = static_cast<int>(threadIdx.x % Group);
  for (Index begin = first; begin < count; begin += groups * ahead) {
    Index row[ahead];
    uint4* to[ahead];
#pragma unroll
    for (int a = 0; a < ahead; ++a) {
      const Index item = begin + a * groups < count ? begin + a * groups : begin;
      if constexpr (Flat) {
        row[a] = static_cast<Index>(rows.data()[item]);
        to[a] = reinterpret_cast<uint4*>(out.data()) + item * units;
      } else {
        const Index t = item / rows.extent(1), c = item % rows.extent(1);
        row[a] = static_cast<Index>(rows(t, c));
        to[a] = reinterpret_cast<uint4*>(out.data() + t * out.stride(0)) + c * units;
      }
    }
    const uint4* from[ahead];
    unsigned keep[ahead];
#pragma unroll
    for (int a = 0; a < ahead; ++a) {
      const bool is_row = row[a] >= 0 && row[a] < num_rows;
      if (!is_row && row[a] != -1 && lane == 0)
        errors.report(Code::bad_row, begin + a * groups < count ? begin + a * groups : begin);
      from[a] = reinterpret_cast<const uint4*>(ref(is_row ? row[a] : Index{0}).codes);
      keep[a] = is_row ? ~0U : 0U;
    }
#pragma unroll 1
    for (int unit = lane; unit < units; unit += Group) {
      uint4 held[ahead];
#pragma unroll
      for (int a = 0; a < ahead; ++a) held[a] = __ldg(from[a] + unit);
#pragma unroll
      for (int a = 0; a < ahead; ++a)
        __stcs(to[a] + unit, uint4{held[a].x & keep[a], held[a].y & keep[a], held[a].z & keep[a],
                                   held[a].w & keep[a]});
    }
  }
}

/// Whether copy_rows_by_16 may run: rows and their places begin at multiples of 16 bytes.
template <class Out, class Space>
bool copies_by_16(StridedRows from, Index bytes, View<Out, 2, Space> out) noexcept {
  const auto at =
      reinterpret_cast<std::uintptr_t>(from.base) | reinterpret_cast<std::uintptr_t>(out.data()) |
      static_cast<std::uintptr_t>(from.stride | bytes | out.stride(0) * Index{sizeof(Out)});
  return at % 16 == 0;
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
/// Cost     one launch.
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
  if (Status s = check_gather_shapes(rows, width, to); !s.ok()) return s;
  if (codec.code_bytes(width) != store.row_bytes() ||
      codec.scale_bytes(width) != store.scale_bytes())
    return {Code::mismatch, 0, codec.code_bytes(width)};
  const Index count = rows.size();
  const ErrorWord errors = device.error_word();
  if constexpr (std::is_same_v<Codec, PlainCodec<Out>> && std::is_same_v<Ref, StridedRows>) {
    const Index bytes = store.row_bytes();
    if (copies_by_16(store.ref(), bytes, to) && bytes <= Index{16} * INT32_MAX) {
      const auto units = static_cast<int>(bytes / 16);
      const bool is_flat =
          rows.stride(0) == rows.extent(1) && to.stride(0) == rows.extent(1) * width;
      const auto copy = [&](auto group, auto flat) {
        constexpr int size = decltype(group)::value;
        device.launch(count, 4 * (threads_of_a_block / size),
                      copy_rows_by_16<size, decltype(flat)::value, Ref, Id, Out>, store.ref(), rows,
                      store.num_rows(), units, to, errors);
      };
      const auto copy_in_groups = [&](auto flat) {
        if (units <= 4)
          copy(std::integral_constant<int, 4>(), flat);
        else if (units <= 8)
          copy(std::integral_constant<int, 8>(), flat);
        else if (units <= 16)
          copy(std::integral_constant<int, 16>(), flat);
        else
          copy(std::integral_constant<int, 32>(), flat);
      };
      if (is_flat)
        copy_in_groups(std::true_type());
      else
        copy_in_groups(std::false_type());
      return {};
    }
  }
  device.for_items(count, GatherRowBody<Ref, Codec, Id, Out, ErrorWord>{
                              store.ref(), codec, rows, store.num_rows(), width, to, errors});
  return {};
}

ENGRAM_END_NAMESPACE
