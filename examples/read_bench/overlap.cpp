// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What it saves to ask for rows before a computation instead of after it. The computation keeps the
// processor busy for as long as the fetch takes, so that all of the fetch could be hidden.

#include "bench.hpp"

namespace engram::read_bench {

namespace {

enum class Asks { after, before, before_and_polls };

/// Computes for `seconds`; with a reader looks every 50 us whether it has something to start.
void compute(double seconds, Backend* reader, Ticket& ticket) {
  const auto start = Clock::now();
  auto last = start;
  while (since(start) < seconds) {
    if (reader == nullptr || since(last) < 50e-6) continue;
    (void)reader->poll(ticket);
    last = Clock::now();
  }
}

Result<double> time_step(Bench& bench, Backend& backend, Index rows, double seconds, Asks asks) {
  Ticket ticket;
  const auto start = Clock::now();
  if (asks == Asks::after) compute(seconds, nullptr, ticket);
  Status status = backend.submit(bench.pool.next(rows), bench.room(rows), ticket);
  if (status.ok() && asks != Asks::after)
    compute(seconds, asks == Asks::before_and_polls ? &backend : nullptr, ticket);
  if (status.ok()) status = backend.wait(ticket);
  if (!status.ok()) return Failure{status, describe(status, "reading rows")};
  return since(start);
}

Result<void> measure_rows(Bench& bench, Measured& by, Index rows, Section& section) {
  Backend& backend = *by.backends.direct;
  Backend& background = *by.backends.background;
  constexpr int in_a_round = 8;
  std::vector<double> fetches;
  for (int i = 0; i < 21; ++i) {
    const Result<double> seconds = time_batch(backend, bench.pool.next(rows), bench.room(rows));
    if (!seconds.ok()) return seconds.failure();
    fetches.push_back(seconds.value());
  }
  const double fetch = median(std::move(fetches));
  const auto steps = [&](Backend& reader, Asks asks) {
    return [&bench, &reader, rows, fetch, asks]() -> Result<double> {
      std::vector<double> times;
      for (int i = 0; i < in_a_round; ++i) {
        if (!bench.range_file.is_direct()) bench.files.forget();
        const Result<double> seconds = time_step(bench, reader, rows, fetch, asks);
        if (!seconds.ok()) return seconds.failure();
        times.push_back(seconds.value());
      }
      return median(std::move(times));
    };
  };
  const Result<Rounds> rounds =
      hold_rounds({steps(backend, Asks::after), steps(backend, Asks::before),
                   steps(backend, Asks::before_and_polls), steps(background, Asks::before)},
                  bench.options.seconds / 4);
  if (!rounds.ok()) return rounds.failure();
  const char* const names[] = {"asked for after", "asked for before", "asked for before, polled",
                               "before, by a thread"};
  for (std::size_t i = 0; i < 4; ++i) {
    Figure figure;
    figure.reader = "direct, " + by.carrier.name;
    figure.state = names[i];
    figure.rows = rows;
    figure.p50_us = 1e6 * rounds.value().middle(i);
    if (i > 0) {
      figure.ratio = rounds.value().ratio(i, 0);
      figure.to = names[0];
      figure.saved = (rounds.value().middle(0) - rounds.value().middle(i)) / fetch;
    }
    section.figures.push_back(std::move(figure));
  }
  return {};
}

}  // namespace

Result<Section> measure_overlap(Bench& bench) {
  Section section{"overlap", "rows", "times", {}, ""};
  for (Measured* by : {&bench.ring, &bench.threads}) {
    if (!by->carrier.missing.empty()) continue;
    std::vector<Index> sizes = {bench.options.rows_per_token};
    if (sizes[0] < 512) sizes.push_back(512);
    for (const Index rows : sizes)
      if (const Result<void> measured = measure_rows(bench, *by, rows, section); !measured.ok())
        return measured.failure();
  }
  section.note = "of a step that computes for as long as a fetch takes, and fetches";
  return section;
}

}  // namespace engram::read_bench
