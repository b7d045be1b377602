// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Merging by rank: the fast ways against the plain rule.

#include "merge_table.hpp"

#include "../../golden/random_text.hpp"
#include "catch.hpp"

#include <algorithm>

using engram::bpe::MergeTable;
using Ids = std::vector<std::int32_t>;

namespace {

// The rule itself: look at all pairs, merge the lowest rank, of equal ranks the leftmost.
Ids merged_plainly(const MergeTable& table, Ids ids) {
  for (;;) {
    std::size_t best = ids.size();
    MergeTable::Merge merge;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = table.find(ids[i], ids[i + 1]);
      if (found.rank < 0 || (merge.rank >= 0 && found.rank >= merge.rank)) continue;
      merge = found;
      best = i;
    }
    if (merge.rank < 0) return ids;
    ids[best] = merge.id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

}  // namespace

TEST_CASE("merge table: entries") {
  MergeTable table(2);
  CHECK(table.find(0, 0).rank == -1);
  table.set(1, 2, {0, 3});
  table.set(2, 1, {1, 4});
  table.set(1, 2, {5, 6});  // the later one holds
  CHECK(table.find(1, 2).rank == 5);
  CHECK(table.find(1, 2).id == 6);
  CHECK(table.find(2, 1).id == 4);
  CHECK(table.find(2, 2).rank == -1);
  CHECK(MergeTable().find(1, 2).rank == -1);
}

TEST_CASE("merge table: short and long pieces follow the rule") {
  engram::test::SplitMix64 random(7);
  for (int round = 0; round < 300; ++round) {
    // A few letters and many merges among them and their joins, so that much overlaps.
    const std::uint32_t letters = 1 + random.below(3);
    const std::uint32_t merges = random.below(60);
    MergeTable table(merges);
    for (std::uint32_t m = 0; m < merges; ++m)
      table.set(static_cast<std::int32_t>(random.below(letters + m)),
                static_cast<std::int32_t>(random.below(letters + m)),
                {static_cast<std::int32_t>(m), static_cast<std::int32_t>(letters + m)});
    for (const std::uint32_t size : {0u, 1u, 2u, 5u, 31u, 32u, 33u, 34u, 90u, 300u}) {
      Ids ids;
      for (std::uint32_t i = 0; i < size; ++i)
        ids.push_back(static_cast<std::int32_t>(random.below(letters)));
      const Ids expected = merged_plainly(table, ids);
      table.apply(ids);
      REQUIRE(ids == expected);
    }
  }
}
