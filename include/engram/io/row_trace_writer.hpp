// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes a row trace while an engine or a tokenizer goes on: windows come as many at a time as
// there are, the file grows by blocks, and it gets its name when it is whole.

#include <engram/io/row_trace.hpp>

#include <memory>

ENGRAM_BEGIN_NAMESPACE

/// Writes `path`.part, which becomes `path` in the end. Without finish() nothing is left. One
/// thread, and one writer of a path.
class RowTraceWriter {
 public:
  /// Fails with what validate() says of the layout, and with io.
  static Result<RowTraceWriter> create(const std::string& path, const Layout& layout);

  RowTraceWriter(RowTraceWriter&&) = default;
  RowTraceWriter& operator=(RowTraceWriter&&) = delete;
  ~RowTraceWriter() {
    if (!file_) return;
    file_.reset();
    std::remove(part_.c_str());
  }

  Index tokens() const noexcept { return tokens_; }

  /// The next windows, in the order in which their rows are asked for: of one sequence or of many,
  /// in which case each window that does not follow the one before takes 4 N bytes more.
  ///
  /// Fails with bad_state (index: the place among `windows`), and nothing is taken, for a window
  /// that the layout's extractor cannot give; with io; with bad_state after finish().
  Result<void> append(View<const NgramWindow, 1> windows);

  /// Writes the end and renames. Fails with io; `path` is as it was then. bad_state when it was
  /// finished.
  Result<void> finish();

 private:
  RowTraceWriter(const std::string& path, const Layout& layout)
      : path_(path),
        part_(path + ".part"),
        max_ngram_size_(layout.max_ngram_size),
        canonical_size_(layout.canonical_size) {}

  Result<void> write_block();

  std::string path_, part_;
  int max_ngram_size_;
  Index canonical_size_;
  std::unique_ptr<OutputFile> file_;
  std::vector<NgramWindow> block_;
  std::vector<std::byte> bytes_;
  std::uint64_t seed_ = 0;
  Index tokens_ = 0, blocks_ = 0;
};

inline Result<RowTraceWriter> RowTraceWriter::create(const std::string& path,
                                                     const Layout& layout) {
  namespace format = row_trace_format;
  if (Result<void> valid = validate(layout); !valid.ok()) return valid.failure();
  RowTraceWriter writer(path, layout);
  const std::string canonical = serialize(layout);
  std::vector<std::byte> header;
  for (const char c : format::magic) header.push_back(static_cast<std::byte>(c));
  format::put(header, format::version, 4);
  format::put(header, canonical.size(), 4);
  for (const char c : canonical) header.push_back(static_cast<std::byte>(c));
  format::seal(header, 0);
  writer.seed_ = format::get(header.data() + header.size() - 8, 8);
  writer.file_ = std::make_unique<OutputFile>(writer.part_, "wb");
  writer.file_->write(Bytes(header.data(), static_cast<Index>(header.size())));
  if (const int error = writer.file_->error(); error != 0)
    return file_failure("write", writer.part_, error);
  return writer;
}

inline Result<void> RowTraceWriter::append(View<const NgramWindow, 1> windows) {
  if (file_ == nullptr) return fail(Code::bad_state, {path_, ": finished"});
  for (Index i = 0; i < windows.size(); ++i)
    if (!row_trace_format::is_window(windows(i), max_ngram_size_, canonical_size_))
      return fail(Code::bad_state,
                  {path_, ": window ", i, " has an id beyond the compressed vocabulary, or one ",
                   "behind a blocked place"},
                  i);
  for (Index i = 0; i < windows.size(); ++i) {
    block_.push_back(windows(i));
    ++tokens_;
    if (static_cast<Index>(block_.size()) == row_trace_format::block_tokens)
      if (Result<void> written = write_block(); !written.ok()) return written;
  }
  return {};
}

inline Result<void> RowTraceWriter::write_block() {
  namespace format = row_trace_format;
  bytes_.clear();
  format::put(bytes_, block_.size(), 4);
  format::put(bytes_, 0, 4);
  const auto put_id = [&](std::int32_t id) {
    format::put(bytes_, static_cast<std::uint32_t>(id), 4);
  };
  for (const NgramWindow& window : block_) put_id(window.ids[0]);
  std::uint32_t breaks = 0;
  for (std::size_t t = 0; t < block_.size(); ++t) {
    const NgramWindow& window = block_[t];
    if (t > 0) {
      const NgramWindow expected = format::follow(block_[t - 1], window.ids[0], max_ngram_size_);
      if (std::memcmp(expected.ids, window.ids, sizeof expected.ids) == 0) continue;
    }
    ++breaks;
    format::put(bytes_, t, 4);
    for (int s = 1; s < max_ngram_size_; ++s) put_id(window.ids[s]);
  }
  for (int b = 0; b < 4; ++b)
    bytes_[static_cast<std::size_t>(4 + b)] = static_cast<std::byte>(breaks >> (8 * b));
  format::seal(bytes_, seed_ + static_cast<std::uint64_t>(blocks_));
  file_->write(Bytes(bytes_.data(), static_cast<Index>(bytes_.size())));
  block_.clear();
  ++blocks_;
  if (const int error = file_->error(); error != 0) return file_failure("write", part_, error);
  return {};
}

inline Result<void> RowTraceWriter::finish() {
  namespace format = row_trace_format;
  if (file_ == nullptr) return fail(Code::bad_state, {path_, ": finished"});
  if (!block_.empty())
    if (Result<void> written = write_block(); !written.ok()) return written;
  bytes_.clear();
  for (const char c : format::end_magic) bytes_.push_back(static_cast<std::byte>(c));
  format::put(bytes_, static_cast<std::uint64_t>(tokens_), 8);
  format::put(bytes_, static_cast<std::uint64_t>(blocks_), 8);
  format::seal(bytes_, seed_ + static_cast<std::uint64_t>(blocks_));
  file_->write(Bytes(bytes_.data(), static_cast<Index>(bytes_.size())));
  if (const int error = file_->close(Sync::none); error != 0)
    return file_failure("write", part_, error);
  std::error_code error;
  std::filesystem::rename(part_, path_, error);
  if (error) return file_failure("rename to", path_, error.value());
  file_.reset();
  return {};
}

ENGRAM_END_NAMESPACE
