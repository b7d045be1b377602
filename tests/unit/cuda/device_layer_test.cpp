// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// DeviceLayer by the CPU's threads: what the CPU's layer gives, its two halves, what its parts
// refuse, and that a refused call leaves everything as it was.
#include "threaded_calls.hpp"

#include <catch.hpp>
#include <engram/storage/store_view.hpp>
#include <host_arrays.hpp>
#include <layer_case.hpp>

using namespace engram;
using elements::at;
using elements::count_far;
using layer_case::Case;
using layer_case::OnDevice;
using layer_case::Shape;

namespace {

using ArrayTable = Table<StoreView<DeviceSpace>, F32Codec>;

ArrayTable table_of(const Case& c, HostArrays& memory) {
  const Index each = c.shape.row_width * Index{sizeof(float)};
  auto* const rows = reinterpret_cast<std::byte*>(memory.put(c.table));
  const auto store = StoreView<DeviceSpace>::make(rows, {Case::table_rows, each}).value();
  return ArrayTable::make(store, {}, c.shape.row_width).value();
}

/// A layer of 7 tokens, in two sequences, with a convolution, or without.
struct Small {
  explicit Small(Index taps = 3) : c(7, {7, 2, 33, 3, 8, taps, 2}) {}

  Case c;
  FusionConfig config = c.config;
  HostArrays memory;
  ArrayTable table = table_of(c, memory);
  OnDevice<HostArrays> on{c, memory};
  Reports::Found wrong;
  ThreadedDevice device{Reports{&wrong}};

  auto layer() { return DeviceLayer(table, on.projection, on.weights, config); }
  Status forward() {
    const auto made = layer();
    return made.forward(device, on.rows, on.hidden, on.out,
                        on.workspace(made.workspace_bytes(7, 2)), on.options);
  }
  /// Whether nothing was written.
  bool is_untouched() const {
    const auto found = on.results(), before = c.room();
    return found.out == before.out && found.state == before.state && found.gates == before.gates &&
           found.scores == before.scores && found.norms == before.norms && wrong.code == Code::ok;
  }
};

}  // namespace

TEST_CASE("device layer: rows to the new hidden state, as the CPU's layer") {
  std::uint64_t seed = 0;
  for (const Shape& shape : {Shape{9, 2, 33, 3, 8, 3, 2},
                             {5, 1, 64, 2, 20, 0, 1},
                             {1, 4, 7, 1, 5, 2, 1},
                             {12, 3, 16, 4, 4, 1, 3}}) {
    INFO(shape.tokens << " tokens, " << shape.taps << " taps");
    const Case c(++seed, shape);
    HostArrays memory;
    ArrayTable table = table_of(c, memory);
    OnDevice<HostArrays> on(c, memory);
    const DeviceLayer layer(table, on.projection, on.weights, c.config);
    REQUIRE(layer.check().ok());
    CHECK(layer.branches() == shape.branches);
    CHECK(layer.width() == shape.width);
    CHECK(layer.conv_state_size() == c.state_size());
    Reports::Found wrong;
    const ThreadedDevice device{Reports{&wrong}};
    REQUIRE(layer
                .forward(device, on.rows, on.hidden, on.out,
                         on.workspace(layer.workspace_bytes(shape.tokens, shape.sequences)),
                         on.options)
                .ok());
    CHECK(wrong.code == Code::ok);
    const auto found = on.results(), expected = layer_case::on_cpu(c);
    CHECK(count_far(found.out, expected.out, 4e-6) == 0);
    CHECK(count_far(found.gates, expected.gates, 4e-6) == 0);
    CHECK(count_far(found.scores, expected.scores, 4e-6) == 0);
    CHECK(count_far(found.norms, expected.norms, 4e-6) == 0);
    CHECK(count_far(found.state, expected.state, 4e-6) == 0);
  }
}

TEST_CASE("device layer: rows read ahead and then applied have the bits of one call") {
  Small whole, halves;
  REQUIRE(whole.forward().ok());
  const auto layer = halves.layer();
  REQUIRE(layer.gather(halves.device, halves.on.rows, halves.on.e).ok());
  REQUIRE(layer
              .apply(halves.device, halves.on.e, halves.on.rows, halves.on.hidden, halves.on.out,
                     halves.on.workspace(layer.workspace_bytes(7, 2)), halves.on.options)
              .ok());
  CHECK(whole.on.results().out == halves.on.results().out);
  CHECK(whole.on.results().state == halves.on.results().state);
}

TEST_CASE("device layer: other types, strides and places have the bits of the plain call") {
  Small plain;
  REQUIRE(plain.forward().ok());
  const auto expected = plain.on.results();
  const Index streams = 2 * 33;

  Small in_place;
  in_place.on.out = in_place.on.hidden;
  REQUIRE(in_place.forward().ok());
  CHECK(in_place.on.results().out == expected.out);
  CHECK(in_place.on.results().state == expected.state);

  // Tokens and branches apart from each other, of bf16; rows and starts of 64 bits; a workspace
  // that begins anywhere.
  Small other, rounded;
  const auto layer = other.layer();
  std::vector<Bf16> hidden(at(7 * 100), to_bf16(-9)), out(hidden);
  for (Index t = 0; t < 7; ++t)
    for (Index g = 0; g < 2; ++g)
      for (Index d = 0; d < 33; ++d) {
        Bf16& x = hidden[at(t * 100 + g * 40 + d)];
        x = to_bf16(other.c.hidden[at(t * streams + g * 33 + d)]);
        rounded.on.hidden(t, g, d) = to_float(x);
      }
  REQUIRE(rounded.forward().ok());
  const std::vector<std::int64_t> rows(other.c.rows.begin(), other.c.rows.end());
  const std::vector<std::int64_t> starts(other.c.starts.begin(), other.c.starts.end());
  DeviceFusionOptions<std::int64_t> options;
  options.marks = other.on.options.marks;
  options.scale = other.on.options.scale;
  options.sequence_starts = DeviceView<const std::int64_t, 1>(starts.data(), 3);
  options.conv_state = other.on.options.conv_state;
  const auto spread = [](Bf16* data) {
    return DeviceView<Bf16, 3>(data, 7, 2, 33).with_stride<0>(100).with_stride<1>(40);
  };
  const Index bytes = layer.workspace_bytes(7, 2);
  for (const Index skip : {0, 1, 17}) {
    std::vector<std::byte> workspace(at(bytes + skip));
    std::copy(other.c.state.begin(), other.c.state.end(), options.conv_state.data());
    std::fill(out.begin(), out.end(), to_bf16(-9));
    REQUIRE(layer
                .forward(other.device, DeviceView<const std::int64_t, 2>(rows.data(), 7, 3),
                         spread(hidden.data()), spread(out.data()),
                         DeviceView<std::byte, 1>(workspace.data() + skip, bytes), options)
                .ok());
    Index wrong = 0;
    for (Index t = 0; t < 7; ++t)
      for (Index i = 0; i < 100; ++i) {
        const bool is_gap = i % 40 >= 33 || i >= 80;
        const Bf16 x = is_gap ? to_bf16(-9) : to_bf16(rounded.on.out(t, i / 40, i % 40));
        wrong += !(out[at(t * 100 + i)] == x);
      }
    CHECK(wrong == 0);
    CHECK(other.on.results().state == rounded.on.results().state);
  }
}

TEST_CASE("device layer: the memory alone, and elements whose rows are not told") {
  Small alone, whole;
  alone.config.add_residual = false;
  alone.c.config.add_residual = false;
  REQUIRE(alone.forward().ok());
  CHECK(count_far(alone.on.results().out, layer_case::on_cpu(alone.c).out, 4e-6) == 0);

  // Without -1 among them, rows say nothing that elements do not.
  for (std::int32_t& row : whole.c.rows) row = row < 0 ? 7 : row;
  for (Index i = 0; i < 21; ++i) whole.on.rows(i / 3, i % 3) = whole.c.rows[at(i)];
  const auto layer = whole.layer();
  REQUIRE(layer.gather(whole.device, whole.on.rows, whole.on.e).ok());
  REQUIRE(layer
              .apply(whole.device, whole.on.e, DeviceView<const std::int32_t, 2>(), whole.on.hidden,
                     whole.on.out, whole.on.workspace(layer.workspace_bytes(7, 2)),
                     whole.on.options)
              .ok());
  CHECK(count_far(whole.on.results().out, layer_case::on_cpu(whole.c).out, 4e-6) == 0);
}

TEST_CASE("device layer: no tokens, and no options") {
  Small small(0);
  const auto layer = small.layer();
  using Streams = DeviceView<float, 3>;
  const auto workspace = small.on.workspace(layer.workspace_bytes(7));
  REQUIRE(layer
              .forward(small.device, small.on.rows.slice(0, 0), Streams(nullptr, 0, 2, 33),
                       Streams(nullptr, 0, 2, 33), workspace)
              .ok());
  CHECK(small.is_untouched());
  REQUIRE(
      layer.forward(small.device, small.on.rows, small.on.hidden, small.on.out, workspace).ok());
  CHECK(small.on.results().out != small.c.room().out);
  CHECK(small.on.results().gates == small.c.room().gates);  // not asked for
}

TEST_CASE("device layer: a row that the table has not is zeros, and reported") {
  Small small;
  small.on.rows(2, 1) = 50;
  REQUIRE(small.forward().ok());
  CHECK(small.wrong.code == Code::bad_row);
  CHECK(small.wrong.index == 7);
}

TEST_CASE("device layer: parts that do not fit together") {
  Small small;
  const auto refused = [&] { return small.layer().check(); };
  CHECK(refused().ok());
  small.config.dilation = 0;
  CHECK(refused().status().code == Code::invalid_config);
  small.config.dilation = 2;
  small.config.key_eps = -1;
  CHECK(refused().status().code == Code::invalid_config);
  small.config.key_eps = 1e-6f;
  small.on.weights.gain = DeviceView<const float, 2>(small.on.weights.gain.data(), 2, 32);
  CHECK(refused().message() == "layer: the norms' gain is [2, 32], expected [2, 33]");
  std::byte row[28] = {};
  const auto store = StoreView<DeviceSpace>::make(row, {1, 28}).value();
  ArrayTable wide = ArrayTable::make(store, {}, 7).value();
  CHECK(DeviceLayer(wide, small.on.projection, small.on.weights, small.config).check().message() ==
        "layer: the projection takes 24 elements a token, not a multiple of the "
        "table's row of 7");
}

TEST_CASE("device layer: a call that does not fit says so and writes nothing") {
  const auto refused = [](const auto& change, Code code, Index index) {
    Small small;
    small.on.rows(0, 0) = 99;  // no row: gather() would report it
    change(small);
    const Status found = small.forward();
    CHECK(found.code == code);
    CHECK(found.index == index);
    CHECK(small.is_untouched());
  };
  refused([](Small& s) { s.on.rows = s.on.rows.slice(0, 6); }, Code::shape_mismatch, 7);
  refused([](Small& s) { s.on.rows = DeviceView<std::int32_t, 2>(s.on.rows.data(), 7, 2); },
          Code::shape_mismatch, 16);
  refused([](Small& s) { s.on.out = s.on.out.slice(0, 6); }, Code::shape_mismatch, 7);
  refused([](Small& s) { s.on.options.marks = s.on.options.marks.slice(0, 6); },
          Code::shape_mismatch, 7);
  refused([](Small& s) { s.on.options.conv_state = s.on.options.conv_state.slice(0, 1); },
          Code::shape_mismatch, 2);
  refused([](Small& s) { s.on.options.sequence_starts = s.on.options.sequence_starts.slice(0, 1); },
          Code::shape_mismatch, 2);
  refused([](Small& s) { s.config.dilation = 0; }, Code::invalid_config, -1);

  using Streams = DeviceView<float, 3>;
  refused([](Small& s) { s.on.hidden = Streams(s.on.hidden.data(), 7, 3, 22); },
          Code::shape_mismatch, 2);
  refused([](Small& s) { s.on.hidden = Streams(s.on.hidden.data(), 7, 2, 32); },
          Code::shape_mismatch, 33);

  Small in_place;
  in_place.on.out = in_place.on.hidden.with_stride<0>(67);
  CHECK(in_place.forward() == Status{Code::shape_mismatch, 0, 66});

  Small small;
  const auto layer = small.layer();
  const Index needed = layer.workspace_bytes(7, 2);
  CHECK(layer.forward(small.device, small.on.rows, small.on.hidden, small.on.out,
                      small.on.workspace(needed - 1),
                      small.on.options) == Status{Code::workspace_small, 0, needed});
  CHECK(small.is_untouched());
  CHECK(layer.gather(small.device, small.on.rows, DeviceView<float, 2>(small.on.e.data(), 7, 23)) ==
        Status{Code::shape_mismatch, 0, 24});
  CHECK(layer.apply(small.device, DeviceView<float, 2>(small.on.e.data(), 7, 23), small.on.rows,
                    small.on.hidden, small.on.out, small.on.workspace(needed),
                    small.on.options) == Status{Code::shape_mismatch, 0, 24});
  CHECK(layer.apply(small.device, small.on.e.slice(0, 6), small.on.rows, small.on.hidden,
                    small.on.out, small.on.workspace(needed),
                    small.on.options) == Status{Code::shape_mismatch, 0, 7});
  CHECK(small.is_untouched());
}

TEST_CASE("device projection: weights and arrays that do not fit") {
  using Weights = DeviceView<const float, 2>;
  using Projection = DeviceReferenceProjection<float>;
  std::vector<float> numbers(60);
  CHECK(Projection::make(Weights(numbers.data(), 5, 4), {}, 1).status().code ==
        Code::shape_mismatch);
  CHECK(Projection::make(Weights(numbers.data(), 6, 0), {}, 1).status().code ==
        Code::shape_mismatch);
  CHECK(Projection::make(Weights(numbers.data(), 6, 4), {}, 0).status().code ==
        Code::shape_mismatch);
  CHECK(Projection::make(Weights(numbers.data(), 6, 4),
                         DeviceView<const float, 1>(numbers.data(), 5), 1)
            .status() == Status{Code::shape_mismatch, 0, 6});
  const auto projection = Projection::make(Weights(numbers.data(), 6, 4), {}, 1).value();
  CHECK(projection.output_width() == 3);
  Reports::Found wrong;
  const ThreadedDevice device{Reports{&wrong}};
  const auto project = [&](Index inputs, DeviceView<float, 3> segments) {
    return projection.project(device, DeviceView<const float, 2>(numbers.data(), 2, inputs),
                              segments);
  };
  using Segments = DeviceView<float, 3>;
  CHECK(project(3, Segments(numbers.data(), 2, 2, 3)) == Status{Code::shape_mismatch, 0, 4});
  CHECK(project(4, Segments(numbers.data(), 2, 3, 3)) == Status{Code::shape_mismatch, 0, 2});
  CHECK(project(4, Segments(numbers.data(), 2, 2, 3).with_stride<0>(7)) ==
        Status{Code::shape_mismatch, 0, 6});
}
