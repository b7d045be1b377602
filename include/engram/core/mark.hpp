// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the positions of a call are: tokens, masked positions, starts of documents, unused slots.
// The front end and the layer read the same marks.

#include <engram/config.hpp>

#include <cstdint>

ENGRAM_BEGIN_NAMESPACE

/// What a position is, one byte a token. dead and start combine; padding stands alone.
enum class Mark : std::uint8_t {
  token = 0,  ///< an ordinary token
  dead = 1,   ///< masked (image patch): its id is not looked at, its rows are those of the all-pad
              ///< window, and no n-gram reaches over it
  start = 2,  ///< first token of a document: no n-gram reaches before it
  padding = 4,  ///< unused slot of a fixed-size batch: row -1, the state passes over it unchanged
};

ENGRAM_HD constexpr bool has(Mark marks, Mark bit) noexcept {
  return (static_cast<unsigned>(marks) & static_cast<unsigned>(bit)) != 0;
}

/// Several marks at once: Mark::dead | Mark::start.
ENGRAM_HD constexpr Mark operator|(Mark a, Mark b) noexcept {
  return static_cast<Mark>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
ENGRAM_HD constexpr Mark& operator|=(Mark& a, Mark b) noexcept { return a = a | b; }

/// True for token, dead, start, dead | start and padding.
ENGRAM_HD constexpr bool is_valid(Mark mark) noexcept { return mark <= Mark::padding; }

ENGRAM_END_NAMESPACE
