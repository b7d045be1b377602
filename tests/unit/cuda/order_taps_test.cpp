// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the threads of blocks find of the convolution's taps is what the CPU finds token after
// token, for any sequences, marks and parts; wrong starts leave every sequence empty.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/cuda/order_taps.hpp>
#include <random_batch.hpp>

#include <algorithm>

using namespace engram;
using elements::at;

namespace {

/// The arrays of a TapOrder.
struct Taps {
  std::vector<Index> order, place, sequence, document, begins;
  TapOrder view;

  Taps(Index tokens, Index sequences)
      : order(at(tokens), -9),
        place(order),
        sequence(order),
        document(order),
        begins(at(sequences + 1), -9),
        view{View<Index, 1>(order), View<Index, 1>(place), View<Index, 1>(sequence),
             View<Index, 1>(document), View<Index, 1>(begins)} {}
};

struct Batch {
  std::vector<int> starts;
  std::vector<Mark> marks;
  std::vector<Part> parts;

  Batch() = default;
  Batch(Random& random, Index tokens, Index sequences) {
    for (Index t = 0; t < tokens; ++t) {
      marks.push_back(random.below(9) == 0 ? Mark::start : Mark::token);
      const Index kind = random.below(8);
      parts.push_back(kind < 5 ? Part::full : static_cast<Part>(kind - 4));
    }
    starts = random_batches::random_starts<int>(tokens, sequences, random);
  }
};

struct Found {
  Taps taps;
  std::vector<Part> parts;
  std::vector<Index> starts;
  Reports::Found wrong;
};

Found by_blocks(const Batch& batch, View<const int, 1> starts, View<const Mark, 1> marks,
                Index sequences) {
  const auto tokens = static_cast<Index>(batch.parts.size());
  Found found{Taps(tokens, sequences), batch.parts, std::vector<Index>(at(sequences + 1), -9), {}};
  std::vector<Index> before(at(tokens + 1));
  std::vector<TapTally> tiles(at(tap_tiles(tokens)));
  order_taps(ThreadedDevice(), TapSearch<int, Reports>{{starts},
                                                       marks,
                                                       View<Part, 1>(found.parts),
                                                       found.taps.view,
                                                       View<Index, 1>(found.starts),
                                                       View<Index, 1>(before),
                                                       View<TapTally, 1>(tiles),
                                                       Reports{&found.wrong}});
  return found;
}

void check(const Batch& batch, bool with_starts, bool with_marks) {
  const auto tokens = static_cast<Index>(batch.parts.size());
  const Index sequences = with_starts ? static_cast<Index>(batch.starts.size()) - 1 : 1;
  const View<const Mark, 1> marks =
      with_marks ? View<const Mark, 1>(batch.marks) : View<const Mark, 1>();
  Taps expected(tokens, sequences);
  std::vector<Part> parts = batch.parts;
  std::vector<Index> starts = {0, tokens};
  if (with_starts) starts.assign(batch.starts.begin(), batch.starts.end());
  expected.view.fill(starts, marks, View<Part, 1>(parts));

  const Found found =
      by_blocks(batch, with_starts ? View<const int, 1>(batch.starts) : View<const int, 1>(), marks,
                sequences);
  CHECK(found.wrong.code == Code::ok);
  CHECK(found.starts == starts);
  CHECK(found.parts == parts);
  CHECK(found.taps.begins == expected.begins);
  CHECK(found.taps.place == expected.place);
  const auto same = [](const std::vector<Index>& a, const std::vector<Index>& b, Index count) {
    return std::equal(a.begin(), a.begin() + count, b.begin());
  };
  CHECK(same(found.taps.order, expected.order, expected.begins.back()));
  CHECK(same(found.taps.sequence, expected.sequence, starts.back()));
  CHECK(same(found.taps.document, expected.document, starts.back()));
}

}  // namespace

TEST_CASE("order taps: blocks find what the CPU finds, over any tiles of tokens") {
  Random random(1);
  for (const Index tokens : {1, 7, 8, 9, 1023, 1024, 1025, 2600})
    for (const Index sequences : {1, 5, 200, 1500}) {
      INFO(tokens << " tokens, " << sequences << " sequences");
      const Batch batch(random, tokens, sequences);
      check(batch, true, true);
      check(batch, true, false);
      check(batch, false, true);
      check(batch, false, false);
    }
}

TEST_CASE("order taps: more tiles than a block has threads") {
  Random random(3);
  check(Batch(random, tap_tile_tokens * (threads_of_a_block + 1) + 5, 7), true, true);
}

TEST_CASE("order taps: no tokens, and sequences of none") {
  Batch none;
  none.starts = {0, 0, 0};
  check(none, true, false);
  check(none, false, false);
}

TEST_CASE("order taps: starts that do not ascend are reported, and nobody takes part") {
  for (const Index tokens : {300, 2300}) {
    Random random(2);
    Batch batch(random, tokens, 4);
    const auto refuse = [&](const std::vector<int>& starts, Index place) {
      batch.starts = starts;
      const Found found = by_blocks(batch, View<const int, 1>(batch.starts), {}, 4);
      CHECK(found.wrong.code == Code::bad_sequence);
      CHECK(found.wrong.index == place);
      CHECK(found.starts == std::vector<Index>(5, 0));
      CHECK(found.taps.begins == std::vector<Index>(5, 0));
      CHECK(found.parts == std::vector<Part>(at(tokens), Part::absent));
      CHECK(found.taps.place == std::vector<Index>(at(tokens), -1));
    };
    const int end = static_cast<int>(tokens);
    refuse({1, 50, 100, 200, end}, 0);
    refuse({0, 50, 40, 200, end}, 2);
    refuse({0, 50, 100, 200, end + 1}, 4);
    refuse({0, -50, 100, 200, end}, 1);
  }
}
