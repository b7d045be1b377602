// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table on a disk, larger than memory: rows come in batches by reads past the system's cache,
// many at the same time. Never a signal: what happens to a file is a status.
//
//   auto store = DirectStore<ThreadReads>::open(segments, ThreadReads::make(32).value()).value();
//   auto reader = store.reader();
//   reader.submit(rows, bytes, ticket);  // compute something else, then
//   reader.wait(ticket);

#include <engram/storage/disk/direct_reader.hpp>
#include <engram/storage/disk/read_depth.hpp>

#include <string>

ENGRAM_BEGIN_NAMESPACE

struct DirectOptions {
  Index depth = 0;         ///< reads at the same time, 1 to 4,096; 0: measured at open, some 100 ms
  Index most_batches = 4;  ///< of one reader on the way, 1 to 64
  /// Compare pages with their checksums. Only where the files have some, as packed rows have.
  Verify verify = Verify::off;
  PageCheck page_check = nullptr;
};

/// How a store reads.
struct DirectReport {
  std::string reads;                ///< what carries them: "io_uring", "threads"
  Index files = 0;                  ///< of the table
  Index direct_files = 0;           ///< of these, read past the system's cache
  Index depth = 0;                  ///< reads at the same time, of one reader
  std::vector<DepthRate> measured;  ///< empty: the caller chose the depth, or the table is small
};

/// Rows of segments as in MmapStore, read when asked for. A FetchStore.
///
/// Files stay open: one that is replaced under its name meanwhile is read as it was. One that is
/// written to gives new bytes, and without checksums nobody can tell. Moves, is not copied; readers
/// keep what they read from, also when the store goes. Const calls may run concurrently.
template <class Reads>
class DirectStore {
  static_assert(check_disk_reads<Reads>());

 public:
  /// Fails with what check_segments() and DiskFile::open() say: invalid_config, mismatch, io,
  /// corrupt (a file is too short), unsupported, also for verify without a check.
  static Result<DirectStore> open(const std::vector<TableSegment>& segments, Reads reads,
                                  DirectOptions options = {});

  Index num_rows() const noexcept { return source_->shape.num_rows; }
  Index row_bytes() const noexcept { return source_->shape.row_bytes; }
  Index scale_bytes() const noexcept { return source_->shape.scale_bytes; }
  std::uint64_t generation() const noexcept { return generation_; }

  DirectReader<Reads> reader() const { return DirectReader<Reads>(source_, *reads_); }

  const DirectReport& report() const noexcept { return report_; }
  /// Its open files and where rows are in them.
  const DirectSource& source() const noexcept { return *source_; }

 private:
  DirectStore() = default;

  std::unique_ptr<Reads> reads_;
  std::shared_ptr<DirectSource> source_;
  DirectReport report_;
  std::uint64_t generation_ = next_generation();
};

/// Opens each file of the segments once.
///
/// Fails as DiskFile::open().
inline Result<DirectSource> open_source(const std::vector<TableSegment>& segments) {
  DirectSource source;
  const Result<RowShape> shape = check_segments(segments);
  if (!shape.ok()) return shape.failure();
  source.shape = shape.value();
  constexpr Index most_bytes = Index{1} << 30;
  if (shape.value().row_bytes > most_bytes - shape.value().scale_bytes)
    return fail(Code::unsupported, {"rows of more than ", most_bytes, " bytes"});
  struct Opened {
    const RowExtent* extent;
    Index end;
  };
  std::vector<Opened> files;
  const auto place_of = [&](const RowExtent& extent) {
    std::size_t f = 0;
    while (f < files.size() && (files[f].extent->path != extent.path ||
                                files[f].extent->descriptor != extent.descriptor))
      ++f;
    if (f == files.size()) files.push_back({&extent, 0});
    files[f].end = std::max(files[f].end, extent.offset + span_of(extent));
    return static_cast<std::int32_t>(f);
  };
  Index first_row = 0;
  for (const TableSegment& segment : segments) {
    DiskSegment opened{first_row, segment, place_of(segment.codes), 0, false};
    if (segment.has_scales()) {
      opened.scale_file = place_of(segment.scales);
      opened.is_joined = scales_follow(segment);
    }
    source.segments.push_back(opened);
    first_row += segment.codes.rows;
  }
  for (const Opened& file : files) {
    const RowExtent& extent = *file.extent;
    Result<DiskFile> opened =
        extent.descriptor < 0
            ? DiskFile::open(extent.path, file.end)
            : DiskFile::of_descriptor(extent.descriptor, name_of(extent), file.end);
    if (!opened.ok()) return opened.failure();
    source.files.push_back(std::move(opened).value());
  }
  const Index longest =
      page_up(shape.value().row_bytes + shape.value().scale_bytes) + disk_page_bytes;
  source.read_bytes = std::max(joined_read_bytes, longest);
  return DirectSource(std::move(source));  // nvcc would copy it
}

template <class Reads>
Result<DirectStore<Reads>> DirectStore<Reads>::open(const std::vector<TableSegment>& segments,
                                                    Reads reads, DirectOptions options) {
  const auto refuse = [](Index value, const char* what, Index most) {
    return fail(Code::invalid_config,
                {"direct store: ", value, " ", what, ", expected 1 to ", most});
  };
  if (options.depth < 0 || options.depth > 4096)
    return refuse(options.depth, "reads at the same time", 4096);
  if (options.most_batches < 1 || options.most_batches > 64)
    return refuse(options.most_batches, "batches on the way", 64);
  if (options.verify != Verify::off && options.page_check == nullptr)
    return fail(Code::unsupported,
                "direct store: nothing to verify, these files have no checksums");
  Result<DirectSource> source = open_source(segments);
  if (!source.ok()) return Failure{source.status(), sentence({"direct store: ", source.message()})};

  DirectStore store;
  store.reads_ = std::make_unique<Reads>(std::move(reads));
  store.source_ = std::make_shared<DirectSource>(std::move(source).value());
  DirectSource& made = *store.source_;
  made.verify = options.verify;
  made.page_check = options.page_check;
  made.most_batches = options.most_batches;
  made.depth = options.depth;
  store.report_.reads = std::string(store.reads_->name());
  store.report_.files = static_cast<Index>(made.files.size());
  for (const DiskFile& file : made.files) store.report_.direct_files += file.is_direct() ? 1 : 0;
  if (made.depth == 0) {
    const DiskSegment& first = made.segments.front();
    const RowExtent& codes = first.extents.codes;
    const DepthRange range{made.descriptor(first.code_file), page_down(codes.offset),
                           span_of(codes) / disk_page_bytes};
    constexpr Index least_pages = 4096;  // of fewer, most would be read again and again
    made.depth = range.pages < least_pages
                     ? 64
                     : measured_depth(*store.reads_, range, store.report_.measured);
  }
  store.report_.depth = made.depth;
  return DirectStore(std::move(store));
}

ENGRAM_END_NAMESPACE
