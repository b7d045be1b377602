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
  Measured* by;
  Index rows, batches;
};

}  // namespace

Result<Section> measure_cold_reads(Bench& bench) {
  Section section{"cold", "reads", "rates", {}, ""};
  const Index token = bench.options.rows_per_token;
  const double slice = std::clamp(bench.options.seconds / 16, 0.01, 0.5);
  std::vector<Entry> entries;
  std::vector<Contestant> contestants;
  for (Measured* by : {&bench.ring, &bench.threads}) {
    if (!by->carrier.missing.empty()) continue;
    entries.push_back({by, 0, 0});
    contestants.push_back([&bench, by, slice]() -> Result<double> {
      const Result<RawRun> run = by->loop->sustain(bench.range, by->depth, slice);
      if (!run.ok()) return run.failure();
      return run.value().seconds / static_cast<double>(std::max<Index>(1, run.value().reads));
    });
    for (const auto& [rows, batches] :
         {std::pair<Index, Index>{long_batch, 1}, {token, 1}, {token, 4}}) {
      if (rows * batches > long_batch || (rows == token && batches == 1 && token == long_batch))
        continue;
      entries.push_back({by, rows, batches});
      contestants.push_back([&bench, by, rows = rows, batches = batches, slice]() {
        if (!bench.range_file.is_direct()) bench.files.forget();
        return time_reads(bench, *by->backends.direct, rows, batches, slice);
      });
    }
  }
  std::vector<ReadCounters> before;
  for (Measured* by : {&bench.ring, &bench.threads})
    before.push_back(by->backends.direct ? by->backends.direct->counters() : ReadCounters());
  const Result<Rounds> rounds = hold_rounds(contestants, bench.options.seconds);
  if (!rounds.ok()) return rounds.failure();
  std::size_t plain = 0;
  for (std::size_t e = 0; e < entries.size(); ++e) {
    const Entry& entry = entries[e];
    Figure figure;
    figure.state = "cold";
    figure.depth = entry.by->depth;
    figure.rows = entry.rows;
    figure.batches = entry.batches;
    figure.per_second = 1 / rounds.value().middle(e);
    const std::string plain_loop = "plain loop, " + entry.by->carrier.name;
    if (entry.rows == 0) {
      plain = e;
      figure.reader = plain_loop;
    } else {
      figure.reader = "direct, " + entry.by->carrier.name;
      figure.ratio = rounds.value().ratio(plain, e);
      figure.to = plain_loop;
    }
    if (entry.rows == long_batch)  // of all three together
      figure.counters =
          counted_since(*entry.by->backends.direct, before[entry.by == &bench.ring ? 0 : 1]);
    section.figures.push_back(std::move(figure));
  }
  if (!bench.ring.carrier.missing.empty()) {
    Figure figure;
    figure.reader = "direct, " + bench.ring.carrier.name;
    figure.state = "cold";
    figure.missing = bench.ring.carrier.missing;
    section.figures.push_back(std::move(figure));
  }
  section.note = "counters are those of all batch sizes of a carrier together";
  for (const Figure& figure : section.figures)
    if (figure.counters && 10 * figure.counters->pages > 11 * figure.counters->reads)
      section.note += sentence({"; ", figure.reader, ": reads of neighbours were joined to ",
                                decimal(static_cast<double>(figure.counters->pages) /
                                        static_cast<double>(figure.counters->reads)),
                                " pages each on average, and take longer than reads of one"});
  return section;
}

}  // namespace engram::read_bench
