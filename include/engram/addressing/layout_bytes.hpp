// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A layout as bytes: one serialisation, its SHA-256, and the sentence that says where two layouts
// part. docs/address-format.md describes the bytes for readers in other languages.

#include <engram/addressing/layout.hpp>
#include <engram/core/sha256.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Version of the canonical bytes. Raised when their shape or meaning changes, never otherwise.
inline constexpr std::uint32_t layout_format_version = 1;

inline constexpr char layout_magic[8] = {'E', 'N', 'G', 'R', 'L', 'A', 'Y', '\0'};

ENGRAM_BEGIN_LOOPS

/// The canonical bytes. Precondition: validate(layout) is ok.  Cost  O(layers * H).
inline std::string serialize(const Layout& layout) {
  std::string bytes;
  const auto put = [&bytes](std::uint64_t value, int width) {
    for (int b = 0; b < width; ++b) bytes += static_cast<char>((value >> (8 * b)) & 0xFF);
  };
  const auto put32 = [&put](std::int64_t value) { put(static_cast<std::uint64_t>(value), 4); };
  const auto put64 = [&put](std::uint64_t value) { put(value, 8); };
  bytes.append(layout_magic, sizeof layout_magic);
  put32(layout_format_version);
  put32(layout.max_ngram_size);
  put32(layout.heads);
  put32(layout.pad);
  put64(static_cast<std::uint64_t>(layout.canonical_size));
  put64(layout.salt);
  put32(static_cast<std::int32_t>(layout.mixer));
  put32(static_cast<std::int32_t>(layout.boundary.kind));
  put32(layout.boundary.eos);
  put32(static_cast<Index>(layout.layers.size()));
  put32(static_cast<Index>(layout.token_map.size()));
  bytes += layout.token_map;
  for (const LayerLayout& layer : layout.layers) {
    put32(layer.layer_id);
    put32(static_cast<Index>(layer.multipliers.size()));
    for (const std::uint64_t m : layer.multipliers) put64(m);
    for (const std::uint64_t m : layer.moduli) put64(m);
    for (const Index o : layer.offsets) put64(static_cast<std::uint64_t>(o));
    put64(static_cast<std::uint64_t>(layer.rows));
  }
  return bytes;
}

/// SHA-256 of the canonical bytes, lower-case hexadecimal.
inline std::string layout_digest(const Layout& layout) {
  return sha256_hex(as_bytes(serialize(layout)));
}

/// Reads canonical bytes back; they need not be trusted. Fails with corrupt (index: byte offset),
/// unsupported (a format version, mixer or boundary that this library does not know, as a newer one
/// may write) or invalid_config (what validate() says).
inline Result<Layout> parse_layout(Bytes bytes) {
  Index at = 0;
  bool truncated = false;
  const auto get = [&](Index width) {
    std::uint64_t value = 0;
    truncated = truncated || bytes.size() - at < width;
    for (Index b = 0; b < width && !truncated; ++b)
      value |= std::to_integer<std::uint64_t>(bytes(at++)) << (8 * b);
    return value;
  };
  const auto get32 = [&get] { return static_cast<std::int32_t>(get(4)); };
  const auto get64 = [&get] { return static_cast<Index>(get(8)); };
  const auto corrupt = [&at](const char* what) {
    return fail(Code::corrupt, {"layout: ", what, " at byte ", at}, at);
  };
  for (const char c : layout_magic)
    if (get(1) != static_cast<unsigned char>(c) || truncated) {
      at = 0;
      return corrupt("no layout magic");
    }
  const std::uint64_t version = get(4);
  if (!truncated && version != layout_format_version)
    return fail(Code::unsupported, {"layout: format version ", version,
                                    ", this library reads version ", layout_format_version});
  Layout layout;
  layout.max_ngram_size = get32();
  layout.heads = get32();
  layout.pad = get32();
  layout.canonical_size = get64();
  layout.salt = get(8);
  layout.mixer = static_cast<Mixer>(get32());
  layout.boundary.kind = static_cast<BoundaryKind>(get32());
  layout.boundary.eos = get32();
  const std::uint64_t layers = get(4);
  const std::uint64_t digest_length = get(4);
  if (truncated) return corrupt("truncated");
  if (layout.mixer < Mixer::multiplicative_xor || layout.mixer > Mixer::xxh3 ||
      layout.boundary.kind < BoundaryKind::sequence_start ||
      layout.boundary.kind > BoundaryKind::position_reset)
    return fail(Code::unsupported,
                {"layout: mixer ", static_cast<int>(layout.mixer), " with boundary kind ",
                 static_cast<int>(layout.boundary.kind), " is not known to this library"});
  if (layout.max_ngram_size < 2 || layout.max_ngram_size > max_order || layout.heads < 1 ||
      layout.heads > max_heads || layers > max_layers || digest_length > 64)
    return corrupt("a size is out of range");
  layout.token_map.clear();
  for (std::uint64_t i = 0; i < digest_length; ++i) layout.token_map += static_cast<char>(get(1));
  const auto columns = static_cast<std::uint64_t>(layout.columns());
  layout.layers = std::vector<LayerLayout>(layers);
  for (LayerLayout& layer : layout.layers) {
    layer.layer_id = get32();
    const std::uint64_t multipliers = get(4);
    if (multipliers > max_order) return corrupt("too many multipliers");
    if (truncated || bytes.size() - at < static_cast<Index>(8 * (multipliers + 2 * columns + 1)))
      return corrupt("truncated");
    layer.multipliers = std::vector<std::uint64_t>(multipliers);
    layer.moduli = std::vector<std::uint64_t>(columns);
    layer.offsets = std::vector<Index>(columns);
    for (std::uint64_t& m : layer.multipliers) m = get(8);
    for (std::uint64_t& m : layer.moduli) m = get(8);
    for (Index& o : layer.offsets) o = get64();
    layer.rows = get64();
  }
  if (truncated) return corrupt("truncated");
  if (at != bytes.size()) return corrupt("bytes follow the last layer");
  if (Result<void> valid = validate(layout); !valid.ok()) return valid.failure();
  return layout;
}

/// The first part in which two layouts differ, with both values; empty when they are equal.
inline std::string first_difference(const Layout& expected, const Layout& found) {
  std::string difference;
  const auto differs = [&difference](Piece part, Piece a, Piece b) {
    if (a.text() != b.text())
      difference = sentence({part.text(), ": expected ", a.text(), ", found ", b.text()});
    return !difference.empty();
  };
  const auto number = [](auto enumerator) { return static_cast<int>(enumerator); };
  if (differs("max_ngram_size", expected.max_ngram_size, found.max_ngram_size) ||
      differs("heads", expected.heads, found.heads) ||
      differs("compressed vocabulary", expected.canonical_size, found.canonical_size) ||
      differs("pad", expected.pad, found.pad) || differs("salt", expected.salt, found.salt) ||
      differs("mixer", number(expected.mixer), number(found.mixer)) ||
      differs("boundary kind", number(expected.boundary.kind), number(found.boundary.kind)) ||
      differs("boundary eos", expected.boundary.eos, found.boundary.eos) ||
      differs("token map digest", expected.token_map, found.token_map) ||
      differs("number of layers", expected.layers.size(), found.layers.size()))
    return difference;
  for (std::size_t l = 0; l < expected.layers.size(); ++l) {
    const LayerLayout& a = expected.layers[l];
    const LayerLayout& b = found.layers[l];
    if (differs(sentence({"layer_id of layer number ", l}), a.layer_id, b.layer_id))
      return difference;
    const auto list_differs = [&](const char* name, const auto& x, const auto& y) {
      const std::string part = sentence({"layer ", a.layer_id, ", ", name});
      if (differs(sentence({part, ", how many"}), x.size(), y.size())) return true;
      for (std::size_t i = 0; i < x.size(); ++i)
        if (x[i] != y[i]) return differs(sentence({part, "[", i, "]"}), x[i], y[i]);
      return false;
    };
    if (list_differs("multipliers", a.multipliers, b.multipliers) ||
        list_differs("moduli", a.moduli, b.moduli) ||
        list_differs("offsets", a.offsets, b.offsets) ||
        differs(sentence({"layer ", a.layer_id, ", rows"}), a.rows, b.rows))
      return difference;
  }
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
