// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A hash for short byte strings, eight bytes a step. For tables inside one process; the value is no
// part of any file.

#include <cstdint>
#include <cstring>
#include <string_view>

namespace engram::bpe {

inline std::uint64_t hash_piece(std::string_view text) noexcept {
  constexpr std::uint64_t odd = 0x9E3779B97F4A7C15u;
  std::uint64_t h = text.size() * odd;
  std::size_t at = 0;
  std::uint64_t word = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::memcpy(&word, text.data() + at, 8);
    h = (h ^ word) * odd;
    h ^= h >> 29;
  }
  word = 0;
  if (at < text.size()) std::memcpy(&word, text.data() + at, text.size() - at);
  h = (h ^ word) * odd;
  return h ^ (h >> 32);
}

}  // namespace engram::bpe
