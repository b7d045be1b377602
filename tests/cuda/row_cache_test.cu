// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows through a cache on the GPU have the bits of the CPU's decoding, whatever is resident: from
// either store, in graphs, on streams beside each other, for few slots and many.
#include "gpu.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/cuda/cached_gather.cuh>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/pinned_store.hpp>
#include <engram/storage/host_store.hpp>
#include <random_table.hpp>

using namespace engram;
using elements::poisoned;
using gpu::at;
using gpu::same_bits;
using random_tables::expected_rows;
using random_tables::random_table;
using random_tables::zipf_ids;

namespace {

template <class Store>
RowShape shape_of(const Store& store) {
  return {store.num_rows(), store.row_bytes(), store.scale_bytes()};
}

/// A cache of so many sets for a store's rows.
template <class Store>
RowCache cache_for(const Store& store, Index sets) {
  const Index slot = device_stride(store.row_bytes() + store.scale_bytes()) + 8;
  RowCache cache = RowCache::make(shape_of(store), 256 + sets * 16 * slot).value();
  REQUIRE(cache.num_slots() == sets * 16);
  return cache;
}

RowCacheCounts counts_of(const RowCache& cache) {
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  return cache.counts(nullptr).value();
}

/// Calls with other ids each time; what is counted adds up.
template <class Out, class Codec, class Store>
void check_calls(const Store& store, const HostStore& table, const Codec& codec, Index width,
                 Index sets, int most_blocks) {
  INFO("width " << width << ", " << sets << " sets, at most " << most_blocks << " blocks");
  gpu::OwnStream stream;
  RowCache cache = cache_for(store, sets);
  Random random(21);
  std::uint64_t expected = 0;
  for (const Index tokens : {1, 33, 700, 700, 700, 3000}) {
    const std::vector<int> ids = zipf_ids<int>(tokens * 3, store.num_rows(), random);
    for (const int id : ids) expected += id >= 0;
    const gpu::Array<int> rows(ids);
    const gpu::Array<Out> out(poisoned<Out>(tokens * 3 * width));
    const CudaDevice device = stream.device(most_blocks);
    REQUIRE(cached_gather(device, cache, store, codec, width, rows.view(tokens, 3),
                          out.view(tokens, 3 * width))
                .ok());
    REQUIRE(device.wait().ok());
    CHECK(same_bits(out.get(), expected_rows<Out>(table, codec, width, ids)));
  }
  const RowCacheCounts counts = counts_of(cache);
  CHECK(counts.hits + counts.misses == expected);
  CHECK(counts.uncached <= counts.misses);
  CHECK(counts.hits > 0);
}

template <class Out, class Codec>
void check_codec(const Codec& codec, Index width) {
  const HostStore table = random_table(codec, 3000, width, 20);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  check_calls<Out>(store, table, codec, width, 1, 0);
  check_calls<Out>(store, table, codec, width, 5, 3);
  check_calls<Out>(store, table, codec, width, 100, 0);
  const auto pinned = PinnedStore::make(random_table(codec, 3000, width, 20));
  if (!gpu::could_pin(pinned)) return;
  check_calls<Out>(pinned.value(), table, codec, width, 7, 0);
}

}  // namespace

TEST_CASE("cuda row cache: every width and codec has the CPU's bits, from either store") {
  if (!gpu::is_here()) return;
  check_codec<Bf16>(Fp8Codec(), 256);
  check_codec<float>(Fp8Codec(), 64);
  check_codec<Bf16>(Bf16Codec(), 128);
  check_codec<float>(Bf16Codec(), 33);
  check_codec<float>(F32Codec(), 7);
}

TEST_CASE("cuda row cache: what a call brought in is there for the next one") {
  if (!gpu::is_here()) return;
  const F32Codec codec;
  const HostStore table = random_table(codec, 1000, 64, 22);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  RowCache cache = RowCache::make(shape_of(store), Index{1} << 30).value();
  CHECK(cache.num_slots() == 1024);  // every row can stay
  CHECK(cache.bytes() < 300'000);
  std::vector<int> ids(1000);
  for (int i = 0; i < 1000; ++i) ids[at(i)] = i;
  const gpu::Array<int> rows(ids);
  const gpu::Array<float> out(std::vector<float>(64'000, -9.0f));
  const auto call = [&] {
    const RowCacheCounts before = counts_of(cache);
    REQUIRE(cached_gather(device, cache, store, codec, 64, rows.view(1000, 1), out.view(1000, 64))
                .ok());
    REQUIRE(device.wait().ok());
    CHECK(same_bits(out.get(), expected_rows<float>(table, codec, 64, ids)));
    return counts_of(cache).hits - before.hits;
  };
  CHECK(call() == 0);
  for (int turn = 0; turn < 30; ++turn) (void)call();  // those that lost a slot get one later
  CHECK(call() == 1000);
  REQUIRE(cache.clear(stream.device().stream).ok());
  CHECK(call() == 0);
}

TEST_CASE("cuda row cache: ids that are no rows give zeros and are reported, the first of them") {
  if (!gpu::is_here()) return;
  const Fp8Codec codec;
  const HostStore table = random_table(codec, 100, 64, 23);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  RowCache cache = cache_for(store, 3);
  Random random(24);
  gpu::OwnStream stream;
  std::vector<std::int64_t> ids = zipf_ids<std::int64_t>(500, 100, random);
  ids[77] = 100;
  ids[300] = -2;
  ids[490] = INT64_MAX;
  const gpu::Array<std::int64_t> rows(ids);
  const gpu::Array<float> out(std::vector<float>(500 * 64, -9.0f));
  const CudaDevice device = stream.device();
  REQUIRE(
      cached_gather(device, cache, store, codec, 64, rows.view(250, 2), out.view(250, 128)).ok());
  CHECK(device.wait() == Status{Code::bad_row, 0, 77});
  CHECK(same_bits(out.get(), expected_rows<float>(table, codec, 64, ids)));
  CHECK(device.wait().ok());  // said once
}

TEST_CASE("cuda row cache: a cache of another shape is refused, and nothing is launched") {
  if (!gpu::is_here()) return;
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const DeviceStore store = DeviceStore::make(10, 128).value();
  const gpu::Array<int> rows(std::vector<int>(6, 0));
  const gpu::Array<float> out(std::vector<float>(192, 0));
  const auto call = [&](RowCache& cache, Index width, Index columns) {
    return cached_gather(device, cache, store, F32Codec(), width, rows.view(3, 2),
                         out.view(3, columns));
  };
  RowCache cache = cache_for(store, 1);
  CHECK(call(cache, 32, 63) == Status{Code::shape_mismatch, 0, 64});
  CHECK(call(cache, 16, 32) == Status{Code::mismatch, 0, 64});
  RowCache more = RowCache::make({11, 128, 0}, 10'000).value();
  CHECK(call(more, 32, 64) == Status{Code::mismatch, 0, 11});
  RowCache shorter = RowCache::make({10, 120, 8}, 10'000).value();
  CHECK(call(shorter, 32, 64) == Status{Code::mismatch, 0, 120});
  CHECK(device.wait().ok());
  CHECK(counts_of(cache).misses == 0);
}

TEST_CASE("cuda row cache: a captured call, replayed 72 times with other ids") {
  if (!gpu::is_here()) return;
  const Fp8Codec codec;
  HostStore table = random_table(codec, 3000, 256, 25);
  const HostStore same = random_table(codec, 3000, 256, 25);
  const auto pinned = PinnedStore::make(std::move(table));
  const DeviceStore store = DeviceStore::copy_of(same).value();
  const auto check = [&](const auto& base) {
    RowCache cache = cache_for(base, 4);
    Random random(26);
    gpu::OwnStream stream;
    gpu::Array<int> rows(std::vector<int>(640, 0));
    const gpu::Array<Bf16> out(std::vector<Bf16>(640 * 256, Bf16{}));
    const gpu::Graph graph = stream.captured([&](const CudaDevice& device) {
      CHECK(
          cached_gather(device, cache, base, codec, 256, rows.view(40, 16), out.view(40, 16 * 256))
              .ok());
    });
    for (int replay = 0; replay < 72; ++replay) {
      const std::vector<int> ids = zipf_ids<int>(640, 3000, random);
      rows.set(ids);
      stream.replay(graph);
      REQUIRE(stream.device().wait().ok());
      REQUIRE(same_bits(out.get(), expected_rows<Bf16>(same, codec, 256, ids)));
    }
    // Each replay is another batch: rows of the first ones have given way since.
    CHECK(counts_of(cache).misses > counts_of(cache).uncached + 64);
    CHECK(counts_of(cache).hits > 1000);
  };
  check(store);
  if (gpu::could_pin(pinned)) check(pinned.value());
}

TEST_CASE("cuda row cache: streams beside each other share a cache, and their rows are right") {
  if (!gpu::is_here()) return;
  const F32Codec codec;
  const HostStore table = random_table(codec, 3000, 64, 27);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  RowCache cache = cache_for(store, 6);
  constexpr int count = 4, turns = 20;
  gpu::OwnStream streams[count];
  std::vector<gpu::Array<int>> rows;
  std::vector<gpu::Array<float>> out;
  std::vector<std::vector<int>> ids;
  Random random(28);
  for (int s = 0; s < count; ++s) {
    ids.push_back(zipf_ids<int>(9000, 3000, random));
    rows.emplace_back(ids.back());
    for (int turn = 0; turn < turns; ++turn) out.emplace_back(std::vector<float>(9000 * 64, -9.0f));
  }
  for (int turn = 0; turn < turns; ++turn)
    for (int s = 0; s < count; ++s)
      CHECK(cached_gather(streams[s].device(2 + s), cache, store, codec, 64,
                          rows[at(s)].view(9000, 1), out[at(s * turns + turn)].view(9000, 64))
                .ok());
  for (int s = 0; s < count; ++s) {
    CHECK(streams[s].device().wait().ok());
    const auto expected = expected_rows<float>(table, codec, 64, ids[at(s)]);
    for (int turn = 0; turn < turns; ++turn)
      CHECK(same_bits(out[at(s * turns + turn)].get(), expected));
  }
}
