// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The adaptive store over rows that are not in memory, against the better of its two halves.

#include "bench.hpp"

namespace engram::read_bench {

namespace {

/// The middle of some batches. What is read from the disk does not stay in memory.
Result<double> time_cold(Bench& bench, Backend& backend, Index each, Index batches) {
  std::vector<double> times;
  bench.files.forget();
  for (Index b = 0; b < batches; ++b) {
    const Result<double> seconds = time_batch(backend, bench.pool.next(each), bench.room(each));
    if (!seconds.ok()) return seconds.failure();
    times.push_back(seconds.value());
  }
  return median(std::move(times));
}

Result<double> time_cold_copies(Bench& bench, const MmapStore& store, Index each, Index batches) {
  // Faults of many rows take too long: of some, and all take as many times as long.
  const Index some = std::min<Index>(each, 1024);
  std::vector<double> times;
  for (Index b = 0; b < batches; ++b) {
    bench.files.forget();
    const Result<double> seconds =
        time_copies(store, bench.pool.next(some), some, false, bench.memory.data());
    if (!seconds.ok()) return seconds.failure();
    times.push_back(seconds.value() * static_cast<double>(each) / static_cast<double>(some));
  }
  return median(std::move(times));
}

}  // namespace

Result<Section> measure_adaptive_cold(Bench& bench) {
  Section section{"adaptive", "rows", "times", {}, ""};
  const Result<MmapStore> store = MmapStore::open(bench.options.segments);
  if (!store.ok()) return store.failure();
  Backend& direct = *bench.best().backends.direct;
  Backend& adaptive = *bench.best().backends.adaptive;
  const std::string names[] = {"mapped", "direct, " + bench.best().carrier.name, "adaptive"};
  for (int i = 0; i < 3; ++i)  // so that it has seen that the file is cold
    if (const Result<double> seen = time_cold(bench, adaptive, 48, 1); !seen.ok())
      return seen.failure();
  for (const Index each : batch_sizes) {
    const Index batches = each < 512 ? 16 : each < long_batch ? 4 : 1;
    const ReadCounters before = adaptive.counters();
    const Result<Rounds> rounds = hold_rounds(
        {[&] { return time_cold_copies(bench, store.value(), each, std::min<Index>(batches, 8)); },
         [&] { return time_cold(bench, direct, each, batches); },
         [&] { return time_cold(bench, adaptive, each, batches); }},
        bench.options.seconds / 4);
    if (!rounds.ok()) return rounds.failure();
    const std::size_t better = rounds.value().middle(0) <= rounds.value().middle(1) ? 0 : 1;
    for (std::size_t i = 0; i < 3; ++i) {
      Figure figure;
      figure.reader = names[i];
      figure.state = "cold";
      figure.rows = each;
      figure.p50_us = 1e6 * rounds.value().middle(i);
      figure.per_second = static_cast<double>(each) / rounds.value().middle(i);
      if (i == 2) {
        figure.ratio = rounds.value().ratio(i, better);
        figure.to = names[better] + ", the better one";
        figure.counters = counted_since(adaptive, before);
      }
      section.figures.push_back(std::move(figure));
    }
  }
  section.note = "mapped batches of more than 1,024 rows are estimated from 1,024";
  return section;
}

}  // namespace engram::read_bench
