// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the parts of the measurement share: the stores that are measured, the ids they are asked
// for, and where rows arrive. Each part is a function in a file of its own.

#include "measure.hpp"
#include "raw_loop.hpp"
#include "statistics.hpp"
#include "table_files.hpp"

#include <ctime>

namespace engram::read_bench {

inline constexpr Index long_batch = 32768;
inline constexpr Index batch_sizes[] = {1, 8, 48, 512, long_batch};

using Clock = std::chrono::steady_clock;
inline double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Time that this thread has had a processor, for work that waits for nothing: what else runs on
/// the machine does not count.
struct ProcessorClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<ProcessorClock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time_point(std::chrono::seconds(time.tv_sec) + duration(time.tv_nsec));
  }
};

/// A carrier with its stores and the loop that shows its limit.
struct Measured {
  Carrier carrier;
  Backends backends;              ///< empty where the carrier is missing
  std::unique_ptr<RawLoop> loop;  ///< the same
  Index depth = 0;
};

struct Bench {
  const Options& options;
  TableFiles files;
  Measured ring, threads;
  RawRange range;  ///< pages that hold rows
  DiskFile range_file;
  RowShape shape;
  IdPool pool;
  HostMemory memory;  ///< a long batch arrives here

  /// The better carrier that is there: the ring.
  Measured& best() noexcept { return ring.carrier.missing.empty() ? ring : threads; }
  Index row_bytes() const noexcept { return shape.row_bytes + shape.scale_bytes; }
  View<std::byte, 1> room(Index rows) noexcept {
    return View<std::byte, 1>(memory.data(), rows * row_bytes());
  }
  IdPool ids_in(const RowWindow& window, Index count, std::uint64_t seed) const {
    return IdPool(RowIds(window.first, window.rows, options.ids, seed).list(count));
  }
};

/// Seconds that a batch takes from submit() to the end of wait().
Result<double> time_batch(Backend& backend, View<const RowId, 1> rows, View<std::byte, 1> bytes);

/// Copies batches of `each` rows from a mapping: a plain memcpy() a row, or copy_rows(). `rows` in
/// all. A fault in the mapping is a status where the program has a SigbusGuard.
Status copy_batches(const MmapStore& store, View<const RowId, 1> rows, Index each, bool plainly,
                    std::byte* to);

/// The seconds for one batch of them, waiting for the disk included.
Result<double> time_copies(const MmapStore& store, View<const RowId, 1> rows, Index each,
                           bool plainly, std::byte* to);

/// What the reader has counted since.
ReadCounters counted_since(const Backend& backend, const ReadCounters& before);

/// "1.3 times": for sentences.
std::string decimal(double value);

Result<Section> measure_device(Bench& bench);
Result<Section> measure_cold_reads(Bench& bench);
Result<Section> measure_faults(Bench& bench);
Result<Section> measure_token(Bench& bench);
Result<Section> measure_warm(Bench& bench);
Result<Section> measure_adaptive_cold(Bench& bench);
Result<Section> measure_changes(Bench& bench);
Result<Section> measure_overlap(Bench& bench);

}  // namespace engram::read_bench
