// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Threads that read Zipf-distributed rows of a cache which is far too small, while rows are pinned,
// reports read, readers come and go and batches fail. For the unit test and, compiled with
// ThreadSanitizer, for tests/tsan/.

#include "numbered_store.hpp"

#include <engram/storage/cached_store.hpp>

#include <random.hpp>

#include <string>
#include <thread>
#include <vector>

/// Empty when every byte was right and all is quiet afterwards.
inline std::string hammer_cache(engram::Index row_bytes, engram::Index num_rows, int threads,
                                engram::Index batches, bool fails) {
  using namespace engram;
  using Cache = CachedStore<NumberedStore>;
  const NumberedStore base(num_rows, row_bytes);
  base.notes().fail_wait = fails ? 17 : 0;
  CacheOptions options;
  options.max_readers = threads + 2;
  options.miss_rows = 20;
  options.bytes = Cache::make(base, options).status().index + 16 * 3 * default_stride(row_bytes);
  Cache cache = Cache::make(base, options).value();
  std::vector<std::string> faults(static_cast<std::size_t>(threads));
  std::vector<Index> hits(static_cast<std::size_t>(threads));

  const auto work = [&](int thread) {
    std::string& fault = faults[static_cast<std::size_t>(thread)];
    Random random(static_cast<std::uint64_t>(thread) + 1);
    for (Index life = 0; life < 4; ++life) {
      auto reader = cache.reader();
      for (Index b = 0; b < batches / 4; ++b) {
        std::vector<RowId> rows;
        for (Index i = random.below(90); i >= 0; --i) rows.push_back(RowId{random.zipf(num_rows)});
        std::vector<std::byte> bytes(rows.size() * static_cast<std::size_t>(row_bytes));
        Ticket ticket;
        Status status = reader.submit(rows, bytes, ticket);
        if (status.ok()) status = reader.wait(ticket);
        if (!status.ok() && !fails) fault = "a batch failed";
        for (std::size_t i = 0; status.ok() && i < rows.size(); ++i)
          if (!is_numbered_row(bytes.data() + i * static_cast<std::size_t>(row_bytes), row_bytes,
                               to_integer(rows[i]), 0))
            fault = "a row is not the one asked for";
      }
      for (const Index h : reader.counters().hits) hits[static_cast<std::size_t>(thread)] += h;
    }
  };
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) running.emplace_back(work, t);
  std::string fault;
  for (Index r = 0; r < 6; ++r) {
    const std::vector<RowId> rows = {RowId{r}, RowId{num_rows - 1 - r}};
    if (!cache.pin(rows).ok() && !fails) fault = "pinning failed";
    if (cache.report().rows > cache.report().capacity_rows) fault = "more rows than ways";
  }
  for (std::thread& thread : running) thread.join();
  for (const std::string& one : faults)
    if (!one.empty()) fault = one;
  Index all_hits = 0;
  for (const Index h : hits) all_hits += h;
  const CacheReport report = cache.report();
  if (all_hits == 0) fault = "no row was ever found";
  if (report.changes.evicted == 0) fault = "nothing was evicted";
  if (report.rows != report.changes.inserted - report.changes.evicted) fault = "rows were lost";
  if (report.readers != 0 || base.notes().open != 0 || base.notes().readers != 0)
    fault = "not quiet";
  if (base.notes().misuses != 0) fault = "the base was called as it must not be";
  return fault;
}
