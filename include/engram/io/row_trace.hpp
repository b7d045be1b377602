// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which rows a text asked for, in a file: the windows of its tokens, beside the layout that turns
// each into rows. The rows of a DeepSeek-V4.1 token are 48 numbers, its window is one more id than
// the one before, so that a trace of a hundred million tokens is 400 MB. docs/row-traces.md has the
// format.
//
//   auto trace = RowTrace::open("text.trace").value();
//   auto hash = MultiplicativeXor::make(trace.layout()).value();
//   for (std::vector<NgramWindow> windows; trace.next(windows).value() > 0;)
//     address_windows(hash, windows.data(), ..., rows);

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/json_names.hpp>
#include <engram/io/seekable_file.hpp>

#include <cstring>

#if !defined(XXH_INLINE_ALL)
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

ENGRAM_BEGIN_NAMESPACE

namespace row_trace_format {

inline constexpr std::uint32_t version = 1;
inline constexpr char magic[8] = {'E', 'N', 'G', 'R', 'T', 'R', 'C', 'E'};
/// Begins the last bytes of the file, which are written when all others are.
inline constexpr char end_magic[8] = {'E', 'N', 'G', 'R', 'T', 'E', 'N', 'D'};
inline constexpr Index block_tokens = 4096;
inline constexpr Index prefix_bytes = 16, checksum_bytes = 8, end_bytes = 32;
inline constexpr Index most_layout_bytes = Index{1} << 26;

inline void put(std::vector<std::byte>& bytes, std::uint64_t value, int width) {
  for (int b = 0; b < width; ++b) bytes.push_back(static_cast<std::byte>(value >> (8 * b)));
}
inline std::uint64_t get(const std::byte* at, int width) noexcept {
  std::uint64_t value = 0;
  for (int b = 0; b < width; ++b) value |= std::to_integer<std::uint64_t>(at[b]) << (8 * b);
  return value;
}
inline std::int32_t get_id(const std::byte* at) noexcept {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(get(at, 4)));
}

/// XXH3 of the bytes. `seed`: 0 for the header; for block b the header's checksum + b, and for the
/// end the header's checksum + the number of blocks, so that no part of another trace fits.
inline std::uint64_t checksum(const std::byte* bytes, Index count, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(bytes, static_cast<std::size_t>(count), seed);
}
inline void seal(std::vector<std::byte>& bytes, std::uint64_t seed) {
  put(bytes, checksum(bytes.data(), static_cast<Index>(bytes.size()), seed), checksum_bytes);
}
/// Whether the last 8 of `count` bytes are the checksum of those before.
inline bool is_sealed(const std::byte* bytes, Index count, std::uint64_t seed) noexcept {
  return get(bytes + count - checksum_bytes, checksum_bytes) ==
         checksum(bytes, count - checksum_bytes, seed);
}

/// Of a block of T tokens of which B have their history written out, in n-grams of up to N tokens.
inline constexpr Index block_bytes(Index tokens, Index breaks, int max_ngram_size) noexcept {
  return 8 + 4 * tokens + 4 * max_ngram_size * breaks + checksum_bytes;
}

/// Whether a window is one that an extractor can give: ids below `canonical_size`, behind a blocked
/// place only blocked ones, none beyond the longest n-gram.
inline bool is_window(const NgramWindow& window, int max_ngram_size,
                      Index canonical_size) noexcept {
  bool blocked = false;
  for (int s = 0; s < max_order; ++s) {
    const std::int32_t id = window.ids[s];
    if (id < -1 || id >= canonical_size) return false;
    if (id >= 0 && (blocked || s >= max_ngram_size)) return false;
    blocked = blocked || id < 0;
  }
  return true;
}

/// The window behind `before` when nothing is blocked anew.
inline NgramWindow follow(const NgramWindow& before, std::int32_t id, int max_ngram_size) noexcept {
  NgramWindow window{};
  window.ids[0] = id;
  for (int s = 1; s < max_order; ++s) window.ids[s] = s < max_ngram_size ? before.ids[s - 1] : -1;
  return window;
}

/// A block without its checksum, as windows. Fails with the reason in a few words.
inline const char* parse_block(const std::byte* block, const Layout& layout,
                               std::vector<NgramWindow>& windows) {
  const int n = layout.max_ngram_size;
  const auto tokens = static_cast<Index>(get(block, 4)),
             breaks = static_cast<Index>(get(block + 4, 4));
  const std::byte* const ids = block + 8;
  const std::byte* at = ids + 4 * tokens;
  windows.clear();
  Index broken = 0;
  for (Index t = 0; t < tokens; ++t) {
    if (broken < breaks && static_cast<Index>(get(at, 4)) == t) {
      NgramWindow history{};
      for (int s = 0; s + 1 < max_order; ++s)
        history.ids[s] = s < n - 1 ? get_id(at + 4 + 4 * s) : -1;
      windows.push_back(follow(history, get_id(ids + 4 * t), n));
      at += 4 * n;
      ++broken;
    } else if (t == 0) {
      return "the first token has no history";
    } else {
      windows.push_back(follow(windows.back(), get_id(ids + 4 * t), n));
    }
    if (!is_window(windows.back(), n, layout.canonical_size)) return "an id is out of range";
  }
  return broken == breaks ? nullptr : "the places of histories do not ascend";
}

}  // namespace row_trace_format

/// A finished trace, read from its beginning to its end by one thread.
class RowTrace {
 public:
  /// Reads header and end, no block.
  ///
  /// Fails with io; unsupported for another kind of file, a later format, or a layout that this
  /// library does not know; corrupt for a file that was not finished or is damaged.
  static Result<RowTrace> open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  /// The layout that the text was addressed with.
  const Layout& layout() const noexcept { return layout_; }
  /// In the whole file.
  Index tokens() const noexcept { return tokens_; }

  /// ok, or mismatch when the trace is of another layout; with both digests.
  Result<void> expect(std::string_view layout_digest) const;

  /// The windows of the next block, at most 4,096, in the order in which they were asked for; gives
  /// their number, 0 at the end.
  ///
  /// Fails with io, and with corrupt (index: the block) for damage or counts that do not fit.
  Result<Index> next(std::vector<NgramWindow>& windows);

 private:
  RowTrace(std::string path, Layout layout, SeekableFile file)
      : path_(std::move(path)), layout_(std::move(layout)), file_(std::move(file)) {}

  Failure damaged(std::string_view why) const {
    return fail(Code::corrupt, {path_, ": block ", block_, ": ", why}, block_);
  }

  std::string path_;
  Layout layout_;
  SeekableFile file_;
  Index tokens_ = 0, blocks_ = 0, end_ = 0;  // end_: where the last bytes begin
  std::uint64_t seed_ = 0;
  Index at_ = 0, block_ = 0, read_ = 0;
  std::vector<std::byte> bytes_;
};

inline Result<RowTrace> RowTrace::open(const std::string& path) {
  namespace format = row_trace_format;
  const auto damaged = [&](std::string_view why) {
    return fail(Code::corrupt, {path, ": damaged: ", why});
  };
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  const Result<Index> size = file.value().size();
  if (!size.ok()) return size.failure();
  std::vector<std::byte> header(static_cast<std::size_t>(format::prefix_bytes));
  const Result<Index> got = file.value().read(0, header.data(), format::prefix_bytes);
  if (!got.ok()) return got.failure();
  if (std::memcmp(header.data(), format::magic, sizeof format::magic) != 0)
    return fail(Code::unsupported, {path, ": no row trace, it does not begin with \"",
                                    std::string_view(format::magic, sizeof format::magic), "\""});
  if (got.value() < format::prefix_bytes) return damaged("cut off, or not finished");
  if (const std::uint64_t found = format::get(header.data() + 8, 4); found != format::version)
    return fail(Code::unsupported, {path, ": a row trace of format ", found,
                                    ", this version reads ", format::version});
  const auto layout_bytes = static_cast<Index>(format::get(header.data() + 12, 4));
  const Index header_bytes = format::prefix_bytes + layout_bytes + format::checksum_bytes;
  if (layout_bytes > format::most_layout_bytes || size.value() < header_bytes + format::end_bytes)
    return damaged("cut off, or not finished");
  header.resize(static_cast<std::size_t>(header_bytes));
  const Result<Index> whole = file.value().read(0, header.data(), header_bytes);
  if (!whole.ok()) return whole.failure();
  if (whole.value() < header_bytes || !format::is_sealed(header.data(), header_bytes, 0))
    return damaged("the header's checksum is wrong");
  Result<Layout> layout = parse_layout(Bytes(header.data() + format::prefix_bytes, layout_bytes));
  if (!layout.ok())
    return fail(layout.status().code, {path, ": ", layout.message()}, layout.status().index);

  RowTrace trace(path, std::move(layout).value(), std::move(file).value());
  trace.seed_ = format::get(header.data() + header_bytes - 8, 8);
  trace.at_ = header_bytes;
  trace.end_ = size.value() - format::end_bytes;
  std::byte end[format::end_bytes] = {};
  const Result<Index> end_got = trace.file_.read(trace.end_, end, format::end_bytes);
  if (!end_got.ok()) return end_got.failure();
  if (std::memcmp(end, format::end_magic, sizeof format::end_magic) != 0)
    return damaged("cut off, or not finished");
  const std::uint64_t tokens = format::get(end + 8, 8), blocks = format::get(end + 16, 8);
  if (!format::is_sealed(end, format::end_bytes, trace.seed_ + blocks))
    return damaged("the checksum of its end is wrong");
  const auto room = static_cast<std::uint64_t>(trace.end_ - trace.at_);
  if (tokens > room / 4 || blocks > tokens || (tokens > 0 && blocks == 0))
    return damaged("its numbers do not fit one another");
  trace.tokens_ = static_cast<Index>(tokens);
  trace.blocks_ = static_cast<Index>(blocks);
  return trace;
}

inline Result<void> RowTrace::expect(std::string_view digest) const {
  const std::string found = layout_digest(layout_);
  if (found == digest) return {};
  return fail(Code::mismatch, {path_, ": recorded for layout ", quote_name(found), ", expected ",
                               quote_name(digest)});
}

inline Result<Index> RowTrace::next(std::vector<NgramWindow>& windows) {
  namespace format = row_trace_format;
  windows.clear();
  if (block_ == blocks_) {
    if (at_ != end_ || read_ != tokens_)
      return fail(Code::corrupt, {path_, ": ", read_, " tokens in its blocks, expected ", tokens_},
                  block_);
    return Index{0};
  }
  std::byte counts[8] = {};
  const Result<Index> got = file_.read(at_, counts, 8);
  if (!got.ok()) return got.failure();
  const auto tokens = static_cast<Index>(format::get(counts, 4));
  const auto breaks = static_cast<Index>(format::get(counts + 4, 4));
  const Index bytes = format::block_bytes(tokens, breaks, layout_.max_ngram_size);
  if (tokens < 1 || tokens > format::block_tokens || breaks < 1 || breaks > tokens ||
      bytes > end_ - at_)
    return damaged("its numbers do not fit");
  bytes_.resize(static_cast<std::size_t>(bytes));
  const Result<Index> whole = file_.read(at_, bytes_.data(), bytes);
  if (!whole.ok()) return whole.failure();
  if (whole.value() < bytes ||
      !format::is_sealed(bytes_.data(), bytes, seed_ + static_cast<std::uint64_t>(block_)))
    return damaged("its checksum is wrong");
  if (const char* why = format::parse_block(bytes_.data(), layout_, windows)) {
    windows.clear();
    return damaged(why);
  }
  at_ += bytes;
  read_ += tokens;
  ++block_;
  return tokens;
}

ENGRAM_END_NAMESPACE
