// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which earlier tokens the taps of the convolution reach, found by the threads of a block: what
// TapOrder::fill() finds token after token. One block for a whole batch, because where a sequence's
// tokens stand depends on all in front of it; it reads one byte or two of each token.

#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/sequence_starts.hpp>
#include <engram/gating/short_conv.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What the threads of a block share.
struct TapShared {
  Index numbers[threads_of_a_block];
};

/// The numbers of all threads up to each, combined; all threads make the call. combine:
/// associative, and 0 changes nothing.
template <class Block, class Combine>
ENGRAM_HD Index block_scan(const Block& block, TapShared& shared, Index number,
                           const Combine& combine) noexcept {
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
  return shared.numbers[thread];
}

/// Fills `taps`, and `starts` [S + 1] with where the sequences begin. Tokens behind the last
/// sequence become absent. Starts that do not ascend from 0 to at most T are reported as
/// bad_sequence; then every token is absent and every sequence empty.
///
/// marks   [T] or empty.
/// before  [T] written: how many tokens in front of each are not absent.
/// Report: void report(Code, Index) const.
template <class Block, class Start, class Report>
ENGRAM_HD void order_taps(const Block& block, TapShared& shared,
                          const SequenceStarts<Start>& sequences, View<const Mark, 1> marks,
                          View<Part, 1> parts, const TapOrder& taps, View<Index, 1> starts,
                          View<Index, 1> before, const Report& errors) noexcept {
  constexpr Index each = 8;
  const auto add = [](Index a, Index b) { return a + b; };
  const auto later = [](Index a, Index b) { return a > b ? a : b; };
  const int thread = block.thread();
  const Index tokens = parts.extent(0);
  const Index count = starts.extent(0) - 1;
  const auto start_of = [&](Index s) {
    return s == 0 ? sequences.begin(0) : sequences.end(s - 1, tokens);
  };

  Index wrong = 0;
  for (Index s = thread; s <= count; s += Block::threads) {
    const Index start = start_of(s);
    if (s == 0 ? start == 0 : start >= start_of(s - 1) && start <= tokens) continue;
    errors.report(Code::bad_sequence, s);
    wrong = 1;
  }
  (void)block_scan(block, shared, wrong, add);
  const bool is_wrong = shared.numbers[Block::threads - 1] != 0;
  for (Index s = thread; s <= count; s += Block::threads) starts(s) = is_wrong ? 0 : start_of(s);
  const Index end = is_wrong ? 0 : start_of(count);

  Index kept = 0;   // of the tokens in front of the tile
  Index begun = 0;  // 1 + the last of them that begins a document
  for (Index tile = 0; tile < tokens; tile += Block::threads * each) {
    const Index first = tile + thread * each;
    const Index last = first + each < tokens ? first + each : tokens;
    Index own = 0, own_begun = 0;
    for (Index t = first; t < last; ++t) {
      if (t >= end) parts(t) = Part::absent;
      own += parts(t) != Part::absent ? 1 : 0;
      if (marks.size() != 0 && has(marks(t), Mark::start)) own_begun = t + 1;
    }
    Index place = kept + block_scan(block, shared, own, add) - own;
    kept += shared.numbers[Block::threads - 1];
    (void)block_scan(block, shared, own_begun, later);
    Index document = thread == 0 ? begun : later(begun, shared.numbers[thread - 1]);
    begun = later(begun, shared.numbers[Block::threads - 1]);
    Index sequence = first < end ? sequences.of(first) : count;
    for (Index t = first; t < last; ++t) {
      if (marks.size() != 0 && has(marks(t), Mark::start)) document = t + 1;
      while (sequence < count && t >= sequences.end(sequence, tokens)) ++sequence;
      before(t) = place;
      taps.document(t) = document;
      taps.sequence(t) = sequence;
      taps.place(t) = parts(t) == Part::absent ? -1 : place;
      if (parts(t) != Part::absent) taps.order(place++) = t;
    }
  }
  block.sync();
  for (Index s = thread; s <= count; s += Block::threads)
    taps.begins(s) = starts(s) < tokens ? before(starts(s)) : kept;
  block.sync();
  for (Index t = thread; t < end; t += Block::threads) {
    const Index s = taps.sequence(t);
    const Index begin = taps.document(t) - 1;
    taps.document(t) = begin >= starts(s) ? before(begin) - taps.begins(s) : TapOrder::earlier;
  }
}

ENGRAM_END_NAMESPACE
