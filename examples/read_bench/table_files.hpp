// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Warm and cold: has the system forget the files of a table, or read them, and looks whether it
// did.

#include <engram/storage/mmap_store.hpp>

#include <vector>

namespace engram::read_bench {

/// Rows that follow one another inside a segment.
struct RowWindow {
  Index first = 0;
  Index rows = 0;
};

/// The files of a table. One thread.
class TableFiles {
 public:
  /// Fails as MmapStore::open().
  static Result<TableFiles> open(const std::vector<TableSegment>& segments);

  Index rows() const noexcept { return probe_.num_rows(); }
  /// From the first row of each segment to its last, what lies between them included.
  Index bytes() const noexcept;

  /// Has the system drop all pages of the files: those that mappings of this process hold, then
  /// those of the cache.
  void forget() const;

  /// Reads the window, so that it is in memory as long as the system has room and nobody has it
  /// dropped; then it is also in the page tables of this process's mappings. Fails with io.
  Result<void> read(const RowWindow& window) const;

  /// The share of some rows of the window, spread over it, that are in memory; -1: the system does
  /// not say.
  double resident_share(const RowWindow& window) const;

  /// The whole table, or as many rows as `bytes` hold, from `place` (0 to 1) of it on, inside one
  /// segment.
  RowWindow window(Index bytes, double place) const;

 private:
  TableFiles(std::vector<TableSegment> segments, MmapStore probe)
      : segments_(std::move(segments)), probe_(std::move(probe)) {}

  std::vector<TableSegment> segments_;
  MmapStore probe_;  // never touched: it holds no page
};

/// Bytes that the system could give to a program or to its cache of files now; -1: it does not say.
Index free_memory();

}  // namespace engram::read_bench
