// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tables that fetch their rows, over a store in memory that is as awkward as a store may be: it
// answers late, backwards, and fails when told to.
#include <catch.hpp>
#include <contains.hpp>
#include <cstring>
#include <engram/codec/plain.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/any_table.hpp>
#include <engram/storage/fetch_table.hpp>
#include <engram/storage/host_store.hpp>
#include <memory>
#include <random.hpp>
#include <thread>
#include <vector>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// Rows [rows, row_bytes + scale_bytes] in memory; what happens to each batch is decided here.
struct MemoryStore {
  struct Log {
    Index batches = 0, largest = 0, open = 0, readers = 0;
    Index fail_submit_at = -1, fail_wait_at = -1;  ///< the batch's number
    Index misuses = 0;                             ///< calls that the concept forbids
  };

  Index rows, codes, scales;
  std::vector<std::byte> memory;
  std::shared_ptr<Log> log = std::make_shared<Log>();

  MemoryStore(Index count, Index code_bytes, Index scale_size, std::uint64_t seed)
      : rows(count), codes(code_bytes), scales(scale_size) {
    Random random(seed);
    memory.resize(at(rows * (codes + scales)));
    for (std::byte& b : memory) b = static_cast<std::byte>(random.bits());
  }

  class Reader {
   public:
    explicit Reader(const MemoryStore& store) : store_(&store) { ++store.log->readers; }
    Reader(Reader&&) = default;
    Reader& operator=(Reader&&) = delete;

    /// Remembers the batch; no byte of it arrives before wait().
    Status submit(View<const RowId, 1> ids, View<std::byte, 1> bytes, Ticket& ticket) {
      Log& notes = *store_->log;
      const Index each = store_->codes + store_->scales;
      notes.misuses += ticket.id != -1 || ids.extent(0) < 1 ? 1 : 0;
      notes.misuses += bytes.extent(0) == ids.extent(0) * each ? 0 : 1;
      for (Index i = 0; i < ids.extent(0); ++i)
        notes.misuses += to_integer(ids(i)) < 0 || to_integer(ids(i)) >= store_->rows ? 1 : 0;
      std::memset(bytes.data(), 0xEE, at(bytes.extent(0)));
      if (notes.batches++ == notes.fail_submit_at) return {Code::io, 5, 0};
      notes.largest = std::max(notes.largest, ids.extent(0));
      ++notes.open;
      ticket.id = notes.batches;
      pending_.push_back({ticket.id, ids, bytes});
      return {};
    }
    bool poll(Ticket&) { return false; }
    /// Completes every batch in flight, the last first and each from its last row on.
    Status wait(Ticket& ticket) {
      Log& notes = *store_->log;
      notes.misuses += pending_.empty() || pending_.back().id < ticket.id ? 1 : 0;
      const Index each = store_->codes + store_->scales;
      for (; !pending_.empty(); pending_.pop_back(), --notes.open) {
        const Batch& batch = pending_.back();
        if (batch.id - 1 == notes.fail_wait_at) continue;
        for (Index i = batch.ids.extent(0) - 1; i >= 0; --i)
          std::memcpy(batch.bytes.data() + i * each,
                      store_->memory.data() + to_integer(batch.ids(i)) * each, at(each));
      }
      ticket.status = ticket.id - 1 == notes.fail_wait_at ? Status{Code::corrupt, 0, 3} : Status{};
      ticket.id = -1;
      return ticket.status;
    }

   private:
    struct Batch {
      Index id;
      View<const RowId, 1> ids;
      View<std::byte, 1> bytes;
    };
    const MemoryStore* store_;
    std::vector<Batch> pending_;
  };

  Index num_rows() const { return rows; }
  Index row_bytes() const { return codes; }
  Index scale_bytes() const { return scales; }
  Reader reader() const { return Reader(*this); }

  /// The same rows in place.
  HostStore in_place() const {
    HostStore store = HostStore::make(rows, codes, scales).value();
    for (Index r = 0; r < rows; ++r) {
      const MutableRowBytes row = store.mutable_ref()(r);
      std::memcpy(row.codes, memory.data() + r * (codes + scales), at(codes));
      if (scales > 0)
        std::memcpy(row.scales, memory.data() + r * (codes + scales) + codes, at(scales));
    }
    return store;
  }
};
static_assert(check_fetch_store<MemoryStore>());

/// Bytes with a power of two of their own.
struct ByteCodec {
  Index code_bytes(Index width) const { return width > 0 ? width : -1; }
  Index scale_bytes(Index) const { return 2; }
  float value(RowBytes row, Index d) const {
    const auto code = static_cast<std::uint8_t>(row.codes[d]);
    return scaled(E4m3{code},
                  E8m0{static_cast<std::uint8_t>(120 + static_cast<int>(row.scales[d % 2]) % 16)});
  }
};

/// Memory for `rows` rows and `more` bytes, at an odd address.
struct FetchMemory {
  std::vector<std::byte> bytes;
  FetchMemory(const MemoryStore& store, Index rows, Index more = 0)
      : bytes(at(FetchTable<MemoryStore, F32Codec>::memory_bytes(store, rows) + more + 1)) {}
  View<std::byte, 1> view() {
    return View<std::byte, 1>(bytes.data() + 1, static_cast<Index>(bytes.size()) - 1);
  }
};

std::vector<std::int64_t> random_rows(Index tokens, Index columns, Index num_rows, Random& random) {
  std::vector<std::int64_t> rows;
  for (Index t = 0; t < tokens; ++t) {
    const bool none = random.below(4) == 0;
    for (Index c = 0; c < columns; ++c) rows.push_back(none ? -1 : random.below(num_rows));
  }
  return rows;
}

template <class Codec, Element Out>
void check_fetch(Index width, Index code_bytes, Index scale_bytes, std::uint64_t seed) {
  Random random(seed);
  const MemoryStore store(30, code_bytes, scale_bytes, seed);
  const auto in_place = Table<HostStore, Codec>::make(store.in_place(), {}, width).value();
  for (const Index batch : {1, 2, 3, 7, 1000}) {
    FetchMemory memory(store, batch, random.below(8));
    auto table = FetchTable<MemoryStore, Codec>::make(store, {}, width, memory.view()).value();
    CHECK(table.num_rows() == 30);
    CHECK(table.row_width() == width);
    for (const Index tokens : {0, 1, 2, 25}) {
      const Index columns = 1 + random.below(4);
      const auto ids = random_rows(tokens, columns, 30, random);
      const View<const std::int64_t, 2> rows(ids.data(), tokens, columns);
      const Index stride = columns * width + 2;
      std::vector<Out> expected(at(tokens * stride), from_float<Out>(7.0f)), found = expected;
      const auto view = [&](std::vector<Out>& to) {
        return View<Out, 2>(to.data(), tokens, columns * width).template with_stride<0>(stride);
      };
      REQUIRE(in_place.gather(rows, view(expected)).ok());
      const Index before = store.log->batches;
      REQUIRE(table.gather(rows, view(found)).ok());
      INFO("batches of " << batch << ", T " << tokens);
      CHECK((found.empty() || std::memcmp(static_cast<const void*>(found.data()),
                                          static_cast<const void*>(expected.data()),
                                          found.size() * sizeof(Out)) == 0));
      Index read = 0;
      for (const std::int64_t id : ids) read += id >= 0 ? 1 : 0;
      CHECK(store.log->batches - before == (read + batch - 1) / batch);
    }
    CHECK(store.log->largest <= batch);
  }
  CHECK(store.log->open == 0);
  CHECK(store.log->misuses == 0);
}

}  // namespace

TEST_CASE("fetch table: the rows of a table in place, for memory of one row or of many") {
  check_fetch<F32Codec, float>(5, 20, 0, 1);
  check_fetch<F32Codec, Bf16>(1, 4, 0, 2);
  check_fetch<Bf16Codec, Bf16>(33, 66, 0, 3);
  check_fetch<Bf16Codec, float>(7, 14, 0, 4);
  check_fetch<F16Codec, F16>(32, 64, 0, 5);
  check_fetch<F16Codec, float>(3, 6, 0, 6);
  check_fetch<ByteCodec, float>(9, 9, 2, 7);
  check_fetch<ByteCodec, Bf16>(40, 40, 2, 8);
}

TEST_CASE("fetch table: make refuses what does not fit, and says how much memory it needs") {
  using Fetch = FetchTable<MemoryStore, F32Codec>;
  const MemoryStore store(4, 12, 0, 1);
  FetchMemory memory(store, 1);
  CHECK(Fetch::make(store, {}, 3, memory.view()).ok());
  const Index least = Fetch::memory_bytes(store, 1);
  const auto small = Fetch::make(store, {}, 3, memory.view().slice(0, least - 1));
  CHECK(small.status() == Status{Code::workspace_small, 0, least});
  CHECK(contains(small.message(), std::to_string(least)));
  CHECK(Fetch::make(store, {}, 3, {}).status().code == Code::workspace_small);
  CHECK(Fetch::make(store, {}, 4, memory.view()).status().code == Code::mismatch);
  CHECK(Fetch::make(store, {}, 0, memory.view()).status().code == Code::mismatch);
  const MemoryStore scaled_store(4, 12, 1, 1);
  CHECK(Fetch::make(scaled_store, {}, 3, memory.view()).status().code == Code::mismatch);
}

TEST_CASE("fetch table: bad calls reach no reader and write nothing") {
  const MemoryStore store(4, 12, 0, 1);
  FetchMemory memory(store, 2);
  auto table = FetchTable<MemoryStore, F32Codec>::make(store, {}, 3, memory.view()).value();
  std::vector<float> out(60, 7.0f);
  const auto gather = [&](const std::vector<int>& ids, Index out_width) {
    const auto tokens = static_cast<Index>(ids.size()) / 2;
    return table.gather(View<const int, 2>(ids.data(), tokens, 2),
                        View<float, 2>(out.data(), tokens, out_width));
  };
  CHECK(gather({0, 1, 2, 4}, 6) == Status{Code::bad_row, 0, 3});
  CHECK(gather({0, 1, -1, 2}, 6) == Status{Code::bad_row, 0, 3});
  CHECK(gather({0, -1}, 6) == Status{Code::bad_row, 0, 1});
  CHECK(gather({0, 1}, 5) == Status{Code::shape_mismatch, 0, 6});
  CHECK(store.log->batches == 0);
  CHECK(out == std::vector<float>(60, 7.0f));
  CHECK(gather({-1, -1, -1, -1}, 6).ok());  // nothing to fetch
  CHECK(store.log->batches == 0);
}

TEST_CASE("fetch table: a reader's failure is passed on, and the next call starts afresh") {
  const MemoryStore store(4, 12, 0, 1);
  FetchMemory memory(store, 2);
  auto table = FetchTable<MemoryStore, F32Codec>::make(store, {}, 3, memory.view()).value();
  const std::vector<int> ids = {0, 1, 2, 3, 1, 0};
  std::vector<float> out(18);
  const auto gather = [&] {
    return table.gather(View<const int, 2>(ids.data(), 3, 2), View<float, 2>(out.data(), 3, 6));
  };
  for (const Index batch : {0, 1, 2}) {
    store.log->fail_submit_at = store.log->batches + batch;
    CHECK(gather() == Status{Code::io, 5, 0});
    store.log->fail_submit_at = -1;
    store.log->fail_wait_at = store.log->batches + batch;
    CHECK(gather() == Status{Code::corrupt, 0, 3});
    store.log->fail_wait_at = -1;
    CHECK(gather().ok());
  }
  CHECK(store.log->open == 0);
  CHECK(store.log->misuses == 0);
}

TEST_CASE("fetch table: in an AnyTable, and moved") {
  const MemoryStore store(4, 12, 0, 1);
  FetchMemory memory(store, 2);
  auto made = FetchTable<MemoryStore, F32Codec>::make(store, {}, 3, memory.view());
  const AnyTable any(std::move(made).value());
  std::vector<float> out(6), expected(6);
  const int ids[] = {3, 2};
  REQUIRE(any.gather(View<const int, 2>(ids, 1, 2), View<float, 2>(out.data(), 1, 6)).ok());
  std::memcpy(expected.data(), store.memory.data() + 36, 12);
  std::memcpy(expected.data() + 3, store.memory.data() + 24, 12);
  CHECK(std::memcmp(out.data(), expected.data(), 24) == 0);
  CHECK(any.num_rows() == 4);
}

TEST_CASE("fetch table: threads with a table each, and when one fails all hear of it, none waits") {
  const MemoryStore first(20, 8, 0, 1), second(20, 8, 0, 1);
  const auto in_place = Table<HostStore, F16Codec>::make(first.in_place(), {}, 4).value();
  constexpr Index tokens = 11;
  Random random(3);
  const auto ids = random_rows(tokens, 2, 20, random);
  const View<const std::int64_t, 2> rows(ids.data(), tokens, 2);
  const std::vector<float> weights(8 * 2 * 4, 0.25f);
  ProjectionWeights<float> w;
  w.key = View<const float, 3>(weights.data(), 1, 4, 8);
  w.value = View<const float, 2>(weights.data() + 32, 4, 8);
  const auto projection = ReferenceProjection<float>::make(w).value();
  std::vector<float> conv(2 * 4, 0.5f);
  FusionWeights fusion;
  fusion.conv = View<const float, 3>(conv.data(), 2, 1, 4);

  for (const Index failing : {-1, 0, 1}) {
    (failing == 0 ? first : second).log->fail_wait_at = -1;
    if (failing >= 0) {
      MemoryStore::Log& log = *(failing == 0 ? first : second).log;
      log.fail_wait_at = log.batches + 1;
    }
    std::vector<float> hidden(tokens * 4, 1.0f), out(tokens * 4, 7.0f), state(4, 0.5f);
    FusionOptions options;
    options.conv_state = View<float, 2>(state.data(), 1, 4);
    Status statuses[2];
    Barrier barrier;
    FetchMemory memories[2] = {{first, 2}, {second, 3}};
    std::vector<std::byte> workspace;
    const auto work = [&](Index i) {
      auto table = FetchTable<MemoryStore, F16Codec>::make(i == 0 ? first : second, {}, 4,
                                                           memories[i].view())
                       .value();
      const EngramLayer layer(table, projection, fusion, FusionConfig());
      if (i == 0) workspace.resize(at(layer.workspace_bytes(tokens)));
      (void)barrier.agree(2, true);
      statuses[i] = layer.forward(rows, View<const float, 3>(hidden.data(), tokens, 1, 4),
                                  View<float, 3>(out.data(), tokens, 1, 4), workspace, options,
                                  CpuDevice{{i, 2}, &barrier});
    };
    std::thread other(work, 1);
    work(0);
    other.join();
    if (failing < 0) {
      CHECK((statuses[0].ok() && statuses[1].ok()));
      std::vector<float> expected(tokens * 4);
      std::vector<float> fresh(4, 0.5f);
      options.conv_state = View<float, 2>(fresh.data(), 1, 4);
      const EngramLayer layer(in_place, projection, fusion, FusionConfig());
      REQUIRE(layer
                  .forward(rows, View<const float, 3>(hidden.data(), tokens, 1, 4),
                           View<float, 3>(expected.data(), tokens, 1, 4), workspace, options)
                  .ok());
      CHECK(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)) == 0);
      CHECK(std::memcmp(state.data(), fresh.data(), 16) == 0);
    } else {
      CHECK(statuses[failing] == Status{Code::corrupt, 0, 0});  // the block's first position
      CHECK(statuses[1 - failing].code == Code::io);
      CHECK(out == std::vector<float>(tokens * 4, 7.0f));
      CHECK(state == std::vector<float>(4, 0.5f));
    }
  }
  CHECK(first.log->misuses + second.log->misuses == 0);
}
