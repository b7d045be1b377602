// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table's rows packed for reading from a disk: codes and scales side by side in pages of 4 KiB
// that hold whole rows, so that a row is one read, and a checksum in each page, so that damage is
// found. docs/packed-rows.md has the format.
//
//   auto packed = PackedRows::open("table.rows").value();
//   packed.expect(layout_digest(layout)).value();
//   auto store = MmapStore::open(packed.segments()).value();

#include <engram/io/quoted.hpp>
#include <engram/io/seekable_file.hpp>
#include <engram/storage/row_extent.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#if !defined(XXH_INLINE_ALL)
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

ENGRAM_BEGIN_NAMESPACE

/// Rows of one layer. Layers follow one another, each from a new page on.
struct PackedLayer {
  std::int32_t layer_id = 0;
  Index rows = 0;

  friend bool operator==(const PackedLayer&, const PackedLayer&) = default;
};

/// What a packed file holds.
struct PackedInfo {
  Index row_bytes = 0;    ///< codes of a row
  Index scale_bytes = 0;  ///< its scales; 0: none
  std::string codes;      ///< their element type, as safetensors or GGUF name it: "F8_E4M3", "Q4_K"
  std::string scales;     ///< empty: none
  std::vector<PackedLayer> layers;
  std::string layout_digest;  ///< layout_digest(layout); empty: nobody knows it

  Index rows() const noexcept {
    Index sum = 0;
    for (const PackedLayer& layer : layers) sum += layer.rows;
    return sum;
  }

  friend bool operator==(const PackedInfo&, const PackedInfo&) = default;
};

namespace packed_format {

inline constexpr Index page_bytes = 4096, checksum_bytes = 8;
inline constexpr Index payload_bytes = page_bytes - checksum_bytes;
inline constexpr std::uint32_t version = 1;
inline constexpr char magic[8] = {'E', 'N', 'G', 'R', 'R', 'O', 'W', 'S'};
/// Of a file that is still being written.
inline constexpr char unfinished_magic[8] = {'E', 'N', 'G', 'R', 'P', 'A', 'R', 'T'};
inline constexpr Index most_layers = 256, type_bytes = 16, digest_bytes = 32;

inline Index rows_per_page(const PackedInfo& info) noexcept {
  return payload_bytes / (info.row_bytes + info.scale_bytes);
}
inline Index pages_of(const PackedInfo& info, const PackedLayer& layer) noexcept {
  const Index each = rows_per_page(info);
  return layer.rows / each + (layer.rows % each != 0);
}
/// Pages of rows; the header is one more, in front of them.
inline Index pages(const PackedInfo& info) noexcept {
  Index sum = 0;
  for (const PackedLayer& layer : info.layers) sum += pages_of(info, layer);
  return sum;
}
inline Index file_bytes(const PackedInfo& info) noexcept { return (1 + pages(info)) * page_bytes; }

/// Of a page's payload, XXH3 with the page's number in the file as seed: a page in the wrong place
/// is a wrong page.
inline std::uint64_t checksum(const std::byte* page, Index number) noexcept {
  return XXH3_64bits_withSeed(page, static_cast<std::size_t>(payload_bytes),
                              static_cast<XXH64_hash_t>(number));
}
inline std::uint64_t stored_checksum(const std::byte* page) noexcept {
  std::uint64_t value = 0;
  for (Index b = 0; b < checksum_bytes; ++b)
    value |= std::to_integer<std::uint64_t>(page[payload_bytes + b]) << (8 * b);
  return value;
}
/// Whether a page of a file is what was written: a PageCheck for a DirectStore.
inline bool page_is_good(const std::byte* page, Index number) noexcept {
  return checksum(page, number) == stored_checksum(page);
}
/// Writes the checksum behind the payload.
inline void seal(std::byte* page, Index number) noexcept {
  const std::uint64_t value = checksum(page, number);
  for (Index b = 0; b < checksum_bytes; ++b)
    page[payload_bytes + b] = static_cast<std::byte>(value >> (8 * b));
}

/// ok, or why no file can hold such rows.
inline Result<void> check(const PackedInfo& info) {
  const auto wrong = [](std::initializer_list<Piece> why) {
    return fail(Code::invalid_config, {"packed rows: ", sentence(why)});
  };
  if (info.row_bytes < 1 || info.scale_bytes < 0 ||
      info.row_bytes > payload_bytes - info.scale_bytes)
    return wrong({"rows of ", info.row_bytes, " and ", info.scale_bytes,
                  " bytes, expected at least 1 and 0, together at most ", payload_bytes});
  if (info.layers.empty() || static_cast<Index>(info.layers.size()) > most_layers)
    return wrong({info.layers.size(), " layers, expected 1 to ", most_layers});
  const auto is_type = [](const std::string& name) {
    return static_cast<Index>(name.size()) < type_bytes &&
           name.find_first_not_of(
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
               "0123456789_") == name.npos;
  };
  if (info.codes.empty() || !is_type(info.codes) || !is_type(info.scales) ||
      info.scales.empty() != (info.scale_bytes == 0))
    return wrong({"element types ", quote_name(info.codes), " and ", quote_name(info.scales),
                  ", expected names of at most 15 letters, digits and _, the second where there "
                  "are scales"});
  if (!info.layout_digest.empty() &&
      (info.layout_digest.size() != 64 ||
       info.layout_digest.find_first_not_of("0123456789abcdef") != info.layout_digest.npos))
    return wrong({"the layout digest ", quote_name(info.layout_digest),
                  ", expected 64 hexadecimal digits or none"});
  constexpr Index most_rows = INT64_MAX / page_bytes / 4;
  Index rows = 0;
  for (std::size_t i = 0; i < info.layers.size(); ++i) {
    const PackedLayer& layer = info.layers[i];
    if (layer.rows < 1 || layer.rows > most_rows - rows)
      return wrong({"layer ", layer.layer_id, " with ", layer.rows, " rows, expected 1 to ",
                    most_rows - rows});
    rows += layer.rows;
    for (std::size_t j = 0; j < i; ++j)
      if (info.layers[j].layer_id == layer.layer_id)
        return wrong({"layer ", layer.layer_id, " twice"});
  }
  return {};
}

/// The first page of a file. Precondition: check().
inline std::vector<std::byte> header(const PackedInfo& info, bool finished) {
  std::vector<std::byte> page(static_cast<std::size_t>(page_bytes));
  std::size_t at = 0;
  const auto put_bytes = [&](const void* from, std::size_t count, Index room) {
    std::memcpy(page.data() + at, from, count);
    at += static_cast<std::size_t>(room);
  };
  const auto put = [&](Index value, int width) {
    for (int b = 0; b < width; ++b)
      page[at++] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * b));
  };
  put_bytes(finished ? magic : unfinished_magic, sizeof magic, sizeof magic);
  put(version, 4);
  put(page_bytes, 4);
  put(info.rows(), 8);
  put(pages(info), 8);
  put(rows_per_page(info), 4);
  put(info.row_bytes, 4);
  put(info.scale_bytes, 4);
  put(static_cast<Index>(info.layers.size()), 4);
  put_bytes(info.codes.data(), info.codes.size(), type_bytes);
  put_bytes(info.scales.data(), info.scales.size(), type_bytes);
  const auto nibble = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t d = 0; d + 1 < info.layout_digest.size(); d += 2)
    page[at + d / 2] = static_cast<std::byte>(nibble(info.layout_digest[d]) << 4 |
                                              nibble(info.layout_digest[d + 1]));
  at += static_cast<std::size_t>(digest_bytes);
  for (const PackedLayer& layer : info.layers) {
    put(layer.layer_id, 4);
    put(layer.rows, 8);
  }
  seal(page.data(), 0);
  return page;
}

/// What a header says, of a finished file or of one that is being written.
///
/// Fails with unsupported (another format or version), corrupt (damaged, or numbers that do not fit
/// one another).
inline Result<PackedInfo> parse_header(const std::byte* page, bool finished,
                                       const std::string& path) {
  const auto damaged = [&](std::string_view why) {
    return fail(Code::corrupt, {path, ": damaged: ", why});
  };
  if (finished && std::memcmp(page, unfinished_magic, sizeof magic) == 0)
    return fail(Code::corrupt, {path, ": its packing was not finished; pack it again to go on"});
  if (std::memcmp(page, finished ? magic : unfinished_magic, sizeof magic) != 0)
    return fail(Code::unsupported, {path, ": no packed rows, it does not begin with \"",
                                    std::string_view(magic, sizeof magic), "\""});
  std::size_t at = sizeof magic;
  const auto get = [&](int width) {
    std::uint64_t value = 0;
    for (int b = 0; b < width; ++b) value |= std::to_integer<std::uint64_t>(page[at++]) << (8 * b);
    return width == 4 ? static_cast<Index>(static_cast<std::int32_t>(value))
                      : static_cast<Index>(value);
  };
  if (const Index found = get(4); found != version)
    return fail(Code::unsupported,
                {path, ": packed rows of format ", found, ", this version reads ", version});
  if (!page_is_good(page, 0)) return damaged("the header's checksum is wrong");
  const Index page_size = get(4), rows = get(8), page_count = get(8), per_page = get(4);
  PackedInfo info;
  info.row_bytes = get(4);
  info.scale_bytes = get(4);
  const Index layers = get(4);
  const auto get_type = [&] {
    const char* text = reinterpret_cast<const char*>(page + at);
    at += static_cast<std::size_t>(type_bytes);
    return std::string(text, std::find(text, text + type_bytes, '\0'));
  };
  info.codes = get_type();
  info.scales = get_type();
  for (const char c : info.codes + info.scales)
    if (c <= ' ' || c > '~') return damaged("an element type is no name");
  bool known = false;
  std::string digest;
  for (Index b = 0; b < digest_bytes; ++b) {
    const auto byte = std::to_integer<unsigned>(page[at++]);
    known = known || byte != 0;
    digest += "0123456789abcdef"[byte >> 4];
    digest += "0123456789abcdef"[byte & 15];
  }
  if (known) info.layout_digest = digest;
  if (layers < 1 || layers > most_layers) return damaged("the number of layers");
  for (Index l = 0; l < layers; ++l) {
    const auto id = static_cast<std::int32_t>(get(4));
    info.layers.push_back({id, get(8)});
  }
  if (const Result<void> checked = check(info); !checked.ok()) return damaged(checked.message());
  if (page_size != page_bytes || rows != info.rows() || per_page != rows_per_page(info) ||
      page_count != pages(info))
    return damaged("the header's numbers do not fit one another");
  return info;
}

/// The first of `count` pages from file page `first` on whose checksum is wrong or that is not
/// there; first + count: none.
inline Result<Index> first_damaged(SeekableFile& file, Index first, Index count) {
  constexpr Index at_once = 256;
  std::vector<std::byte> block(static_cast<std::size_t>(at_once * page_bytes));
  for (Index page = first; page < first + count; page += at_once) {
    const Index wanted = std::min(at_once, first + count - page);
    const Result<Index> got = file.read(page * page_bytes, block.data(), wanted * page_bytes);
    if (!got.ok()) return got.failure();
    for (Index i = 0; i < wanted; ++i) {
      const std::byte* const at = block.data() + i * page_bytes;
      if (got.value() < (i + 1) * page_bytes || !page_is_good(at, page + i)) return page + i;
    }
  }
  return first + count;
}

}  // namespace packed_format

/// A finished packed file. Const calls may run concurrently, verify() by one thread at a time.
class PackedRows {
 public:
  /// Reads the header, no row.
  ///
  /// Fails with io; unsupported for another kind of file or a later format; corrupt for a file that
  /// was not finished, is damaged, or is shorter or longer than its header says (index: its bytes).
  static Result<PackedRows> open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  const PackedInfo& info() const noexcept { return info_; }
  Index pages() const noexcept { return packed_format::pages(info_); }

  /// ok, or mismatch when the rows are for another layout; with both digests.
  Result<void> expect(std::string_view layout_digest) const;

  /// All rows in place, for stores, layers in the order of the file.
  std::vector<TableSegment> segments() const;
  /// One layer's rows, as a table of its own. Fails with mismatch when it is not in the file.
  Result<TableSegment> segment(std::int32_t layer_id) const;

  /// Reads `count` pages of rows, the first of all being 0, and compares checksums.
  ///
  /// Fails with corrupt for the first page that is damaged (index: its number), and with io.
  Result<void> verify(Index first, Index count);

 private:
  PackedRows(std::string path, PackedInfo info, SeekableFile file)
      : path_(std::move(path)), info_(std::move(info)), file_(std::move(file)) {}

  std::string path_;
  PackedInfo info_;
  SeekableFile file_;
};

inline Result<PackedRows> PackedRows::open(const std::string& path) {
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  const Result<Index> size = file.value().size();
  if (!size.ok()) return size.failure();
  std::byte page[packed_format::page_bytes] = {};
  const Result<Index> got = file.value().read(0, page, packed_format::page_bytes);
  if (!got.ok()) return got.failure();
  Result<PackedInfo> info = packed_format::parse_header(page, true, path);
  if (!info.ok()) return info.failure();
  const Index expected = packed_format::file_bytes(info.value());
  if (size.value() != expected)
    return fail(Code::corrupt,
                {path, ": ", size.value(), " bytes, expected ", expected, " for ",
                 info.value().rows(), " rows"},
                size.value());
  return PackedRows(path, std::move(info).value(), std::move(file).value());
}

inline Result<void> PackedRows::expect(std::string_view layout_digest) const {
  if (info_.layout_digest == layout_digest) return {};
  return fail(Code::mismatch, {path_, ": packed for layout ", quote_name(info_.layout_digest),
                               ", expected ", quote_name(layout_digest)});
}

inline std::vector<TableSegment> PackedRows::segments() const {
  std::vector<TableSegment> segments;
  Index page = 1;
  for (const PackedLayer& layer : info_.layers) {
    RowExtent codes;
    codes.path = path_;
    codes.offset = page * packed_format::page_bytes;
    codes.rows = layer.rows;
    codes.stride = info_.row_bytes + info_.scale_bytes;
    codes.bytes = info_.row_bytes;
    codes.page_rows = packed_format::rows_per_page(info_);
    codes.page_bytes = packed_format::page_bytes;
    RowExtent scales;
    if (info_.scale_bytes > 0) {
      scales = codes;
      scales.offset += info_.row_bytes;
      scales.bytes = info_.scale_bytes;
    }
    segments.push_back({codes, scales});
    page += packed_format::pages_of(info_, layer);
  }
  return segments;
}

inline Result<TableSegment> PackedRows::segment(std::int32_t layer_id) const {
  for (std::size_t l = 0; l < info_.layers.size(); ++l)
    if (info_.layers[l].layer_id == layer_id) return segments()[l];
  return fail(Code::mismatch, {path_, ": no rows of layer ", layer_id}, layer_id);
}

inline Result<void> PackedRows::verify(Index first, Index count) {
  const Result<Index> damaged = packed_format::first_damaged(file_, first + 1, count);
  if (!damaged.ok()) return damaged.failure();
  if (damaged.value() == first + 1 + count) return {};
  return fail(Code::corrupt,
              {path_, ": page ", damaged.value() - 1, " of ", pages(), " is damaged"},
              damaged.value() - 1);
}

ENGRAM_END_NAMESPACE
