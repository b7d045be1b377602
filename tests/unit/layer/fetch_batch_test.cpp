// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows asked for early: the rows of a table in place, whatever the store and whoever drives it.
#include "../storage/direct_case.hpp"

#include <engram/codec/plain.hpp>
#include <engram/layer/fetch_batch.hpp>
#include <engram/storage/background_store.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/disk/adaptive_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>
#include <engram/storage/mapped_reader.hpp>

#include <filesystem>
#include <thread>

using namespace engram;
using namespace direct_case;

namespace {

constexpr Index width = 10, layers = 2, heads = 3;
constexpr Index first_rows[layers] = {0, 300};

/// Two layers' rows of floats, one file behind the other.
RandomTable two_layers() {
  RandomTable table;
  table.rows = 500;
  table.row_bytes = width * 4;
  Random random(4);
  for (int l = 0; l < 2; ++l) {
    RowExtent codes;
    codes.path = scratch_path("layer" + std::to_string(l));
    codes.rows = l == 0 ? 300 : 200;
    codes.stride = codes.bytes = table.row_bytes;
    std::string& content = table.files[codes.path];
    for (Index i = 0; i < codes.rows * width; ++i) {
      const auto value = static_cast<float>(random.below(1000)) / 8.0f;
      content.append(reinterpret_cast<const char*>(&value), 4);
    }
    table.segments.push_back({codes, {}});
  }
  table.write();
  return table;
}

std::vector<std::int32_t> random_ids(Index tokens, Random& random) {
  std::vector<std::int32_t> ids;
  for (Index t = 0; t < tokens; ++t)
    for (Index l = 0; l < layers; ++l) {
      const bool none = random.below(5) == 0;
      for (Index h = 0; h < heads; ++h)
        ids.push_back(none ? -1 : static_cast<std::int32_t>(random.below(l == 0 ? 300 : 200)));
    }
  return ids;
}

View<const std::int32_t, 3> ids_view(const std::vector<std::int32_t>& ids) {
  return View<const std::int32_t, 3>(ids.data(), static_cast<Index>(ids.size()) / (layers * heads),
                                     layers, heads);
}

template <Element Out>
std::vector<Out> expected_layer(const RandomTable& table, const std::vector<std::int32_t>& ids,
                                Index layer) {
  std::vector<Out> out;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (static_cast<Index>(i) / heads % layers != layer) continue;
    std::vector<float> row(width, 0.0f);
    if (ids[i] >= 0)
      std::memcpy(row.data(), table.row(ids[i] + first_rows[layer]).data(), width * 4);
    for (const float value : row) out.push_back(from_float<Out>(value));
  }
  return out;
}

template <class Store>
struct Batch {
  std::vector<std::byte> memory;
  FetchBatch<Store, F32Codec> batch;
  Batch(const Store& store, Index most_ids)
      : memory(at(FetchBatch<Store, F32Codec>::memory_bytes(store, most_ids))),
        batch(FetchBatch<Store, F32Codec>::make(
                  store, {}, width, most_ids,
                  View<std::byte, 1>(memory.data(), static_cast<Index>(memory.size())))
                  .value()) {}
};

const View<const Index, 1> firsts(first_rows, layers);

template <class Store>
void check_batches(const RandomTable& table, const Store& store) {
  Random random(8);
  Batch<Store> now(store, 3000), next(store, 3000);
  std::vector<std::int32_t> ids = random_ids(40, random);
  REQUIRE(now.batch.plan(ids_view(ids), firsts).ok());
  REQUIRE(now.batch.submit().ok());
  for (int step = 0; step < 12; ++step) {
    // The next step's rows are on the way before this one's are used.
    const std::vector<std::int32_t> ahead = random_ids(random.below(100), random);
    std::uint32_t flag = 0;
    REQUIRE(next.batch.plan(ids_view(ahead), firsts).ok());
    REQUIRE(next.batch.submit(&flag).ok());
    REQUIRE(now.batch.wait().ok());
    const Index tokens = static_cast<Index>(ids.size()) / (layers * heads);
    for (Index layer = 0; layer < layers; ++layer) {
      std::vector<float> floats(at(tokens * heads * width), 7.0f);
      std::vector<Bf16> halves(floats.size());
      REQUIRE(now.batch.decode(layer, View<float, 2>(floats.data(), tokens, heads * width)).ok());
      REQUIRE(now.batch.decode(layer, View<Bf16, 2>(halves.data(), tokens, heads * width)).ok());
      CHECK(floats == expected_layer<float>(table, ids, layer));
      const auto right = expected_layer<Bf16>(table, ids, layer);
      CHECK((halves.empty() || std::memcmp(static_cast<const void*>(halves.data()),
                                           static_cast<const void*>(right.data()),
                                           halves.size() * sizeof(Bf16)) == 0));
    }
    while (!next.batch.poll()) {
    }
    CHECK(__atomic_load_n(&flag, __ATOMIC_ACQUIRE) == 1);
    ids = ahead;
    REQUIRE(next.batch.wait().ok());
    REQUIRE(now.batch.plan(ids_view(ids), firsts).ok());
    REQUIRE(now.batch.submit().ok());
  }
  REQUIRE(now.batch.wait().ok());
}

}  // namespace

TEST_CASE("fetch batch: rows of two layers in one batch, over files and through a thread") {
  const RandomTable table = two_layers();
  DirectOptions options;
  options.depth = 4;
  const auto reads = ThreadReads::make(3).value();
  const auto direct = DirectStore<ThreadReads>::open(table.segments, reads, options).value();
  check_batches(table, direct);
  const BackgroundStore driven(direct);
  static_assert(check_fetch_store<BackgroundStore<DirectStore<ThreadReads>>>());
  check_batches(table, driven);
  const auto adaptive = AdaptiveStore<ThreadReads>::open(table.segments, reads, 4).value();
  check_batches(table, adaptive);
}

TEST_CASE("fetch batch: each row is asked for once") {
  const RandomTable table = two_layers();
  DirectOptions options;
  options.depth = 4;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(2).value(), options).value();
  Batch<DirectStore<ThreadReads>> b(store, 100);
  // Row 7 of layer 0 twice, and of layer 1 once: another row.
  const std::vector<std::int32_t> ids = {7, 7, 8, 7, 0, 0, -1, -1, -1, -1, -1, -1};
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  CHECK(b.batch.unique_rows() == 4);
  REQUIRE(b.batch.submit().ok());
  REQUIRE(b.batch.wait().ok());
  CHECK(b.batch.reader().counters().rows == 4);
}

TEST_CASE("fetch batch: rows that the caller has are left out") {
  /// Row 8 in slot 40; others get slots from 50 on.
  struct Resident {
    Index next = 50;
    bool all_were_looked_for = true;
    Index looked_for = 0;

    Index find(RowId row) {
      all_were_looked_for = all_were_looked_for && next == 50;
      ++looked_for;
      return to_integer(row) == 8 ? 40 : -1;
    }
    Index add(RowId) { return next++; }
  };
  const RandomTable table = two_layers();
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(2).value()).value();
  Batch<DirectStore<ThreadReads>> b(store, 100);
  const std::vector<std::int32_t> ids = {7, 7, 8, 7, 0, 0, -1, -1, -1, -1, -1, -1};
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  Resident resident;
  b.batch.relocate(resident);
  CHECK(resident.looked_for == 4);
  CHECK(resident.all_were_looked_for);
  REQUIRE(b.batch.unique_rows() == 3);
  const auto places = b.batch.places();
  CHECK(std::vector<std::int32_t>(places.data(), places.data() + places.size()) ==
        std::vector<std::int32_t>{50, 50, 40, 52, 51, 51, -1, -1, -1, -1, -1, -1});
  REQUIRE(b.batch.submit().ok());
  REQUIRE(b.batch.wait().ok());
  const Index rows[] = {7, 300, 307};
  for (Index i = 0; i < 3; ++i) {
    CHECK(b.batch.arrivals()(i) == 50 + i);
    CHECK(std::memcmp(b.batch.row_bytes().data() + i * width * 4, table.row(rows[i]).data(),
                      width * 4) == 0);
  }
  std::vector<float> out(2 * heads * width);
  const View<float, 2> to(out.data(), 2, heads * width);
  CHECK(b.batch.decode(0, to) == Status{Code::busy, 0, 1});
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());  // the next plan decodes again
  REQUIRE(b.batch.submit().ok());
  REQUIRE(b.batch.wait().ok());
  CHECK(b.batch.decode(0, to).ok());
  CHECK(out == expected_layer<float>(table, ids, 0));
}

TEST_CASE("fetch batch: bad calls are refused and leave it as it was") {
  const RandomTable table = two_layers();
  DirectOptions options;
  options.depth = 4;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(2).value(), options).value();
  using Fetch = FetchBatch<DirectStore<ThreadReads>, F32Codec>;
  std::vector<std::byte> little(at(Fetch::memory_bytes(store, 10)));
  const auto view_of = [&](Index bytes) { return View<std::byte, 1>(little.data(), bytes); };
  const auto all = static_cast<Index>(little.size());
  CHECK(Fetch::make(store, {}, width, 10, view_of(all)).ok());
  CHECK(Fetch::make(store, {}, width, 10, view_of(all - 1)).status() ==
        Status{Code::workspace_small, 0, all});
  CHECK(Fetch::make(store, {}, width, 0, view_of(all)).status().code == Code::invalid_config);
  CHECK(Fetch::make(store, {}, width + 1, 10, view_of(all)).status().code == Code::mismatch);

  Batch<DirectStore<ThreadReads>> b(store, 12);
  std::vector<float> out(heads * width, 7.0f);
  const View<float, 2> out_view(out.data(), 1, heads * width);
  CHECK(b.batch.decode(0, out_view) == Status{Code::busy, 0, 1});
  std::vector<std::int32_t> ids = {0, 1, 2, 0, 1, 200};
  CHECK(b.batch.plan(ids_view(ids), firsts) == Status{Code::bad_row, 0, 5});
  ids[5] = -2;
  CHECK(b.batch.plan(ids_view(ids), firsts) == Status{Code::bad_row, 0, 5});
  ids[5] = 199;
  CHECK(b.batch.plan(ids_view(ids), firsts.slice(0, 1)) == Status{Code::shape_mismatch, 0, 2});
  const Index beyond[] = {0, 501};
  CHECK(b.batch.plan(ids_view(ids), View<const Index, 1>(beyond, 2)) ==
        Status{Code::shape_mismatch, 0, 500});
  CHECK(b.batch.plan(ids_view(std::vector<std::int32_t>(18, 0)), firsts) ==
        Status{Code::shape_mismatch, 0, 12});
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  REQUIRE(b.batch.submit().ok());
  CHECK(b.batch.submit() == Status{Code::busy, 0, 1});
  CHECK(b.batch.plan(ids_view(ids), firsts) == Status{Code::busy, 0, 1});
  CHECK(b.batch.decode(0, out_view) == Status{Code::busy, 0, 1});
  REQUIRE(b.batch.wait().ok());
  CHECK(b.batch.decode(2, out_view) == Status{Code::shape_mismatch, 0, 2});
  CHECK(b.batch.decode(0, View<float, 2>(out.data(), 1, width)) ==
        Status{Code::shape_mismatch, 0, heads * width});
  CHECK(out == std::vector<float>(heads * width, 7.0f));
  CHECK(b.batch.decode(1, out_view).ok());
  CHECK(out == expected_layer<float>(table, ids, 1));
}

TEST_CASE(
    "fetch batch: what is given up costs the next batch nothing, and a failure is passed on") {
  const RandomTable table = two_layers();
  DirectOptions options;
  options.depth = 1;
  options.most_batches = 2;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(1).value(), options).value();
  const BackgroundStore driven(store);
  const auto run = [&](auto& b) {
    Random random(6);
    for (int round = 0; round < 10; ++round) {
      const auto rejected = random_ids(50, random), accepted = random_ids(50, random);
      REQUIRE(b.batch.plan(ids_view(rejected), firsts).ok());
      REQUIRE(b.batch.submit().ok());
      b.batch.discard();
      REQUIRE(b.batch.plan(ids_view(accepted), firsts).ok());
      REQUIRE(b.batch.submit().ok());
      REQUIRE(b.batch.wait().ok());
      std::vector<float> out(at(50 * heads * width));
      REQUIRE(b.batch.decode(1, View<float, 2>(out.data(), 50, heads * width)).ok());
      CHECK(out == expected_layer<float>(table, accepted, 1));
    }
    std::filesystem::resize_file(table.segments[1].codes.path, 1000);
    const std::vector<std::int32_t> ids = {0, 1, 2, 100, 150, 199};
    std::uint32_t flag = 0;
    REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
    REQUIRE(b.batch.submit(&flag).ok());
    CHECK(b.batch.wait().code == Code::corrupt);
    CHECK(flag == 2);
    std::vector<float> out(heads * width, 7.0f);
    CHECK(b.batch.decode(0, View<float, 2>(out.data(), 1, heads * width)) ==
          Status{Code::busy, 0, 1});
    table.write();
  };
  Batch<DirectStore<ThreadReads>> direct(store, 1000);
  run(direct);
  Batch<BackgroundStore<DirectStore<ThreadReads>>> background(driven, 1000);
  run(background);
}

TEST_CASE("fetch batch: what the store refuses to begin is the batch's status") {
  const RandomTable table = two_layers();
  const auto files = MappedFetchStore::open(table.segments).value();
  CacheOptions options;
  options.bytes = 1 << 20;
  const auto store = CachedStore<MappedFetchStore>::make(files, options).value();
  const auto only_place = store.reader();
  Batch<CachedStore<MappedFetchStore>> b(store, 1000);
  const std::vector<std::int32_t> ids = {0, 1, 2, 100, 150, 199};
  std::uint32_t flag = 0;
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  CHECK(b.batch.submit(&flag).code == Code::unsupported);
  CHECK(flag == 2);
  CHECK(b.batch.poll());
  CHECK(b.batch.wait().code == Code::unsupported);
  std::vector<float> out(heads * width, 7.0f);
  CHECK(b.batch.decode(0, View<float, 2>(out.data(), 1, heads * width)).code == Code::busy);
}

TEST_CASE("fetch batch: a plan that was not asked for has no rows") {
  const RandomTable table = two_layers();
  const auto store = MappedFetchStore::open(table.segments).value();
  Batch<MappedFetchStore> b(store, 1000);
  const std::vector<std::int32_t> ids = {0, 1, 2, 100, 150, 199};
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  REQUIRE(b.batch.submit().ok());
  REQUIRE(b.batch.wait().ok());
  std::vector<float> out(heads * width, 7.0f);
  const View<float, 2> rows(out.data(), 1, heads * width);
  REQUIRE(b.batch.decode(0, rows).ok());
  REQUIRE(b.batch.plan(ids_view(ids), firsts).ok());
  (void)b.batch.wait();
  CHECK(b.batch.decode(0, rows).code == Code::busy);
}

TEST_CASE("background store: many readers, each with batches of its own, refused and failed ones") {
  const RandomTable table = two_layers();
  DirectOptions options;
  options.depth = 2;
  options.most_batches = 2;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(2).value(), options).value();
  const BackgroundStore driven(store);
  CHECK(driven.num_rows() == 500);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t w = 0; w < 4; ++w)
    threads.emplace_back([&, w] {
      Random random(w);
      auto reader = driven.reader();
      for (int round = 0; round < 20; ++round) {
        std::vector<RowId> rows[5];
        std::string bytes[5];
        Ticket tickets[5];
        for (std::size_t b = 0; b < 5; ++b) {
          rows[b] = random_rows(table, 20, random);
          if (b == 3) rows[b][7] = RowId{500};
          bytes[b].assign(20 * 40, '?');
          wrong[w] += reader.submit(view(rows[b]), view(bytes[b]), tickets[b]).ok() ? 0 : 1;
        }
        for (std::size_t b = 5; b-- > 0;) {
          const Status status = reader.wait(tickets[b]);
          if (b == 3)
            wrong[w] += status == Status{Code::bad_row, 0, 7} ? 0 : 1;
          else
            wrong[w] += status.ok() && bytes[b] == expected(table, rows[b]) ? 0 : 1;
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}
