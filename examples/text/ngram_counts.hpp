// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How often each n-gram of canonical ids occurred in the tokens that were trained on, as the memory
// addresses them: a sequence knows nothing of what stood before it.

#include <engram/tokenizer/token_map.hpp>

#include <span>
#include <unordered_map>

namespace engram::text {

/// Groups of positions by how often their n-gram was seen in training.
struct Stratum {
  const char* name;
  Index least;  ///< occurrences from which on it counts
};
inline constexpr Stratum strata[] = {{"0", 0}, {"1-3", 1}, {"4-15", 4}, {"16-63", 16}, {"64+", 64}};

class NgramCounts {
 public:
  explicit NgramCounts(const TokenMap& map) : map_(&map) {}

  /// Counts the n-grams of order 2 and 3 that end at each position of a sequence.
  void add(std::span<const std::int32_t> sequence) {
    for (std::size_t t = 0; t < sequence.size(); ++t)
      for (int order = 2; order <= 3; ++order) ++counts_[key(sequence, t, order)];
  }
  Index count(std::span<const std::int32_t> sequence, std::size_t t, int order) const {
    const auto found = counts_.find(key(sequence, t, order));
    return found == counts_.end() ? 0 : found->second;
  }
  /// Which of `strata` a position is in.
  std::size_t stratum(std::span<const std::int32_t> sequence, std::size_t t, int order) const {
    const Index seen = count(sequence, t, order);
    std::size_t s = std::size(strata) - 1;
    while (seen < strata[s].least) --s;
    return s;
  }

 private:
  std::uint64_t key(std::span<const std::int32_t> sequence, std::size_t t, int order) const {
    std::uint64_t key = static_cast<std::uint64_t>(order);
    for (std::size_t back = 0; back < static_cast<std::size_t>(order); ++back) {
      const std::uint64_t id =
          t < back ? 0 : 1 + static_cast<std::uint64_t>(to_integer((*map_)(sequence[t - back])));
      key = key << 20 | id;  // vocabularies below a million
    }
    return key;
  }

  const TokenMap* map_;
  std::unordered_map<std::uint64_t, Index> counts_;
};

}  // namespace engram::text
