// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table read in place from checkpoint files: ready at once, larger than memory if need be, and
// shared by every process that opens it. The file formats are known elsewhere; here are byte
// ranges.

#include <engram/storage/mapped_file.hpp>
#include <engram/storage/row_extent.hpp>
#include <engram/storage/store.hpp>

#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// An extent's rows in memory.
struct MappedExtent {
  const std::byte* data = nullptr;
  Index stride = 0;
  Index page_rows = 0, page_bytes = 0;

  ENGRAM_HD constexpr const std::byte* operator()(Index row) const noexcept {
    if (page_rows == 0) return data + row * stride;
    return data + row / page_rows * page_bytes + row % page_rows * stride;
  }
};

/// Rows from `first_row` on, in memory. The scales' data is null when the format has none.
struct MappedSegment {
  Index first_row = 0;
  MappedExtent codes, scales;

  ENGRAM_HD constexpr RowBytes operator()(Index row) const noexcept {
    const Index i = row - first_row;
    return {codes(i), scales.data == nullptr ? nullptr : scales(i)};
  }
};

/// Row id -> address over segments in ascending order. A table of one segment, the usual case, is
/// held by value and not searched for; otherwise O(log segments).
struct MappedRows {
  MappedSegment first;
  const MappedSegment* segments = nullptr;  ///< all of them, owned by the store
  Index count = 0;

  ENGRAM_HD constexpr RowBytes operator()(Index row) const noexcept {
    if (count == 1) return first(row);
    return segment_of(segments, count, row)(row);
  }
};

/// The rows of all segments, one behind the other, read in place.
///
/// The files must keep their length while the store lives, see sigbus_guard.hpp. Moves, is not
/// copied; refs stay valid when it moves, and what was moved from has no rows to give. Const calls
/// may run concurrently.
class MmapStore {
 public:
  using space_type = HostSpace;
  static constexpr bool may_fault = true;

  /// Maps the segments' files; descriptors are not needed afterwards. Any offset, any stride of at
  /// least a row's bytes; codes and scales may be interleaved or in different files.
  ///
  /// Fails with what check_segments() and MappedFile::open() say: invalid_config, mismatch, io,
  /// corrupt (a file is too short), unsupported. Reads no row.
  static Result<MmapStore> open(std::vector<TableSegment> segments);

  Index num_rows() const noexcept { return shape_.num_rows; }
  Index row_bytes() const noexcept { return shape_.row_bytes; }
  Index scale_bytes() const noexcept { return shape_.scale_bytes; }

  MappedRows ref() const noexcept {
    return {segments_.front(), segments_.data(), static_cast<Index>(segments_.size())};
  }

 private:
  ENGRAM_ALWAYS_INLINE MmapStore(RowShape shape, std::vector<MappedFile> files,
                                 std::vector<MappedSegment> segments)
      : shape_(shape), files_(std::move(files)), segments_(std::move(segments)) {}

  RowShape shape_;
  std::vector<MappedFile> files_;
  std::vector<MappedSegment> segments_;
};
static_assert(check_addressable_store<MmapStore>());

ENGRAM_BEGIN_LOOPS

/// The bytes of an extent, from its first row on. Precondition: check_extent().
inline Result<MappedFile> map_extent(const RowExtent& extent) {
  if (extent.descriptor < 0) return MappedFile::open(extent.path, extent.offset, span_of(extent));
  return MappedFile::of_descriptor(extent.descriptor, name_of(extent), extent.offset,
                                   span_of(extent));
}

inline MappedExtent mapped_extent(const RowExtent& extent, const MappedFile& file) noexcept {
  return {file.data(), extent.stride, extent.page_rows, extent.page_bytes};
}

ENGRAM_END_LOOPS

ENGRAM_ALWAYS_INLINE Result<MmapStore> MmapStore::open(std::vector<TableSegment> segments) {
  const auto failed = [](const Failure& why) {
    return Failure{why.status, "mmap store: " + why.message};
  };
  const Result<RowShape> shape = check_segments(segments);
  if (!shape.ok()) return failed(shape.failure());
  std::vector<MappedFile> files;
  std::vector<MappedSegment> mapped;
  Index first_row = 0;
  for (const TableSegment& segment : segments) {
    MappedSegment rows;
    rows.first_row = first_row;
    Result<MappedFile> codes = map_extent(segment.codes);
    if (!codes.ok()) return failed(codes.failure());
    rows.codes = mapped_extent(segment.codes, codes.value());
    files.push_back(std::move(codes.value()));
    if (shape.value().scale_bytes > 0) {
      Result<MappedFile> scales = map_extent(segment.scales);
      if (!scales.ok()) return failed(scales.failure());
      rows.scales = mapped_extent(segment.scales, scales.value());
      files.push_back(std::move(scales.value()));
    }
    mapped.push_back(rows);
    first_row += segment.codes.rows;
  }
  return MmapStore(shape.value(), std::move(files), std::move(mapped));
}

ENGRAM_END_NAMESPACE
