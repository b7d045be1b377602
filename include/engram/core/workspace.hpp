// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Scratch memory that the caller owns. A hot call says how many bytes it needs, is handed that
// many, and takes its arrays from them; nothing is allocated.

#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Hands out arrays from a caller's bytes, each aligned to a cache line.
class Workspace {
 public:
  static constexpr std::size_t alignment = 64;

  constexpr explicit Workspace(View<std::byte, 1> bytes) noexcept
      : at_(bytes.data()), left_(static_cast<std::size_t>(bytes.size())) {}

  /// Bytes that take(Workspace&) takes, whatever the alignment of the memory. It is called with
  /// one that hands out null.
  template <class Take>
  static Index bytes_of(const Take& take) noexcept {
    Workspace none{View<std::byte, 1>()};
    none.counts_ = true;
    take(none);
    return static_cast<Index>(none.counted_);
  }

  /// Bytes that `count` elements of T need, whatever the alignment of the memory.
  template <class T>
  static constexpr std::size_t bytes_for(Index count) noexcept {
    return static_cast<std::size_t>(count) * sizeof(T) + alignment;
  }

  /// The next `count` elements of T, not initialised; null when too few bytes are left.
  template <class T>
  T* take(Index count) noexcept {
    if (counts_) {
      counted_ += bytes_for<T>(count);
      return nullptr;
    }
    const auto address = reinterpret_cast<std::uintptr_t>(at_);
    const std::size_t skip = (alignment - address % alignment) % alignment;
    const std::size_t need = skip + static_cast<std::size_t>(count) * sizeof(T);
    if (need > left_) return nullptr;
    std::byte* found = at_ + skip;
    at_ += need;
    left_ -= need;
    return reinterpret_cast<T*>(found);
  }

 private:
  std::byte* at_;
  std::size_t left_;
  std::size_t counted_ = 0;
  bool counts_ = false;
};

ENGRAM_END_NAMESPACE
