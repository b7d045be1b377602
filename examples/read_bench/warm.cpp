// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Rows that are in memory: what the readers cost above a plain copy. In time of the processor, but
// for the direct store, which waits.

#include "bench.hpp"

namespace engram::read_bench {

namespace {

/// Seconds that some calls of `read` take, divided by `batches`: of the processor, or by the wall.
template <class UsedClock, class Read>
Result<double> time_warm(Index batches, const Read& read) {
  const auto start = UsedClock::now();
  const Status status = read();
  const std::chrono::duration<double> taken = UsedClock::now() - start;
  if (!status.ok()) return Failure{status, describe(status, "reading rows")};
  return taken.count() / static_cast<double>(batches);
}

Status read_batches(Bench& bench, Backend& backend, Index each, Index batches) {
  Status status;
  for (Index b = 0; b < batches && status.ok(); ++b)
    status = backend.read(bench.pool.next(each), bench.room(each));
  return status;
}

Result<void> measure_size(Bench& bench, const MmapStore& store, Index each, Section& section) {
  const Index rows = std::max<Index>(8192, each) / each * each;
  Backend& direct = *bench.best().backends.direct;
  Backend& adaptive = *bench.best().backends.adaptive;
  const auto copies = [&](bool plainly) {
    return [&, plainly] {
      return time_warm<ProcessorClock>(rows / each, [&] {
        return copy_batches(store, bench.pool.next(rows), each, plainly, bench.memory.data());
      });
    };
  };
  const ReadCounters before = adaptive.counters();
  const Index direct_batches = each < 512 ? 4 : 1;
  const Result<Rounds> rounds = hold_rounds(
      {copies(true), copies(false),
       [&] {
         return time_warm<ProcessorClock>(
             rows / each, [&] { return read_batches(bench, adaptive, each, rows / each); });
       },
       [&] {
         return time_warm<Clock>(direct_batches,
                                 [&] { return read_batches(bench, direct, each, direct_batches); });
       }},
      bench.options.seconds / 4, 7);
  if (!rounds.ok()) return rounds.failure();
  const std::string names[] = {"memcpy loop", "mapped", "adaptive",
                               "direct, " + bench.best().carrier.name};
  const auto figure = [&](std::size_t i, std::size_t to, const std::string& name) {
    Figure made;
    made.reader = names[i];
    made.state = "warm";
    made.rows = each;
    made.p50_us = 1e6 * rounds.value().middle(i);
    made.per_second = static_cast<double>(each) / rounds.value().middle(i);
    if (i != to) {
      made.ratio = rounds.value().ratio(i, to);
      made.to = name;
    }
    return made;
  };
  for (std::size_t i = 0; i < 4; ++i) section.figures.push_back(figure(i, 0, names[0]));
  const std::size_t better = rounds.value().middle(1) <= rounds.value().middle(3) ? 1 : 3;
  section.figures.push_back(figure(2, better, names[better] + ", the better one"));
  section.figures.back().counters = counted_since(adaptive, before);
  return {};
}

}  // namespace

Result<Section> measure_warm(Bench& bench) {
  Section section{"warm", "rows", "times", {}, ""};
  const Index free = free_memory();
  const Index needed = bench.files.bytes() + bench.files.bytes() / 4;
  if (free < needed) {
    section.note = sentence(
        {"not measured: the table has ", bench.files.bytes(), " bytes, and ", free, " are free"});
    return section;
  }
  const RowWindow all{0, bench.files.rows()};
  const Result<MmapStore> store = MmapStore::open(bench.options.segments);
  if (!store.ok()) return store.failure();
  if (const Result<void> read = bench.files.read(all); !read.ok()) return read.failure();
  const double share = bench.files.resident_share(all);
  if (share < 0.99) {
    section.note = share < 0 ? "not measured: the system does not say whether the file is in memory"
                             : sentence({"not measured: only ", static_cast<Index>(100 * share),
                                         " % of the table stayed in memory after it was read"});
    return section;
  }
  for (const Index each : batch_sizes)
    if (const Result<void> measured = measure_size(bench, store.value(), each, section);
        !measured.ok())
      return measured.failure();
  bench.files.forget();
  return section;
}

}  // namespace engram::read_bench
