// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Blocks of the GGUF formats as ggml_blocks.json describes them.

#include "json_values.hpp"

#include <engram/core/splitmix.hpp>

#include <cstdint>

namespace {

inline std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::strtoul(text.substr(i, 2).c_str(), nullptr, 16)));
  return bytes;
}

inline void put_half(std::vector<std::byte>& block, std::int64_t at, std::int64_t half) {
  block[static_cast<std::size_t>(at)] = static_cast<std::byte>(half & 0xFF);
  block[static_cast<std::size_t>(at) + 1] = static_cast<std::byte>(half >> 8);
}

/// The random blocks of a format, one behind the other; their halves are those of the file in turn.
inline std::vector<std::byte> random_blocks(const Value& golden, const Value& format) {
  const std::vector<std::int64_t> halves = golden["halves"].numbers();
  const auto count = static_cast<std::int64_t>(halves.size());
  const std::vector<std::int64_t> places = format["halves_at"].numbers();
  const auto size = static_cast<std::size_t>(format["bytes"].integer());
  std::uint64_t state = format["seed"].natural();
  std::vector<std::byte> all;
  for (std::int64_t b = 0; b < format["random"].integer(); ++b) {
    std::vector<std::byte> block;
    while (block.size() < size) {
      const std::uint64_t word = engram::splitmix64(state);
      state += engram::splitmix64_step;
      for (int i = 0; i < 8; ++i) block.push_back(static_cast<std::byte>(word >> (8 * i)));
    }
    block.resize(size);
    std::int64_t which = b;
    for (const std::int64_t place : places) {
      put_half(block, place, halves[static_cast<std::size_t>(which % count)]);
      which /= count;
    }
    all.insert(all.end(), block.begin(), block.end());
  }
  return all;
}

}  // namespace
