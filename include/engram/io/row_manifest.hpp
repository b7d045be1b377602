// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The rows that are worth keeping in memory, most frequent first: what a simulation of a recorded
// text found out, for a cache to pin. docs/row-traces.md has the format.
//
//   auto manifest = read_row_manifest("hot.rows").value();
//   manifest.expect(layout_digest(layout)).value();
//   auto rows = manifest.rows_of(14).value();  // of layer 14's table

#include <engram/addressing/layout.hpp>
#include <engram/io/packed_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Rows of the tables of a layout.
struct RowManifest {
  std::string layout_digest;        ///< layout_digest(layout)
  std::vector<PackedLayer> layers;  ///< ids and table rows, in the order of the layout
  /// Most frequent first. Numbered through all layers, as the rows of a packed file: row r of layer
  /// l is r + the rows of the layers before l.
  std::vector<Index> rows;

  /// ok, or mismatch when the rows are of another layout; with both digests.
  Result<void> expect(std::string_view digest) const {
    if (layout_digest == digest) return {};
    return fail(Code::mismatch, {"row manifest: for layout ", quote_name(layout_digest),
                                 ", expected ", quote_name(digest)});
  }

  /// Those of one layer, as ids of its table, most frequent first. Fails with mismatch when the
  /// layer is not in the layout (index: its id).
  Result<std::vector<RowId>> rows_of(std::int32_t layer_id) const {
    Index before = 0;
    for (const PackedLayer& layer : layers) {
      if (layer.layer_id != layer_id) {
        before += layer.rows;
        continue;
      }
      std::vector<RowId> found;
      for (const Index row : rows)
        if (row >= before && row - before < layer.rows) found.push_back(RowId{row - before});
      return found;
    }
    return fail(Code::mismatch, {"row manifest: no layer ", layer_id}, layer_id);
  }
};

namespace row_manifest_format {

inline constexpr std::uint32_t version = 1;
inline constexpr char magic[8] = {'E', 'N', 'G', 'R', 'H', 'O', 'T', 'S'};
inline constexpr std::size_t fixed_bytes = 56, layer_bytes = 12, row_bytes = 8, checksum_bytes = 8;

/// What is wrong with a manifest, as a few words; empty: nothing.
inline std::string fault(const RowManifest& manifest) {
  const std::string& digest = manifest.layout_digest;
  if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != digest.npos)
    return "the layout digest is not 64 hexadecimal digits";
  if (manifest.layers.empty() || manifest.layers.size() > max_layers)
    return sentence({manifest.layers.size(), " layers, expected 1 to ", max_layers});
  Index total = 0;
  for (const PackedLayer& layer : manifest.layers) {
    if (layer.rows < 1 || layer.rows > INT64_MAX - total)
      return sentence({"layer ", layer.layer_id, " has ", layer.rows, " rows"});
    total += layer.rows;
    for (const PackedLayer* other = manifest.layers.data(); other != &layer; ++other)
      if (other->layer_id == layer.layer_id)
        return sentence({"layer ", layer.layer_id, " stands twice"});
  }
  std::vector<Index> sorted = manifest.rows;
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= total))
    return sentence({"row ", sorted.front() < 0 ? sorted.front() : sorted.back(), " of ", total});
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  return twice == sorted.end() ? std::string() : sentence({"row ", *twice, " stands twice"});
}

}  // namespace row_manifest_format

/// Writes the file, or leaves what stands there. Fails with invalid_config for rows that are out of
/// range or stand twice, or a digest that is none; with io.
inline Result<void> write_row_manifest(const std::string& path, const RowManifest& manifest) {
  namespace format = row_manifest_format;
  if (const std::string why = format::fault(manifest); !why.empty())
    return fail(Code::invalid_config, {"row manifest: ", why});
  std::vector<std::byte> bytes;
  bytes.reserve(format::fixed_bytes + format::layer_bytes * manifest.layers.size() +
                format::row_bytes * manifest.rows.size() + format::checksum_bytes);
  const auto put = [&](std::uint64_t value, int width) {
    for (int b = 0; b < width; ++b) bytes.push_back(static_cast<std::byte>(value >> (8 * b)));
  };
  for (const char c : format::magic) bytes.push_back(static_cast<std::byte>(c));
  put(format::version, 4);
  put(manifest.layers.size(), 4);
  const auto nibble = [](char c) {
    return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
  };
  for (std::size_t d = 0; d < 64; d += 2)
    put(nibble(manifest.layout_digest[d]) << 4 | nibble(manifest.layout_digest[d + 1]), 1);
  put(manifest.rows.size(), 8);
  for (const PackedLayer& layer : manifest.layers) {
    put(static_cast<std::uint32_t>(layer.layer_id), 4);
    put(static_cast<std::uint64_t>(layer.rows), 8);
  }
  for (const Index row : manifest.rows) put(static_cast<std::uint64_t>(row), 8);
  put(XXH3_64bits(bytes.data(), bytes.size()), 8);
  return write_file(path, Bytes(bytes.data(), static_cast<Index>(bytes.size())), Sync::disk);
}

/// A manifest from its bytes, which need not be trusted; `name` begins every sentence.
///
/// Fails with unsupported (another kind of file, or a later format) and corrupt (damaged, cut off,
/// rows out of range or twice).
inline Result<RowManifest> parse_row_manifest(Bytes bytes, const std::string& name) {
  namespace format = row_manifest_format;
  const auto size = static_cast<std::size_t>(bytes.size());
  const auto get = [&](std::size_t at, int width) {
    std::uint64_t value = 0;
    for (int b = 0; b < width; ++b)
      value |= std::to_integer<std::uint64_t>(bytes.data()[at + static_cast<std::size_t>(b)])
               << (8 * b);
    return value;
  };
  const auto damaged = [&](std::string_view why) {
    return fail(Code::corrupt, {name, ": damaged: ", why});
  };
  if (size < sizeof format::magic ||
      std::memcmp(bytes.data(), format::magic, sizeof format::magic) != 0)
    return fail(Code::unsupported, {name, ": no row manifest, it does not begin with \"",
                                    std::string_view(format::magic, sizeof format::magic), "\""});
  if (size < format::fixed_bytes + format::checksum_bytes) return damaged("cut off");
  if (const std::uint64_t found = get(8, 4); found != format::version)
    return fail(Code::unsupported, {name, ": a row manifest of format ", found,
                                    ", this version reads ", format::version});
  if (get(size - 8, 8) != XXH3_64bits(bytes.data(), size - 8))
    return damaged("its checksum is wrong");
  const std::uint64_t layers = get(12, 4), rows = get(48, 8);
  const std::size_t left = size - format::fixed_bytes - format::checksum_bytes;
  if (layers > max_layers || layers * format::layer_bytes > left ||
      rows != (left - layers * format::layer_bytes) / format::row_bytes ||
      (left - layers * format::layer_bytes) % format::row_bytes != 0)
    return damaged("its numbers do not fit one another");
  RowManifest manifest;
  for (std::size_t at = 16; at < 48; ++at) {
    manifest.layout_digest += "0123456789abcdef"[get(at, 1) >> 4];
    manifest.layout_digest += "0123456789abcdef"[get(at, 1) & 15];
  }
  std::size_t at = format::fixed_bytes;
  for (std::uint64_t l = 0; l < layers; ++l, at += format::layer_bytes)
    manifest.layers.push_back({static_cast<std::int32_t>(static_cast<std::uint32_t>(get(at, 4))),
                               static_cast<Index>(get(at + 4, 8))});
  manifest.rows.reserve(static_cast<std::size_t>(rows));
  for (std::uint64_t r = 0; r < rows; ++r, at += format::row_bytes)
    manifest.rows.push_back(static_cast<Index>(get(at, 8)));
  if (const std::string why = format::fault(manifest); !why.empty()) return damaged(why);
  return manifest;
}

/// Fails with io, and with what parse_row_manifest() says.
inline Result<RowManifest> read_row_manifest(const std::string& path) {
  const Result<std::string> bytes = read_regular_file(path);
  if (!bytes.ok()) return bytes.failure();
  return parse_row_manifest(as_bytes(bytes.value()), path);
}

ENGRAM_END_NAMESPACE
