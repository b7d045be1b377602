// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random UTF-8 by a fixed rule, so that a digest of what an encoder makes of it can be a golden
// value: anything that Unicode allows, plus what tokenizers treat specially, in short runs.

#include <engram/unicode/utf8.hpp>

#include <span>

namespace engram::test {

/// SplitMix64 (Steele, Lea, Flood 2014).
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// 0 to n-1.
  std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>((next() >> 32) % n); }

 private:
  std::uint64_t state_;
};

/// At least `size` bytes of valid UTF-8, at most some hundred more. `words` are strewn in whole.
inline std::string random_text(std::uint64_t seed, std::size_t size,
                               std::span<const std::string_view> words) {
  // Scripts, marks, symbols, what recent versions of Unicode added, and what case folding reaches.
  static constexpr struct {
    char32_t first, last;
  } ranges[] = {
      {0x80, 0xFF},       {0x100, 0x24F},     {0x300, 0x36F},     {0x370, 0x3FF},
      {0x400, 0x4FF},     {0x590, 0x5FF},     {0x600, 0x6FF},     {0x860, 0x97F},
      {0xE00, 0xE7F},     {0x1100, 0x11FF},   {0x1700, 0x18AF},   {0x1AB0, 0x1BFF},
      {0x1C80, 0x1CCF},   {0x2000, 0x206F},   {0x20A0, 0x214F},   {0x2150, 0x218F},
      {0x2190, 0x2BFF},   {0x3000, 0x30FF},   {0x4E00, 0x9FFF},   {0xA7C0, 0xA7FF},
      {0xAC00, 0xD7AF},   {0xFB00, 0xFDFF},   {0xFF00, 0xFFEF},   {0x10D40, 0x10D8F},
      {0x11300, 0x113FF}, {0x11900, 0x1194F}, {0x11F00, 0x11F5F}, {0x13430, 0x1345F},
      {0x1CC00, 0x1CEB3}, {0x1D400, 0x1D7FF}, {0x1E030, 0x1E14F}, {0x1E4D0, 0x1E5FF},
      {0x1F300, 0x1FAFF}, {0x2EBF0, 0x2EE5F},
  };
  static constexpr char32_t spaces[] = {' ',    ' ',    ' ',    '\n',   '\n',   '\r',   '\t',
                                        0x0B,   0x0C,   0x85,   0xA0,   0x1680, 0x180E, 0x2003,
                                        0x200B, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF};
  static constexpr std::string_view contractions[] = {
      "'s", "'S", "'t", "'re", "'VE", "'m", "'ll", "'D", "'\u017F", "\u2019s", "'\u212A"};
  static constexpr char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

  SplitMix64 random(seed);
  std::string text;
  while (text.size() < size) {
    const std::uint32_t kind = random.below(9);
    const std::uint32_t length = 1 + random.below(random.below(8) == 0 ? 40 : 6);
    if (kind == 7) {
      if (!words.empty()) text += words[random.below(static_cast<std::uint32_t>(words.size()))];
      continue;
    }
    if (kind == 6) {
      text += contractions[random.below(std::size(contractions))];
      continue;
    }
    const auto& range = ranges[random.below(std::size(ranges))];
    const bool upper = random.below(4) == 0;
    for (std::uint32_t i = 0; i < length; ++i) {
      char32_t c = 0;
      if (kind == 0) {
        c = random.below(0x110000 - 0x800);
        if (c >= 0xD800) c += 0x800;
      } else if (kind == 1 || kind == 8) {
        c = range.first + random.below(static_cast<std::uint32_t>(range.last - range.first + 1));
      } else if (kind == 2) {
        c = (upper ? 'A' : 'a') + random.below(26);
      } else if (kind == 3) {
        c = '0' + random.below(10);
      } else if (kind == 4) {
        c = spaces[random.below(std::size(spaces))];
      } else {
        c = static_cast<unsigned char>(punctuation[random.below(sizeof punctuation - 1)]);
      }
      append_utf8(text, c);
    }
  }
  return text;
}

}  // namespace engram::test
