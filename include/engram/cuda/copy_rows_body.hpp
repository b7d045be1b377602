// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that need no decoding, 16 bytes a thread: four loads are on the way before the first store.
// gather.cuh runs it on a GPU, tests/unit/cuda without one.

#include <engram/cuda/row_groups.hpp>
#include <engram/cuda/streaming.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Copies rows of `groups.units` times 16 bytes, at multiples of 16; zeros where there is no row.
template <class Groups>
struct CopyRowsBody {
  static constexpr int blocks_at_once = 8;  ///< of a multiprocessor: 64 registers a thread

  Groups groups;

  ENGRAM_ANY_LANES
  template <class Grid>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Grid& grid) const noexcept {
    groups.each(grid, [&](int lane, const auto& ahead) {
      const std::byte* from[rows_ahead];
      ENGRAM_CUDA_UNROLL
      for (int a = 0; a < rows_ahead; ++a)
        from[a] = groups.ref(static_cast<Index>(ahead.row[a])).codes;
      ENGRAM_CUDA_ROLLED
      for (int unit = lane; unit < groups.units; unit += Groups::threads) {
        Words<4> held[rows_ahead];
        ENGRAM_CUDA_UNROLL
        for (int a = 0; a < rows_ahead; ++a) held[a] = read_once<4>(from[a] + Index{16} * unit);
        ENGRAM_CUDA_UNROLL
        for (int a = 0; a < rows_ahead; ++a) {
          ENGRAM_CUDA_UNROLL
          for (std::uint32_t& word : held[a].of) word &= ahead.is_row[a] ? ~0U : 0U;
          write_once(ahead.to[a] + Index{16} * unit, held[a]);
        }
      }
    });
  }
};

ENGRAM_END_NAMESPACE
