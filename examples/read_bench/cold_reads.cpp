// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Reads a second of the direct store, against a plain loop at the same depth, and what smaller
// batches cost.

#include "bench.hpp"

namespace engram::read_bench {

namespace {

/// Keeps `batches` batches on the way for `seconds`, at least once; gives the seconds for one read.
Result<double> time_reads(Bench& bench, Backend& backend, Index rows, Index batches,
                          double seconds) {
  std::vector<Ticket> tickets(static_cast<std::size_t>(batches));
  const Index before = backend.counters().reads;
  const Index part = rows * bench.row_bytes();
  Status failed;
  const auto start = Clock::now();
  const auto submit = [&](Index b) {
    const Status status =
        backend.submit(bench.pool.next(rows), bench.room(batches * rows).slice(b * part, part),
                       tickets[static_cast<std::size_t>(b)]);
    if (!status.ok()) failed = status;
  };
  for (Index b = 0; b < batches; ++b) submit(b);
  for (Index b = 0; failed.ok() && since(start) < seconds; b = (b + 1) % batches) {
    failed = backend.wait(tickets[static_cast<std::size_t>(b)]);
    if (failed.ok()) submit(b);
  }
  for (Ticket& ticket : tickets)
    if (const Status status = backend.wait(ticket); failed.ok()) failed = status;
  if (!failed.ok()) return Failure{failed, describe(failed, "reading rows")};
  const Index reads = backend.counters().reads - before;
  return since(start) / static_cast<double>(std::max<Index>(1, reads));
}

struct Entry {
  Index rows, batches;  // 0: the plain loop
};

Result<void> measure_carrier(Bench& bench, Measured& by, Section& section) {
  const Index token = bench.options.rows_per_token;
  const double slice = std::clamp(bench.options.seconds / 16, 0.01, 0.5);
  std::vector<Entry> entries = {{0, 0}, {long_batch, 1}};
  if (token < long_batch) entries.push_back({token, 1});
  if (4 * token <= long_batch) entries.push_back({token, 4});
  std::vector<Contestant> contestants = {[&]() -> Result<double> {
    const Result<RawRun> run = by.loop->sustain(bench.range, by.depth, slice);
    if (!run.ok()) return run.failure();
    return run.value().seconds / static_cast<double>(std::max<Index>(1, run.value().reads));
  }};
  for (std::size_t e = 1; e < entries.size(); ++e)
    contestants.push_back([&, entry = entries[e]] {
      if (!bench.range_file.is_direct()) bench.files.forget();
      return time_reads(bench, *by.backends.direct, entry.rows, entry.batches, slice);
    });
  const ReadCounters before = by.backends.direct->counters();
  const Result<Rounds> rounds = hold_rounds(contestants, bench.options.seconds, 5);
  if (!rounds.ok()) return rounds.failure();
  for (std::size_t e = 0; e < entries.size(); ++e) {
    Figure figure;
    figure.reader = (e == 0 ? "plain loop, " : "direct, ") + by.carrier.name;
    figure.state = "cold";
    figure.depth = by.depth;
    figure.rows = entries[e].rows;
    figure.batches = entries[e].batches;
    figure.per_second = 1 / rounds.value().middle(e);
    if (e > 0) {
      figure.ratio = rounds.value().ratio(0, e);
      figure.to = "plain loop, " + by.carrier.name;
    }
    if (e == 1) figure.counters = counted_since(*by.backends.direct, before);
    section.figures.push_back(std::move(figure));
  }
  return {};
}

}  // namespace

Result<Section> measure_cold_reads(Bench& bench) {
  Section section{"cold", "reads", "rates", {}, ""};
  section.note = "counters are those of all batch sizes of a carrier together";
  for (Measured* by : {&bench.ring, &bench.threads}) {
    if (by->carrier.missing.empty()) {
      if (const Result<void> measured = measure_carrier(bench, *by, section); !measured.ok())
        return measured.failure();
      continue;
    }
    Figure figure;
    figure.reader = "direct, " + by->carrier.name;
    figure.state = "cold";
    figure.missing = by->carrier.missing;
    section.figures.push_back(std::move(figure));
  }
  for (const Figure& figure : section.figures)
    if (figure.counters && 10 * figure.counters->pages > 11 * figure.counters->reads)
      section.note += sentence({"; ", figure.reader, ": reads of neighbours were joined to ",
                                decimal(static_cast<double>(figure.counters->pages) /
                                        static_cast<double>(figure.counters->reads)),
                                " pages each on average, and take longer than reads of one"});
  return section;
}

}  // namespace engram::read_bench
