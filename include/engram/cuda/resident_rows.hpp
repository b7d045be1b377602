// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows that a GPU keeps, and in which slot of its memory each lies. The host decides and writes it
// down, since it sends the rows: the GPU is never asked. A new row takes the slot of the least
// recently used one.

#include <engram/storage/cache_places.hpp>
#include <engram/storage/host_memory.hpp>

#include <utility>

ENGRAM_BEGIN_NAMESPACE

/// Rows in numbered slots, the least recently used first to go. Moves, is not copied. One thread.
class ResidentRows {
 public:
  /// num_rows  of the table, 1 to 2^62.
  /// slots     1 to 2^31 - 2.
  ///
  /// Fails with invalid_config, or as HostMemory::make(): 28 bytes of host memory a slot, touched
  /// when it is used.
  ENGRAM_ALWAYS_INLINE static Result<ResidentRows> make(Index num_rows, Index slots) {
    if (num_rows < 1 || num_rows > Index{1} << 62 || slots < 1 || slots > INT32_MAX - 1)
      return fail(Code::invalid_config,
                  {"resident rows: ", num_rows, " rows in ", slots, " slots"});
    constexpr auto each = static_cast<Index>(sizeof(Slot) + sizeof(std::int32_t));
    Result<HostMemory> memory = HostMemory::make(slots * each + Index{sizeof(Slot)});
    if (!memory.ok()) return memory.failure();
    return ResidentRows(std::move(memory.value()), num_rows, slots);
  }

  ENGRAM_ALWAYS_INLINE ResidentRows(ResidentRows&&) = default;
  ENGRAM_ALWAYS_INLINE ResidentRows& operator=(ResidentRows&&) = default;

  Index num_slots() const noexcept { return num_slots_; }

  /// The slot of a row, which is the last used now; -1: it has none.
  Index find(RowId row) noexcept {
    std::int32_t slot = first_[bucket_of(row)];
    while (slot != none && slots_[slot].row != to_integer(row)) slot = slots_[slot].next;
    if (slot == none) return -1;
    unlink(slot);
    link_newest(slot);
    return slot - 1;
  }

  /// A slot for a row that has none: an unused one, else the least recently used row's.
  Index add(RowId row) noexcept {
    std::int32_t slot = 0;
    if (used_ < num_slots_) {
      slot = static_cast<std::int32_t>(++used_);
    } else {
      slot = oldest_;
      remove(slot - 1);
      unlink(slot);
    }
    link_newest(slot);
    std::int32_t& first = first_[bucket_of(row)];
    slots_[slot].row = to_integer(row);
    slots_[slot].next = first;
    first = slot;
    return slot - 1;
  }

  /// Its row is not there any more, and it is given away before those that have one; nothing where
  /// it has none.
  void remove(Index freed) noexcept {
    const auto slot = static_cast<std::int32_t>(freed + 1);
    if (slot > used_ || slots_[slot].row < 0) return;
    std::int32_t* at = &first_[bucket_of(RowId{slots_[slot].row})];
    while (*at != slot) at = &slots_[*at].next;
    *at = slots_[slot].next;
    slots_[slot].row = -1;
    unlink(slot);
    link_oldest(slot);
  }

  void clear() noexcept {
    for (Index b = 0; b < num_slots_; ++b) first_[b] = none;
    used_ = 0;
    newest_ = oldest_ = none;
  }

 private:
  /// Counted from 1, so that zeroed memory has none.
  static constexpr std::int32_t none = 0;

  struct Slot {
    std::int64_t row;           ///< -1: none
    std::int32_t next;          ///< in the same bucket
    std::int32_t newer, older;  ///< by use
  };

  ResidentRows(HostMemory memory, Index num_rows, Index slots)
      : memory_(std::move(memory)),
        places_(cache_places(num_rows, slots)),
        num_slots_(slots),
        slots_(reinterpret_cast<Slot*>(memory_.data())),
        first_(
            reinterpret_cast<std::int32_t*>(memory_.data() + (slots + 1) * Index{sizeof(Slot)})) {}

  Index bucket_of(RowId row) const noexcept { return places_.set_of(places_.scrambled(row)); }

  void unlink(std::int32_t slot) noexcept {
    const auto [newer, older] = std::pair(slots_[slot].newer, slots_[slot].older);
    (newer == none ? newest_ : slots_[newer].older) = older;
    (older == none ? oldest_ : slots_[older].newer) = newer;
  }
  void link_newest(std::int32_t slot) noexcept {
    slots_[slot].newer = none;
    slots_[slot].older = newest_;
    (newest_ == none ? oldest_ : slots_[newest_].newer) = slot;
    newest_ = slot;
  }
  void link_oldest(std::int32_t slot) noexcept {
    slots_[slot].older = none;
    slots_[slot].newer = oldest_;
    (oldest_ == none ? newest_ : slots_[oldest_].older) = slot;
    oldest_ = slot;
  }

  HostMemory memory_;
  CachePlaces places_;
  Index num_slots_;
  Index used_ = 0;  // slots that ever had a row
  Slot* slots_;     // [num_slots_ + 1], the first stays empty
  std::int32_t* first_;
  std::int32_t newest_ = none, oldest_ = none;
};

ENGRAM_END_NAMESPACE
