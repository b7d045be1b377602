// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Caches without contents: which of the rows that are asked for, one after the other, they would
// hold. A row is a number below `unique`; `capacity` is in rows, at least 1.

#include <engram/core/splitmix.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace engram::simulate {

inline constexpr std::uint32_t none = 0xFFFFFFFF;

/// Evicts the row that has been there longest.
class Fifo {
 public:
  Fifo(std::size_t capacity, std::size_t unique) : ring_(capacity, none), held_(unique) {}

  /// Whether the row is there; afterwards it is.
  bool read(std::uint32_t row) {
    if (held_[row] != 0) return true;
    if (ring_[hand_] != none) held_[ring_[hand_]] = 0;
    ring_[hand_] = row;
    held_[row] = 1;
    if (++hand_ == ring_.size()) hand_ = 0;
    return false;
  }

 private:
  std::vector<std::uint32_t> ring_;
  std::vector<std::uint8_t> held_;
  std::size_t hand_ = 0;
};

/// Evicts the row that has not been asked for the longest.
class Lru {
 public:
  Lru(std::size_t capacity, std::size_t unique) : slot_of_(unique, none), slots_(capacity) {}

  bool read(std::uint32_t row) {
    std::uint32_t slot = slot_of_[row];
    const bool hit = slot != none;
    if (hit) {
      if (slot == newest_) return true;
      unlink(slot);
    } else {
      if (used_ < slots_.size()) {
        slot = used_++;
      } else {
        slot = oldest_;
        slot_of_[slots_[slot].row] = none;
        unlink(slot);
      }
      slots_[slot].row = row;
      slot_of_[row] = slot;
    }
    slots_[slot].older = newest_;
    slots_[slot].newer = none;
    if (newest_ != none) slots_[newest_].newer = slot;
    newest_ = slot;
    if (oldest_ == none) oldest_ = slot;
    return hit;
  }

 private:
  struct Slot {
    std::uint32_t row = none, older = none, newer = none;
  };

  void unlink(std::uint32_t slot) {
    const Slot& s = slots_[slot];
    if (s.older != none) slots_[s.older].newer = s.newer;
    if (s.newer != none) slots_[s.newer].older = s.older;
    if (oldest_ == slot) oldest_ = s.newer;
    if (newest_ == slot) newest_ = s.older;
  }

  std::vector<std::uint32_t> slot_of_;
  std::vector<Slot> slots_;
  std::uint32_t used_ = 0, oldest_ = none, newest_ = none;
};

/// Second chance: a hand goes round and evicts the first row that was not asked for again since it
/// came, or since the hand passed.
class Clock {
 public:
  Clock(std::size_t capacity, std::size_t unique)
      : slot_of_(unique, none), row_in_(capacity, none), again_(capacity) {}

  bool read(std::uint32_t row) {
    if (slot_of_[row] != none) {
      again_[slot_of_[row]] = 1;
      return true;
    }
    while (again_[hand_] != 0) {
      again_[hand_] = 0;
      advance();
    }
    if (row_in_[hand_] != none) slot_of_[row_in_[hand_]] = none;
    row_in_[hand_] = row;
    slot_of_[row] = static_cast<std::uint32_t>(hand_);
    advance();
    return false;
  }

 private:
  void advance() {
    if (++hand_ == row_in_.size()) hand_ = 0;
  }

  std::vector<std::uint32_t> slot_of_, row_in_;
  std::vector<std::uint8_t> again_;
  std::size_t hand_ = 0;
};

/// Sixteen ways in each set, and second chance within a set.
class Sets {
 public:
  static constexpr std::size_t ways = 16;

  /// Holds capacity / ways sets. Precondition: capacity >= ways.
  Sets(std::size_t capacity, std::size_t) : sets_(capacity / ways) {}

  bool read(std::uint32_t row) {
    Set& set = sets_[set_of(row)];
    for (std::size_t way = 0; way < ways; ++way)
      if (set.rows[way] == row) {
        set.again = static_cast<std::uint16_t>(set.again | 1u << way);
        return true;
      }
    while ((set.again >> set.hand & 1) != 0) {
      set.again = static_cast<std::uint16_t>(set.again & ~(1u << set.hand));
      set.hand = static_cast<std::uint16_t>((set.hand + 1u) % ways);
    }
    set.rows[set.hand] = row;
    set.hand = static_cast<std::uint16_t>((set.hand + 1u) % ways);
    return false;
  }

  /// By the upper half of a hash, as evenly as the hash.
  std::size_t set_of(std::uint32_t row) const {
    return static_cast<std::size_t>((splitmix64(row) >> 32) * sets_.size() >> 32);
  }

 private:
  struct Set {
    std::uint32_t rows[ways];
    std::uint16_t again = 0, hand = 0;
    Set() {
      for (std::uint32_t& row : rows) row = none;
    }
  };

  std::vector<Set> sets_;
};

}  // namespace engram::simulate
