// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The merges of a byte-level BPE tokenizer and how they are applied to one piece of text.

#include <cstdint>
#include <vector>

namespace engram::bpe {

/// Which two neighbouring tokens become which one, and how early. Const calls may run concurrently.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank = -1;  ///< lower goes first; -1: these two do not merge
    std::int32_t id = -1;    ///< of the joined token
  };

  /// Room for `merges` entries; the table does not grow.
  explicit MergeTable(std::size_t merges = 0);

  /// Adds or replaces an entry. Precondition: ids and rank are not negative.
  void set(std::int32_t left, std::int32_t right, Merge merge);

  /// What becomes of the two, rank -1 when nothing.
  Merge find(std::int32_t left, std::int32_t right) const noexcept {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t i = slot_of(key);; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.key == key) return slot.merge;
      if (slot.key == no_key) return {};
    }
  }

  /// Applies merges until none applies: always the one of the lowest rank, of equal ranks the
  /// leftmost. `ids` holds the tokens of one piece, before and after.
  ///
  /// Quadratic up to 32 tokens, where that is fastest; beyond, n log n.
  void apply(std::vector<std::int32_t>& ids) const;

 private:
  static constexpr std::uint64_t no_key = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = no_key;
    Merge merge;
  };
  static std::uint64_t key_of(std::int32_t left, std::int32_t right) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t key) const noexcept {
    return static_cast<std::size_t>((key ^ (key >> 32)) * 0x9E3779B97F4A7C15u >> 32) & mask_;
  }
  void apply_short(std::vector<std::int32_t>& ids) const;
  void apply_long(std::vector<std::int32_t>& ids) const;

  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace engram::bpe
