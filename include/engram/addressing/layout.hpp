// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The layout: everything that decides which row an n-gram has. It is a file format. Two programs
// that agree on a layout agree on every address; its canonical bytes are what is compared, and
// their SHA-256 is the digest stored beside a table (layout_bytes.hpp). docs/address-format.md
// gives the format in full.

#include <engram/core/status.hpp>
#include <engram/ngram/boundary.hpp>
#include <engram/ngram/window.hpp>

#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// How the ids of a window become one 64-bit value, called the mix.
enum class Mixer : std::int32_t {
  multiplicative_xor = 0,  ///< XOR of id * multiplier (paper, DeepSeek-V4.1, Qwen)
  polynomial = 1,          ///< sum of id * base^distance, modulo 2^64 (BLT, LongCat style)
  xxh3 = 2,                ///< XXH3 of the ids; host only, in the xxhash wing
};

/// One layer's part of a layout. N: longest n-gram; H = (N - 1) * heads columns, order-major.
struct LayerLayout {
  std::int32_t layer_id = 0;  ///< 0-based number of the transformer block
  std::vector<std::uint64_t>
      multipliers;                    ///< [N] by distance, 0 = the token itself; xxh3: [1] seed
  std::vector<std::uint64_t> moduli;  ///< [H] rows of each head
  std::vector<Index> offsets;         ///< [H] first row of each head: sum of the moduli before
  Index rows = 0;                     ///< sum of the moduli

  friend bool operator==(const LayerLayout&, const LayerLayout&) = default;
};

/// The addresses of a model: geometry, constants and rules. Made by make_layout, or read back.
struct Layout {
  std::int32_t max_ngram_size = 0;  ///< N, 2 to 8
  std::int32_t heads = 0;           ///< K, heads an order
  Index canonical_size = 0;         ///< V', the compressed vocabulary
  std::int32_t pad = 0;             ///< canonical id hashed in blocked places
  std::uint64_t salt = 0;           ///< XORed into every mix: a namespace; 0 keeps the trained rows
  Mixer mixer = Mixer::multiplicative_xor;
  BoundaryRule boundary;
  std::string token_map = "none";  ///< digest of the token map, or "none"
  std::vector<LayerLayout> layers;

  /// H, columns of each layer.
  Index columns() const noexcept { return Index{max_ngram_size - 1} * heads; }

  friend bool operator==(const Layout&, const Layout&) = default;
};

/// The most heads an order and layers a layout may have; far beyond any model, and small enough
/// that one window's row ids fit on the stack.
inline constexpr int max_heads = 256;
inline constexpr std::size_t max_layers = 1024;

ENGRAM_BEGIN_LOOPS

/// The fault of one layer of an otherwise valid layout, without its name; empty when there is none.
inline std::string layer_fault(const Layout& layout, const LayerLayout& layer) {
  if (layer.layer_id < 0) return "the layer id is negative";
  const std::size_t multipliers =
      layout.mixer == Mixer::xxh3 ? 1 : static_cast<std::size_t>(layout.max_ngram_size);
  if (layer.multipliers.size() != multipliers)
    return sentence({layer.multipliers.size(), " multipliers, expected ", multipliers});
  const auto largest_id = static_cast<std::uint64_t>(layout.canonical_size - 1);
  std::uint64_t power = 1;
  for (std::size_t i = 0; i < multipliers && layout.mixer != Mixer::xxh3; ++i) {
    const std::uint64_t m = layer.multipliers[i];
    if (m % 2 == 0) return sentence({"multiplier ", i, " is ", m, ", which is even"});
    if (layout.mixer == Mixer::polynomial && m != power)
      return sentence({"multiplier ", i, " is ", m, ", which is not a power of the base, ",
                       layer.multipliers[1]});
    if (layout.mixer == Mixer::multiplicative_xor && largest_id > 0 &&
        m > 0x7FFFFFFFFFFFFFFF / largest_id)
      return sentence({"multiplier ", i, " is ", m, "; its product with the largest canonical id, ",
                       largest_id, ", overflows 63 bits"});
    power *= layer.multipliers[1];
  }
  const auto columns = static_cast<std::size_t>(layout.columns());
  if (layer.moduli.size() != columns || layer.offsets.size() != columns)
    return sentence({layer.moduli.size(), " moduli and ", layer.offsets.size(),
                     " offsets, expected ", columns, " of each"});
  Index sum = 0;
  for (std::size_t c = 0; c < columns; ++c) {
    if (layer.moduli[c] == 0) return sentence({"modulus ", c, " is 0"});
    if (layer.offsets[c] != sum)
      return sentence({"offset ", c, " is ", layer.offsets[c],
                       ", expected the sum of the moduli before it, ", sum});
    if (layer.moduli[c] > static_cast<std::uint64_t>(INT64_MAX - sum))
      return "the moduli add up to more than 2^63 - 1 rows";
    sum += static_cast<Index>(layer.moduli[c]);
  }
  if (layer.rows != sum)
    return sentence({"rows is ", layer.rows, ", expected the sum of the moduli, ", sum});
  return {};
}

/// The fault of what all layers share; empty when there is none.
inline std::string geometry_fault(const Layout& layout) {
  const auto is_canonical = [&](std::int32_t id) { return id >= 0 && id < layout.canonical_size; };
  if (layout.max_ngram_size < 2 || layout.max_ngram_size > max_order)
    return sentence({"max_ngram_size is ", layout.max_ngram_size, ", expected 2 to ", max_order});
  if (layout.heads < 1 || layout.heads > max_heads)
    return sentence({"heads is ", layout.heads, ", expected 1 to ", max_heads});
  if (layout.canonical_size < 1 || layout.canonical_size > Index{1} << 31)
    return sentence({"compressed vocabulary is ", layout.canonical_size, ", expected 1 to 2^31"});
  if (!is_canonical(layout.pad))
    return sentence(
        {"pad is ", layout.pad, ", expected a canonical id below ", layout.canonical_size});
  const auto [kind, eos] = layout.boundary;
  if (kind < BoundaryKind::sequence_start || kind > BoundaryKind::position_reset)
    return sentence({"boundary kind ", static_cast<int>(kind), " is unknown"});
  if (kind == BoundaryKind::eos && !is_canonical(eos))
    return sentence(
        {"end-of-sequence id is ", eos, ", expected a canonical id below ", layout.canonical_size});
  if (kind != BoundaryKind::eos && eos != -1)
    return sentence({"end-of-sequence id is ", eos, ", expected -1: the boundary is not eos"});
  if (layout.mixer < Mixer::multiplicative_xor || layout.mixer > Mixer::xxh3)
    return sentence({"mixer ", static_cast<int>(layout.mixer), " is unknown"});
  bool digest = layout.token_map.size() == 64;
  for (const char c : layout.token_map)
    digest = digest && ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
  if (!digest && layout.token_map != "none")
    return "token map digest is neither 64 hexadecimal digits nor 'none'";
  if (layout.layers.empty() || layout.layers.size() > max_layers)
    return sentence({"there are ", layout.layers.size(), " layers, expected 1 to ", max_layers});
  return {};
}

/// ok when every address of the layout can be computed; else invalid_config with the sentence.
/// index: the layer's place in `layers`, -1 when the fault is in no layer.
inline Result<void> validate(const Layout& layout) {
  if (const std::string fault = geometry_fault(layout); !fault.empty())
    return fail(Code::invalid_config, {"layout: ", fault});
  for (std::size_t l = 0; l < layout.layers.size(); ++l) {
    const LayerLayout& layer = layout.layers[l];
    std::string fault = layer_fault(layout, layer);
    for (std::size_t other = 0; other < l; ++other)
      if (layout.layers[other].layer_id == layer.layer_id) fault = "the layer id stands twice";
    if (!fault.empty())
      return fail(Code::invalid_config, {"layout: layer ", layer.layer_id, ": ", fault},
                  static_cast<Index>(l));
  }
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
