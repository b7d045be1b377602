// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows from a slow store to the GPU: a captured step that is launched before its batch is asked
// for, 72 times; batches that are late or failed.
#include "gpu.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/staged_batch.hpp>
#include <engram/storage/background_store.hpp>
#include <random_table.hpp>
#include <staged_case.hpp>

#include <algorithm>

using namespace engram;
using gpu::at;
using staged_case::GatedStore;
using staged_case::Latch;

namespace {

constexpr Index tokens = 12, heads = 3, width = 256, count = tokens * heads;
constexpr Index first_row = 0;
constexpr Index microseconds = 20'000'000;

/// A batch of one layer over a store that waits for its gate.
struct Staged {
  using Store = BackgroundStore<GatedStore>;
  using Batch = StagedBatch<Store, Fp8Codec>;

  Latch gate;
  GatedStore base{500, width, width / 32, gate};
  Store store{base};
  PinnedMemory pinned = PinnedMemory::make(Batch::pinned_bytes(store, count)).value();
  DeviceMemory memory = DeviceMemory::make(Batch::device_bytes(store, count, 6 * count)).value();
  std::unique_ptr<Batch> batch =
      Batch::make(store, {}, width, count, pinned.view(), memory.view()).value();
  gpu::Array<Bf16> out{std::vector<Bf16>(at(count * width), to_bf16(-9))};

  Staged() {
    REQUIRE(cudaMemset(memory.data(), 0, at(memory.size())) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);  // streams of their own do not wait for it
  }
  void launch(const CudaDevice& device, Index timeout) const {
    CHECK(batch->take(device, tokens, 1, heads, timeout).ok());
    CHECK(batch->decode(device, 0, out.view(tokens, heads * width)).ok());
  }
  Status ask(const std::vector<std::int32_t>& ids) const {
    const Status planned = batch->plan(View<const std::int32_t, 3>(ids.data(), tokens, 1, heads),
                                       View<const Index, 1>(&first_row, 1));
    return planned.ok() ? batch->submit() : planned;
  }
  static std::vector<Bf16> expected(const std::vector<std::int32_t>& ids) {
    std::vector<Bf16> all(at(count * width));
    for (Index i = 0; i < count; ++i)
      if (ids[at(i)] >= 0) {
        const std::vector<Bf16> row = staged_case::decoded_row(Fp8Codec(), ids[at(i)], width);
        std::copy(row.begin(), row.end(), all.begin() + i * width);
      }
    return all;
  }
};

std::vector<std::int32_t> random_ids(Random& random) {
  return random_tables::zipf_ids<std::int32_t>(count, 500, random, 6);
}

}  // namespace

TEST_CASE("cuda staged batch: a captured step, launched before its rows, replayed 72 times",
          "[waits]") {
  if (!gpu::is_here()) return;
  const Staged s;
  Random random(1);
  gpu::OwnStream stream;
  const gpu::Graph graph =
      stream.captured([&](const CudaDevice& device) { s.launch(device, microseconds); });
  for (int replay = 0; replay < 72; ++replay) {
    const auto ids = random_ids(random);
    stream.replay(graph);
    REQUIRE(s.ask(ids).ok());
    REQUIRE(stream.device().wait().ok());
    REQUIRE(s.batch->is_taken());
    REQUIRE(gpu::same_bits(s.out.get(), Staged::expected(ids)));
  }
  CHECK(s.batch->counts().hits > s.batch->counts().misses);
}

TEST_CASE("cuda staged batch: late, failed and given up", "[waits]") {
  if (!gpu::is_here()) return;
  Staged s;
  Random random(2);
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const auto ids = random_ids(random);
  const std::vector<Bf16> zeros(at(count * width));
  s.gate.set(false);
  REQUIRE(s.ask(ids).ok());
  s.launch(device, 2000);
  CHECK(device.wait().code == Code::busy);
  CHECK(gpu::same_bits(s.out.get(), zeros));
  // The next step waits for its own batch, although the late one arrives.
  const auto next = random_ids(random);
  s.launch(device, microseconds);
  s.gate.set(true);
  REQUIRE(s.ask(next).ok());
  CHECK(device.wait().ok());
  CHECK(gpu::same_bits(s.out.get(), Staged::expected(next)));
  s.gate.set(true, {Code::io, 5, 3});
  REQUIRE(s.ask(ids).ok());
  s.launch(device, microseconds);
  CHECK(device.wait().code == Code::io);
  CHECK(s.batch->wait() == Status{Code::io, 5, 3});
  CHECK(gpu::same_bits(s.out.get(), zeros));
  s.gate.set(true);
  REQUIRE(s.ask(ids).ok());
  s.batch->discard();
  REQUIRE(s.ask(ids).ok());
  s.launch(device, microseconds);
  CHECK(device.wait().ok());
  CHECK(gpu::same_bits(s.out.get(), Staged::expected(ids)));
}
