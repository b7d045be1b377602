// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tables in mapped files: their rows, and what is left of a call when the file is shortened.
#include <catch.hpp>
#include <engram/codec/plain.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/any_table.hpp>
#include <engram/storage/mmap_store.hpp>
#include <filesystem>
#include <fstream>
#include <random.hpp>
#include <thread>
#include <vector>

#if __has_include(<sys/mman.h>)

using namespace engram;

namespace {

constexpr Index width = 2048, row_bytes = 2 * width, rows = 64;  // a row is a page or more

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// A file of rows that starts with three bytes of something else; gone afterwards.
struct RowFile {
  std::string path;
  std::vector<std::uint16_t> elements;

  explicit RowFile(const char* name) : path(std::string(ENGRAM_SCRATCH_DIR) + "/" + name) {
    Random random(1);
    for (Index i = 0; i < rows * width; ++i)
      elements.push_back(to_bf16(static_cast<float>(random.below(2001) - 1000) / 1000).bits);
    std::ofstream file(path, std::ios::binary);
    file.write("xyz", 3);
    file.write(reinterpret_cast<const char*>(elements.data()), rows * row_bytes);
  }
  ~RowFile() { std::filesystem::remove(path); }
  RowFile(const RowFile&) = delete;

  void shorten(Index rows_left) const {
    std::filesystem::resize_file(path, static_cast<std::uintmax_t>(3 + rows_left * row_bytes));
  }
  Table<MmapStore, Bf16Codec> open() const {
    TableSegment segment;
    segment.codes = {path, -1, 3, rows, row_bytes, row_bytes};
    return Table<MmapStore, Bf16Codec>::make(MmapStore::open({segment}).value(), {}, width).value();
  }
};

/// A small layer over rows of that width, with a convolution.
struct SmallLayer {
  std::vector<float> key = std::vector<float>(2 * width, 0.001f);
  std::vector<float> value = std::vector<float>(2 * width, 0.002f);
  std::vector<float> conv = std::vector<float>(2 * 2, 0.5f);
  ProjectionWeights<float> weights{View<const float, 3>(key.data(), 1, 2, width),
                                   View<const float, 2>(value.data(), 2, width),
                                   {},
                                   {}};
  ReferenceProjection<float> projection = ReferenceProjection<float>::make(weights).value();
  FusionWeights fusion{{}, {}, View<const float, 3>(conv.data(), 2, 1, 2)};
};

}  // namespace

TEST_CASE("mapped table: the rows of the file, alone and in an AnyTable") {
  const RowFile file("mapped_table_rows.bin");
  const auto table = file.open();
  const AnyTable any(file.open());
  const std::int64_t ids[] = {0, rows - 1, 17, 5};
  std::vector<float> found(4 * width), again(4 * width);
  const View<const std::int64_t, 2> view(ids, 2, 2);
  REQUIRE(table.gather(view, View<float, 2>(found.data(), 2, 2 * width)).ok());
  REQUIRE(any.gather(view, View<float, 2>(again.data(), 2, 2 * width)).ok());
  for (Index i = 0; i < 4 * width; ++i) {
    const float expected = to_float(Bf16{file.elements[at(ids[i / width] * width + i % width)]});
    if (found[at(i)] != expected || again[at(i)] != expected) FAIL("element " << i);
  }
}

TEST_CASE("mapped table: a file that shrinks is io, and stream and state stay as they were") {
  const RowFile file("mapped_table_shrinks.bin");
  const auto table = file.open();
  const SmallLayer small;
  const EngramLayer layer(table, small.projection, small.fusion, FusionConfig());
  constexpr Index tokens = 200;  // shares of several gather items
  Random random(2);
  std::vector<std::int32_t> ids(tokens);
  std::vector<std::byte> workspace(at(layer.workspace_bytes(tokens)));
  std::vector<float> hidden(tokens * 2), out(tokens * 2, 7.0f), state(2, 0.25f);
  for (float& x : hidden) x = static_cast<float>(random.below(100)) / 100;
  FusionOptions options;
  options.conv_state = View<float, 2>(state.data(), 1, 2);
  const auto forward = [&](const CpuDevice& device) {
    return layer.forward(View<const std::int32_t, 2>(ids.data(), tokens, 1),
                         View<const float, 3>(hidden.data(), tokens, 1, 2),
                         View<float, 3>(out.data(), tokens, 1, 2), workspace, options, device);
  };
  const auto forward_threads = [&](Index n) {
    std::vector<Status> statuses(at(n));
    Barrier barrier;
    std::vector<std::thread> threads;
    for (Index i = 0; i < n; ++i)
      threads.emplace_back([&, i] { statuses[at(i)] = forward({{i, n}, &barrier}); });
    for (std::thread& t : threads) t.join();
    return statuses;
  };
  const auto untouched = [&] {
    return out == std::vector<float>(tokens * 2, 7.0f) && state == std::vector<float>(2, 0.25f);
  };
  const auto reset = [&] {
    out.assign(tokens * 2, 7.0f);
    state.assign(2, 0.25f);
  };

  const SigbusGuard guard;
  for (Index t = 0; t < tokens; ++t) ids[at(t)] = static_cast<std::int32_t>(random.below(8));
  file.shorten(16);
  REQUIRE(forward({}).ok());  // what is read is still there
  const std::vector<float> good = out, good_state = state;
  reset();

  const auto fails = [&](Index bad_token) {
    const std::int32_t before = ids[at(bad_token)];
    ids[at(bad_token)] = rows - 1;
    CHECK(forward({}).code == Code::io);
    CHECK(untouched());
    for (const Index n : {2, 3}) {
      for (const Status& s : forward_threads(n)) CHECK(s.code == Code::io);
      CHECK(untouched());
    }
    ids[at(bad_token)] = before;
  };
  fails(0);                          // in the first share
  fails(tokens - 1);                 // in the last
  for (const Index n : {1, 2, 3}) {  // and every later call works
    reset();
    for (const Status& s : forward_threads(n)) CHECK(s.ok());
    CHECK(out == good);
    CHECK(state == good_state);
  }
}

TEST_CASE("mapped table: a failure in a later block leaves the earlier ones done") {
  const RowFile file("mapped_table_block.bin");
  const auto table = file.open();
  const SmallLayer small;
  const EngramLayer layer(table, small.projection, small.fusion, FusionConfig());
  constexpr Index block = 512, tokens = block + 30;
  std::vector<std::int32_t> ids(tokens, 3);
  ids[tokens - 1] = rows - 1;
  std::vector<std::byte> workspace(at(layer.workspace_bytes(tokens)));
  std::vector<float> hidden(tokens * 2, 0.5f), out(tokens * 2, 7.0f), state(2);
  FusionOptions options;
  options.conv_state = View<float, 2>(state.data(), 1, 2);
  const auto forward = [&](Index count) {
    return layer.forward(View<const std::int32_t, 2>(ids.data(), count, 1),
                         View<const float, 3>(hidden.data(), count, 1, 2),
                         View<float, 3>(out.data(), count, 1, 2), workspace, options);
  };
  REQUIRE(forward(block).ok());
  const std::vector<float> expected = out, expected_state = state;
  out.assign(out.size(), 7.0f);
  state.assign(2, 0.0f);
  file.shorten(8);
  const SigbusGuard guard;
  CHECK(forward(tokens).code == Code::io);
  CHECK(out == expected);  // the first block as if alone, the rest untouched
  CHECK(state == expected_state);
}

#else
TEST_CASE("mapped table: shrinking files") { WARN("[skipped] no mmap here"); }
#endif
