// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <atomic>
#include <catch.hpp>
#include <chrono>
#include <engram/core/device.hpp>
#include <random.hpp>
#include <thread>
#include <vector>

using namespace engram;

namespace {

/// body(i) on n threads, the caller's among them.
template <class Body>
void run_threads(Index n, const Body& body) {
  std::vector<std::thread> threads;
  for (Index i = 1; i < n; ++i) threads.emplace_back([&body, i] { body(i); });
  body(0);
  for (std::thread& t : threads) t.join();
}

}  // namespace

TEST_CASE("share: the shares of any count cover any total once, and differ by one at most") {
  for (Index total = 0; total <= 67; ++total)
    for (Index count = 1; count <= 70; ++count) {
      Index at = 0;
      for (Index i = 0; i < count; ++i) {
        const ItemRange range = Share{i, count}.of(total);
        const Index size = range.end - range.begin;
        if (range.begin != at || size < total / count || size > total / count + 1)
          FAIL_CHECK("share " << i << " of " << count << " of " << total);
        at = range.end;
      }
      if (at != total) FAIL_CHECK(count << " shares of " << total << " end at " << at);
    }
}

TEST_CASE("share: totals near the largest integer") {
  for (const Index total : {INT64_MAX, INT64_MAX - 1, Index{1} << 62})
    for (const Index count : {Index{1}, Index{2}, Index{3}, Index{64}, Index{1000}}) {
      Index at = 0;
      for (Index i = 0; i < count; ++i) {
        const ItemRange range = Share{i, count}.of(total);
        CHECK(range.begin == at);
        at = range.end;
      }
      CHECK(at == total);
    }
  static_assert(Share{}.of(17).begin == 0 && Share{}.of(17).end == 17);
}

TEST_CASE("barrier: everyone hears of a refusal, and the next round starts afresh") {
  for (const Index n : {1, 2, 3, 4}) {
    Barrier barrier;
    std::atomic<Index> wrong{0}, rounds{0};
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
    run_threads(n, [&](Index me) {
      Random random(2024);  // the same in every thread
      for (Index round = 0; round < 20000; ++round) {
        const auto refusing = static_cast<unsigned>(random.below(Index{1} << n));
        const bool nobody = random.below(3) == 0;
        const bool yes = nobody || (refusing >> me & 1) == 0;
        if (barrier.agree(n, yes) != (nobody || refusing == 0)) ++wrong;
        // They also agree on when to stop: the vote of one is enough.
        if (!barrier.agree(n, std::chrono::steady_clock::now() < deadline)) break;
        if (me == 0) ++rounds;
      }
    });
    INFO(n << " threads, " << rounds << " rounds");
    CHECK(wrong == 0);
  }
}

TEST_CASE("barrier: nobody passes before the last has arrived, and writes before it are seen") {
  for (const Index n : {2, 3}) {
    Barrier barrier;
    std::atomic<Index> wrong{0};
    std::vector<Index> progress(static_cast<std::size_t>(n));  // no atomics: the barrier orders
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
    run_threads(n, [&](Index me) {
      for (Index round = 1; round <= 20000; ++round) {
        progress[static_cast<std::size_t>(me)] = round;
        const bool go_on = barrier.agree(n, std::chrono::steady_clock::now() < deadline);
        for (const Index p : progress) wrong += p == round ? 0 : 1;
        (void)barrier.agree(n, true);
        if (!go_on) break;
      }
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("cpu device: the shares of a group take every item once, each after the call before") {
  for (const Index n : {1, 2, 3}) {
    Barrier barrier;
    constexpr Index items = 101;
    std::vector<Index> first(items), second(items);
    run_threads(n, [&](Index me) {
      const CpuDevice device{{me, n}, &barrier};
      for (Index round = 0; round < 5; ++round) {
        device.for_items(
            items, [&](const auto&, Index i) { first[static_cast<std::size_t>(i)] += i + 1; });
        device.for_items(items, [&](const auto&, Index i) {  // reads another share's item
          second[static_cast<std::size_t>(i)] += first[static_cast<std::size_t>(items - 1 - i)];
        });
      }
      device.for_items(0, [&](const auto&, Index) { first[0] = -1; });
      device.wait();
    });
    for (Index i = 0; i < items; ++i) {
      CHECK(first[static_cast<std::size_t>(i)] == 5 * (i + 1));
      CHECK(second[static_cast<std::size_t>(i)] == 15 * (items - i));
    }
  }
}

TEST_CASE("cpu device: alone it needs no barrier") {
  const CpuDevice device;
  CHECK(device.agree(true));
  CHECK_FALSE(device.agree(false));
  CHECK(device.agree(true));
  device.wait();
}
