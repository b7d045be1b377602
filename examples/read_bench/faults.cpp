// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Cold rows a second of a mapped file, by faults and with advice, against the direct store, all
// over as many rows of the same kind.

#include "bench.hpp"

#include <sys/mman.h>

namespace engram::read_bench {

namespace {

/// Tells the system of the pages of some rows at a time before they are copied.
Result<double> time_advised(const MmapStore& store, View<const RowId, 1> rows, std::byte* to) {
  constexpr Index at_once = 256;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto advise = [page](const std::byte* at, Index bytes) {
    if (at == nullptr) return;
    const auto begin = reinterpret_cast<std::uintptr_t>(at) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(at) + static_cast<std::uintptr_t>(bytes);
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
  };
  const auto start = Clock::now();
  for (Index at = 0; at < rows.size(); at += at_once) {
    const View<const RowId, 1> part = rows.slice(at, std::min(at_once, rows.size() - at));
    for (Index i = 0; i < part.size(); ++i) {
      const RowBytes row = store.ref()(to_integer(part(i)));
      advise(row.codes, store.row_bytes());
      advise(row.scales, store.scale_bytes());
    }
    const Result<double> copied = time_copies(store, part, part.size(), false, to);
    if (!copied.ok()) return copied.failure();
  }
  return since(start);
}

}  // namespace

Result<Section> measure_faults(Bench& bench) {
  Section section{"faults", "rows", "rates", {}, ""};
  // Faults take some 80 us each.
  const Index rows =
      std::clamp(static_cast<Index>(bench.options.seconds * 4000), Index{256}, long_batch);
  const auto all = static_cast<double>(rows);
  Backend& direct = *bench.best().backends.direct;
  double stays = 0;
  const auto mapped = [&](bool advised) {
    return [&bench, &stays, rows, all, advised]() -> Result<double> {
      const Result<MmapStore> store = MmapStore::open(bench.options.segments);
      if (!store.ok()) return store.failure();
      bench.files.forget();
      stays = std::max(stays, bench.files.resident_share({0, bench.files.rows()}));
      const View<const RowId, 1> ids = bench.pool.next(rows);
      const Result<double> seconds =
          advised ? time_advised(store.value(), ids, bench.memory.data())
                  : time_copies(store.value(), ids, rows, false, bench.memory.data());
      if (!seconds.ok()) return seconds.failure();
      return seconds.value() / all;
    };
  };
  const ReadCounters before = direct.counters();
  const Result<Rounds> rounds = hold_rounds({mapped(false), mapped(true),
                                             [&]() -> Result<double> {
                                               bench.files.forget();
                                               const Result<double> seconds = time_batch(
                                                   direct, bench.pool.next(rows), bench.room(rows));
                                               if (!seconds.ok()) return seconds.failure();
                                               return seconds.value() / all;
                                             }},
                                            bench.options.seconds);
  if (!rounds.ok()) return rounds.failure();
  const std::string names[] = {"mapped", "mapped, advised", "direct, " + bench.best().carrier.name};
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
