// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where a table's rows are in files. Checkpoints split a table over shards, keep codes and scales
// in different tensors and start them at any byte, so a table is a list of segments and each says
// so itself. Whoever knows a file format makes this list; stores read by it.

#include <engram/core/view.hpp>
#include <engram/storage/row_shape.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A run of rows inside a file.
struct RowExtent {
  std::string path;
  int descriptor = -1;  ///< an open file, instead of the path; stays the caller's
  Index offset = 0;     ///< of the first row, in bytes from the start of the file
  Index rows = 0;
  Index stride = 0;  ///< bytes from one row to the next
  Index bytes = 0;   ///< of one row
  /// In pages, each with something else behind its rows: rows of a page, and bytes from one page to
  /// the next. 0: the rows lie in one run.
  Index page_rows = 0;
  Index page_bytes = 0;

  friend bool operator==(const RowExtent&, const RowExtent&) = default;
};

/// The next rows of a table: their codes and, in the same or another file, their scales.
struct TableSegment {
  RowExtent codes;
  RowExtent scales;  ///< as many rows as `codes`; left as it is: no scales

  ENGRAM_ALWAYS_INLINE bool has_scales() const { return !(scales == RowExtent()); }
};

ENGRAM_BEGIN_LOOPS

/// The segment of a row among `count`, in the order of their first rows. Precondition: 0 <= row,
/// and row is in one of them. O(log count).
template <class Segment>
ENGRAM_HD constexpr const Segment& segment_of(const Segment* segments, Index count,
                                              Index row) noexcept {
  for (Index n = count; n > 1;) {
    const Index half = n / 2;
    segments += segments[half].first_row <= row ? half : 0;
    n -= half;
  }
  return *segments;
}

/// The file's name for a sentence.
inline std::string name_of(const RowExtent& extent) {
  if (!extent.path.empty()) return extent.path;
  return extent.descriptor < 0 ? "no file" : sentence({"descriptor ", extent.descriptor});
}

/// Where a row begins, in bytes from the extent's first row on.
constexpr Index offset_of(const RowExtent& extent, Index row) noexcept {
  if (extent.page_rows == 0) return row * extent.stride;
  return row / extent.page_rows * extent.page_bytes + row % extent.page_rows * extent.stride;
}

/// The bytes from the extent's first row to the end of its last. Precondition: check_extent().
constexpr Index span_of(const RowExtent& extent) noexcept {
  return offset_of(extent, extent.rows - 1) + extent.bytes;
}

/// ok, or what is wrong with an extent; `what` names it. Does not look at the file.
inline Result<void> check_extent(const RowExtent& extent, std::string_view what, Index segment) {
  const auto wrong = [&](std::initializer_list<Piece> why) {
    return fail(Code::invalid_config,
                {"segment ", segment, ", ", what, " in ", name_of(extent), ": ", sentence(why)},
                segment);
  };
  if (extent.path.empty() && extent.descriptor < 0) return wrong({"expected a path or descriptor"});
  if (extent.rows < 1) return wrong({extent.rows, " rows, expected at least 1"});
  if (extent.bytes < 1) return wrong({"rows of ", extent.bytes, " bytes, expected at least 1"});
  if (extent.offset < 0) return wrong({"offset ", extent.offset, ", expected 0 or more"});
  if (extent.stride < extent.bytes)
    return wrong({"a stride of ", extent.stride, " bytes, expected at least the ", extent.bytes,
                  " bytes of a row"});
  const auto end_is_beyond = [&](Index offset, Index steps, Index step) {
    return offset > INT64_MAX - extent.bytes || steps > (INT64_MAX - extent.bytes - offset) / step;
  };
  if (extent.page_rows == 0 && extent.page_bytes == 0) {
    if (end_is_beyond(extent.offset, extent.rows - 1, extent.stride))
      return wrong({extent.rows, " rows, ", extent.stride, " bytes apart from offset ",
                    extent.offset, " on, end beyond 2^63 bytes"});
    return {};
  }
  if (extent.page_rows < 1 || end_is_beyond(0, extent.page_rows - 1, extent.stride) ||
      extent.page_bytes < (extent.page_rows - 1) * extent.stride + extent.bytes)
    return wrong({"pages of ", extent.page_rows, " rows and ", extent.page_bytes,
                  " bytes, expected at least one row, and room for its rows"});
  if (end_is_beyond(extent.offset, (extent.rows - 1) / extent.page_rows + 1, extent.page_bytes))
    return wrong({extent.rows, " rows in pages of ", extent.page_bytes, " bytes from offset ",
                  extent.offset, " on, end beyond 2^63 bytes"});
  return {};
}

/// What the segments add up to, or which of them is wrong. Looks at no file.
///
/// Fails with invalid_config (no segment, no file, a size below 1, a stride below the bytes of a
/// row, overflow) and mismatch (codes and scales of different rows, segments of different rows);
/// index: the segment.
inline Result<RowShape> check_segments(View<const TableSegment, 1> segments) {
  if (segments.size() == 0) return fail(Code::invalid_config, "a table of no segments");
  RowShape shape;
  for (Index s = 0; s < segments.size(); ++s) {
    const TableSegment& segment = segments(s);
    const RowExtent& codes = segment.codes;
    const RowExtent& scales = segment.scales;
    const bool has_scales = segment.has_scales();
    Result<void> checked = check_extent(codes, "codes", s);
    if (!checked.ok()) return checked.failure();
    if (has_scales) {
      const Result<void> also = check_extent(scales, "scales", s);
      if (!also.ok()) return also.failure();
      if (scales.rows != codes.rows)
        return fail(Code::mismatch,
                    {"segment ", s, ": ", scales.rows, " rows of scales in ", name_of(scales),
                     ", expected the ", codes.rows, " of the codes in ", name_of(codes)},
                    s);
    }
    if (s == 0) {
      shape.row_bytes = codes.bytes;
      shape.scale_bytes = scales.bytes;
    }
    if (codes.bytes != shape.row_bytes)
      return fail(Code::mismatch,
                  {"segment ", s, ": rows of ", codes.bytes, " bytes in ", name_of(codes),
                   ", expected ", shape.row_bytes, " as in segment 0"},
                  s);
    if (scales.bytes != shape.scale_bytes)
      return fail(Code::mismatch,
                  {"segment ", s, ": scales of ", scales.bytes, " bytes in ", name_of(scales),
                   ", expected ", shape.scale_bytes, " as in segment 0"},
                  s);
    if (codes.rows > INT64_MAX - shape.num_rows)
      return fail(Code::invalid_config, {"segment ", s, ": more than 2^63 rows with those before"},
                  s);
    shape.num_rows += codes.rows;
  }
  return shape;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
