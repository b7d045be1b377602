// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The synthetic text of the experiment. It mixes two tasks that need different things of a model:
// facts, which a table of n-grams can hold, and copies of segments that are drawn anew each time,
// which no table can know and only reading the context can tell.

#include <engram/core/status.hpp>

#include <cstdint>
#include <vector>

namespace engram::knockout {

/// Tokens are numbered in this order: the start of a sequence, the separator in front of a copy,
/// fillers, those of keys, of values, of segments.
struct TextConfig {
  Index context = 32;  ///< targets of a sequence, which has one token more
  Index facts = 4000;  ///< half of them with keys of 2 tokens, half of 3
  Index fillers = 16;
  Index key_tokens = 160;
  Index value_tokens = 64;
  Index segment_tokens = 128;  ///< so many that pairs of them hardly ever come again
  Index shortest = 6;          ///< tokens of a segment
  Index longest = 12;
  std::uint64_t seed = 1;
};

struct Fact {
  std::vector<std::int32_t> key;  ///< 2 or 3 tokens
  std::int32_t value = 0;
};

/// What a target asks of a model.
enum class Kind : std::uint8_t {
  other,
  fact,  ///< the value of a fact, behind its key
  copy,  ///< a token of the segment's copy, from the second to the last; nothing tells the first
};

struct Sequences {
  std::vector<std::int32_t> tokens;  ///< [count, context + 1]
  std::vector<Kind> kinds;           ///< [count, context] of the targets
};

class Text {
 public:
  static constexpr std::int32_t start = 0, separator = 1;

  /// Draws the facts. A key is followed by its value wherever it stands: no key of 2 tokens is part
  /// of one of 3. Keys of 3 tokens share their last two by fours, so that these do not tell.
  ///
  /// Fails with invalid_config where a number is below its least or sequences have no room.
  static Result<Text> make(const TextConfig& config);

  const TextConfig& config() const { return config_; }
  const std::vector<Fact>& facts() const { return facts_; }
  std::int32_t vocab_size() const { return first_segment_token() + narrow(config_.segment_tokens); }
  std::int32_t first_key_token() const { return separator + 1 + narrow(config_.fillers); }
  std::int32_t first_value() const { return first_key_token() + narrow(config_.key_tokens); }
  std::int32_t first_segment_token() const { return first_value() + narrow(config_.value_tokens); }

  /// Sequences of pieces in random order: a segment of unlike tokens, its copy behind a separator,
  /// facts, of which none comes twice, and fillers. The same stream gives the same sequences.
  Sequences draw(Index count, std::uint64_t stream) const;

 private:
  explicit Text(const TextConfig& config) : config_(config) {}

  static std::int32_t narrow(Index n) { return static_cast<std::int32_t>(n); }
  void draw_facts();

  TextConfig config_;
  std::vector<Fact> facts_;
};

}  // namespace engram::knockout
