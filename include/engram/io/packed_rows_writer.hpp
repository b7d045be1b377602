// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes packed rows. A table is hundreds of gigabytes, so the rows come a few at a time, and a
// writer that was killed is followed by one that goes on behind the last page that is whole. The
// file gets its name when all of it is on the disk and has been read back.

#include <engram/io/packed_rows.hpp>

#include <functional>

ENGRAM_BEGIN_NAMESPACE

/// Writes `path`.part, which becomes `path` in the end. One thread, and one writer of a path.
class PackedWriter {
 public:
  /// Begins, or goes on where another writer of the same rows stopped. What is there is read, to
  /// find out how much of it is whole.
  ///
  /// Fails with invalid_config (rows that fit no page, no layers, bad names); with mismatch when
  /// `path`.part is of other rows; with io, also for a disk with less free than the file still
  /// needs.
  static Result<PackedWriter> open(const std::string& path, const PackedInfo& info);

  Index rows() const noexcept { return info_.rows(); }
  /// Those that need not come again.
  Index rows_done() const noexcept { return done_; }

  /// The next rows, layer after layer, each its codes, then its scales.
  ///
  /// Fails with invalid_config, and nothing is taken, for bytes that are no whole rows or more than
  /// are missing; with io, from then on always: what is on the disk is for another writer to go on
  /// from.
  Result<void> append(Bytes rows);

  /// Syncs, reads all pages back and compares their checksums, writes the header, syncs, renames.
  ///
  /// verified  called now and then with the number of pages that were found good, of pages().
  /// Fails with invalid_config while rows are missing; with corrupt (index: the page) when the disk
  /// gives back something else; with io. `path` is as it was then.
  Result<void> finish(const std::function<void(Index)>& verified = {});

  Index pages() const noexcept { return packed_format::pages(info_); }

 private:
  PackedWriter(const std::string& path, const PackedInfo& info)
      : path_(path),
        part_(path + ".part"),
        info_(info),
        page_(static_cast<std::size_t>(packed_format::page_bytes)) {}

  /// How many pages of rows of an earlier writer are whole; -1: there is no such file.
  Result<Index> pages_there() const;
  Result<void> check_space(Index there) const;
  /// Rows that belong on the current page.
  Index page_rows() const noexcept {
    return std::min(packed_format::rows_per_page(info_), info_.layers[layer_].rows - layer_done_);
  }
  void next_page() noexcept {
    layer_done_ += page_rows();
    if (layer_done_ == info_.layers[layer_].rows) ++layer_, layer_done_ = 0;
    in_page_ = 0;
    ++page_number_;
  }

  std::string path_, part_;
  PackedInfo info_;
  std::unique_ptr<OutputFile> file_;
  std::vector<std::byte> page_;  // that is being filled
  Index page_number_ = 1;        // its place in the file
  Index in_page_ = 0;            // rows on it
  std::size_t layer_ = 0;
  Index layer_done_ = 0;  // rows of the layer on pages before
  Index done_ = 0;
};

inline Result<Index> PackedWriter::pages_there() const {
  std::error_code error;
  const std::filesystem::file_status there = std::filesystem::status(part_, error);
  if (!std::filesystem::status_known(there)) return file_failure("read", part_, error.value());
  if (!std::filesystem::exists(there)) return Index{-1};
  Result<SeekableFile> file = SeekableFile::open(part_);
  if (!file.ok()) return file.failure();
  const Result<Index> size = file.value().size();
  if (!size.ok()) return size.failure();
  if (size.value() < packed_format::page_bytes) return Index{-1};  // stopped at once
  std::byte page[packed_format::page_bytes] = {};
  const Result<Index> got = file.value().read(0, page, packed_format::page_bytes);
  if (!got.ok()) return got.failure();
  // Killed between its last header and its name, it has the header of a finished file; killed while
  // that was written, something of both.
  const std::vector<std::byte> begun = packed_format::header(info_, false);
  const std::vector<std::byte> ended = packed_format::header(info_, true);
  bool is_ours = true;
  for (std::size_t b = 0; b < begun.size(); ++b)
    is_ours = is_ours && (page[b] == begun[b] || page[b] == ended[b]);
  if (!is_ours) {
    const bool finished = std::memcmp(page, packed_format::magic, sizeof packed_format::magic) == 0;
    const Result<PackedInfo> found = packed_format::parse_header(page, finished, part_);
    return fail(Code::mismatch,
                {part_, ": not the beginning of these rows",
                 found.ok() ? std::string() : sentence({" (", found.message(), ")"}),
                 "; remove it to begin anew"});
  }
  const Result<Index> damaged = packed_format::first_damaged(file.value(), 1, pages());
  if (!damaged.ok()) return damaged.failure();
  return damaged.value() - 1;
}

inline Result<void> PackedWriter::check_space(Index there) const {
  const std::filesystem::path target(part_);
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(
      target.has_parent_path() ? target.parent_path() : std::filesystem::path("."), error);
  if (error) return file_failure("write", part_, error.value());
  const Index needed = packed_format::file_bytes(info_) - there;
  if (space.available >= static_cast<std::uintmax_t>(needed)) return {};
  return fail(Code::io,
              {"cannot write ", part_, ": ", needed, " more bytes needed, ",
               static_cast<Index>(space.available), " free"},
              -1, ENOSPC);
}

inline Result<PackedWriter> PackedWriter::open(const std::string& path, const PackedInfo& info) {
  if (Result<void> valid = packed_format::check(info); !valid.ok()) return valid.failure();
  PackedWriter writer(path, info);
  const Result<Index> there = writer.pages_there();
  if (!there.ok()) return there.failure();
  const bool fresh = there.value() < 0;
  const Index bytes = fresh ? 0 : (1 + there.value()) * packed_format::page_bytes;
  if (Result<void> room = writer.check_space(bytes); !room.ok()) return room.failure();
  if (!fresh) {
    std::error_code error;
    std::filesystem::resize_file(writer.part_, static_cast<std::uintmax_t>(bytes), error);
    if (error) return file_failure("write", writer.part_, error.value());
    for (Index page = 0; page < there.value(); ++page) {
      writer.done_ += writer.page_rows();
      writer.next_page();
    }
  }
  writer.file_ = std::make_unique<OutputFile>(writer.part_, fresh ? "wb" : "ab");
  if (fresh) {
    const std::vector<std::byte> header = packed_format::header(info, false);
    writer.file_->write(Bytes(header.data(), static_cast<Index>(header.size())));
  }
  if (const int error = writer.file_->error(); error != 0)
    return file_failure("write", writer.part_, error);
  return writer;
}

inline Result<void> PackedWriter::append(Bytes rows) {
  if (const int error = file_->error(); error != 0) return file_failure("write", part_, error);
  const Index each = info_.row_bytes + info_.scale_bytes;
  const Index count = rows.size() / each;
  if (rows.size() % each != 0 || count > this->rows() - done_)
    return fail(Code::invalid_config, {path_, ": ", rows.size(), " bytes, expected whole rows of ",
                                       each, " bytes and at most ", this->rows() - done_});
  for (Index r = 0; r < count; ++r) {
    std::memcpy(page_.data() + in_page_ * each, rows.data() + r * each,
                static_cast<std::size_t>(each));
    ++done_;
    if (++in_page_ < page_rows()) continue;
    packed_format::seal(page_.data(), page_number_);
    file_->write(Bytes(page_.data(), packed_format::page_bytes));
    if (const int error = file_->error(); error != 0) return file_failure("write", part_, error);
    std::fill(page_.begin(), page_.end(), std::byte{});
    next_page();
  }
  return {};
}

inline Result<void> PackedWriter::finish(const std::function<void(Index)>& verified) {
  if (done_ < rows())
    return fail(Code::invalid_config, {path_, ": ", done_, " rows of ", rows(), " written"});
  if (const int error = file_->close(Sync::disk); error != 0)
    return file_failure("write", part_, error);
  {
    Result<SeekableFile> file = SeekableFile::open(part_);
    if (!file.ok()) return file.failure();
    file.value().forget_cached();
    constexpr Index at_once = 16384;  // pages
    for (Index page = 0; page < pages(); page += at_once) {
      const Index count = std::min(at_once, pages() - page);
      const Result<Index> damaged = packed_format::first_damaged(file.value(), 1 + page, count);
      if (!damaged.ok()) return damaged.failure();
      if (damaged.value() < 1 + page + count)
        return fail(Code::corrupt,
                    {part_, ": page ", damaged.value() - 1, " was not read as it was written"},
                    damaged.value() - 1);
      if (verified) verified(page + count);
    }
  }
  const std::vector<std::byte> header = packed_format::header(info_, true);
  bool created = false;
  if (Result<void> written = write_in_place(
          part_,
          [&](OutputFile& file) {
            file.write(Bytes(header.data(), static_cast<Index>(header.size())));
          },
          Sync::disk, created, "r+b");
      !written.ok())
    return written;
  std::error_code error;
  std::filesystem::rename(part_, path_, error);
  if (error) return file_failure("rename to", path_, error.value());
  const std::filesystem::path target(path_);
  return sync_directory(target.has_parent_path() ? target.parent_path().string() : ".");
}

ENGRAM_END_NAMESPACE
