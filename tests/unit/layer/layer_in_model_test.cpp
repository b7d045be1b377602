// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Front end and layers together: one address() call feeds every layer of the model.
#include "layer_case.hpp"

#include <catch.hpp>
#include <engram/engram.hpp>

using namespace engram;
using namespace layer_case;

TEST_CASE("layer: both layers of a front end take their slices of one address() call") {
  AddressingConfig config;
  config.engram_vocab_size = {11, 7};
  config.max_ngram_size = 3;
  config.n_head_per_ngram = 1;
  config.layer_ids = {1, 3};
  const IdentityCompressor map(50);
  const auto front = make_front_end(make_layout(config, map).value(), map).value();
  REQUIRE(front.num_columns() == 2);

  Random random(51);
  constexpr Index tokens = 30;
  std::vector<std::int32_t> text;
  std::vector<Mark> marks;
  for (Index t = 0; t < tokens; ++t) {
    text.push_back(static_cast<std::int32_t>(random.below(50)));
    marks.push_back(t % 7 == 3 ? Mark::padding : t % 11 == 5 ? Mark::dead : Mark::token);
  }
  std::vector<std::int32_t> ids(tokens * 2 * 2);
  const View<std::int32_t, 3> rows(ids.data(), tokens, 2, 2);
  NgramState state = front.initial_state();
  REQUIRE(front.address(text, state, rows, View<const Mark, 1>(marks)).ok());

  for (int l = 0; l < 2; ++l) {
    REQUIRE(front.num_rows(l) <= LayerCase<float>::table_rows);
    Shape shape;
    shape.taps = 3;
    LayerCase<float> c(shape, 60 + static_cast<std::uint64_t>(l));
    const auto layer = c.layer();
    Batch<float> batch(shape, tokens, random);
    batch.marks = marks;
    for (Index t = 0; t < tokens; ++t)
      for (Index i = 0; i < 2; ++i) batch.rows[at(t * 2 + i)] = rows(t, l, i);
    const Outcome<float> expected = run_whole(layer, batch);

    // The slice itself; padding is known by its rows, dead positions by their mark.
    Outcome<float> found(batch, layer.conv_state_size());
    FusionOptions options = options_of(batch, found, 0, tokens);
    std::vector<Mark> dead_only = marks;
    for (Mark& m : dead_only) m = m == Mark::padding ? Mark::token : m;
    options.marks = dead_only;
    Scratch scratch(layer.workspace_bytes(tokens));
    REQUIRE(
        layer.forward(rows.at<1>(l), batch.hidden.view(), found.out.view(), scratch.view(), options)
            .ok());
    CHECK(found == expected);
  }
}
