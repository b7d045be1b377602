// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// How many batches the adaptive store takes to notice that rows are in memory now, or are no
// longer: a part of the table is read and forgotten in turn, and every batch after that is timed.

#include "bench.hpp"

#include <thread>

namespace engram::read_bench {

namespace {

constexpr std::size_t settled_from = 3;  // batches from which on time is taken for steady

/// By the batch's place after the change, over all rounds.
using TimesByPlace = std::vector<std::vector<double>>;

Result<void> time_places(Bench& bench, Backend& backend, IdPool& ids, Index each,
                         TimesByPlace& times) {
  for (std::vector<double>& place : times) {
    const Result<double> seconds = time_batch(backend, ids.next(each), bench.room(each));
    if (!seconds.ok()) return seconds.failure();
    place.push_back(seconds.value());
  }
  return {};
}

/// Has the system forget the files; false when the window stays in memory. What is being read or
/// was just touched stays once in a while, so it is told more than once.
bool forgets(const Bench& bench, const RowWindow& window) {
  for (int tries = 0; tries < 5; ++tries) {
    bench.files.forget();
    if (bench.files.resident_share(window) <= 0.01) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

Figure describe_change(const TimesByPlace& times, const char* change, Index each) {
  std::vector<double> middles, late;
  for (const std::vector<double>& place : times) middles.push_back(median(place));
  for (std::size_t p = settled_from; p < times.size(); ++p)
    late.insert(late.end(), times[p].begin(), times[p].end());
  const double steady = median(std::move(late));
  Figure figure;
  figure.reader = "adaptive";
  figure.state = change;
  figure.rows = each;
  figure.p50_us = 1e6 * steady;
  figure.per_second = static_cast<double>(each) / steady;
  for (std::size_t p = middles.size(); p > 0; --p)
    if (middles[p - 1] <= 1.1 * steady + 2e-6) figure.settled_at = static_cast<Index>(p);
  figure.ratio = middles[0] / steady;
  figure.to = "what later batches take; this is the first one";
  return figure;
}

}  // namespace

Result<Section> measure_changes(Bench& bench) {
  Section section{"changes", "rows", "times", {}, ""};
  if (bench.files.resident_share({0, 1}) < 0) {
    section.note = "not measured: the system does not say whether the file is in memory";
    return section;
  }
  Backend& adaptive = *bench.best().backends.adaptive;
  Randomness random(11);
  int stayed = 0;  // rounds that had to be given up, one after the other
  for (const Index each : batch_sizes) {
    TimesByPlace to_warm(each < long_batch ? 12 : settled_from + 2), to_cold(to_warm.size());
    // So large that later batches find no more of it in the processor's caches than the first.
    const Index bytes =
        std::max<Index>(Index{128} << 20, std::min<Index>(each << 18, Index{256} << 20));
    const ReadCounters before = adaptive.counters();
    bench.files.forget();
    for (int i = 0; i < 3; ++i)
      if (const Result<double> seen = time_batch(adaptive, bench.pool.next(48), bench.room(48));
          !seen.ok())
        return seen.failure();
    const auto start = Clock::now();
    while (to_cold[0].size() < 5 || since(start) < bench.options.seconds / 2) {
      const RowWindow window = bench.files.window(bytes, random.share());
      IdPool ids =
          bench.ids_in(window, each * static_cast<Index>(2 * to_warm.size()), random.bits());
      if (stayed == 10) {
        section.note = "the file stays in memory when the system is to forget it";
        return section;
      }
      ++stayed;  // until it did not
      if (!forgets(bench, window)) continue;
      if (const Result<void> read = bench.files.read(window); !read.ok()) return read.failure();
      // What the system reads ahead of the window arrives meanwhile.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (const Result<void> timed = time_places(bench, adaptive, ids, each, to_warm); !timed.ok())
        return timed.failure();
      if (!forgets(bench, window)) continue;
      if (const Result<void> timed = time_places(bench, adaptive, ids, each, to_cold); !timed.ok())
        return timed.failure();
      stayed = 0;
    }
    section.figures.push_back(describe_change(to_warm, "cold to warm", each));
    section.figures.push_back(describe_change(to_cold, "warm to cold", each));
    section.figures.back().counters = counted_since(adaptive, before);
  }
  return section;
}

}  // namespace engram::read_bench
