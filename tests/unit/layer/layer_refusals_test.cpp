// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every bad argument of the layer: the right code, the right index, and nothing written.
#include "layer_case.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <functional>

using namespace engram;
using namespace layer_case;

namespace {

constexpr Index tokens = 6, branches = 3, width = 10, columns = 2, row_width = 4, taps = 3;

Shape small_shape() {
  Shape s;
  s.branches = branches;
  s.width = width;
  s.columns = columns;
  s.row_width = row_width;
  s.taps = taps;
  return s;
}

/// All arguments of a call that works, to be spoilt one by one.
struct Call {
  View<const std::int64_t, 2> rows;
  View<float, 3> hidden, out;
  View<std::byte, 1> workspace;
  FusionOptions options;
  View<float, 3> keys;
  View<float, 2> value, e;
};

struct Fixture {
  LayerCase<float> c{small_shape(), 3};
  Random random{4};
  Batch<float> batch{c.shape, tokens, random, 2, 3};
  Outcome<float> to{batch, (taps - 1) * branches* width};
  std::vector<float> keys = random_elements<float>(random, tokens* branches* width);
  std::vector<float> value = random_elements<float>(random, tokens* width);
  std::vector<float> e = random_elements<float>(random, tokens* columns* row_width);
  Scratch scratch{c.layer().workspace_bytes(tokens, 2)};

  Fixture() {
    batch.marks.assign(tokens, Mark::token);
    batch.scale.assign(tokens, 1.0f);
    for (float& x : to.state) x = random_float(random);
  }
  Call call() {
    return {View<const std::int64_t, 2>(batch.rows.data(), tokens, columns),
            batch.hidden.view(),
            to.out.view(),
            scratch.view(),
            options_of(batch, to, 0, tokens),
            View<float, 3>(keys.data(), tokens, branches, width),
            View<float, 2>(value.data(), tokens, width),
            View<float, 2>(e.data(), tokens, columns * row_width)};
  }
  Status forward(const Call& a) {
    return c.layer().forward(a.rows, a.hidden, a.out, a.workspace, a.options);
  }
  Status fuse(const Call& a) {
    return c.layer().fuse(a.keys, a.value, a.hidden, a.out, a.workspace, a.options);
  }
};

enum Calls { by_forward = 1, by_fuse = 2, by_both = 3 };

/// The spoilt call is refused with that status by the calls named, and has written nothing.
void refused(Calls calls, Status expected, const std::function<void(Call&)>& spoil) {
  for (const Calls which : {by_forward, by_fuse}) {
    if ((calls & which) == 0) continue;
    Fixture f;
    Call call = f.call();
    spoil(call);
    const Outcome<float> before = f.to;
    const std::vector<float> hidden = f.batch.hidden.memory;
    const Status found = which == by_forward ? f.forward(call) : f.fuse(call);
    INFO((which == by_forward ? "forward: " : "fuse: ")
         << describe(found, "found") << ", expected " << describe(expected, "this"));
    CHECK(found == expected);
    CHECK(f.to == before);
    CHECK(same_bits(f.batch.hidden.memory, hidden));
  }
}

Status mismatch(Index expected) { return {Code::shape_mismatch, 0, expected}; }

std::vector<float> spare(2000, 77.0f);
View<float, 3> spare3(Index a, Index b, Index c) { return View<float, 3>(spare.data(), a, b, c); }
View<float, 2> spare2(Index a, Index b) { return View<float, 2>(spare.data(), a, b); }

}  // namespace

TEST_CASE("layer refusals: the call that is spoilt below works") {
  Fixture f;
  const Outcome<float> before = f.to;
  CHECK(f.forward(f.call()).ok());
  CHECK_FALSE(f.to == before);
  Fixture g;
  CHECK(g.fuse(g.call()).ok());
  CHECK_FALSE(g.to == before);
}

TEST_CASE("layer refusals: extents of rows, hidden state and output") {
  const std::vector<std::int64_t> ids(100);
  refused(by_forward, mismatch(tokens), [&](Call& c) { c.rows = c.rows.slice(0, tokens - 1); });
  refused(by_forward, mismatch(columns),
          [&](Call& c) { c.rows = View<const std::int64_t, 2>(ids.data(), tokens, 1); });
  refused(by_forward, mismatch(columns),
          [&](Call& c) { c.rows = View<const std::int64_t, 2>(ids.data(), tokens, 3); });
  refused(by_forward, mismatch(tokens), [&](Call& c) { c.rows = {}; });
  refused(by_forward, mismatch(tokens - 1),
          [&](Call& c) { c.hidden = c.hidden.slice(0, tokens - 1); });
  refused(by_fuse, mismatch(tokens - 1),
          [&](Call& c) { c.hidden = c.hidden.slice(0, tokens - 1); });
  for (const Index by : {-1, 1}) {
    refused(by_both, mismatch(branches),
            [&](Call& c) { c.hidden = spare3(tokens, branches + by, width); });
    refused(by_both, mismatch(width),
            [&](Call& c) { c.hidden = spare3(tokens, branches, width + by); });
    refused(by_both, mismatch(tokens),
            [&](Call& c) { c.out = spare3(tokens + by, branches, width); });
    refused(by_both, mismatch(branches),
            [&](Call& c) { c.out = spare3(tokens, branches + by, width); });
    refused(by_both, mismatch(width),
            [&](Call& c) { c.out = spare3(tokens, branches, width + by); });
  }
  refused(by_both, mismatch(tokens), [&](Call& c) { c.out = {}; });
  CHECK(spare == std::vector<float>(2000, 77.0f));
}

TEST_CASE("layer refusals: in place with other strides") {
  refused(by_both, mismatch(branches * (width + 2) + 3),
          [&](Call& c) { c.out = c.hidden.with_stride<0>(branches * (width + 2) + 4); });
  refused(by_both, mismatch(width + 2), [&](Call& c) { c.out = c.hidden.with_stride<1>(width); });
}

TEST_CASE("layer refusals: keys and value") {
  for (const Index by : {-1, 1}) {
    refused(by_fuse, mismatch(tokens),
            [&](Call& c) { c.keys = spare3(tokens + by, branches, width); });
    refused(by_fuse, mismatch(branches),
            [&](Call& c) { c.keys = spare3(tokens, branches + by, width); });
    refused(by_fuse, mismatch(width),
            [&](Call& c) { c.keys = spare3(tokens, branches, width + by); });
    refused(by_fuse, mismatch(tokens), [&](Call& c) { c.value = spare2(tokens + by, width); });
    refused(by_fuse, mismatch(width), [&](Call& c) { c.value = spare2(tokens, width + by); });
  }
  Fixture f;
  const auto layer = f.c.layer();
  const Call a = f.call();
  const std::vector<float> keys = f.keys, value = f.value, e = f.e;
  CHECK(layer.project(a.e.slice(0, 5), a.keys, a.value) == mismatch(5));
  CHECK(layer.project(View<float, 2>(f.e.data(), tokens, 7), a.keys, a.value) == mismatch(8));
  CHECK(layer.project(a.e, a.keys.slice(0, 5), a.value) == mismatch(tokens));
  CHECK(layer.project(a.e, a.keys, a.value.slice(0, 5)) == mismatch(tokens));
  CHECK(layer.project(a.e, spare3(tokens, branches, width - 1), a.value) == mismatch(width));
  CHECK(layer.project(a.e, spare3(tokens, branches - 1, width), a.value) == mismatch(branches));
  CHECK(layer.project(a.e, a.keys, spare2(tokens, width + 1)) == mismatch(width));
  CHECK(layer.gather(a.rows, a.e.slice(0, 5)) == mismatch(tokens));
  CHECK(layer.gather(a.rows, View<float, 2>(f.e.data(), tokens, 7)) == mismatch(8));
  CHECK((f.keys == keys && f.value == value && f.e == e));
  CHECK(spare == std::vector<float>(2000, 77.0f));
}

TEST_CASE("layer refusals: marks, scale and what is watched") {
  std::vector<Mark> marks(tokens + 1, Mark::token);
  for (const Index n : {tokens - 1, tokens + 1})
    refused(by_both, mismatch(tokens),
            [&](Call& c) { c.options.marks = View<const Mark, 1>(marks.data(), n); });
  for (const int bad : {5, 6, 7, 8, 128, 255}) {
    marks[tokens - 1] = static_cast<Mark>(bad);
    refused(by_both, {Code::bad_mark, 0, tokens - 1},
            [&](Call& c) { c.options.marks = View<const Mark, 1>(marks.data(), tokens); });
  }
  const std::vector<float> scale(tokens + 1, 1.0f);
  for (const Index n : {tokens - 1, tokens + 1})
    refused(by_both, mismatch(tokens),
            [&](Call& c) { c.options.scale = View<const float, 1>(scale.data(), n); });
  for (const auto watched : {&FusionOptions::scores, &FusionOptions::gates, &FusionOptions::norms})
    for (const Index by : {-1, 1}) {
      refused(by_both, mismatch(tokens),
              [&](Call& c) { c.options.*watched = spare2(tokens + by, branches); });
      refused(by_both, mismatch(branches),
              [&](Call& c) { c.options.*watched = spare2(tokens, branches + by); });
    }
  CHECK(spare == std::vector<float>(2000, 77.0f));
}

TEST_CASE("layer refusals: sequences and their states") {
  constexpr Index size = (taps - 1) * branches * width;
  const auto starts = [&](std::vector<Index> list, Index place) {
    refused(by_both, {Code::bad_sequence, 0, place}, [&](Call& c) {
      c.options.sequence_starts = list;
      c.options.conv_state = spare2(static_cast<Index>(list.size()) - 1, size);
    });
  };
  starts({0}, 0);
  starts({1, tokens}, 0);
  starts({-1, tokens}, 0);
  starts({0, tokens + 1}, 1);
  starts({0, 3, 2, tokens}, 2);
  starts({0, 3, 3, tokens + 1}, 3);
  starts({0, -1}, 1);
  starts({0, INT64_MAX}, 1);
  starts({INT64_MIN, 3}, 0);

  refused(by_both, mismatch(1), [&](Call& c) { c.options.conv_state = {}; });
  refused(by_both, mismatch(1), [&](Call& c) { c.options.conv_state = spare2(2, size); });
  refused(by_both, mismatch(size), [&](Call& c) { c.options.conv_state = spare2(1, size - 1); });
  refused(by_both, mismatch(size), [&](Call& c) { c.options.conv_state = spare2(1, size + 1); });
  const std::vector<Index> two = {0, 2, 5};
  refused(by_both, mismatch(2), [&](Call& c) { c.options.sequence_starts = two; });
  CHECK(spare == std::vector<float>(2000, 77.0f));
}

TEST_CASE("layer refusals: row ids") {
  Fixture f;
  const auto rows_with = [&](Index place, std::int64_t id) {
    std::vector<std::int64_t> ids(tokens * columns, 1);
    ids[at(place)] = id;
    return ids;
  };
  const Index rows = LayerCase<float>::table_rows, last = tokens * columns - 1;
  for (const std::int64_t bad : {rows, std::int64_t{-2}, INT64_MAX, INT64_MIN}) {
    for (const Index place : {Index{0}, Index{5}, last}) {
      const auto ids = rows_with(place, bad);
      refused(by_forward, {Code::bad_row, 0, place},
              [&](Call& c) { c.rows = View<const std::int64_t, 2>(ids.data(), tokens, columns); });
    }
  }
  // A token has all of its rows or none: -1 in the second column, and in the first only.
  const auto second = rows_with(last, -1), first = rows_with(last - 1, -1);
  for (const auto& ids : {second, first})
    refused(by_forward, {Code::bad_row, 0, last},
            [&](Call& c) { c.rows = View<const std::int64_t, 2>(ids.data(), tokens, columns); });
  // Marks do not excuse a bad row id.
  const auto ids = rows_with(4, rows);
  std::vector<Mark> padding(tokens, Mark::padding);
  refused(by_forward, {Code::bad_row, 0, 4}, [&](Call& c) {
    c.rows = View<const std::int64_t, 2>(ids.data(), tokens, columns);
    c.options.marks = padding;
  });
  const Call a = f.call();
  const std::vector<float> e = f.e;
  const View<const std::int64_t, 2> bad(ids.data(), tokens, columns);
  CHECK(f.c.layer().gather(bad, a.e) == Status{Code::bad_row, 0, 4});
  CHECK(f.e == e);
}

TEST_CASE("layer refusals: a workspace of one byte too few, whatever its alignment") {
  Fixture f;
  const auto layer = f.c.layer();
  const Index whole = layer.workspace_bytes(tokens), part = layer.fuse_workspace_bytes(tokens);
  for (Index offset = 0; offset < 2; ++offset) {
    refused(by_forward, {Code::workspace_small, 0, whole},
            [&](Call& c) { c.workspace = c.workspace.slice(offset, whole - 1); });
    refused(by_fuse, {Code::workspace_small, 0, part},
            [&](Call& c) { c.workspace = c.workspace.slice(offset, part - 1); });
  }
  refused(by_forward, {Code::workspace_small, 0, whole}, [&](Call& c) { c.workspace = {}; });
  const Index two = layer.workspace_bytes(tokens, 2);
  CHECK(two > whole);
  const std::vector<Index> starts = {0, 2, 5};
  std::vector<float> state(at(2 * layer.conv_state_size()));
  refused(by_forward, {Code::workspace_small, 0, two}, [&](Call& c) {
    c.options.sequence_starts = starts;
    c.options.conv_state = View<float, 2>(state.data(), 2, layer.conv_state_size());
    c.workspace = c.workspace.slice(0, two - 1);
  });
}

TEST_CASE("layer refusals: parts that do not fit are named, and refused by every call") {
  const auto fault = [](auto change, const char* words) {
    Fixture f;
    change(f.c);
    const auto layer = f.c.layer();
    CHECK(layer.check().status().code == Code::invalid_config);
    CHECK(contains(layer.check().message(), words));
    const Outcome<float> before = f.to;
    Call call = f.call();
    std::vector<float> state(at(layer.conv_state_size() < 100000 && layer.conv_state_size() > 0
                                    ? layer.conv_state_size()
                                    : 0));
    call.options.conv_state = View<float, 2>(state.data(), 1, static_cast<Index>(state.size()));
    CHECK(f.forward(call).code == Code::invalid_config);
    CHECK(f.fuse(call).code == Code::invalid_config);
    CHECK(f.to == before);
  };
  using Case = LayerCase<float>;
  fault([](Case& c) { c.weights.gain = View<const float, 2>(c.gain.data(), 1, width); },
        "layer: the norms' gain is [1, 10], expected [3, 10]");
  fault([](Case& c) { c.weights.conv_gain = View<const float, 2>(c.gain.data(), branches, 9); },
        "the convolution's gain is [3, 9]");
  fault([](Case& c) { c.weights.conv = View<const float, 3>(c.conv.data(), 3, 1, width); },
        "the convolution is [3, 1, 10]");
  fault([](Case& c) { c.weights.conv = View<const float, 3>(spare.data(), 65, branches, width); },
        "the convolution has 65 taps");
  fault([](Case& c) { c.config.dilation = 0; }, "the dilation is 0");
  fault([](Case& c) { c.config.dilation = -1; }, "the dilation is -1");
  fault([](Case& c) { c.config.key_eps = -1; }, "an epsilon is negative");
}

TEST_CASE("layer refusals: a table whose rows do not add up to the projection's input") {
  Shape shape = small_shape();
  for (const Index other : {Index{3}, Index{5}, Index{9}, Index{16}}) {  // of 8 elements
    shape.row_width = other;
    const LayerCase<float> rows(shape, 5);
    Fixture f;
    const EngramLayer layer(rows.table, f.c.projection, f.c.weights, f.c.config, f.c.gate);
    CHECK(layer.check().status().code == Code::invalid_config);
    CHECK(contains(layer.check().message(),
                   "the projection takes 8 elements a token, not a "
                   "multiple of the table's row of "));
    const Outcome<float> before = f.to;
    const Call a = f.call();
    for (Index c = 0; c <= columns; ++c)
      CHECK(layer
                .forward(View<const std::int64_t, 2>(f.batch.rows.data(), tokens, c), a.hidden,
                         a.out, a.workspace, a.options)
                .code == Code::invalid_config);
    CHECK(f.to == before);
  }
}

TEST_CASE("layer: no tokens are fine, and say so for bad parts of the call all the same") {
  Fixture f;
  const auto layer = f.c.layer();
  const Outcome<float> before = f.to;
  FusionOptions options;
  options.conv_state = View<float, 2>(f.to.state.data(), 1, layer.conv_state_size());
  Scratch scratch(layer.workspace_bytes(0));
  const View<const std::int64_t, 2> rows(nullptr, 0, columns);
  const View<float, 3> stream(nullptr, 0, branches, width);
  CHECK(layer.forward(rows, stream, stream, scratch.view(), options).ok());
  CHECK(f.to == before);
  CHECK(layer.forward(rows, stream, stream, scratch.view()) == mismatch(1));
  CHECK(layer.forward(rows, stream, View<float, 3>(nullptr, 0, 1, width), scratch.view(),
                      options) == mismatch(branches));
}
