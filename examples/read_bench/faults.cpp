// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Cold rows a second of a mapped file, by faults and with advice, against the direct store, all
// over as many rows of the same kind.

#include "bench.hpp"

#include <engram/storage/mapped_reader.hpp>

namespace engram::read_bench {

Result<Section> measure_faults(Bench& bench) {
  Section section{"faults", "rows", "rates", {}, ""};
  // Faults take some 80 us each.
  const Index rows =
      std::clamp(static_cast<Index>(bench.options.seconds * 4000), Index{256}, long_batch);
  const auto all = static_cast<double>(rows);
  Backend& direct = *bench.best().backends.direct;
  double stays = 0;
  const auto forget = [&bench, &stays] {
    bench.files.forget();
    stays = std::max(stays, bench.files.resident_share({0, bench.files.rows()}));
  };
  const Contestant faults = [&]() -> Result<double> {
    const Result<MmapStore> store = MmapStore::open(bench.options.segments);
    if (!store.ok()) return store.failure();
    forget();
    const Result<double> seconds =
        time_copies(store.value(), bench.pool.next(rows), rows, false, bench.memory.data());
    if (!seconds.ok()) return seconds.failure();
    return seconds.value() / all;
  };
  const Contestant advised = [&]() -> Result<double> {
    Result<MappedFetchStore> store = MappedFetchStore::open(bench.options.segments);
    if (!store.ok()) return store.failure();
    forget();
    StoreBackend<MappedFetchStore> backend(std::move(store).value());
    const Result<double> seconds = time_batch(backend, bench.pool.next(rows), bench.room(rows));
    if (!seconds.ok()) return seconds.failure();
    return seconds.value() / all;
  };
  const ReadCounters before = direct.counters();
  const Result<Rounds> rounds = hold_rounds({faults, advised,
                                             [&]() -> Result<double> {
                                               bench.files.forget();
                                               const Result<double> seconds = time_batch(
                                                   direct, bench.pool.next(rows), bench.room(rows));
                                               if (!seconds.ok()) return seconds.failure();
                                               return seconds.value() / all;
                                             }},
                                            bench.options.seconds);
  if (!rounds.ok()) return rounds.failure();
  const std::string names[] = {"mapped", "mapped, in batches",
                               "direct, " + bench.best().carrier.name};
  for (std::size_t i = 0; i < 3; ++i) {
    Figure figure;
    figure.reader = names[i];
    figure.state = "cold";
    figure.rows = rows;
    figure.per_second = 1 / rounds.value().middle(i);
    if (i > 0) {
      figure.ratio = rounds.value().ratio(0, i);
      figure.to = names[0];
    }
    if (i == 2) figure.counters = counted_since(direct, before);
    section.figures.push_back(std::move(figure));
  }
  bench.files.forget();
  if (stays > 0.01)
    section.note = sentence({static_cast<Index>(100 * stays + 0.5),
                             " % of the file stayed in memory although the system was told to "
                             "forget it: these rates are not those of the disk alone"});
  if (stays < 0) section.note = "the system does not say whether the file was in memory";
  return section;
}

}  // namespace engram::read_bench
