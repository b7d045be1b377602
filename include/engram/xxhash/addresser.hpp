// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// An addresser for experiments: each order's window hashed by XXH3 instead of multipliers. No
// released model uses it, and XXH3 cannot be called on a GPU, so it says that it is for hosts only.

#include <engram/addressing/addresser.hpp>
#include <engram/addressing/layout.hpp>
#include <engram/addressing/reciprocal.hpp>

// Inlined as in io/checkpoint.hpp: one XXH3 in a file that includes both, in either order.
#if !defined(XXH_INLINE_ALL)
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

ENGRAM_BEGIN_NAMESPACE

/// Multi-hash addressing by XXH3: the mix of order n is XXH3_64bits_withSeed over the n newest ids
/// (little-endian int32, newest first, blocked places as the pad id) with seed
/// layer.multipliers[0], XORed with the salt. XXH3 is that of xxHash 0.8. Heads reduce it modulo
/// their rows, as the other addressers do.
class XxHash {
 public:
  static constexpr bool host_only = true;

  /// Fails with what validate() says, and with unsupported when the layout has another mixer.
  static Result<XxHash> make(Layout layout) {
    if (Result<void> valid = validate(layout); !valid.ok()) return valid.failure();
    if (layout.mixer != Mixer::xxh3)
      return fail(Code::unsupported,
                  {"addresser: the layout has mixer ", static_cast<int>(layout.mixer),
                   ", XxHash computes mixer ", static_cast<int>(Mixer::xxh3)});
    return XxHash(std::move(layout));
  }

  int max_ngram_size() const noexcept { return layout_.max_ngram_size; }
  int num_layers() const noexcept { return static_cast<int>(layout_.layers.size()); }
  Index num_columns() const noexcept { return layout_.columns(); }
  Index num_rows(int layer) const noexcept { return at(layer).rows; }
  Index canonical_size() const noexcept { return layout_.canonical_size; }
  /// The layout's; a front end refuses an extractor with another.
  BoundaryRule boundary_rule() const noexcept { return layout_.boundary; }
  void address(int layer, const NgramWindow& window, RowId* out) const noexcept {
    std::int32_t ids[max_order];
    for (int s = 0; s < max_order; ++s) ids[s] = window.ids[s] < 0 ? layout_.pad : window.ids[s];
    const std::uint64_t seed = at(layer).multipliers[0];
    std::size_t column = 0;
    for (int n = 2; n <= layout_.max_ngram_size; ++n) {
      const std::uint64_t mix =
          XXH3_64bits_withSeed(ids, static_cast<std::size_t>(n) * sizeof ids[0], seed) ^
          layout_.salt;
      for (int head = 0; head < layout_.heads; ++head, ++column)
        out[column] = RowId{static_cast<Index>(moduli_of(layer)[column].remainder(mix)) +
                            at(layer).offsets[column]};
    }
  }

 private:
  explicit XxHash(Layout layout) : layout_(std::move(layout)) {
    for (const LayerLayout& layer : layout_.layers)
      for (const std::uint64_t modulus : layer.moduli) moduli_.push_back(Reciprocal::of(modulus));
  }

  const LayerLayout& at(int layer) const noexcept {
    return layout_.layers[static_cast<std::size_t>(layer)];
  }
  const Reciprocal* moduli_of(int layer) const noexcept {
    return moduli_.data() + layer * layout_.columns();
  }

  Layout layout_;
  std::vector<Reciprocal> moduli_;
};
static_assert(check_addresser<XxHash>());

ENGRAM_END_NAMESPACE
