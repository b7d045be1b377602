// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/ngram/suffix.hpp>

#include <catch.hpp>
#include <cstring>
#include <random.hpp>
#include <vector>

using namespace engram;

namespace {

/// The rule as the specification states it: look back place by place, and once blocked stay
/// blocked.
NgramWindow window_by_rule(const std::vector<std::int32_t>& ids, const std::vector<Mark>& marks,
                           std::size_t at, int n, std::int32_t eos) {
  NgramWindow w;
  bool blocked = false;
  for (int s = 0; s < max_order; ++s) {
    const bool inside = s <= static_cast<int>(at);
    const std::size_t p = at - static_cast<std::size_t>(inside ? s : 0);
    blocked = blocked || !inside || has(marks[p], Mark::dead) || (s > 0 && ids[p] == eos) ||
              (s > 0 && has(marks[p + 1], Mark::start));
    w.ids[s] = blocked ? -1 : ids[p];
    if (s >= n) w.ids[s] = -1;
  }
  return w;
}

template <class X>
void check_against_rule(const X& extractor, std::int32_t eos, std::uint64_t seed) {
  Random random(seed);
  const int n = extractor.max_ngram_size();
  std::vector<std::int32_t> ids;
  std::vector<Mark> marks;
  for (int t = 0; t < 400; ++t) {
    ids.push_back(static_cast<std::int32_t>(random.below(6)));
    const std::int64_t kind = random.below(8);
    marks.push_back(kind == 0   ? Mark::dead
                    : kind == 1 ? Mark::start
                    : kind == 2 ? Mark::dead | Mark::start
                                : Mark::token);
  }
  NgramState state = extractor.initial_state();
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const NgramWindow found = extractor.push(state, CanonicalId{ids[t]}, marks[t]);
    const NgramWindow expected = window_by_rule(ids, marks, t, n, eos);
    for (int s = 0; s < n; ++s) {
      INFO("N " << n << ", position " << t << ", distance " << s);
      REQUIRE(found.ids[s] == expected.ids[s]);
    }
    REQUIRE(is_valid(state, n, 6));
  }
}

}  // namespace

TEST_CASE("windows follow the rule for every N and boundary") {
  for (int n = 2; n <= max_order; ++n) {
    check_against_rule(SuffixNgrams(n, SequenceStart{}), -1, 1);
    check_against_rule(SuffixNgrams(n, PositionReset{}), -1, 2);
    check_against_rule(SuffixNgrams(n, EosBarrier{CanonicalId{3}}), 3, 3);
    check_against_rule(SuffixNgrams(n, RuntimeBoundary{{BoundaryKind::eos, 4}}), 4, 4);
  }
}

TEST_CASE("an end-of-sequence token closes its own segment") {
  const SuffixNgrams x(3, EosBarrier{CanonicalId{9}});
  NgramState state = x.initial_state();
  (void)x.push(state, CanonicalId{1}, Mark::token);
  const NgramWindow eos = x.push(state, CanonicalId{9}, Mark::token);
  CHECK(eos.ids[1] == 1);  // its own n-gram still reaches back
  CHECK(state == x.initial_state());
  const NgramWindow next = x.push(state, CanonicalId{2}, Mark::token);
  CHECK(next.ids[0] == 2);
  CHECK(next.ids[1] == -1);
}

TEST_CASE("the state is 32 bytes with the documented layout") {
  const SuffixNgrams x(4, SequenceStart{});
  NgramState state = x.initial_state();
  for (const int id : {10, 11, 12, 13, 14}) (void)x.push(state, CanonicalId{id}, Mark::token);
  std::int32_t words[8];
  static_assert(sizeof words == sizeof state);
  std::memcpy(words, &state, sizeof state);
  const std::vector<std::int32_t> expected = {14, 13, 12, -1, -1, -1, -1, 3};
  CHECK(std::vector<std::int32_t>(words, words + 8) == expected);
}

TEST_CASE("a state from another geometry or another map is recognised") {
  const SuffixNgrams x(4, SequenceStart{});
  NgramState state = x.initial_state();
  CHECK(is_valid(state, 4, 10));
  CHECK_FALSE(is_valid(state, 3, 10));
  state.ids[0] = 10;
  CHECK_FALSE(is_valid(state, 4, 10));
  CHECK(is_valid(state, 4, 11));
  state.ids[0] = -2;
  CHECK_FALSE(is_valid(state, 4, 10));
  state.ids[0] = -1;
  state.ids[1] = 5;  // an id behind a blocked place
  CHECK_FALSE(is_valid(state, 4, 10));
  state = x.initial_state();
  for (int s = 0; s < 4; ++s) state.ids[s] = 1;  // an id beyond N - 1
  CHECK_FALSE(is_valid(state, 4, 10));
}

TEST_CASE("a history becomes the state that pushing it would give") {
  const SuffixNgrams x(4, EosBarrier{CanonicalId{7}});
  NgramState state = x.initial_state();
  const std::vector<std::int32_t> plain = {1, 2, 3};
  REQUIRE(state_from_history(x, View(plain), 10, state).ok());
  CHECK(state.ids[0] == 3);
  CHECK(state.ids[2] == 1);
  const std::vector<std::int32_t> with_eos = {1, 7, 3};
  REQUIRE(state_from_history(x, View(with_eos), 10, state).ok());
  CHECK(state.ids[0] == 3);
  CHECK(state.ids[1] == -1);
  const std::vector<std::int32_t> with_dead = {1, -1, 3};
  REQUIRE(state_from_history(x, View(with_dead), 10, state).ok());
  CHECK(state.ids[1] == -1);
  CHECK(is_valid(state, 4, 10));
}

TEST_CASE("a bad history is refused and the state left alone") {
  const SuffixNgrams x(4, SequenceStart{});
  const NgramState before = x.initial_state();
  NgramState state = before;
  const auto refused = [&](const std::vector<std::int32_t>& history, Index index) {
    CHECK(state_from_history(x, View(history), 10, state) == Status{Code::bad_state, 0, index});
    CHECK(state == before);
  };
  refused({1, 2}, 3);
  refused({1, 2, 3, 4}, 3);
  refused({1, 10, 3}, 1);
  refused({1, 2, -2}, 2);
}

TEST_CASE("position ids that do not grow start a document") {
  const std::vector<std::int64_t> positions = {3, 4, 0, 1, 2, 2, 7};
  std::vector<Mark> marks(7, Mark::token);
  marks[2] = Mark::dead;
  REQUIRE(mark_position_resets(View(positions), 2, View<Mark, 1>(marks)).ok());
  const std::vector<Mark> expected = {Mark::token, Mark::token, Mark::dead | Mark::start,
                                      Mark::token, Mark::token, Mark::start,
                                      Mark::token};
  CHECK(marks == expected);
  std::vector<Mark> first(1, Mark::token);
  const std::vector<std::int64_t> zero = {0};
  REQUIRE(mark_position_resets(View(zero), 41, View<Mark, 1>(first)).ok());
  CHECK(first[0] == Mark::start);
  CHECK(mark_position_resets(View(positions), 2, View<Mark, 1>(first)).code ==
        Code::shape_mismatch);
}
