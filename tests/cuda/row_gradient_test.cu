// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Plans, sums and steps of rows on the GPU: the CPU's plan and sums bit for bit, rows within the
// last bits of a joined product and sum; the same bits for any grid; captured and replayed.
#include "gpu.hpp"

#include <engram/cuda/device_store.hpp>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/plan.cuh>
#include <row_case.hpp>

#include <cmath>

using namespace engram;
using elements::count_far;
using gpu::at;
using row_case::Case;

namespace {

template <class Row>
struct Planner {
  RowPlanner planner;
  gpu::Array<std::byte> workspace;
  CudaDevice device;
  Index num_rows;

  Planner(Index most, Index rows, const CudaDevice& on)
      : planner(RowPlanner::make(most).value()),
        workspace(std::vector<std::byte>(at(planner.workspace_bytes()))),
        device(on),
        num_rows(rows) {}
  template <class On>
  Status operator()(const On& on, DeviceRowPlan<Row>& made) {
    return planner.plan(device, on.rows(), num_rows, on.unique(), on.scatter(), made,
                        workspace.view(planner.workspace_bytes()));
  }
};

/// For some 10 ms.
__global__ void stay_busy() {
  const long long begin = clock64();
  while (clock64() - begin < 20'000'000) continue;
}

/// A case on a stream of its own.
template <class T, class Row, class Optimizer>
struct Training {
  gpu::Arrays memory;
  gpu::OwnStream stream;
  CudaDevice device;
  row_case::OnDevice<T, Row, gpu::Arrays, Optimizer> on;
  Planner<Row> planner;

  Training(const Case<T, Row>& c, const Optimizer& optimizer, NonFinite non_finite,
           int most_blocks = 0)
      : device(stream.device(most_blocks)),
        on(c, memory, optimizer, non_finite),
        planner(c.count(), c.num_rows, device) {}

  Status run() { return on.run(device, planner); }
};

template <class T, class Row, class Optimizer>
void check_case(const Case<T, Row>& c, const Optimizer& optimizer, NonFinite non_finite) {
  INFO(c.tokens << " x " << c.columns << " ids of " << c.num_rows << " rows of " << c.width);
  const auto run = [&](int most_blocks) {
    Training training(c, optimizer, non_finite, most_blocks);
    REQUIRE(training.run().ok());
    REQUIRE(training.device.wait().ok());
    return training.on.results();
  };
  const auto found = run(0);
  const auto expected = row_case::on_cpu(c, optimizer, non_finite);
  CHECK(found.num_unique == expected.num_unique);
  CHECK(found.unique == expected.unique);
  CHECK(found.scatter == expected.scatter);
  CHECK(std::memcmp(found.sums.data(), expected.sums.data(),
                    at(expected.num_unique * c.width) * sizeof(float)) == 0);
  // One place of bf16: a last bit of float may round the other way.
  CHECK(count_far(found.table, expected.table, std::is_same_v<T, float> ? 1e-5 : 8e-3) == 0);
  CHECK(count_far(found.state, expected.state, 1e-5) == 0);
  const auto again = run(2);
  CHECK(gpu::same_bits(again.table, found.table));
  CHECK(gpu::same_bits(again.state, found.state));
}

}  // namespace

TEST_CASE("cuda row gradients: plan and sums have the CPU's bits, steps are near") {
  if (!gpu::is_here()) return;
  for (const NonFinite non_finite : {NonFinite::skip, NonFinite::fail}) {
    check_case(Case<float, std::int32_t>(1, 500, 3, 64, 400), Sgd(), non_finite);
    check_case(Case<float, std::int64_t>(2, 3000, 1, 20, 9), RowAdagrad(), non_finite);
    check_case(Case<Bf16, std::int32_t>(3, 400, 4, 100, 100'000), LazyAdam(), non_finite);
    check_case(Case<Bf16, std::int32_t>(4, 33, 1, 32, 1), RowAdagrad(), non_finite);
    check_case(Case<float, std::int32_t>(6, 50, 2, 1, 30), Sgd(), non_finite);
    check_case(Case<float, std::int32_t>(7, 90, 2, 333, 30), RowAdagrad(), non_finite);
  }
}

TEST_CASE("cuda row gradients: one row that all places read") {
  if (!gpu::is_here()) return;
  Case<float, std::int32_t> c(11, 100'000, 2, 8, 3);
  c.rows.assign(c.rows.size(), 1);
  check_case(c, RowAdagrad(), NonFinite::skip);
}

TEST_CASE("cuda row gradients: tables on streams beside each other") {
  if (!gpu::is_here()) return;
  const Case<float, std::int32_t> a(12, 4000, 2, 64, 900), b(13, 4000, 2, 64, 900);
  Training first(a, RowAdagrad(), NonFinite::skip), second(b, RowAdagrad(), NonFinite::skip);
  REQUIRE(first.run().ok());
  REQUIRE(second.run().ok());
  REQUIRE(first.device.wait().ok());
  REQUIRE(second.device.wait().ok());
  CHECK(count_far(first.on.results().table,
                  row_case::on_cpu(a, RowAdagrad(), NonFinite::skip).table, 1e-5) == 0);
  CHECK(count_far(second.on.results().table,
                  row_case::on_cpu(b, RowAdagrad(), NonFinite::skip).table, 1e-5) == 0);
}

TEST_CASE("cuda row gradients: a training step's batch of Zipf rows", "[large]") {
  if (!gpu::is_here()) return;
  check_case(Case<float, std::int32_t>(5, 8192, 16, 64, 1'000'000), RowAdagrad(), NonFinite::skip);
}

TEST_CASE("cuda row gradients: a sum that is not finite is reported, and no row moves") {
  if (!gpu::is_here()) return;
  Case<float, std::int32_t> c(8, 100, 2, 40, 30);
  c.rows[10] = 17;
  c.gradients[at(10 * 40 + 3)] = std::nanf("");
  Training training(c, Sgd(), NonFinite::fail);
  REQUIRE(training.run().ok());
  CHECK(training.device.wait() == Status{Code::not_finite, 0, 17});
  CHECK(gpu::same_bits(training.on.results().table, c.table));
}

TEST_CASE("cuda row gradients: a captured step, replayed 72 times") {
  if (!gpu::is_here()) return;
  const Case<float, std::int32_t> c(9, 60, 2, 32, 50);
  gpu::Arrays memory, other;
  row_case::OnDevice<float, std::int32_t, gpu::Arrays, RowAdagrad> once(c, memory, {},
                                                                        NonFinite::skip),
      replayed(c, other, {}, NonFinite::skip);
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  Planner<std::int32_t> planner(c.count(), c.num_rows, device),
      captured(c.count(), c.num_rows, device);
  const RowStep step = row_case::step_of(3, NonFinite::skip);
  const gpu::Graph graph =
      stream.captured([&](const CudaDevice& on) { CHECK(replayed.step(on, captured, step).ok()); });
  for (std::uint64_t replay = 0; replay < 72; ++replay) {
    const Case<float, std::int32_t> next(100 + replay, 60, 2, 32, 50);
    for (const auto& [on, arrays] : {std::pair{&once, &memory}, std::pair{&replayed, &other}}) {
      arrays->set(const_cast<std::int32_t*>(on->rows().data()), next.rows);
      arrays->set(const_cast<float*>(on->gradients().data()), next.gradients);
    }
    REQUIRE(once.step(device, planner, step).ok());
    stream.replay(graph);
    REQUIRE(device.wait().ok());
    REQUIRE(gpu::same_bits(replayed.results().table, once.results().table));
  }
}

TEST_CASE("cuda plan: rows that are read once and brought to where they go are those of a gather") {
  if (!gpu::is_here()) return;
  const Case<float, std::int32_t> c(10, 300, 3, 32, 90);
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  DeviceStore store = DeviceStore::make(c.num_rows, c.width * 4).value();
  REQUIRE(cudaMemcpy(store.mutable_ref().base, c.table.data(), c.table.size() * 4,
                     cudaMemcpyHostToDevice) == cudaSuccess);
  const gpu::Array<std::int32_t> rows(c.rows), unique(c.rows), scatter(c.rows);
  const std::vector<float> poison(at(c.count() * c.width), -9);
  const gpu::Array<float> direct(poison), brought(poison);
  DeviceStore read = DeviceStore::make(c.count(), c.width * 4).value();
  const RowPlanner planner = RowPlanner::make(c.count()).value();
  const gpu::Array<std::byte> workspace(std::vector<std::byte>(at(planner.workspace_bytes())));
  DeviceRowPlan<std::int32_t> made;
  REQUIRE(planner
              .plan(device, rows.read(c.tokens, c.columns), c.num_rows, unique.view(c.count()),
                    scatter.view(c.count()), made, workspace.view(planner.workspace_bytes()))
              .ok());
  const DeviceView<float, 2> once(reinterpret_cast<float*>(read.mutable_ref().base), c.count(),
                                  c.width);
  REQUIRE(gather(device, store, F32Codec(), c.width, unique.read(c.count(), 1), once).ok());
  REQUIRE(gather(device, read, F32Codec(), c.width, scatter.read(c.tokens, c.columns),
                 brought.view(c.tokens, c.columns * c.width))
              .ok());
  REQUIRE(gather(device, store, F32Codec(), c.width, rows.read(c.tokens, c.columns),
                 direct.view(c.tokens, c.columns * c.width))
              .ok());
  REQUIRE(device.wait().ok());
  CHECK(gpu::same_bits(brought.get(), direct.get()));
}

TEST_CASE("cuda plan: what the caller's calls left behind is no failure of the plan", "[waits]") {
  if (!gpu::is_here()) return;
  const Case<float, std::int32_t> c(60, 30, 2, 8, 11);
  Training training(c, Sgd(), NonFinite::skip);
  gpu::OwnStream busy;
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreate(&event) == cudaSuccess);
  stay_busy<<<1, 1, 0, busy.device().stream>>>();
  REQUIRE(cudaEventRecord(event, busy.device().stream) == cudaSuccess);
  REQUIRE(cudaEventQuery(event) == cudaErrorNotReady);
  CHECK(training.run().ok());
  CHECK(training.device.wait().ok());
  REQUIRE(cudaEventSynchronize(event) == cudaSuccess);
  REQUIRE(cudaEventDestroy(event) == cudaSuccess);
  REQUIRE(cudaSetDevice(-1) != cudaSuccess);
  CHECK(training.run().ok());
  CHECK(training.device.wait().ok());
  stay_busy<<<1, 2048>>>();  // more threads than a block has; nobody else would hear of it
  CHECK(training.run().ok());
  CHECK(training.device.wait() ==
        Status{Code::device, static_cast<std::int32_t>(cudaErrorInvalidConfiguration)});
  CHECK(training.on.results().unique == row_case::on_cpu(c, Sgd(), NonFinite::skip).unique);
}

TEST_CASE("cuda plan: without a GPU a sentence, unless there is nothing to plan") {
  CHECK(RowPlanner::make(0).status().code == Code::invalid_config);
  const auto found = cuda_device_count();
  const auto made = RowPlanner::make(10);
  CHECK(made.ok() == found.ok());
  if (!found.ok()) CHECK(made.message() == found.message());
}

TEST_CASE("cuda plan: ids that are no rows are reported, and count as none") {
  if (!gpu::is_here()) return;
  Case<float, std::int32_t> c(14, 30, 2, 8, 11), without = c;
  for (const auto& [place, id] : {std::pair{40, 11}, {7, -2}, {9, 1 << 30}}) {
    c.rows[at(place)] = id;
    without.rows[at(place)] = -1;
  }
  Training training(c, Sgd(), NonFinite::skip);
  REQUIRE(training.run().ok());
  CHECK(training.device.wait() == Status{Code::bad_row, 0, 7});
  CHECK(training.on.results().scatter == row_case::on_cpu(without, Sgd(), NonFinite::skip).scatter);
}

TEST_CASE("cuda plan: what does not fit is refused") {
  if (!gpu::is_here()) return;
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const RowPlanner planner = RowPlanner::make(10).value();
  const gpu::Array<std::int32_t> ids(std::vector<std::int32_t>(20, -7));
  const gpu::Array<std::byte> workspace(std::vector<std::byte>(at(planner.workspace_bytes())));
  DeviceRowPlan<std::int32_t> made;
  CHECK(planner.plan(device, ids.view(20, 1), 5, ids.view(20), {}, made,
                     workspace.view(planner.workspace_bytes())) ==
        Status{Code::unsupported, 0, 20});
  CHECK(planner.plan(device, ids.view(10, 1), 5, ids.view(10), {}, made,
                     workspace.view(planner.workspace_bytes() - 1)) ==
        Status{Code::workspace_small, 0, planner.workspace_bytes()});
  CHECK(ids.get() == std::vector<std::int32_t>(20, -7));
}
