// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The trainer's working state: every piece as a run of tokens, how often each pair of neighbours
// stands in them, and where.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace engram::bpe {

/// Pieces of text that shrink as pairs are merged, with exact counts of all pairs at any time.
class PairCounts {
 public:
  /// Two neighbouring tokens; the number of a pair stays the same.
  struct Pair {
    std::int32_t left = 0, right = 0;
    std::int64_t count = 0;             ///< over all pieces, each times its own count
    std::uint32_t round = 0;            ///< the merge in which it last gained
    std::vector<std::uint32_t> pieces;  ///< that hold it, or did
  };

  PairCounts();
  /// Adds a piece, `count` times.
  void add(std::vector<std::int32_t> ids, std::int64_t count);

  /// Replaces the pair by `id` in every piece, from left to right. Returns the pairs that gained.
  std::vector<std::uint32_t> merge(std::uint32_t pair, std::int32_t id);

  const Pair& operator[](std::uint32_t pair) const { return pairs_[pair]; }
  std::uint32_t size() const noexcept { return static_cast<std::uint32_t>(pairs_.size()); }

 private:
  struct Piece {
    std::size_t begin = 0;
    std::uint32_t size = 0;
    std::int64_t count = 0;
  };
  std::uint32_t number_of(std::int32_t left, std::int32_t right);
  void gain(std::int32_t left, std::int32_t right, std::uint32_t piece);
  void lose(std::int32_t left, std::int32_t right, std::uint32_t piece);
  void grow();
  std::size_t slot_of(std::int32_t left, std::int32_t right) const noexcept;

  std::vector<std::int32_t> ids_;  // of all pieces
  std::vector<Piece> pieces_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> slots_;  // hash table of pair numbers plus one
  std::uint32_t round_ = 0;
  std::vector<std::uint32_t> gained_;
};

}  // namespace engram::bpe
