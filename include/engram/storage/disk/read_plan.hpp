// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// From the rows of a batch to reads of whole pages: in the order of the files, each page once
// whatever asks for it, neighbours in one read. Where a disk gives so many reads a second and no
// more, this decides how long a batch takes.

#include <engram/storage/disk/disk_file.hpp>
#include <engram/storage/row_extent.hpp>

#include <algorithm>

ENGRAM_BEGIN_NAMESPACE

/// Reads that would touch both pages are joined while they stay within this: on a disk of 84,000
/// reads of 4 KiB a second, 16 KiB took as long as two of them (docs/benchmarks.md).
inline constexpr Index joined_read_bytes = 16384;

/// Bytes of a file that go to one place.
struct ReadPiece {
  Index offset = 0;  ///< in the file
  Index to = 0;      ///< in the caller's bytes
  std::int32_t bytes = 0;
  std::int32_t file = 0;
};

/// Whole pages of one file, and the pieces in them.
struct PlannedRead {
  Index offset = 0;
  Index bytes = 0;
  Index needed = 0;  ///< of `bytes`, up to the end of the last piece: behind it the file may end
  Index first_piece = 0;
  Index pieces = 0;
  std::int32_t file = 0;
};

/// A segment whose files are open, in places of the store's list.
struct DiskSegment {
  Index first_row = 0;
  TableSegment extents;
  std::int32_t code_file = 0, scale_file = 0;
  bool is_joined = false;  ///< a row's scales lie behind its codes: one piece
};

ENGRAM_BEGIN_LOOPS

/// Whether a row's scales follow its codes in the file.
inline bool scales_follow(const TableSegment& segment) {
  RowExtent expected = segment.codes;
  expected.offset += expected.bytes;
  expected.bytes = segment.scales.bytes;
  return segment.scales == expected;
}

/// Where a row's bytes are. Appends one or two pieces; `to` is the row's place in the caller's
/// bytes.
inline void append_pieces(const DiskSegment& segment, Index row, Index to, ReadPiece* pieces,
                          Index& count) noexcept {
  const RowExtent& codes = segment.extents.codes;
  const RowExtent& scales = segment.extents.scales;
  const Index i = row - segment.first_row;
  const Index code_bytes = segment.is_joined ? codes.bytes + scales.bytes : codes.bytes;
  pieces[count++] = {codes.offset + offset_of(codes, i), to, static_cast<std::int32_t>(code_bytes),
                     segment.code_file};
  if (segment.is_joined || !segment.extents.has_scales()) return;
  pieces[count++] = {scales.offset + offset_of(scales, i), to + codes.bytes,
                     static_cast<std::int32_t>(scales.bytes), segment.scale_file};
}

/// Sorts pieces by their place and covers them with reads; gives how many.
///
/// reads   room for `count`.
/// Cost    O(count log count), no allocation.
inline Index plan_reads(ReadPiece* pieces, Index count, PlannedRead* reads) noexcept {
  std::sort(pieces, pieces + count, [](const ReadPiece& a, const ReadPiece& b) {
    return a.file != b.file ? a.file < b.file : a.offset < b.offset;
  });
  Index made = 0;
  for (Index p = 0; p < count; ++p) {
    const ReadPiece& piece = pieces[p];
    const Index begin = page_down(piece.offset);
    const Index end = page_up(piece.offset + piece.bytes);
    if (made > 0) {
      PlannedRead& last = reads[made - 1];
      const Index joined = std::max(last.offset + last.bytes, end) - last.offset;
      if (last.file == piece.file && (joined == last.bytes || joined <= joined_read_bytes)) {
        last.bytes = joined;
        last.needed = std::max(last.needed, piece.offset + piece.bytes - last.offset);
        ++last.pieces;
        continue;
      }
    }
    reads[made++] = {begin, end - begin, piece.offset + piece.bytes - begin, p, 1, piece.file};
  }
  return made;
}

ENGRAM_END_LOOPS

ENGRAM_END_NAMESPACE
