// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A whole layer on the GPU beside the CPU's: from each kind of table, through the plain
// projection, captured and replayed, and with its rows read on a second stream.
#include "gpu.hpp"

#include <engram/cuda/cached_gather.cuh>
#include <engram/cuda/device_layer.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/fuse.cuh>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/pinned_store.hpp>
#include <layer_case.hpp>

using namespace engram;
using elements::count_far;
using gpu::at;
using layer_case::Case;

namespace {

void check_results(const layer_case::Results& found, const layer_case::Results& expected) {
  CHECK(count_far(found.out, expected.out, 2e-5) == 0);
  CHECK(count_far(found.gates, expected.gates, 2e-5) == 0);
  CHECK(count_far(found.scores, expected.scores, 2e-5) == 0);
  CHECK(count_far(found.norms, expected.norms, 2e-5) == 0);
  CHECK(count_far(found.state, expected.state, 2e-5) == 0);
}

template <class TableType>
void check_layer(const Case& c, TableType& table) {
  gpu::Arrays memory;
  layer_case::OnDevice<gpu::Arrays> on(c, memory);
  const DeviceLayer layer(table, on.projection, on.weights, c.config);
  REQUIRE(layer.check().ok());
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  REQUIRE(layer
              .forward(device, on.rows, on.hidden, on.out,
                       on.workspace(layer.workspace_bytes(c.shape.tokens, c.shape.sequences)),
                       on.options)
              .ok());
  REQUIRE(device.wait().ok());
  check_results(on.results(), layer_case::on_cpu(c));
}

using HbmTable = Table<DeviceStore, F32Codec>;
HbmTable hbm_table(const Case& c) {
  return HbmTable::make(DeviceStore::copy_of(c.store()).value(), {}, c.shape.row_width).value();
}

}  // namespace

TEST_CASE("cuda layer: rows to the new hidden state, from each kind of table") {
  if (!gpu::is_here()) return;
  std::uint64_t seed = 0;
  for (const layer_case::Shape& shape : {layer_case::Shape{9, 2, 33, 3, 8, 3, 2},
                                         {300, 4, 256, 4, 32, 4, 5},
                                         {5, 1, 64, 2, 20, 0, 1},
                                         {1, 4, 1024, 2, 64, 2, 1}}) {
    INFO(shape.tokens << " tokens, " << shape.taps << " taps");
    const Case c(++seed, shape);
    HbmTable hbm = hbm_table(c);
    check_layer(c, hbm);
    using PinnedTable = Table<PinnedStore, F32Codec>;
    auto locked = PinnedStore::make(c.store());
    if (!gpu::could_pin(locked)) continue;
    PinnedTable pinned = PinnedTable::make(std::move(locked.value()), {}, shape.row_width).value();
    check_layer(c, pinned);
    RowCache cache =
        RowCache::make({Case::table_rows, pinned.store().row_bytes(), 0}, Index{1} << 20).value();
    CachedTable cached{&cache, &pinned};
    check_layer(c, cached);
    check_layer(c, cached);  // its rows are there
  }
}

TEST_CASE("cuda layer: a captured call, replayed with other rows, streams and states") {
  if (!gpu::is_here()) return;
  const layer_case::Shape shape{17, 2, 128, 3, 16, 3, 2};
  const Case first(1, shape);
  HbmTable table = hbm_table(first);
  gpu::Arrays memory;
  layer_case::OnDevice<gpu::Arrays> on(first, memory);
  const DeviceLayer layer(table, on.projection, on.weights, first.config);
  const auto workspace = on.workspace(layer.workspace_bytes(17, 2));
  gpu::OwnStream stream;
  const auto call = [&](const CudaDevice& device) {
    CHECK(layer.forward(device, on.rows, on.hidden, on.out, workspace, on.options).ok());
  };
  call(stream.device());
  REQUIRE(stream.device().wait().ok());
  const gpu::Graph graph = stream.captured(call);
  for (std::uint64_t replay = 0; replay < 72; ++replay) {
    INFO("replay " << replay);
    Case c = first;
    const Case other(100 + replay, shape);
    c.rows = other.rows;
    c.hidden = other.hidden;
    c.state = other.state;
    c.marks = other.marks;
    c.starts = other.starts;
    memory.set(on.rows.data(), c.rows);
    memory.set(on.hidden.data(), c.hidden);
    memory.set(on.options.conv_state.data(), c.state);
    memory.set(const_cast<Mark*>(on.options.marks.data()), c.marks);
    memory.set(const_cast<std::int32_t*>(on.options.sequence_starts.data()), c.starts);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    check_results(on.results(), layer_case::on_cpu(c));
  }
}

TEST_CASE("cuda layer: rows read on a second stream have the bits of one call") {
  if (!gpu::is_here()) return;
  const Case c(3, {64, 2, 128, 3, 16, 3, 2});
  HbmTable table = hbm_table(c);
  gpu::Arrays memory;
  layer_case::OnDevice<gpu::Arrays> whole(c, memory), halves(c, memory);
  const DeviceLayer layer(table, whole.projection, whole.weights, c.config);
  gpu::OwnStream main, side;
  const Index bytes = layer.workspace_bytes(64, 2);
  REQUIRE(layer
              .forward(main.device(), whole.rows, whole.hidden, whole.out, whole.workspace(bytes),
                       whole.options)
              .ok());
  REQUIRE(main.device().wait().ok());
  cudaEvent_t there = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&there, cudaEventDisableTiming) == cudaSuccess);
  REQUIRE(layer.gather(side.device(), halves.rows, halves.e).ok());
  REQUIRE(cudaEventRecord(there, side.device().stream) == cudaSuccess);
  REQUIRE(cudaStreamWaitEvent(main.device().stream, there, 0) == cudaSuccess);
  REQUIRE(layer
              .apply(main.device(), halves.e, halves.rows, halves.hidden, halves.out,
                     halves.workspace(bytes), halves.options)
              .ok());
  REQUIRE(main.device().wait().ok());
  REQUIRE(side.device().wait().ok());
  (void)cudaEventDestroy(there);
  CHECK(gpu::same_bits(whole.results().out, halves.results().out));
  CHECK(gpu::same_bits(whole.results().state, halves.results().state));
}

TEST_CASE("cuda layer: streams beside each other share a layer, and keep what is theirs apart") {
  if (!gpu::is_here()) return;
  constexpr std::size_t count = 4;
  const layer_case::Shape shape{64, 2, 128, 3, 16, 3, 2};
  const Case first(4, shape);
  HbmTable table = hbm_table(first);
  gpu::Arrays memory;
  const layer_case::OnDevice<gpu::Arrays> shared(first, memory);
  const DeviceLayer layer(table, shared.projection, shared.weights, first.config);
  const Index bytes = layer.workspace_bytes(64, 2);
  gpu::OwnStream streams[count];
  std::vector<Case> cases;
  for (std::size_t i = 0; i < count; ++i) {
    const Case other(50 + i, shape);
    cases.push_back(first);
    cases[i].rows = other.rows;
    cases[i].hidden = other.hidden;
    cases[i].state = other.state;
  }
  std::vector<layer_case::OnDevice<gpu::Arrays>> on;
  for (const Case& c : cases) on.emplace_back(c, memory);
  std::vector<DeviceView<std::byte, 1>> workspaces;
  for (auto& one : on) workspaces.push_back(one.workspace(bytes));
  for (std::size_t i = 0; i < count; ++i)
    CHECK(layer
              .forward(streams[i].device(), on[i].rows, on[i].hidden, on[i].out, workspaces[i],
                       on[i].options)
              .ok());
  for (std::size_t i = 0; i < count; ++i) {
    REQUIRE(streams[i].device().wait().ok());
    check_results(on[i].results(), layer_case::on_cpu(cases[i]));
  }
}
