// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads and writes of a few words at once, as a GPU's thread makes them for data that passes
// through once. Elsewhere they are plain copies, so that what uses them also runs where there is no
// GPU.

#include <engram/core/ids.hpp>

#include <cstddef>

ENGRAM_BEGIN_NAMESPACE

/// Words that a thread reads or writes at once: 1, 2 or 4.
template <int Count>
struct Words {
  std::uint32_t of[Count];
};

/// Words that nothing writes while the kernel runs, at a multiple of their size.
template <int Count>
ENGRAM_HD ENGRAM_ALWAYS_INLINE Words<Count> read_once(const std::byte* at) noexcept {
  static_assert(Count == 1 || Count == 2 || Count == 4);
#if defined(__CUDA_ARCH__)
  if constexpr (Count == 4) {
    const uint4 v = __ldg(reinterpret_cast<const uint4*>(at));
    return {{v.x, v.y, v.z, v.w}};
  } else if constexpr (Count == 2) {
    const uint2 v = __ldg(reinterpret_cast<const uint2*>(at));
    return {{v.x, v.y}};
  } else {
    return {{__ldg(reinterpret_cast<const unsigned*>(at))}};
  }
#else
  Words<Count> words;
  __builtin_memcpy(&words, at, sizeof words);
  return words;
#endif
}

/// One byte of the same kind.
ENGRAM_HD ENGRAM_ALWAYS_INLINE std::uint8_t read_byte_once(const std::byte* at) noexcept {
#if defined(__CUDA_ARCH__)
  return __ldg(reinterpret_cast<const unsigned char*>(at));
#else
  return static_cast<std::uint8_t>(*at);
#endif
}

/// Writes 16 bytes, at a multiple of 16, that nobody reads soon.
ENGRAM_HD ENGRAM_ALWAYS_INLINE void write_once(std::byte* at, const Words<4>& words) noexcept {
#if defined(__CUDA_ARCH__)
  __stcs(reinterpret_cast<uint4*>(at), uint4{words.of[0], words.of[1], words.of[2], words.of[3]});
#else
  __builtin_memcpy(at, &words, sizeof words);
#endif
}

ENGRAM_END_NAMESPACE
