// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The experiment's text: values follow from keys alone, copies repeat segments, what is marked.
#if __has_include(<Eigen/Core>) && __has_include("knockout/task.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "knockout/task.hpp"

#include <algorithm>
#include <map>
#include <set>

using namespace engram;
using namespace engram::knockout;

namespace {

using Tokens = std::vector<std::int32_t>;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

Text text_of(std::uint64_t seed) { return Text::make({.seed = seed}).value(); }

bool in(std::int32_t token, std::int32_t first, std::int32_t end) {
  return token >= first && token < end;
}

}  // namespace

TEST_CASE("a value follows from its key, and from no less") {
  const Text text = text_of(3);
  REQUIRE(text.facts().size() == 4000);
  std::set<Tokens> pairs, triples, parts;  // parts: pairs of tokens within keys of 3
  std::map<Tokens, std::set<std::int32_t>> values_of_suffix;
  for (const Fact& fact : text.facts()) {
    for (const std::int32_t token : fact.key)
      CHECK(in(token, text.first_key_token(), text.first_value()));
    CHECK(in(fact.value, text.first_value(), text.first_segment_token()));
    if (fact.key.size() == 2) {
      CHECK(pairs.insert(fact.key).second);
    } else {
      REQUIRE(fact.key.size() == 3);
      CHECK(triples.insert(fact.key).second);
      parts.insert(Tokens(fact.key.begin(), fact.key.end() - 1));
      const Tokens suffix(fact.key.begin() + 1, fact.key.end());
      parts.insert(suffix);
      values_of_suffix[suffix].insert(fact.value);
    }
  }
  CHECK(pairs.size() == 2000);
  for (const Tokens& pair : pairs) CHECK(parts.count(pair) == 0);
  CHECK(values_of_suffix.size() == 500);
  for (const auto& [suffix, values] : values_of_suffix) CHECK(values.size() > 1);
}

TEST_CASE("sequences hold facts, a segment and its copy, and what is marked is what it says") {
  const Text text = text_of(3);
  const Index context = text.config().context, count = 500;
  std::map<Tokens, std::int32_t> value_of;
  for (const Fact& fact : text.facts()) value_of[fact.key] = fact.value;
  const Sequences drawn = text.draw(count, 7);
  REQUIRE(drawn.tokens.size() == at(count * (context + 1)));
  REQUIRE(drawn.kinds.size() == at(count * context));

  std::set<Tokens> segments;
  std::set<Index> gaps;  // between the segment and the separator
  Index facts = 0;
  for (Index s = 0; s < count; ++s) {
    const auto first = drawn.tokens.begin() + s * (context + 1);
    const Tokens tokens(first, first + context + 1);
    CHECK(tokens[0] == Text::start);
    CHECK(std::count(tokens.begin(), tokens.end(), Text::start) == 1);
    CHECK(std::count(tokens.begin(), tokens.end(), Text::separator) == 1);
    const auto separator = std::find(tokens.begin(), tokens.end(), Text::separator);
    const auto begin = std::find_if(tokens.begin(), tokens.end(), [&](std::int32_t token) {
      return token >= text.first_segment_token();
    });
    const auto end = std::find_if(begin, tokens.end(), [&](std::int32_t token) {
      return token < text.first_segment_token();
    });
    const Tokens segment(begin, end);
    REQUIRE((segment.size() >= 6 && segment.size() <= 12 && end <= separator));
    CHECK(std::set<std::int32_t>(begin, end).size() == segment.size());
    segments.insert(segment);
    gaps.insert(separator - end);
    const Index copy = separator - tokens.begin() + 1;
    REQUIRE(copy + static_cast<Index>(segment.size()) <= context + 1);
    CHECK(std::equal(begin, end, tokens.begin() + copy));

    std::set<Tokens> told;
    for (Index place = 1; place <= context; ++place) {  // of a target
      Kind expected = Kind::other;
      if (in(tokens[at(place)], text.first_value(), text.first_segment_token())) {
        const auto key_end = tokens.begin() + place;
        auto known = value_of.find(Tokens(key_end - 2, key_end));
        if (known == value_of.end()) known = value_of.find(Tokens(key_end - 3, key_end));
        REQUIRE(known != value_of.end());
        CHECK(known->second == tokens[at(place)]);
        CHECK(told.insert(known->first).second);
        expected = Kind::fact;
        ++facts;
      } else if (place > copy && place < copy + static_cast<Index>(segment.size())) {
        expected = Kind::copy;
      }
      CHECK(drawn.kinds[at(s * context + place - 1)] == expected);
      // Wherever a key of 2 tokens stands, its value is next.
      const auto pair = value_of.find(Tokens{tokens[at(place - 1)], tokens[at(place)]});
      if (pair != value_of.end()) CHECK((place < context && tokens[at(place + 1)] == pair->second));
    }
  }
  CHECK(segments.size() == at(count));  // drawn anew each time
  CHECK(gaps.size() > 5);
  CHECK(facts > 2 * count);
}

TEST_CASE("a seed gives the same facts, and a seed and stream the same sequences") {
  const auto same_facts = [](const Text& a, const Text& b) {
    return std::equal(
        a.facts().begin(), a.facts().end(), b.facts().begin(),
        [](const Fact& x, const Fact& y) { return x.key == y.key && x.value == y.value; });
  };
  const Text text = text_of(1), again = text_of(1), other = text_of(2);
  CHECK(same_facts(text, again));
  CHECK_FALSE(same_facts(text, other));
  const Sequences drawn = text.draw(20, 5);
  CHECK(drawn.tokens == again.draw(20, 5).tokens);
  CHECK(drawn.kinds == again.draw(20, 5).kinds);
  CHECK(drawn.tokens != text.draw(20, 6).tokens);
  CHECK(drawn.kinds != other.draw(20, 5).kinds);
}

TEST_CASE("a text that cannot be is refused, and the smallest one is drawn") {
  const auto refused = [](const TextConfig& config, const char* why) {
    const Result<Text> made = Text::make(config);
    REQUIRE_FALSE(made.ok());
    CHECK(made.status().code == Code::invalid_config);
    CHECK(contains(made.message(), why));
  };
  refused({.facts = 0}, "0 facts");
  refused({.fillers = 0}, "0 fillers");
  refused({.value_tokens = 0}, "0 value tokens");
  refused({.shortest = 1}, "segments of 1 to 12");
  refused({.shortest = 6, .longest = 5}, "segments of 6 to 5");
  refused({.segment_tokens = 11}, "12 unlike tokens, of 11");
  refused({.key_tokens = 126}, "126 key tokens are too few for 4000");
  refused({.facts = 1, .key_tokens = 7}, "7 key tokens are too few");
  refused({.context = 28}, "need 30 tokens, a sequence has 29");

  const TextConfig smallest{.context = 9,
                            .facts = 1,
                            .fillers = 1,
                            .key_tokens = 8,
                            .value_tokens = 1,
                            .segment_tokens = 2,
                            .shortest = 2,
                            .longest = 2};
  const Sequences drawn = Text::make(smallest).value().draw(50, 0);
  CHECK(drawn.tokens.size() == 500);
  CHECK(std::count(drawn.kinds.begin(), drawn.kinds.end(), Kind::copy) == 50);
  CHECK(std::count(drawn.kinds.begin(), drawn.kinds.end(), Kind::fact) > 0);

  TextConfig roomy = smallest;
  roomy.context = 30;
  const Sequences few = Text::make(roomy).value().draw(50, 0);
  CHECK(std::count(few.kinds.begin(), few.kinds.end(), Kind::fact) == 50);  // none tells it twice
}

#endif
