// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Tells the system which pages of a mapped file will be read, so that a disk is busy with many of
// them at once instead of with the one that a fault waits for. Never pages that nobody needs: rows
// lie all over a table, and reading ahead between them is what makes a plain mapping slow.

#include <engram/storage/page_bytes.hpp>
#include <engram/storage/read_counters.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <vector>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#endif
#if defined(__linux__) && __has_include(<sys/syscall.h>)
#include <sys/resource.h>
#include <sys/syscall.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// Whole pages [begin, end).
struct PageRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

ENGRAM_BEGIN_LOOPS

/// Whether bytes of a mapping are in memory; false when the system does not say. True of all of a
/// file that the process neither owns nor may write to (Linux 5.2): count_disk_faults() then tells
/// otherwise.
inline bool is_in_memory(const std::byte* at, Index bytes, Index page_bytes) noexcept {
#if defined(__linux__) && defined(SYS_mincore)
  const auto page = static_cast<std::uintptr_t>(page_bytes);
  const auto end = reinterpret_cast<std::uintptr_t>(at) + static_cast<std::uintptr_t>(bytes);
  constexpr std::uintptr_t at_once = 64;
  unsigned char states[at_once] = {};
  for (std::uintptr_t from = reinterpret_cast<std::uintptr_t>(at) & ~(page - 1); from < end;
       from += at_once * page) {
    const std::uintptr_t pages = std::min((end - from + page - 1) / page, at_once);
    if (::syscall(SYS_mincore, from, pages * page, states) != 0) return false;
    for (std::uintptr_t i = 0; i < pages; ++i)
      if ((states[i] & 1) == 0) return false;
  }
  return true;
#else
  (void)at, (void)bytes, (void)page_bytes;
  return false;
#endif
}

/// Faults of this thread that waited for a disk, since it began; -1 when the system does not say.
inline Index count_disk_faults() noexcept {
#if defined(__linux__) && defined(RUSAGE_THREAD)
  struct rusage usage {};
  if (::getrusage(RUSAGE_THREAD, &usage) == 0) return static_cast<Index>(usage.ru_majflt);
#endif
  return -1;
}

ENGRAM_END_LOOPS

/// Collects the pages of rows and asks for them: sorted, each once, neighbours together. For one
/// thread. Only advice: nothing fails, and what the system does not read now it reads when touched.
class PageAdvice {
 public:
  /// Notes `bytes` bytes of a mapping. What finds no room is asked for at once.
  ENGRAM_ALWAYS_INLINE void add(const std::byte* at, Index bytes, ReadCounters& counters) noexcept {
    const auto mask = static_cast<std::uintptr_t>(page_bytes_ - 1);
    const auto first = reinterpret_cast<std::uintptr_t>(at);
    if (count_ == room) asked_ += send(counters);
    noted_[count_++] = {first & ~mask, (first + static_cast<std::uintptr_t>(bytes) + mask) & ~mask};
  }

  /// Starts reading what was noted, and does not wait for it. Returns how many requests that were.
  ENGRAM_ALWAYS_INLINE Index ask(ReadCounters& counters) noexcept {
    const Index requests = asked_ + send(counters);
    asked_ = 0;
    return requests;
  }

 private:
  static constexpr std::size_t room = 1024;  // UIO_MAXIOV, what one process_madvise() takes
  /// Of a longer range, systems may read the beginning only (Linux: as much as it would read
  /// ahead, or as the device takes at once).
  static constexpr std::uintptr_t max_request = 128 * 1024;

  struct Part {  // as the system's iovec
    std::uintptr_t begin;
    std::size_t bytes;
  };

  ENGRAM_ALWAYS_INLINE Index send(ReadCounters& counters) noexcept {
    std::sort(noted_.begin(), noted_.begin() + static_cast<std::ptrdiff_t>(count_),
              [](const PageRange& a, const PageRange& b) { return a.begin < b.begin; });
    Index requests = 0;
    std::size_t parts = 0;
    const auto flush = [&] {
      advise(parts, counters);
      requests += static_cast<Index>(parts);
      parts = 0;
    };
    for (std::size_t i = 0; i < count_;) {
      PageRange joined = noted_[i++];
      for (; i < count_ && noted_[i].begin <= joined.end; ++i)
        joined.end = std::max(joined.end, noted_[i].end);
      while (joined.begin < joined.end) {
        const std::uintptr_t bytes = std::min(joined.end - joined.begin, max_request);
        if (parts == room) flush();
        parts_[parts++] = {joined.begin, static_cast<std::size_t>(bytes)};
        counters.bytes += static_cast<Index>(bytes);
        counters.pages += static_cast<Index>((bytes + 4095) / 4096);
        joined.begin += bytes;
      }
    }
    flush();
    count_ = 0;
    counters.reads += requests;
    return requests;
  }

  /// Linux 6.13 takes many ranges of the calling process in one call; before, or elsewhere, each
  /// range is a call.
  ENGRAM_ALWAYS_INLINE void advise(std::size_t parts, ReadCounters& counters) noexcept {
#if __has_include(<sys/mman.h>) && defined(MADV_WILLNEED)
    std::size_t done = 0;
#if defined(__linux__) && defined(SYS_process_madvise)
    if (takes_many_ && parts > 1) {
      constexpr int self = -10000;  // PIDFD_SELF
      long told =
          ::syscall(SYS_process_madvise, self, parts_.data(), parts, long{MADV_WILLNEED}, 0L);
      if (told < 0)
        takes_many_ = errno != ENOSYS && errno != EBADF && errno != EPERM && errno != ESRCH;
      for (; done < parts && told >= static_cast<long>(parts_[done].bytes); ++done)
        told -= static_cast<long>(parts_[done].bytes);
      if (done < parts) ++counters.retries;
    }
#endif
    (void)counters;
    for (; done < parts; ++done)
      (void)::madvise(reinterpret_cast<void*>(parts_[done].begin), parts_[done].bytes,
                      MADV_WILLNEED);
#else
    (void)parts, (void)counters;
#endif
  }

  Index page_bytes_ = system_page_bytes();
  std::vector<PageRange> noted_ = std::vector<PageRange>(room);
  std::vector<Part> parts_ = std::vector<Part>(room);
  bool takes_many_ = true;
  std::size_t count_ = 0;
  Index asked_ = 0;
};

ENGRAM_END_NAMESPACE
