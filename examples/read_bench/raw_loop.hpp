// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The disk's own limit: loops that read pages and do nothing else, written against the system's
// calls and not against the library. What the stores reach is divided by them.

#include "backend.hpp"

namespace engram::read_bench {

/// Pages of a file.
struct RawRange {
  int descriptor = -1;
  Index offset = 0;  ///< a multiple of 4,096
  Index pages = 1;
};

struct RawRun {
  Index reads = 0;
  double seconds = 0;
  std::vector<double> latencies;  ///< seconds, of each read
};

class RawLoop {
 public:
  virtual ~RawLoop() = default;
  /// Reads random pages for `seconds` with `depth` of them on the way all the time. Fails with io.
  virtual Result<RawRun> sustain(const RawRange& range, Index depth, double seconds) = 0;
  /// Reads the pages at `offsets`, all asked for at once, and gives the seconds until the last is
  /// there. Fails with io.
  virtual Result<double> batch(int descriptor, const std::vector<Index>& offsets) = 0;
};

/// Memory for so many pages, at an address that a read past the cache takes.
class PageMemory {
 public:
  explicit PageMemory(Index pages)
      : memory_(HostMemory::make(pages * disk_page_bytes, {.pages = Pages::ordinary}).value()) {}
  std::byte* page(Index number) noexcept { return memory_.data() + number * disk_page_bytes; }

 private:
  HostMemory memory_;
};

inline Failure raw_failure(Index result) {
  const int error = result < 0 ? static_cast<int>(-result) : EIO;
  return fail(Code::io,
              {"the file cannot be read: ",
               result < 0 ? std::strerror(error) : "it ends before its last row"},
              -1, error);
}

/// Threads that each wait for one pread().
std::unique_ptr<RawLoop> make_thread_loop();

/// io_uring, where it is built and the system lets the process have it; `missing` says why not.
Carrier ring_carrier();
/// A ring, through liburing's calls. Precondition: ring_carrier().missing is empty.
std::unique_ptr<RawLoop> make_ring_loop();
/// As open_backends(), through io_uring. Same precondition.
Result<Backends> open_ring_backends(const std::vector<TableSegment>& segments);

}  // namespace engram::read_bench
