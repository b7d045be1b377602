// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What repeats in the row reads of a trace, and what a cache of a given size would make of it.

#include "reads.hpp"

#include <array>
#include <optional>

namespace engram::simulate {

/// One count for each order; [0] and [1] stay 0.
using ByOrder = std::array<Index, max_order + 1>;
inline Index sum(const ByOrder& counts) {
  Index total = 0;
  for (const Index count : counts) total += count;
  return total;
}

/// What decides who is evicted.
enum class Policy {
  lru,
  clock,
  fifo,
  set16,   ///< 16-way sets with second chance, as a cached store has them
  pinned,  ///< "static": the most frequent rows of the first half, nothing else
  min,     ///< Belady's MIN: knows the future, keeps only what comes again: no cache has more hits
};
const char* to_string(Policy policy);
std::optional<Policy> find_policy(std::string_view name);

/// Orders whose rows may enter: bit n for order n.
using Orders = std::uint32_t;
inline constexpr Orders all_orders = ~Orders{0};

/// Of the whole trace and of its second half, in which the cache is warm. Reads count whether their
/// order may enter or not.
struct Hits {
  ByOrder reads{}, hits{}, late_reads{}, late_hits{};
};

/// Goes through the reads with a cache of `rows` of the followed rows that begins empty. `pinned`
/// counts in the first half and is used in the second: its hits are all late.
///
/// Precondition: rows >= 16.  Cost  some 10 to 100 ns a read; min log(rows) more.
Hits replay(const Reads& reads, Policy policy, std::size_t rows, Orders orders);

/// Of every chunk of so many tokens; what is left at the end of the trace does not count.
struct ChunkUse {
  Index tokens = 0;  ///< of a chunk
  Index chunks = 0;
  ByOrder reads{};
  ByOrder unique{};  ///< different rows in a chunk, the sum of the chunks
  ByOrder again{};  ///< of all reads of the trace: those of a row that one of as many tokens before
                    ///< read, chunks or not
};
std::vector<ChunkUse> chunk_use(const Reads& reads, const std::vector<Index>& lengths);

/// How unequally the rows of one order are asked for.
struct Popularity {
  int order = 0;
  Index reads = 0, unique = 0;
  Index once = 0;  ///< rows that were read once only
  /// {share of the rows, the most frequent ones; their share of the reads}
  std::vector<std::pair<double, double>> top;
};
std::vector<Popularity> popularity(const Reads& reads);

/// The `count` rows that were read most often, the most frequent first, those that came first
/// before others of the same frequency; all when there are fewer.
std::vector<Index> hot_rows(const Reads& reads, std::size_t count);

}  // namespace engram::simulate
