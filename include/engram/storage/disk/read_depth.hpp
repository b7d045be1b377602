// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How many reads a disk takes at the same time before more of them only wait longer: measured,
// because it is 1 for some disks and 128 for others, and past it everything gets slower.

#include <engram/storage/disk/disk_file.hpp>
#include <engram/storage/disk/disk_reads.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// What was measured with so many reads of one page on the way.
struct DepthRate {
  Index depth = 0;
  Index reads_per_second = 0;
};

/// Where pages are read for the measurement.
struct DepthRange {
  int descriptor = -1;
  Index offset = 0;  ///< a multiple of disk_page_bytes
  Index pages = 0;
};

/// The depths that are tried.
inline constexpr Index tried_depths[] = {8, 16, 32, 64, 128};

ENGRAM_BEGIN_LOOPS

/// Reads random pages for some 8 ms with `depth` of them on the way; 0: the system refused, or
/// there was no memory.
template <class Reads>
Index reads_per_second(const Reads& reads, const DepthRange& range, Index depth,
                       std::uint64_t seed) {
  const std::unique_ptr<std::byte, void (*)(void*)> memory(
      static_cast<std::byte*>(
          std::aligned_alloc(static_cast<std::size_t>(disk_page_bytes),
                             static_cast<std::size_t>(depth * disk_page_bytes))),
      [](void* p) { std::free(p); });
  auto queue = reads.queue(depth);  // behind the memory that it writes to
  if (memory == nullptr || !queue.status().ok()) return 0;
  std::vector<DiskDone> done(static_cast<std::size_t>(depth));
  std::uint64_t random = seed * 0x9E3779B97F4A7C15U;
  const auto start = [&](Index slot) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const auto page = static_cast<Index>(random % static_cast<std::uint64_t>(range.pages));
    queue.start({range.descriptor, range.offset + page * disk_page_bytes,
                 memory.get() + slot * disk_page_bytes, disk_page_bytes, slot});
  };
  using Clock = std::chrono::steady_clock;
  for (Index slot = 0; slot < depth; ++slot) start(slot);
  Index open = depth, read = 0;
  bool failed = false;
  Clock::time_point begun{}, now{};
  while (open > 0) {
    const Index count = queue.reap(View<DiskDone, 1>(done.data(), depth), true);
    now = Clock::now();
    // Counted from the first that is over: then the disk is busy.
    if (begun == Clock::time_point{})
      begun = now;
    else
      read += count;
    const bool goes_on = now - begun < std::chrono::milliseconds(8);
    for (Index i = 0; i < count; ++i) {
      const DiskDone& over = done[static_cast<std::size_t>(i)];
      failed = failed || over.result < 0;
      if (goes_on && !failed)
        start(over.slot);
      else
        --open;
    }
  }
  const auto nanoseconds =
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - begun).count();
  return failed || nanoseconds == 0 ? 0 : read * 1'000'000'000 / nanoseconds;
}

/// The smallest depth that reaches 95 % of the best rate; `rates` is what was measured, in some
/// 100 ms. 64 when nothing could be.
///
/// Each depth has three turns, one after the other, and its best counts: a disk that writes, or a
/// processor that is busy, stops everything now and then for as long as a turn takes.
template <class Reads>
Index measured_depth(const Reads& reads, const DepthRange& range, std::vector<DepthRate>& rates) {
  Index best = 0;
  std::uint64_t seed = 0;
  for (const Index depth : tried_depths) rates.push_back({depth, 0});
  for (int turn = 0; turn < 3; ++turn)
    for (DepthRate& rate : rates) {
      // Pages of its own: those that were read before may come from a cache of the disk's.
      const Index found = reads_per_second(reads, range, rate.depth, ++seed);
      rate.reads_per_second = std::max(rate.reads_per_second, found);
      best = std::max(best, found);
    }
  if (best == 0) return 64;
  for (const DepthRate& rate : rates)
    if (rate.reads_per_second * 20 >= best * 19) return rate.depth;
  return 64;
}

ENGRAM_END_LOOPS

ENGRAM_END_NAMESPACE
