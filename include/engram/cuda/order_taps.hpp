// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which earlier tokens the taps of the convolution reach: what TapOrder::fill() finds token after
// token, found by blocks, each for a tile of tokens. Where a token stands depends on all in front
// of it, so the tokens of all tiles are counted before any is placed.

#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/sequence_starts.hpp>
#include <engram/gating/short_conv.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Tokens of a tile that each thread of its block looks at.
inline constexpr Index tap_tokens_of_a_thread = 8;
inline constexpr Index tap_tile_tokens = tap_tokens_of_a_thread * threads_of_a_block;
ENGRAM_HD constexpr Index tap_tiles(Index tokens) noexcept {
  return (tokens + tap_tile_tokens - 1) / tap_tile_tokens;
}

/// What there is in some tokens in a row.
struct TapTally {
  Index kept;   ///< tokens that are not absent
  Index begun;  ///< 1 + the last token that begins a document; 0: none does
};

/// What the threads of a block share.
struct TapShared {
  Index numbers[threads_of_a_block];
};

/// The numbers of all threads up to each, combined; all threads make the call. combine:
/// associative, and 0 changes nothing. `all` becomes what there is of all threads.
template <class Block, class Combine>
ENGRAM_HD Index block_scan(const Block& block, TapShared& shared, Index number,
                           const Combine& combine, Index& all) noexcept {
  static_assert(Block::threads == threads_of_a_block);
  const int thread = block.thread();
  block.sync();  // until all have read what the scan before left
  shared.numbers[thread] = number;
  for (int step = 1; step < Block::threads; step *= 2) {
    block.sync();
    const Index other = thread >= step ? shared.numbers[thread - step] : 0;
    block.sync();
    if (thread >= step) shared.numbers[thread] = combine(other, shared.numbers[thread]);
  }
  block.sync();
  all = shared.numbers[Block::threads - 1];
  return shared.numbers[thread];
}

/// The search of a call: what it reads and writes.
///
/// Report: void report(Code, Index) const.
template <class Start, class Report>
struct TapSearch {
  struct Sum {
    ENGRAM_HD Index operator()(Index a, Index b) const noexcept { return a + b; }
  };
  struct Largest {
    ENGRAM_HD Index operator()(Index a, Index b) const noexcept { return a > b ? a : b; }
  };

  SequenceStarts<Start> sequences;
  View<const Mark, 1> marks;  ///< [T] or empty
  View<Part, 1> parts;        ///< [T]; tokens behind the last sequence become absent
  TapOrder taps;              ///< filled
  View<Index, 1> starts;      ///< [S + 1] written: where the sequences begin
  View<Index, 1> before;      ///< [T + 1] written: how many in front of each are not absent
  View<TapTally, 1> tiles;    ///< [tap_tiles(T)] written
  Report errors;

  ENGRAM_HD Index tokens() const noexcept { return parts.extent(0); }
  ENGRAM_HD Index count() const noexcept { return starts.extent(0) - 1; }

  /// Where the last sequence ends: 0 where starts do not ascend from 0 to at most T, which is
  /// reported as bad_sequence.
  template <class Block>
  ENGRAM_HD Index check_starts(const Block& block, TapShared& shared) const noexcept {
    Index wrong = 0;
    for (Index s = block.thread(); s <= count(); s += Block::threads) {
      const Index start = start_of(s);
      if (s == 0 ? start == 0 : start >= start_of(s - 1) && start <= tokens()) continue;
      errors.report(Code::bad_sequence, s);
      wrong = 1;
    }
    Index all_wrong;
    (void)block_scan(block, shared, wrong, Sum(), all_wrong);
    return all_wrong != 0 ? 0 : start_of(count());
  }
  template <class Block>
  ENGRAM_HD void write_starts(const Block& block, Index end) const noexcept {
    for (Index s = block.thread(); s <= count(); s += Block::threads)
      starts(s) = end == 0 ? 0 : start_of(s);
  }

  /// What is in front of each thread's tokens of a tile, `all` being what is in the tile.
  template <class Block>
  ENGRAM_HD TapTally tally(const Block& block, TapShared& shared, Index tile, Index end,
                           TapTally& all) const noexcept {
    const int thread = block.thread();
    TapTally own{0, 0};
    for (Index t = first_token(block, tile); t < last_token(block, tile); ++t) {
      if (t >= end) parts(t) = Part::absent;
      own.kept += parts(t) != Part::absent ? 1 : 0;
      if (begins_document(t)) own.begun = t + 1;
    }
    TapTally front;
    front.kept = block_scan(block, shared, own.kept, Sum(), all.kept) - own.kept;
    (void)block_scan(block, shared, own.begun, Largest(), all.begun);
    front.begun = thread == 0 ? 0 : shared.numbers[thread - 1];
    return front;
  }

  /// All tiles in front of one.
  template <class Block>
  ENGRAM_HD TapTally tiles_before(const Block& block, TapShared& shared,
                                  Index tile) const noexcept {
    TapTally own{0, 0};
    for (Index i = block.thread(); i < tile; i += Block::threads) {
      own.kept += tiles(i).kept;
      own.begun = Largest()(own.begun, tiles(i).begun);
    }
    TapTally all;
    (void)block_scan(block, shared, own.kept, Sum(), all.kept);
    (void)block_scan(block, shared, own.begun, Largest(), all.begun);
    return all;
  }

  /// Orders the tokens of a tile. Their documents stay what TapTally::begun says, for finish().
  template <class Block>
  ENGRAM_HD void place(const Block& block, TapShared& shared, Index tile, Index end,
                       const TapTally& tiles_in_front) const noexcept {
    TapTally all;
    const TapTally front = tally(block, shared, tile, end, all);
    Index place = tiles_in_front.kept + front.kept;
    Index document = Largest()(tiles_in_front.begun, front.begun);
    const Index first = first_token(block, tile);
    Index sequence = first < end ? sequences.of(first) : count();
    for (Index t = first; t < last_token(block, tile); ++t) {
      if (begins_document(t)) document = t + 1;
      while (sequence < count() && t >= sequences.end(sequence, tokens())) ++sequence;
      before(t) = place;
      taps.document(t) = document;
      taps.sequence(t) = sequence;
      taps.place(t) = parts(t) == Part::absent ? -1 : place;
      if (parts(t) != Part::absent) taps.order(place++) = t;
    }
    if (block.thread() == 0 && tokens() <= (tile + 1) * tap_tile_tokens)
      before(tokens()) = tiles_in_front.kept + all.kept;
  }

  /// What is left of sequence i and of token i, once all tokens are placed.
  ENGRAM_HD void finish(Index i) const noexcept {
    if (i <= count()) taps.begins(i) = before(starts(i));
    if (i >= starts(count())) return;
    const Index start = starts(taps.sequence(i));
    const Index begin = taps.document(i) - 1;
    taps.document(i) = begin >= start ? before(begin) - before(start) : TapOrder::earlier;
  }
  ENGRAM_HD Index to_finish() const noexcept { return Largest()(tokens(), count() + 1); }

 private:
  ENGRAM_HD Index start_of(Index s) const noexcept {
    return s == 0 ? sequences.begin(0) : sequences.end(s - 1, tokens());
  }
  ENGRAM_HD bool begins_document(Index t) const noexcept {
    return marks.size() != 0 && has(marks(t), Mark::start);
  }
  template <class Block>
  ENGRAM_HD Index first_token(const Block& block, Index tile) const noexcept {
    return tile * tap_tile_tokens + block.thread() * tap_tokens_of_a_thread;
  }
  template <class Block>
  ENGRAM_HD Index last_token(const Block& block, Index tile) const noexcept {
    const Index last = first_token(block, tile) + tap_tokens_of_a_thread;
    return last < tokens() ? last : tokens();
  }
};

/// The whole search by one block; one item.
template <class Search>
struct OrderTapsBody {
  Search search;

  template <class Block>
  ENGRAM_HD void operator()(const Block& block, TapShared& shared, Index) const noexcept {
    const Index end = search.check_starts(block, shared);
    search.write_starts(block, end);
    search.place(block, shared, 0, end, {0, 0});
    block.sync();
    for (Index i = block.thread(); i < search.to_finish(); i += Block::threads) search.finish(i);
  }
};

/// What is in a tile; item: the tile. Each block looks at all starts, which saves them a launch.
template <class Search>
struct CountTapsBody {
  Search search;

  template <class Block>
  ENGRAM_HD void operator()(const Block& block, TapShared& shared, Index tile) const noexcept {
    const Index end = search.check_starts(block, shared);
    if (tile == 0) search.write_starts(block, end);
    TapTally all;
    (void)search.tally(block, shared, tile, end, all);
    if (block.thread() == 0) search.tiles(tile) = all;
  }
};

/// Where a tile's tokens stand; item: the tile.
template <class Search>
struct PlaceTapsBody {
  Search search;

  template <class Block>
  ENGRAM_HD void operator()(const Block& block, TapShared& shared, Index tile) const noexcept {
    const TapTally front = search.tiles_before(block, shared, tile);
    search.place(block, shared, tile, search.starts(search.count()), front);
  }
};

/// TapSearch::finish() for 32 tokens and sequences; item: which.
template <class Search>
struct FinishTapsBody {
  Search search;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index first = item * 32, left = search.to_finish() - first;
    lanes.each(left < 32 ? left : 32, [&](Index l) { search.finish(first + l); });
  }
};

/// Fills the search's arrays. Where starts are wrong, every token is absent and every sequence
/// empty.
///
/// Cost: one launch for a tile of tokens, three for more; some 60 bytes of each token.
template <KernelDevice Dev, class Search>
ENGRAM_HIDDEN void order_taps(const Dev& device, const Search& search) noexcept {
  const Index tiles = tap_tiles(search.tokens());
  if (tiles <= 1) {
    device.template for_blocks<TapShared>(1, OrderTapsBody<Search>{search});
    return;
  }
  device.template for_blocks<TapShared>(tiles, CountTapsBody<Search>{search});
  device.template for_blocks<TapShared>(tiles, PlaceTapsBody<Search>{search});
  device.for_items((search.to_finish() + 31) / 32, FinishTapsBody<Search>{search});
}

ENGRAM_END_NAMESPACE
