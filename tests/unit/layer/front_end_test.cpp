// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/engram.hpp>

#include <catch.hpp>
#include <contains.hpp>
#include <cstring>
#include <numeric>
#include <random.hpp>

using namespace engram;

namespace {

constexpr Index vocab = 300;
constexpr Index layers = 2;

Layout layout_of(BoundaryRule rule, int n = 4) {
  AddressingConfig config;
  config.engram_vocab_size.assign(static_cast<std::size_t>(n - 1), 40000);
  config.max_ngram_size = n;
  config.n_head_per_ngram = 3;
  config.layer_ids = {1, 14};
  config.boundary = rule;
  return make_layout(config, IdentityCompressor(vocab)).value();
}

auto front_of(BoundaryRule rule = {}, int n = 4) {
  return make_front_end(layout_of(rule, n), IdentityCompressor(vocab)).value();
}
using Front = decltype(front_of());

struct Text {
  std::vector<std::int32_t> tokens;
  std::vector<Mark> marks;
};

/// Zipf-like ids with every kind of mark; ids at dead and padding places are rubbish on purpose.
Text text_of(Index length, std::uint64_t seed) {
  Random random(seed);
  Text text;
  for (Index t = 0; t < length; ++t) {
    const std::int64_t kind = random.below(20);
    const Mark mark = kind == 0   ? Mark::dead
                      : kind == 1 ? Mark::start
                      : kind == 2 ? Mark::padding
                      : kind == 3 ? Mark::dead | Mark::start
                                  : Mark::token;
    const bool looked_at = !has(mark, Mark::dead) && !has(mark, Mark::padding);
    text.tokens.push_back(
        static_cast<std::int32_t>(looked_at ? random.zipf(vocab) : random.below(2000) - 1000));
    text.marks.push_back(mark);
  }
  return text;
}

struct Rows {
  Index tokens, columns;
  std::vector<std::int64_t> ids;

  Rows(const Front& front, Index count)
      : tokens(count),
        columns(front.num_columns()),
        ids(static_cast<std::size_t>(count * layers * front.num_columns()), 77) {}
  View<std::int64_t, 3> view() {
    return View<std::int64_t, 3>(ids.data(), tokens, layers, columns);
  }
  std::vector<std::int64_t> at(Index t) {
    std::vector<std::int64_t> row;
    for (Index l = 0; l < layers; ++l)
      for (Index c = 0; c < columns; ++c) row.push_back(view()(t, l, c));
    return row;
  }
};

View<const Mark, 1> marks_of(const Text& text) { return text.marks; }

const BoundaryRule rules[] = {{}, {BoundaryKind::eos, 1}, {BoundaryKind::position_reset, -1}};

}  // namespace

TEST_CASE("any chunking of a sequence gives the rows and state of one call") {
  for (const BoundaryRule rule : rules) {
    for (const int n : {2, 3, 4, 8}) {
      const Front front = front_of(rule, n);
      const Text text = text_of(333, 7);
      Rows whole(front, 333);
      NgramState whole_state = front.initial_state();
      REQUIRE(front.address(text.tokens, whole_state, whole.view(), marks_of(text)).ok());
      Random random(static_cast<std::uint64_t>(n));
      for (int round = 0; round < 6; ++round) {
        Rows chunked(front, 333);
        NgramState state = front.initial_state();
        for (Index begin = 0; begin < 333;) {
          const Index length = std::min<Index>(333 - begin, round == 0 ? 1 : 1 + random.below(100));
          const View<const std::int32_t, 1> tokens(text.tokens);
          REQUIRE(front
                      .address(tokens.slice(begin, length), state,
                               chunked.view().slice(begin, length),
                               marks_of(text).slice(begin, length))
                      .ok());
          begin += length;
        }
        CHECK(chunked.ids == whole.ids);
        CHECK(state == whole_state);
      }
    }
  }
}

TEST_CASE("a state derived from a suffix equals the carried one") {
  for (const BoundaryRule rule : rules) {
    const Front front = front_of(rule);
    Text text = text_of(200, 11);
    for (Mark& mark : text.marks)  // padding takes no place, so it would shorten the suffix
      if (has(mark, Mark::padding)) mark = Mark::dead;
    NgramState carried = front.initial_state();
    for (Index t = 0; t < 200; ++t) {
      const View<const std::int32_t, 1> tokens(text.tokens);
      REQUIRE(front.advance(tokens.slice(t, 1), carried, marks_of(text).slice(t, 1)).ok());
      const Index suffix = std::min<Index>(t + 1, 3);
      NgramState derived = front.initial_state();
      REQUIRE(front
                  .advance(tokens.slice(t + 1 - suffix, suffix), derived,
                           marks_of(text).slice(t + 1 - suffix, suffix))
                  .ok());
      REQUIRE(derived == carried);
    }
  }
}

TEST_CASE("advance moves the state as address does") {
  const Front front = front_of();
  const Text text = text_of(100, 3);
  Rows rows(front, 100);
  NgramState addressed = front.initial_state();
  NgramState advanced = front.initial_state();
  REQUIRE(front.address(text.tokens, addressed, rows.view(), marks_of(text)).ok());
  REQUIRE(front.advance(text.tokens, advanced, marks_of(text)).ok());
  CHECK(addressed == advanced);
}

TEST_CASE("roll back, fork and hand over are copies of the state") {
  const Front front = front_of();
  const Text text = text_of(60, 5);
  const View<const std::int32_t, 1> tokens(text.tokens);
  NgramState state = front.initial_state();
  REQUIRE(front.advance(tokens.slice(0, 40), state, marks_of(text).slice(0, 40)).ok());

  Rows expected(front, 20);
  NgramState straight = state;
  REQUIRE(
      front.address(tokens.slice(40, 20), straight, expected.view(), marks_of(text).slice(40, 20))
          .ok());

  const NgramState snapshot = state;  // a rejected draft
  const std::vector<std::int32_t> draft = {9, 9, 9, 9};
  REQUIRE(front.advance(draft, state).ok());
  state = snapshot;

  char bytes[sizeof(NgramState)];  // another process
  std::memcpy(bytes, &state, sizeof state);
  NgramState received;
  std::memcpy(&received, bytes, sizeof received);
  Rows again(front, 20);
  REQUIRE(front.address(tokens.slice(40, 20), received, again.view(), marks_of(text).slice(40, 20))
              .ok());
  CHECK(again.ids == expected.ids);
  CHECK(received == straight);
}

TEST_CASE("a ragged batch equals one call for each sequence, in any order") {
  const Front front = front_of({BoundaryKind::eos, 1});
  const std::vector<Index> lengths = {5, 0, 1, 130, 64, 3, 0};
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<Text> texts;
  for (std::size_t s = 0; s < lengths.size(); ++s) texts.push_back(text_of(lengths[s], 20 + s));
  for (int permutation = 0; permutation < 3; ++permutation) {
    std::vector<std::int32_t> tokens;
    std::vector<Mark> marks;
    std::vector<Index> starts = {0};
    for (const std::size_t s : order) {
      tokens.insert(tokens.end(), texts[s].tokens.begin(), texts[s].tokens.end());
      marks.insert(marks.end(), texts[s].marks.begin(), texts[s].marks.end());
      starts.push_back(static_cast<Index>(tokens.size()));
    }
    tokens.insert(tokens.end(), 9, -5);  // a fixed-size batch has slots to spare
    marks.insert(marks.end(), 9, Mark::token);
    const auto slots = static_cast<Index>(tokens.size());
    Rows rows(front, slots);
    std::vector<NgramState> states(lengths.size(), front.initial_state());
    REQUIRE(front
                .address_batch(tokens, View(starts), View<NgramState, 1>(states), rows.view(),
                               View(marks))
                .ok());
    for (std::size_t i = 0; i < order.size(); ++i) {
      const Text& text = texts[order[i]];
      Rows alone(front, lengths[order[i]]);
      NgramState state = front.initial_state();
      REQUIRE(front.address(text.tokens, state, alone.view(), marks_of(text)).ok());
      CHECK(states[i] == state);
      for (Index t = 0; t < lengths[order[i]]; ++t) CHECK(rows.at(starts[i] + t) == alone.at(t));
    }
    const std::vector<std::int64_t> none(static_cast<std::size_t>(layers * rows.columns), -1);
    for (Index t = slots - 9; t < slots; ++t) CHECK(rows.at(t) == none);
    std::rotate(order.begin(), order.begin() + 2, order.end());
  }
}

TEST_CASE("padding slots get row -1 and leave the rest as it would be without them") {
  const Front front = front_of();
  const Text text = text_of(150, 31);
  Rows padded(front, 150);
  NgramState state = front.initial_state();
  REQUIRE(front.address(text.tokens, state, padded.view(), marks_of(text)).ok());
  Text dense;
  for (std::size_t t = 0; t < 150; ++t) {
    if (has(text.marks[t], Mark::padding)) continue;
    dense.tokens.push_back(text.tokens[t]);
    dense.marks.push_back(text.marks[t]);
  }
  Rows rows(front, static_cast<Index>(dense.tokens.size()));
  NgramState dense_state = front.initial_state();
  REQUIRE(front.address(dense.tokens, dense_state, rows.view(), marks_of(dense)).ok());
  CHECK(state == dense_state);
  const std::vector<std::int64_t> none(static_cast<std::size_t>(layers * rows.columns), -1);
  Index at = 0;
  for (Index t = 0; t < 150; ++t) {
    const bool is_padding = has(text.marks[static_cast<std::size_t>(t)], Mark::padding);
    CHECK(padded.at(t) == (is_padding ? none : rows.at(at++)));
  }
}

TEST_CASE("a draft tree equals one call for each path") {
  for (const BoundaryRule rule : rules) {
    const Front front = front_of(rule);
    const Text prefix = text_of(10, 41);
    NgramState root = front.initial_state();
    REQUIRE(front.advance(prefix.tokens, root, marks_of(prefix)).ok());
    constexpr Index nodes = 150;
    const Text draft = text_of(nodes, 42);
    Random random(43);
    std::vector<std::int32_t> parents;
    for (Index t = 0; t < nodes; ++t)
      parents.push_back(static_cast<std::int32_t>(random.below(std::min<Index>(t, 12) + 1)) +
                        static_cast<std::int32_t>(std::max<Index>(t - 12, 0)) - 1);
    Rows rows(front, nodes);
    std::vector<NgramState> states(static_cast<std::size_t>(nodes));
    REQUIRE(front
                .address_tree(draft.tokens, View(parents), root, View<NgramState, 1>(states),
                              rows.view(), marks_of(draft))
                .ok());
    for (Index t = 0; t < nodes; ++t) {
      Text path;
      for (std::int32_t p = static_cast<std::int32_t>(t); p >= 0;
           p = parents[static_cast<std::size_t>(p)]) {
        path.tokens.insert(path.tokens.begin(), draft.tokens[static_cast<std::size_t>(p)]);
        path.marks.insert(path.marks.begin(), draft.marks[static_cast<std::size_t>(p)]);
      }
      Rows alone(front, static_cast<Index>(path.tokens.size()));
      NgramState state = root;
      REQUIRE(front.address(path.tokens, state, alone.view(), marks_of(path)).ok());
      REQUIRE(rows.at(t) == alone.at(alone.tokens - 1));
      REQUIRE(states[static_cast<std::size_t>(t)] == state);
    }
  }
}

TEST_CASE("engines' integer types and strides") {
  const Front front = front_of();
  const Text text = text_of(70, 51);
  Rows expected(front, 70);
  NgramState state = front.initial_state();
  REQUIRE(front.address(text.tokens, state, expected.view(), marks_of(text)).ok());

  const std::vector<std::int64_t> wide(text.tokens.begin(), text.tokens.end());
  const Index columns = front.num_columns();
  const Index stride = layers * columns + 5;
  std::vector<std::int32_t> narrow(static_cast<std::size_t>(70 * stride), 77);
  const auto view =
      View<std::int32_t, 3>(narrow.data(), 70, layers, columns).with_stride<0>(stride);
  state = front.initial_state();
  REQUIRE(front.address(wide, state, view, marks_of(text)).ok());
  for (Index t = 0; t < 70; ++t) {
    for (Index l = 0; l < layers; ++l)
      for (Index c = 0; c < columns; ++c) REQUIRE(view(t, l, c) == expected.view()(t, l, c));
    for (Index pad = 1; pad <= 5; ++pad)
      REQUIRE(narrow[static_cast<std::size_t>((t + 1) * stride - pad)] == 77);
  }
}

TEST_CASE("bad calls are refused, named, and change nothing") {
  const Front front = front_of();
  const NgramState initial = front.initial_state();
  NgramState state = initial;
  Rows rows(front, 6);
  const auto untouched = [&] {
    return state == initial && rows.ids == std::vector<std::int64_t>(rows.ids.size(), 77);
  };
  for (const std::int64_t bad : {std::int64_t{-1}, vocab, INT64_MAX, INT64_MIN}) {
    const std::vector<std::int64_t> tokens = {1, 2, 3, 4, bad, 5};
    CHECK(front.address(tokens, state, rows.view()) == Status{Code::bad_token, 0, 4});
    CHECK(front.advance(tokens, state) == Status{Code::bad_token, 0, 4});
    CHECK(untouched());
  }
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4, 5, 6};
  const View<std::int64_t, 3> view = rows.view();
  CHECK(front.address(tokens, state, view.slice(0, 5)) == Status{Code::shape_mismatch, 0, 6});
  CHECK(front.address(tokens, state, View<std::int64_t, 3>(rows.ids.data(), 6, 1, 9)).code ==
        Code::shape_mismatch);
  CHECK(front.address(tokens, state, View<std::int64_t, 3>(rows.ids.data(), 6, 2, 8)).code ==
        Code::shape_mismatch);
  const std::vector<Mark> short_marks(5, Mark::token);
  CHECK(front.address(tokens, state, view, View(short_marks)) ==
        Status{Code::shape_mismatch, 0, 6});
  CHECK(untouched());

  NgramState foreign = front_of({}, 3).initial_state();
  CHECK(front.address(tokens, foreign, view).code == Code::bad_state);
  foreign = initial;
  foreign.ids[0] = static_cast<std::int32_t>(vocab);
  CHECK(front.address(tokens, foreign, view).code == Code::bad_state);
  CHECK(front.advance(tokens, foreign).code == Code::bad_state);
  CHECK(untouched());

  std::vector<Mark> marks(6, Mark::token);
  for (const int bad : {5, 6, 7, 8, 255}) {
    marks[3] = static_cast<Mark>(bad);
    CHECK(front.address(tokens, state, view, View(marks)) == Status{Code::bad_mark, 0, 3});
  }
  std::vector<Mark> none;
  none.reserve(6);  // left out, although there is memory
  CHECK(front.advance(tokens, state, View(none)).ok());
  state = initial;
  CHECK(untouched());

  std::vector<NgramState> states(2, initial);
  const auto batch = [&](const std::vector<Index>& starts) {
    return front.address_batch(tokens, View(starts), View<NgramState, 1>(states), view);
  };
  CHECK(batch({0, 3}) == Status{Code::shape_mismatch, 0, 3});
  CHECK(batch({1, 3, 6}) == Status{Code::bad_sequence, 0, 0});
  CHECK(batch({0, 4, 3}) == Status{Code::bad_sequence, 0, 2});
  CHECK(batch({0, 3, 7}) == Status{Code::bad_sequence, 0, 2});
  CHECK(batch({0, -1, 6}) == Status{Code::bad_sequence, 0, 1});
  states[1].length = 7;
  CHECK(batch({0, 3, 6}) == Status{Code::bad_state, 0, 1});
  CHECK(untouched());

  std::vector<NgramState> nodes(6, initial);
  const auto tree = [&](const std::vector<std::int32_t>& parents) {
    return front.address_tree(tokens, View(parents), initial, View<NgramState, 1>(nodes), view);
  };
  CHECK(tree({-1, 0, 1, 2, 3}) == Status{Code::shape_mismatch, 0, 6});
  CHECK(tree({-1, 0, 2, 2, 3, 4}) == Status{Code::bad_parent, 0, 2});
  CHECK(tree({-1, 0, 1, -2, 3, 4}) == Status{Code::bad_parent, 0, 3});
  CHECK(untouched());
}

TEST_CASE("int32 row ids are refused for a table they cannot number") {
  AddressingConfig config;
  config.engram_vocab_size = {INT32_MAX};
  config.max_ngram_size = 2;
  config.n_head_per_ngram = 1;
  config.layer_ids = {0};
  const auto layout = make_layout(config, IdentityCompressor(vocab)).value();
  const auto front = make_front_end(layout, IdentityCompressor(vocab)).value();
  const std::vector<int> tokens = {1};
  NgramState state = front.initial_state();
  std::int32_t row = 77;
  CHECK(front.address(tokens, state, View<std::int32_t, 3>(&row, 1, 1, 1)).ok());
  config.engram_vocab_size = {Index{INT32_MAX} + 1};
  const auto large = make_front_end(make_layout(config, IdentityCompressor(vocab)).value(),
                                    IdentityCompressor(vocab))
                         .value();
  row = 77;
  state = large.initial_state();
  CHECK(large.address(tokens, state, View<std::int32_t, 3>(&row, 1, 1, 1)).code ==
        Code::too_narrow);
  CHECK(row == 77);
  std::int64_t wide = 0;
  CHECK(large.address(tokens, state, View<std::int64_t, 3>(&wide, 1, 1, 1)).ok());
}

TEST_CASE("a state from elsewhere that holds what would have closed it is refused") {
  const Front front = front_of({BoundaryKind::eos, 9});
  const std::vector<int> tokens = {1};
  NgramState state = front_of().initial_state();
  REQUIRE(front_of().advance(std::vector<int>{5, 9, 4}, state).ok());  // the same model without eos
  CHECK(front.advance(tokens, state).code == Code::bad_state);
}

TEST_CASE("engines' offsets and parents may be int32 or int64, and memory may be pinned") {
  const Front front = front_of();
  const std::vector<std::int64_t> tokens = {3, 4, 5, 6};
  const std::vector<std::int32_t> starts = {0, 1, 4};
  std::vector<NgramState> states(4, front.initial_state());
  Rows rows(front, 4);
  CHECK(
      front.address_batch(tokens, starts, View<NgramState, 1>(states.data(), 2), rows.view()).ok());
  const std::vector<std::int64_t> parents = {-1, 0, 1, 0};
  CHECK(front
            .address_tree(tokens, parents, front.initial_state(), View<NgramState, 1>(states),
                          rows.view())
            .ok());
  Rows pinned(front, 4);
  NgramState state = front.initial_state();
  NgramState again = state;
  CHECK(
      front
          .address(View<const std::int64_t, 1, PinnedSpace>(tokens.data(), 4), state,
                   View<std::int64_t, 3, PinnedSpace>(pinned.ids.data(), 4, layers, pinned.columns))
          .ok());
  CHECK(front.address(tokens, again, rows.view()).ok());
  CHECK(pinned.ids == rows.ids);
}

namespace {
struct WideAddresser {  // fits the concept, and is larger than any layout
  static constexpr bool host_only = true;
  Index columns = 4000;
  int max_ngram_size() const { return 4; }
  int num_layers() const { return 2; }
  Index num_columns() const { return columns; }
  Index num_rows(int) const { return 1; }
  Index canonical_size() const { return vocab; }
  void address(int, const NgramWindow&, RowId* out) const {
    for (Index c = 0; c < columns; ++c) out[c] = RowId{0};
  }
};
}  // namespace

TEST_CASE("an addresser that is larger than a layout may be is refused") {
  const auto wide = FrontEnd<IdentityCompressor, SuffixNgrams<>, WideAddresser>::make(
      IdentityCompressor(vocab), SuffixNgrams<>(4), WideAddresser{});
  CHECK(wide.status().code == Code::invalid_config);
  CHECK(contains(wide.message(), "2 layers of 4000 columns"));
}

TEST_CASE("a published model refuses another model's token map") {
  std::vector<std::int32_t> ids(129280);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i % 99092);
  const auto wrong = make_layout(deepseek_v41_preset(), TokenMap::make(ids).value());
  CHECK(wrong.status().code == Code::mismatch);
  CHECK(contains(wrong.message(), "the token map's digest is"));
  ids.pop_back();
  CHECK(contains(make_layout(deepseek_v41_preset(), TokenMap::make(ids).value()).message(),
                 "129279 entries, expected 129280"));
  CHECK(make_layout(deepseek_v41_preset(), IdentityCompressor(99092)).ok());
}

TEST_CASE("parts that do not belong together are refused") {
  CHECK(contains((FrontEnd<IdentityCompressor, SuffixNgrams<>, MultiplicativeXor>::make(
                      IdentityCompressor(vocab), SuffixNgrams<>(4),
                      MultiplicativeXor::make(layout_of({BoundaryKind::eos, 3})).value())
                      .message()),
                 "the layout's is kind 1 with eos 3"));
  const Layout layout = layout_of({});
  CHECK(contains(make_front_end(layout, IdentityCompressor(vocab + 1)).message(),
                 "the addresser expects 300"));
  const TokenMap map = TokenMap::make(std::vector<std::int32_t>(5, 0), vocab).value();
  const auto wrong_map = make_front_end(layout, map);
  CHECK(wrong_map.status().code == Code::mismatch);
  CHECK(contains(wrong_map.message(), "the layout was made for none"));
  CHECK(contains(
      (FrontEnd<IdentityCompressor, SuffixNgrams<>, MultiplicativeXor>::make(
           IdentityCompressor(vocab), SuffixNgrams<>(3), MultiplicativeXor::make(layout).value())
           .message()),
      "up to 3 tokens, the addresser's 4"));
}

TEST_CASE("a token map compresses on the way") {
  const TokenMap map = TokenMap::make({0, 1, 2, 1, 0, 3}).value();
  AddressingConfig config;
  config.engram_vocab_size = {100};
  config.max_ngram_size = 2;
  config.n_head_per_ngram = 2;
  config.layer_ids = {1};
  const Layout layout = make_layout(config, map).value();
  const auto front = make_front_end(layout, map).value();
  const auto rows_of = [&](const std::vector<int>& tokens) {
    std::vector<std::int64_t> rows(tokens.size() * 2);
    NgramState state = front.initial_state();
    REQUIRE(
        front.address(tokens, state, View<std::int64_t, 3>(rows.data(), tokens.size(), 1, 2)).ok());
    return rows;
  };
  CHECK(rows_of({1, 4, 5}) == rows_of({3, 0, 5}));
  CHECK(rows_of({1, 4, 5}) != rows_of({2, 0, 5}));
}

TEST_CASE("a sequence with no token at all") {
  const Front front = front_of();
  const std::vector<std::int32_t> none;
  NgramState state = front.initial_state();
  Rows rows(front, 0);
  CHECK(front.address(none, state, View<std::int64_t, 3>(nullptr, 0, layers, rows.columns)).ok());
  CHECK(state == front.initial_state());
}
