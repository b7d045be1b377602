// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows from a slow store to a GPU that waits for them, by the CPU's threads: a step launched before
// its batch was asked for, batches late, failed, of another size, given up.
#include "threaded_calls.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/codec/plain.hpp>
#include <engram/cuda/staged_batch.hpp>
#include <engram/storage/background_store.hpp>
#include <random_table.hpp>
#include <staged_case.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

using namespace engram;
using elements::at;
using elements::same_bits;
using staged_case::decoded_row;
using staged_case::GatedStore;
using staged_case::Latch;

namespace {

constexpr Index layers = 2, heads = 3;
constexpr Index first_rows[layers] = {0, 60};
const View<const Index, 1> firsts(first_rows, layers);

template <class Codec>
struct Staged {
  using Store = BackgroundStore<GatedStore>;

  Index width;
  Codec codec{};
  Latch gate;
  GatedStore base;
  Store store;
  std::vector<std::byte> pinned, gpu;
  std::unique_ptr<StagedBatch<Store, Codec>> batch;
  Reports::Found wrong;
  ThreadedDevice device{Reports{&wrong}};

  /// more_rows  that stay in the GPU's memory, besides those of a batch.
  Staged(Index w, Index most_ids, Index more_rows = 0)
      : width(w),
        base(100, codec.code_bytes(w), codec.scale_bytes(w), gate),
        store(base),
        pinned(at(StagedBatch<Store, Codec>::pinned_bytes(store, most_ids))),
        gpu(at(StagedBatch<Store, Codec>::device_bytes(store, most_ids, most_ids + more_rows))),
        batch(StagedBatch<Store, Codec>::make(
                  store, codec, w, most_ids,
                  View<std::byte, 1, PinnedSpace>(pinned.data(), static_cast<Index>(pinned.size())),
                  DeviceView<std::byte, 1>(gpu.data(), static_cast<Index>(gpu.size())))
                  .value()) {}

  /// What the GPU does of a step: takes the batch, decodes both layers.
  std::vector<Bf16> step(Index tokens, Index timeout) {
    std::vector<Bf16> all(at(layers * tokens * heads * width), to_bf16(-9));
    CHECK(batch->take(device, tokens, layers, heads, timeout).ok());
    for (Index l = 0; l < layers; ++l)
      CHECK(batch
                ->decode(device, l,
                         DeviceView<Bf16, 2>(all.data() + l * tokens * heads * width, tokens,
                                             heads * width))
                .ok());
    return all;
  }
  std::vector<Bf16> expected(const std::vector<std::int32_t>& ids) const {
    const Index tokens = static_cast<Index>(ids.size()) / (layers * heads);
    std::vector<Bf16> all(ids.size() * at(width));
    for (Index l = 0; l < layers; ++l)
      for (Index t = 0; t < tokens; ++t)
        for (Index h = 0; h < heads; ++h)
          if (const Index id = ids[at((t * layers + l) * heads + h)]; id >= 0) {
            const std::vector<Bf16> row =
                decoded_row(codec, id + first_rows[l], width, gate.edition);
            std::copy(row.begin(), row.end(), all.begin() + ((l * tokens + t) * heads + h) * width);
          }
    return all;
  }
  Status plan(const std::vector<std::int32_t>& ids) {
    return batch->plan(
        View<const std::int32_t, 3>(ids.data(), static_cast<Index>(ids.size()) / (layers * heads),
                                    layers, heads),
        firsts);
  }
  void ask(const std::vector<std::int32_t>& ids) {
    REQUIRE(plan(ids).ok());
    REQUIRE(batch->submit().ok());
  }
  /// Whether poll() says within a minute that the batch is done.
  bool is_done_soon() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
      if (batch->poll()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
};

std::vector<std::int32_t> random_ids(Index tokens, Random& random) {
  return random_tables::zipf_ids<std::int32_t>(tokens * layers * heads, 40, random, 6);
}

constexpr Index seconds = 1'000'000;

template <class Codec>
void check_steps(Index width) {
  Staged<Codec> s(width, 60);
  Random random(1);
  for (const Index tokens : {1, 10, 3, 7}) {
    INFO(tokens << " tokens");
    const auto ids = random_ids(tokens, random);
    s.ask(ids);
    CHECK(same_bits(s.step(tokens, 60 * seconds), s.expected(ids)));
    CHECK(s.wrong.code == Code::ok);
    CHECK(s.batch->is_taken());
  }
}

}  // namespace

TEST_CASE("staged batch: rows of any codec, batch after batch") {
  check_steps<Fp8Codec>(64);
  check_steps<Bf16Codec>(24);
  check_steps<F32Codec>(7);
}

TEST_CASE("staged batch: a step that is launched first waits for its rows") {
  Staged<Bf16Codec> s(16, 60);
  s.gate.set(false);
  Random random(2);
  const auto ids = random_ids(4, random);
  std::vector<Bf16> found;
  std::thread gpu([&] { found = s.step(4, 60 * seconds); });
  s.ask(ids);
  CHECK_FALSE(s.batch->is_taken());
  CHECK(s.plan(ids) == Status{Code::busy, 0, 1});  // its memory is in use
  CHECK(s.batch->submit() == Status{Code::busy, 0, 1});
  s.gate.set(true);
  gpu.join();
  CHECK(same_bits(found, s.expected(ids)));
  CHECK(s.wrong.code == Code::ok);
  CHECK(s.batch->wait().ok());
}

TEST_CASE("staged batch: rows that are late are zeros, reported, and never another step's") {
  Staged<Bf16Codec> s(16, 60);
  s.gate.set(false);
  Random random(3);
  const auto late = random_ids(4, random), next = random_ids(4, random);
  const std::vector<Bf16> zeros(at(4 * layers * heads * 16));
  s.ask(late);
  CHECK(same_bits(s.step(4, 1000), zeros));
  CHECK(s.wrong.code == Code::busy);
  CHECK_FALSE(s.batch->state().for_body()(0).is_there);
  CHECK(s.batch->is_taken());
  s.wrong = {};
  // The next step is on the GPU already when the late rows arrive, and waits for its own.
  std::vector<Bf16> found;
  std::thread gpu([&] { found = s.step(4, 60 * seconds); });
  s.gate.set(true);
  CHECK(s.batch->wait().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  s.ask(next);
  gpu.join();
  CHECK(same_bits(found, s.expected(next)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: a step that nothing was asked for does not shift those behind it") {
  Staged<Bf16Codec> s(16, 60);
  Random random(9);
  const auto ids = random_ids(4, random);
  CHECK(same_bits(s.step(4, 1000), std::vector<Bf16>(at(4 * layers * heads * 16))));
  CHECK(s.wrong.code == Code::busy);
  s.wrong = {};
  s.ask(ids);
  CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: submitted once for each plan") {
  Staged<Bf16Codec> s(16, 60);
  Random random(10);
  const auto ids = random_ids(4, random);
  CHECK(s.batch->submit() == Status{Code::busy, 0, 1});
  s.ask(ids);
  CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  CHECK(s.batch->submit() == Status{Code::busy, 0, 1});
  CHECK(s.batch->is_taken());
  s.ask(ids);
  CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
}

TEST_CASE("staged batch: poll says whether the store has answered, with rows or without") {
  Staged<Bf16Codec> s(16, 60);
  Random random(11);
  const auto ids = random_ids(4, random);
  CHECK(s.batch->poll());  // nothing is on the way
  s.gate.set(false);
  s.ask(ids);
  for (int turn = 0; turn < 20; ++turn) {
    CHECK_FALSE(s.batch->poll());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  s.gate.set(true);
  CHECK(s.is_done_soon());
  CHECK_FALSE(s.batch->is_taken());  // the rows are there, and wait for the GPU
  CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  CHECK(s.batch->poll());
  CHECK(s.batch->wait().ok());
  CHECK(s.batch->state().for_body()(0).is_there);

  s.batch->clear();  // or the rows would be there already
  s.gate.set(false);
  s.ask(ids);
  CHECK_FALSE(s.batch->poll());
  s.gate.set(true, {Code::corrupt, 0, 17});
  CHECK(s.is_done_soon());
  CHECK(s.batch->wait() == Status{Code::corrupt, 0, 17});
  CHECK(s.batch->poll());
}

TEST_CASE("staged batch: given up, it leaves room for the next") {
  Staged<Bf16Codec> s(16, 60);
  Random random(4);
  const auto ids = random_ids(4, random), next = random_ids(5, random);
  s.ask(ids);
  s.batch->discard();
  CHECK(s.batch->is_taken());
  s.ask(next);
  CHECK(same_bits(s.step(5, 60 * seconds), s.expected(next)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: a failed one is zeros and io, and the host knows why") {
  Staged<Bf16Codec> s(16, 60);
  s.gate.set(true, {Code::corrupt, 0, 17});
  Random random(5);
  const auto ids = random_ids(4, random);
  s.ask(ids);
  CHECK(same_bits(s.step(4, 60 * seconds), std::vector<Bf16>(at(4 * layers * heads * 16))));
  CHECK(s.wrong.code == Code::io);
  CHECK(s.batch->wait() == Status{Code::corrupt, 0, 17});
  s.gate.set(true);
  s.wrong = {};
  s.ask(ids);
  CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: of another size than the step's it is zeros, and reported") {
  Staged<Bf16Codec> s(16, 60);
  Random random(6);
  const auto ids = random_ids(4, random);
  s.ask(ids);
  CHECK(same_bits(s.step(5, 60 * seconds), std::vector<Bf16>(at(5 * layers * heads * 16))));
  CHECK(s.wrong.code == Code::shape_mismatch);
  CHECK(s.wrong.index == 4 * layers * heads);
  CHECK(s.batch->is_taken());
}

TEST_CASE("staged batch: no rows at all, and no tokens") {
  Staged<Bf16Codec> s(16, 60);
  const std::vector<std::int32_t> none(at(3 * layers * heads), -1);
  s.ask(none);
  CHECK(same_bits(s.step(3, 60 * seconds), s.expected(none)));
  CHECK(s.wrong.code == Code::ok);
  s.ask({});
  CHECK(s.step(0, 60 * seconds).empty());
  CHECK(s.batch->is_taken());
}

namespace {

Index distinct_rows(const std::vector<std::int32_t>& ids) {
  std::set<Index> rows;
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] >= 0) rows.insert(ids[i] + first_rows[i / heads % layers]);
  return static_cast<Index>(rows.size());
}

}  // namespace

TEST_CASE("staged batch: rows stay on the GPU while there is room") {
  for (const Index more : {0, 15, 1000}) {
    INFO("room for " << more << " more rows");
    Staged<Fp8Codec> s(64, 60, more);
    CHECK(s.batch->num_slots() == std::min<Index>(60 + more, 100));
    Random random(11);
    Index all = 0;
    for (int step = 0; step < 40; ++step) {
      const Index tokens = 1 + random.below(10);
      const auto ids = random_ids(tokens, random);
      s.ask(ids);
      REQUIRE(same_bits(s.step(tokens, 60 * seconds), s.expected(ids)));
      const auto [hits, misses] = s.batch->counts();
      CHECK(static_cast<Index>(misses) == s.gate.rows_read);
      all += distinct_rows(ids);
      CHECK(static_cast<Index>(hits + misses) == all);
    }
    CHECK(s.wrong.code == Code::ok);
    CHECK(s.gate.rows_read < all / 2);
    if (more == 1000) CHECK(s.gate.rows_read <= 80);  // each row of the table that was asked for
  }
}

TEST_CASE("staged batch: a step whose rows are all there asks the store for nothing") {
  Staged<Bf16Codec> s(16, 60);
  Random random(12);
  const auto ids = random_ids(4, random);
  for (int step = 0; step < 3; ++step) {
    s.ask(ids);
    if (step > 0) s.gate.set(false);  // nobody waits for it
    CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  }
  s.gate.set(true);
  CHECK(s.wrong.code == Code::ok);
  CHECK(s.batch->counts().hits == 2 * s.batch->counts().misses);
}

TEST_CASE("staged batch: rows that did not come are asked for again") {
  Random random(13);
  const auto ids = random_ids(4, random);
  const auto check = [&](const auto& lose, Code code) {
    Staged<Bf16Codec> s(16, 60, 100);
    REQUIRE(s.plan(ids).ok());
    lose(s);
    CHECK(s.wrong.code == code);
    s.wrong = {};
    s.gate.set(true);
    s.ask(ids);
    CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
    CHECK(s.wrong.code == Code::ok);
    CHECK(s.batch->counts().hits == 0);
  };
  check([](auto&) {}, Code::ok);                         // planned, not submitted
  check([](auto& s) { s.batch->discard(); }, Code::ok);  // nor discarded
  check(
      [](auto& s) {
        REQUIRE(s.batch->submit().ok());
        s.batch->discard();
      },
      Code::ok);
  check(  // late
      [](auto& s) {
        s.gate.set(false);
        REQUIRE(s.batch->submit().ok());
        (void)s.step(4, 1000);
      },
      Code::busy);
  check(  // failed
      [](auto& s) {
        s.gate.set(true, {Code::corrupt, 0, 17});
        REQUIRE(s.batch->submit().ok());
        (void)s.step(4, 60 * seconds);
      },
      Code::io);
  check(  // of another size
      [](auto& s) {
        REQUIRE(s.batch->submit().ok());
        (void)s.step(5, 60 * seconds);
      },
      Code::shape_mismatch);
}

TEST_CASE("staged batch: a lost batch leaves the rows of those before it") {
  Staged<Bf16Codec> s(16, 60, 100);
  Random random(14);
  const auto first = random_ids(4, random), lost = random_ids(4, random);
  const auto run = [&](const std::vector<std::int32_t>& ids) {
    s.ask(ids);
    return s.step(4, 60 * seconds);
  };
  CHECK(same_bits(run(first), s.expected(first)));
  s.gate.set(true, {Code::io, 5, 0});
  (void)run(lost);
  s.gate.set(true);
  s.wrong = {};
  const Index read = s.gate.rows_read;
  CHECK(same_bits(run(first), s.expected(first)));
  CHECK(s.gate.rows_read == read);
  CHECK(same_bits(run(lost), s.expected(lost)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: whatever becomes of some batches, the others have their rows") {
  for (const Index more : {0, 11}) {  // lost batches push out what others had
    Staged<Bf16Codec> s(16, 60, more);
    Random random(16);
    Index good = 0;
    for (int step = 0; step < 80; ++step) {
      INFO(more << " more rows, step " << step);
      const Index tokens = 1 + random.below(10), fate = random.below(12);
      const auto ids = random_ids(tokens, random);
      s.wrong = {};
      s.gate.set(fate != 0, fate == 1 ? Status{Code::io, 5, 0} : Status{});
      REQUIRE(s.plan(ids).ok());
      if (fate == 2) continue;
      if (fate == 3) {
        s.batch->discard();
        continue;
      }
      REQUIRE(s.batch->submit().ok());
      if (fate == 4) {
        s.batch->discard();
        continue;
      }
      if (fate == 5) {
        (void)s.step(tokens == 10 ? 9 : tokens + 1, 60 * seconds);
        CHECK(s.wrong.code == Code::shape_mismatch);
        continue;
      }
      const bool asks_nobody = distinct_rows(ids) == 0;
      const auto found = s.step(tokens, fate == 0 ? 500 : 60 * seconds);
      s.gate.set(true);
      if (fate <= 1 && s.wrong.code != Code::ok) continue;  // all rows may have been there
      REQUIRE(same_bits(found, s.expected(ids)));
      good += asks_nobody ? 0 : 1;
      if (fate == 6) {
        s.gate.edition += 1;  // rows changed in place
        s.batch->clear();
      }
    }
    CHECK(good > 30);
  }
}

namespace {

/// Does something in front of the last launch of take().
struct BeforeTheEnd : ThreadedDevice {
  struct Hook {
    int launches = 0;
    std::function<void()> call;
  };
  Hook* hook;

  template <class Body>
  void for_items(Index n, const Body& body) const {
    if (++hook->launches == 3) hook->call();
    ThreadedDevice::for_items(n, body);
  }
};

}  // namespace

TEST_CASE("staged batch: given up while the GPU takes it, it is not the next batch's answer") {
  Staged<Bf16Codec> s(16, 60, 100);
  Random random(17);
  const auto first = random_ids(4, random), next = random_ids(4, random);
  REQUIRE(s.plan(first).ok());
  REQUIRE(s.batch->submit().ok());
  BeforeTheEnd::Hook hook;
  hook.call = [&] {
    s.batch->discard();
    REQUIRE(s.plan(next).ok());
    REQUIRE(s.batch->submit().ok());
  };
  REQUIRE(s.batch->take(BeforeTheEnd{s.device, &hook}, 4, layers, heads, 60 * seconds).ok());
  for (const auto& ids : {next, first}) {
    REQUIRE(s.plan(ids).ok());
    REQUIRE(s.batch->submit().ok());
    CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  }
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: rows that were changed in place are read anew after clear()") {
  Staged<Bf16Codec> s(16, 60, 100);
  Random random(15);
  const auto ids = random_ids(4, random);
  const auto run = [&] {
    REQUIRE(s.plan(ids).ok());
    REQUIRE(s.batch->submit().ok());
    CHECK(same_bits(s.step(4, 60 * seconds), s.expected(ids)));
  };
  run();
  const Index distinct = s.gate.rows_read;
  run();
  CHECK(s.gate.rows_read == distinct);
  s.gate.edition = 1;
  s.batch->clear();
  run();
  CHECK(s.gate.rows_read == 2 * distinct);

  // What was planned before the change would mix old rows with new ones.
  REQUIRE(s.plan(ids).ok());
  s.gate.edition = 2;
  s.batch->clear();
  CHECK(s.batch->submit() == Status{Code::busy, 0, 1});
  run();
  CHECK(s.gate.rows_read == 3 * distinct);
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: a store that was opened again is refused, also between plan and submit") {
  Staged<Bf16Codec> s(16, 60);
  Random random(18);
  const auto ids = random_ids(4, random);
  REQUIRE(s.plan(ids).ok());
  s.gate.generation = 1;
  CHECK(s.batch->submit() == Status{Code::mismatch});
  CHECK(same_bits(s.step(4, 60 * seconds), std::vector<Bf16>(at(4 * layers * heads * 16))));
  CHECK(s.wrong.code == Code::io);
  CHECK(s.plan(ids) == Status{Code::mismatch});
  CHECK(s.batch->submit() == Status{Code::busy, 0, 1});
}

TEST_CASE("staged batch: a timeout without an end does not wrap around") {
  Staged<Bf16Codec> s(16, 60);
  Random random(19);
  const auto ids = random_ids(4, random);
  REQUIRE(s.plan(ids).ok());
  REQUIRE(s.batch->submit().ok());
  CHECK(same_bits(s.step(4, Index{1} << 61), s.expected(ids)));
  CHECK(s.wrong.code == Code::ok);
}

TEST_CASE("staged batch: what does not fit is refused") {
  Staged<Bf16Codec> s(16, 60);
  const auto take = [&](Index tokens, Index of_layers, Index of_heads, Index timeout) {
    return s.batch->take(s.device, tokens, of_layers, of_heads, timeout);
  };
  const Index much = Index{1} << 40;
  CHECK(take(61, 1, 1, 1) == Status{Code::shape_mismatch, 0, 60});
  CHECK(take(much, much, 1, 1) == Status{Code::shape_mismatch, 0, 60});
  CHECK(take(1, much, much, 1) == Status{Code::shape_mismatch, 0, 60});
  CHECK(take(1, INT64_MAX, 60, 1) == Status{Code::shape_mismatch, 0, 60});
  CHECK(take(10, 2, 3, -1) == Status{Code::invalid_config});
  CHECK(take(-1, 2, 3, 1) == Status{Code::invalid_config});
  REQUIRE(take(10, 2, 3, 0).ok());
  std::vector<Bf16> out(at(11 * heads * 16));
  const DeviceView<Bf16, 2> to(out.data(), 11, heads * 16);
  CHECK(s.batch->decode(s.device, 2, to) == Status{Code::shape_mismatch, 0, 2});
  CHECK(s.batch->decode(s.device, 0, to) == Status{Code::shape_mismatch, 0, 10});
  CHECK(s.batch->decode(s.device, 0, DeviceView<Bf16, 2>(out.data(), 10, 16)) ==
        Status{Code::shape_mismatch, 0, heads * 16});
  const std::vector<std::int32_t> bad(at(layers * heads), 100);
  CHECK(s.plan(bad) == Status{Code::bad_row, 0, 0});

  using Batch = StagedBatch<BackgroundStore<GatedStore>, Bf16Codec>;
  const View<std::byte, 1, PinnedSpace> pinned(s.pinned.data(),
                                               static_cast<Index>(s.pinned.size()));
  const DeviceView<std::byte, 1> gpu(s.gpu.data(), static_cast<Index>(s.gpu.size()));
  const auto refused = [&](Index width, Index most, Index host, Index device) {
    return Batch::make(s.store, {}, width, most, pinned.slice(0, host), gpu.slice(0, device))
        .status();
  };
  CHECK(refused(16, 60, pinned.size() - 1, gpu.size()) ==
        Status{Code::workspace_small, 0, pinned.size()});
  CHECK(refused(16, 60, pinned.size(), gpu.size() - 1) ==
        Status{Code::workspace_small, 0, gpu.size()});
  CHECK(refused(17, 60, pinned.size(), gpu.size()).code == Code::mismatch);
  CHECK(refused(16, 0, pinned.size(), gpu.size()).code == Code::invalid_config);
}
