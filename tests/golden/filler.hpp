// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The words with which the golden files fill arrays that they do not print: element i of the stream
// `name` is splitmix64(fnv1a64(name) xor i * 0x9E3779B97F4A7C15).

#include <cstdint>
#include <string>
#include <vector>

inline std::uint64_t filler_word(const std::string& name, std::uint64_t i) {
  std::uint64_t h = 0xCBF29CE484222325;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  std::uint64_t z = (h ^ (i * 0x9E3779B97F4A7C15)) + 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

/// In [0, 1), 24 bits.
inline double filler_uniform(const std::string& name, std::uint64_t i) {
  return static_cast<double>(filler_word(name, i) >> 40) * 0x1p-24;
}

/// `count` floats 2u - 1 times a scale, plus 1 for gains.
inline std::vector<float> filler_floats(const std::string& name, std::size_t count, double scale,
                                        double plus = 0) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>((2 * filler_uniform(name, i) - 1) * scale + plus);
  return values;
}
