// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a GPU runs to address tokens, here on the CPU: each token on its own gives the rows of the
// front end, which moves a state along.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <engram/cuda/address_tile.hpp>
#include <front_end_case.hpp>

#include <vector>

using namespace engram;
using elements::at;
using front_end_case::token_map;

namespace {

using Batch = front_end_case::Batch<Index>;
constexpr std::int32_t vocab = 50, canonical = 37;

struct Model {
  TokenMap map = token_map(vocab, canonical);
  FrontEnd<TokenMap, SuffixNgrams<RuntimeBoundary>, MultiplicativeXor> front;
  std::vector<std::uint64_t> multipliers, divisors, inverses;
  std::vector<Index> offsets;
  HashTables tables;

  explicit Model(const Layout& layout) : front(make_front_end(layout, map).value()) {
    const Index columns = front.num_columns();
    for (int l = 0; l < front.num_layers(); ++l) {
      const ModularHashRef ref = front.addresser().ref(l);
      multipliers.insert(multipliers.end(), ref.multipliers, ref.multipliers + max_order);
      divisors.insert(divisors.end(), ref.divisors, ref.divisors + columns);
      inverses.insert(inverses.end(), ref.inverses, ref.inverses + columns);
      offsets.insert(offsets.end(), ref.offsets, ref.offsets + columns);
      tables.salt = ref.salt;
      tables.pad = ref.pad;
      tables.heads = ref.heads;
    }
    tables.multipliers = multipliers.data();
    tables.divisors = divisors.data();
    tables.inverses = inverses.data();
    tables.offsets = offsets.data();
    tables.layers = front.num_layers();
    tables.columns = static_cast<std::int32_t>(columns);
  }

  TokenReader<RuntimeBoundary, int> reader(const std::vector<int>& tokens,
                                           const std::vector<Mark>& marks) const {
    return {View<const int, 1>(tokens), View<const Mark, 1>(marks), map.canonical_ids(), vocab,
            front.extractor()};
  }
};

Layout random_layout(Random& random) {
  return front_end_case::random_layout(random, token_map(vocab, canonical), canonical, 4, 1000);
}

/// Of at most 60 tokens, some without marks.
Batch random_batch(Random& random) {
  const Index count = 1 + random.below(60);
  Batch batch = front_end_case::random_batch<Index>(count, 1 + random.below(5), vocab, random);
  if (random.below(3) == 0) batch.marks.clear();
  return batch;
}

template <class Body>
void run(Index items, const Body& body) {
  for (Index i = items; i-- > 0;) body(SerialLanes(), i);  // in any order
}

}  // namespace

TEST_CASE("address bodies: rows and states of sequences, chunk after chunk, are the front end's") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const Model model(random_layout(random));
    std::vector<NgramState> expected_states, states;
    for (int chunk = 0; chunk < 3; ++chunk) {
      Batch batch = random_batch(random);
      if (chunk > 0) {  // as many sequences as in the first
        batch.starts = random_batches::random_starts<Index>(
            static_cast<Index>(batch.tokens.size()), static_cast<Index>(states.size()), random);
      } else {
        states.assign(batch.starts.size() - 1, model.front.initial_state());
        expected_states = states;
      }
      const auto count = static_cast<Index>(batch.tokens.size());
      const Index layers = model.tables.layers, columns = model.tables.columns;
      std::vector<int> expected(at(count * layers * columns), -7);
      std::vector<int> found = expected;
      REQUIRE(model.front
                  .address_batch(batch.tokens, batch.starts, View<NgramState, 1>(expected_states),
                                 View<int, 3>(expected.data(), count, layers, columns),
                                 View<const Mark, 1>(batch.marks))
                  .ok());
      Reports::Found wrong;
      const SequenceStarts<Index> starts{View<const Index, 1>(batch.starts)};
      const auto reader = model.reader(batch.tokens, batch.marks);
      run(count, AddressBody<XorMix, RuntimeBoundary, int, Index, int, Reports>{
                     reader, starts, View<const NgramState, 1>(states), model.tables,
                     View<int, 3>(found.data(), count, layers, columns), Reports{&wrong}});
      run(static_cast<Index>(states.size()),
          StateBody<RuntimeBoundary, int, Index, Reports>{
              reader, starts, View<NgramState, 1>(states), Reports{&wrong}});
      CHECK(found == expected);
      CHECK(states == expected_states);
      CHECK(wrong.code == Code::ok);
    }
  }
}

TEST_CASE("address tiles: a block's threads together give the rows that each token gives alone") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const Model model(random_layout(random));
    Batch batch = random_batch(random);
    if (seed % 3 == 0)  // several tiles, the last one in part
      for (Index i = 0; i < 150; ++i) {
        batch.tokens.push_back(static_cast<int>(random.below(vocab + 1)));
        if (!batch.marks.empty()) batch.marks.push_back(Mark::token);
        ++batch.starts.back();
      }
    const auto count = static_cast<Index>(batch.tokens.size());
    const Index layers = model.tables.layers, columns = model.tables.columns;
    std::vector<int> expected(at(count * layers * columns), -7);
    std::vector<int> found = expected;
    const std::vector<NgramState> states(batch.starts.size() - 1, model.front.initial_state());
    const SequenceStarts<Index> starts{View<const Index, 1>(batch.starts)};
    using Body = AddressBody<XorMix, RuntimeBoundary, int, Index, int, Reports>;
    const auto body = [&](std::vector<int>& rows, Reports::Found& wrong) {
      return Body{model.reader(batch.tokens, batch.marks),
                  starts,
                  View<const NgramState, 1>(states),
                  model.tables,
                  View<int, 3>(rows.data(), count, layers, columns),
                  Reports{&wrong}};
    };
    Reports::Found wrong_alone, wrong;
    run(count, body(expected, wrong_alone));
    const Index tiles = (count + AddressTile::tokens - 1) / AddressTile::tokens;
    ThreadedDevice().for_blocks<AddressTile>(
        tiles, [&](const auto& block, AddressTile& shared, Index tile) {
          address_tile(block, shared, body(found, wrong), tile * AddressTile::tokens);
        });
    CHECK(found == expected);
    CHECK(wrong.code == wrong_alone.code);
    CHECK(wrong.index == wrong_alone.index);
  }
}

TEST_CASE("address bodies: a draft tree gives the front end's rows and states") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const Model model(random_layout(random));
    const Batch batch = random_batch(random);
    const auto count = static_cast<Index>(batch.tokens.size());
    const std::vector<int> parents = front_end_case::random_parents(count, random);
    NgramState root = model.front.initial_state();
    const std::vector<int> before = {3, 5, 7, 11};
    REQUIRE(model.front.advance(before, root).ok());
    const Index layers = model.tables.layers, columns = model.tables.columns;
    std::vector<std::int64_t> expected(at(count * layers * columns), -7);
    std::vector<std::int64_t> found = expected;
    std::vector<NgramState> expected_states(batch.tokens.size()), states(batch.tokens.size());
    REQUIRE(model.front
                .address_tree(batch.tokens, parents, root, View<NgramState, 1>(expected_states),
                              View<std::int64_t, 3>(expected.data(), count, layers, columns),
                              View<const Mark, 1>(batch.marks))
                .ok());
    Reports::Found wrong;
    run(count, AddressTreeBody<XorMix, RuntimeBoundary, int, int, std::int64_t, Reports>{
                   model.reader(batch.tokens, batch.marks), View<const int, 1>(parents),
                   View<const NgramState, 1>(&root, 1), View<NgramState, 1>(states), model.tables,
                   View<std::int64_t, 3>(found.data(), count, layers, columns), Reports{&wrong}});
    CHECK(found == expected);
    CHECK(states == expected_states);
    CHECK(wrong.code == Code::ok);
  }
}

TEST_CASE("address bodies: what cannot be is reported with its place, and has no rows") {
  Random random(1);
  const Model model(random_layout(random));
  std::vector<int> tokens = {1, 2, vocab, 4, -1, 6};
  const std::vector<Mark> none;
  const auto count = static_cast<Index>(tokens.size());
  const Index layers = model.tables.layers, columns = model.tables.columns;
  std::vector<int> found(at(count * layers * columns), -7);
  const View<int, 3> rows(found.data(), count, layers, columns);
  const NgramState state = model.front.initial_state();
  Reports::Found wrong;
  run(count, AddressBody<XorMix, RuntimeBoundary, int, Index, int, Reports>{
                 model.reader(tokens, none),
                 {},
                 View<const NgramState, 1>(&state, 1),
                 model.tables,
                 rows,
                 Reports{&wrong}});
  CHECK(wrong.code == Code::bad_token);
  CHECK(wrong.index == 2);
  for (Index t = 0; t < count; ++t)
    for (Index c = 0; c < columns; ++c) CHECK((rows(t, 1, c) >= 0) == (t != 2 && t != 4));

  // Marks that are none, parents that are no earlier token: nothing is read beyond the arrays.
  tokens = {1, 2, 3, 4, 5, 6};
  std::vector<Mark> marks(tokens.size(), Mark::token);
  marks[4] = static_cast<Mark>(77);
  wrong = {};
  run(count, AddressBody<XorMix, RuntimeBoundary, int, Index, int, Reports>{
                 model.reader(tokens, marks),
                 {},
                 View<const NgramState, 1>(&state, 1),
                 model.tables,
                 rows,
                 Reports{&wrong}});
  CHECK(wrong.code == Code::bad_mark);
  CHECK(wrong.index == 4);
  const std::vector<int> parents = {-1, 1, 0, -2, 100, 4};
  std::vector<NgramState> states(tokens.size());
  wrong = {};
  run(count, AddressTreeBody<XorMix, RuntimeBoundary, int, int, int, Reports>{
                 model.reader(tokens, none), View<const int, 1>(parents),
                 View<const NgramState, 1>(&state, 1), View<NgramState, 1>(states), model.tables,
                 rows, Reports{&wrong}});
  CHECK(wrong.code == Code::bad_parent);
  CHECK(wrong.index == 1);

  // Starts that lie beyond the tokens: the state of that sequence stays as it was.
  const std::vector<Index> beyond = {0, 3, 99};
  std::vector<NgramState> kept(2, state);
  wrong = {};
  run(2, StateBody<RuntimeBoundary, int, Index, Reports>{model.reader(tokens, none),
                                                         {View<const Index, 1>(beyond)},
                                                         View<NgramState, 1>(kept),
                                                         Reports{&wrong}});
  CHECK(wrong.code == Code::bad_sequence);
  CHECK(wrong.index == 2);
  CHECK(kept[1] == state);
  CHECK_FALSE(kept[0] == state);
}
