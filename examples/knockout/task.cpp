// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "task.hpp"

#include <engram/core/splitmix.hpp>

#include <algorithm>
#include <set>

namespace engram::knockout {
namespace {

constexpr Index firsts_of_a_suffix = 4;  // keys of 3 tokens that end alike
constexpr Index longest_fact = 4;        // tokens, the value's included
constexpr Index filler_every = 4;        // of that many pieces one, besides those that fill up

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(splitmix64(seed)) {}

  Index below(Index bound) {
    state_ = splitmix64(state_);
    return static_cast<Index>(state_ % static_cast<std::uint64_t>(bound));
  }
  std::int32_t token(std::int32_t first, Index count) {
    return first + static_cast<std::int32_t>(below(count));
  }

 private:
  std::uint64_t state_;
};

/// What stands together in a sequence.
struct Piece {
  enum Type { filler, fact, segment } type;
  std::vector<std::int32_t> tokens;
};

}  // namespace

Result<Text> Text::make(const TextConfig& c) {
  if (c.facts < 1 || c.fillers < 1 || c.value_tokens < 1 || c.shortest < 2 ||
      c.longest < c.shortest)
    return fail(Code::invalid_config, {"text: ", c.facts, " facts, ", c.fillers, " fillers, ",
                                       c.value_tokens, " value tokens and segments of ", c.shortest,
                                       " to ", c.longest, " tokens: at least 1, 1, 1 and 2"});
  if (c.segment_tokens < c.longest)
    return fail(Code::invalid_config, {"text: segments of ", c.longest, " unlike tokens, of ",
                                       c.segment_tokens, " that there are"});
  // With fewer, drawing keys that are not taken yet could go on for long.
  if (c.key_tokens < 2 * firsts_of_a_suffix || c.key_tokens * c.key_tokens < 4 * c.facts)
    return fail(Code::invalid_config,
                {"text: ", c.key_tokens, " key tokens are too few for ", c.facts, " facts"});
  const Index needed = 1 + 2 * c.longest + 1 + longest_fact;
  if (c.context + 1 < needed)
    return fail(Code::invalid_config, {"text: a segment, its copy and a fact need ", needed,
                                       " tokens, a sequence has ", c.context + 1});
  Text text(c);
  text.draw_facts();
  return text;
}

void Text::draw_facts() {
  Random random(config_.seed);
  const auto key_token = [&] { return random.token(first_key_token(), config_.key_tokens); };
  const auto add = [&](std::vector<std::int32_t> key) {
    facts_.push_back({std::move(key), random.token(first_value(), config_.value_tokens)});
  };
  const auto missing = [&](Index wanted) { return static_cast<Index>(facts_.size()) < wanted; };
  std::set<std::pair<std::int32_t, std::int32_t>> keys, suffixes;
  while (missing(config_.facts / 2)) {
    const std::int32_t a = key_token(), b = key_token();
    if (keys.insert({a, b}).second) add({a, b});
  }
  while (missing(config_.facts)) {
    const std::int32_t b = key_token(), c = key_token();
    if (keys.count({b, c}) != 0 || !suffixes.insert({b, c}).second) continue;
    std::set<std::int32_t> firsts;
    while (missing(config_.facts) && static_cast<Index>(firsts.size()) < firsts_of_a_suffix) {
      const std::int32_t a = key_token();
      if (keys.count({a, b}) == 0 && firsts.insert(a).second) add({a, b, c});
    }
  }
}

Sequences Text::draw(Index count, std::uint64_t stream) const {
  Random random(config_.seed ^ splitmix64(stream));
  Sequences drawn;
  const auto put = [&](std::int32_t token, Kind kind) {
    drawn.tokens.push_back(token);
    drawn.kinds.push_back(kind);
  };
  for (Index s = 0; s < count; ++s) {
    Piece segment{Piece::segment, {}};
    const Index size = config_.shortest + random.below(config_.longest - config_.shortest + 1);
    while (static_cast<Index>(segment.tokens.size()) < size) {
      const std::int32_t token = random.token(first_segment_token(), config_.segment_tokens);
      if (std::count(segment.tokens.begin(), segment.tokens.end(), token) == 0)
        segment.tokens.push_back(token);
    }
    std::vector<Piece> pieces(2, segment);
    std::set<Index> told;
    for (Index left = config_.context - 2 * size - 1; left > 0;) {
      const Index number = random.below(config_.facts);
      Piece piece;
      if (left >= longest_fact && random.below(filler_every) != 0 && told.insert(number).second) {
        const Fact& fact = facts_[static_cast<std::size_t>(number)];
        piece = {Piece::fact, fact.key};
        piece.tokens.push_back(fact.value);
      } else {
        piece = {Piece::filler, {random.token(separator + 1, config_.fillers)}};
      }
      left -= static_cast<Index>(piece.tokens.size());
      pieces.push_back(std::move(piece));
    }
    for (std::size_t n = pieces.size(); n > 1; --n)
      std::swap(pieces[n - 1],
                pieces[static_cast<std::size_t>(random.below(static_cast<Index>(n)))]);

    drawn.tokens.push_back(start);
    bool seen = false;  // the segment
    for (const Piece& piece : pieces) {
      const bool copy = piece.type == Piece::segment && seen;
      if (copy) put(separator, Kind::other);
      for (std::size_t i = 0; i < piece.tokens.size(); ++i) {
        const bool value = piece.type == Piece::fact && i + 1 == piece.tokens.size();
        put(piece.tokens[i], value ? Kind::fact : copy && i > 0 ? Kind::copy : Kind::other);
      }
      seen = seen || piece.type == Piece::segment;
    }
  }
  return drawn;
}

}  // namespace engram::knockout
