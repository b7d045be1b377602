// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A call's rows through a cache, shared among the warps of a grid: each block joins the batch of
// the moment, walks its rows and leaves. What cached_gather.cuh launches.

#include <engram/cuda/cached_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What the threads of a block share: the batch, and what each of its warps counted.
template <int Warps>
struct CachedGatherShared {
  std::uint64_t batch;
  std::uint64_t sums[3][Warps];
};

/// GatherRowBody through the cache, a warp for each row; each block is of one batch.
///
/// Grid: `int thread()`, this one's in its block; `static constexpr int threads, warps` of a block;
/// `Index block()` and `blocks()`; `void sync_block()`, where the threads of a block meet.
/// Lanes, Atomics: see CachedRows.
template <class Lanes, class Atomics, class Ref, class Codec, class Row, class Out, class Report>
struct CachedGatherBody {
  RowSlots slots;
  Ref base;
  Codec codec;
  View<const Row, 2> rows;
  Index num_rows;
  Index width;
  View<Out, 2> out;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Grid>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(
      const Grid& grid, CachedGatherShared<Grid::warps>& shared) const noexcept {
    constexpr int warps = Grid::warps;
    constexpr unsigned threads_of_a_warp = Grid::threads / warps;
    const auto thread = static_cast<unsigned>(grid.thread());
    const unsigned own_warp = thread / threads_of_a_warp;
    if (thread == 0) shared.batch = enter_batch<Atomics>(slots.clock);
    grid.sync_block();

    RowCacheCounts counts;
    const GatherRowBody<CachedRows<Lanes, Atomics, Ref>, Codec, Row, Out, Report> body{
        {slots, base, shared.batch, &counts}, codec, rows, num_rows, width, out, errors};
    const Index first = grid.block() * warps + own_warp;
    for (Index item = first; item < rows.size(); item += grid.blocks() * warps) body(Lanes(), item);

    if (thread % threads_of_a_warp == 0) {
      shared.sums[0][own_warp] = counts.hits;
      shared.sums[1][own_warp] = counts.misses;
      shared.sums[2][own_warp] = counts.uncached;
    }
    grid.sync_block();
    if (thread != 0) return;
    std::uint64_t* const totals[3] = {&slots.counts->hits, &slots.counts->misses,
                                      &slots.counts->uncached};
    for (int i = 0; i < 3; ++i) {
      std::uint64_t sum = 0;
      for (int warp = 0; warp < warps; ++warp) sum += shared.sums[i][warp];
      if (sum != 0) (void)Atomics::add(totals[i], sum);
    }
    leave_batch<Atomics>(slots.clock);
  }
};

ENGRAM_END_NAMESPACE
