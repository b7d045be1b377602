// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// How long the rows of one token take when none is in memory, against a plain loop that asks for as
// many pages at once.

#include "bench.hpp"

#include <set>

namespace engram::read_bench {

namespace {

/// The pages of rows, each once.
std::vector<Index> pages_of(const Bench& bench, View<const RowId, 1> rows) {
  const RowExtent& codes = bench.options.segments.front().codes;
  std::set<Index> pages;
  for (Index i = 0; i < rows.size(); ++i)
    pages.insert(page_down(codes.offset + offset_of(codes, to_integer(rows(i)) % codes.rows)));
  return std::vector<Index>(pages.begin(), pages.end());
}

}  // namespace

Result<Section> measure_token(Bench& bench) {
  Section section{"token", "rows", "times", {}, ""};
  const Index rows = bench.options.rows_per_token;
  constexpr Index in_a_round = 32;
  std::vector<const Measured*> measured;
  std::vector<std::string> names;
  std::vector<Contestant> contestants;
  std::vector<std::vector<double>> times;
  std::vector<ReadCounters> before;
  for (Measured* by : {&bench.ring, &bench.threads}) {
    if (!by->carrier.missing.empty()) continue;
    before.push_back(by->backends.direct->counters());
    if (contestants.empty()) {
      names.push_back("plain loop, " + by->carrier.name);
      contestants.push_back([&bench, by, rows, &times]() -> Result<double> {
        std::vector<double> round;
        for (Index i = 0; i < in_a_round; ++i) {
          const Result<double> seconds =
              by->loop->batch(bench.range.descriptor, pages_of(bench, bench.pool.next(rows)));
          if (!seconds.ok()) return seconds.failure();
          round.push_back(seconds.value());
        }
        times[0].insert(times[0].end(), round.begin(), round.end());
        return median(std::move(round));
      });
      measured.push_back(by);
    }
    names.push_back("direct, " + by->carrier.name);
    contestants.push_back(
        [&bench, by, rows, &times, place = contestants.size()]() -> Result<double> {
          if (!bench.range_file.is_direct()) bench.files.forget();
          std::vector<double> round;
          for (Index i = 0; i < in_a_round; ++i) {
            const Result<double> seconds =
                time_batch(*by->backends.direct, bench.pool.next(rows), bench.room(rows));
            if (!seconds.ok()) return seconds.failure();
            round.push_back(seconds.value());
          }
          times[place].insert(times[place].end(), round.begin(), round.end());
          return median(std::move(round));
        });
    measured.push_back(by);
  }
  times.resize(contestants.size());
  const Result<Rounds> rounds = hold_rounds(contestants, bench.options.seconds);
  if (!rounds.ok()) return rounds.failure();
  for (std::size_t i = 0; i < names.size(); ++i) {
    Figure figure;
    figure.reader = names[i];
    figure.state = "cold";
    figure.rows = rows;
    figure.depth = i == 0 ? 0 : measured[i]->depth;
    figure.p50_us = 1e6 * percentile(times[i], 0.5);
    figure.p99_us = 1e6 * percentile(times[i], 0.99);
    figure.per_second = static_cast<double>(rows) / rounds.value().middle(i);
    if (i > 0) {
      figure.ratio = rounds.value().ratio(i, 0);
      figure.to = names[0];
      figure.counters = counted_since(*measured[i]->backends.direct, before[i - 1]);
    }
    section.figures.push_back(std::move(figure));
  }
  return section;
}

}  // namespace engram::read_bench
