// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The hash of the paper, DeepSeek-V4.1, Qwen, BLT and LongCat: each id of the window times a
// multiplier, the products combined into one mix an order, the mix reduced modulo each head's rows.
// This file holds the tables that the loops read and the plain statement of one address; the batch
// loop beside it (hash_rows.hpp) must equal it bit for bit.

#include <engram/addressing/addresser.hpp>
#include <engram/addressing/layout.hpp>
#include <engram/addressing/reciprocal.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Combines products by XOR. Source: the paper's demo, and DeepSeek-V4.1's released code.
struct XorMix {
  static constexpr Mixer kind = Mixer::multiplicative_xor;
  ENGRAM_HD static constexpr std::uint64_t combine(std::uint64_t mix,
                                                   std::uint64_t product) noexcept {
    return mix ^ product;
  }
};

/// Combines products by wrap-around addition; with powers of a base as multipliers this is a
/// polynomial of the ids modulo 2^64. Source: the byte n-gram hash of BLT (arXiv 2412.09871).
struct SumMix {
  static constexpr Mixer kind = Mixer::polynomial;
  ENGRAM_HD static constexpr std::uint64_t combine(std::uint64_t mix,
                                                   std::uint64_t product) noexcept {
    return mix + product;
  }
};

/// The tables of one layer as the loops read them. Trivially copyable; points into its owner.
/// The arrays hold num_columns + 7 entries, so that a vector may be loaded at any column.
struct ModularHashRef {
  const std::uint64_t* multipliers;  // [8], 0 from N on
  const std::uint64_t* divisors;     // [H]
  const std::uint64_t* inverses;     // [H] of Reciprocal
  const Index* offsets;              // [H]
  std::uint64_t salt;
  std::int32_t pad;
  std::int32_t orders;  // N - 1
  std::int32_t heads;   // K
};

ENGRAM_BEGIN_LOOPS

/// The rows of one window in one layer: the reference that every faster form is tested against.
/// out  [(N - 1) * heads]
template <class Mix, class Row>
ENGRAM_HD constexpr void hash_window(const ModularHashRef& hash, const NgramWindow& window,
                                     Row* out) noexcept {
  const auto product = [&](int s) {
    const std::int32_t id = window.ids[s] < 0 ? hash.pad : window.ids[s];
    return static_cast<std::uint64_t>(id) * hash.multipliers[s];
  };
  std::uint64_t combined = product(0);
  Index column = 0;
  for (int order = 1; order <= hash.orders; ++order) {
    combined = Mix::combine(combined, product(order));
    const std::uint64_t mix = combined ^ hash.salt;
    for (int head = 0; head < hash.heads; ++head, ++column) {
      const Reciprocal modulus{hash.divisors[column], hash.inverses[column]};
      out[column] =
          static_cast<Row>(static_cast<Index>(modulus.remainder(mix)) + hash.offsets[column]);
    }
  }
}

ENGRAM_END_LOOPS

/// Multi-hash addressing by remainders, for every layer of a layout. Owns its tables.
///
/// Immutable; const calls may run concurrently. About 24 bytes a column.
template <class Mix>
class ModularHash {
 public:
  using mix_type = Mix;
  static constexpr bool host_only = false;

  /// Fails with what validate() says, and with unsupported when the layout has another mixer.
  ENGRAM_ALWAYS_INLINE static Result<ModularHash> make(const Layout& layout) {
    if (Result<void> valid = validate(layout); !valid.ok()) return valid.failure();
    if (layout.mixer != Mix::kind)
      return fail(Code::unsupported,
                  {"addresser: the layout has mixer ", static_cast<int>(layout.mixer),
                   ", this addresser computes mixer ", static_cast<int>(Mix::kind)});
    return ModularHash(layout);
  }

  int max_ngram_size() const noexcept { return max_ngram_size_; }
  int num_layers() const noexcept { return static_cast<int>(rows_.size()); }
  Index num_columns() const noexcept { return columns_; }
  Index num_rows(int layer) const noexcept { return rows_[static_cast<std::size_t>(layer)]; }
  Index canonical_size() const noexcept { return canonical_size_; }
  /// The layout's; a front end refuses an extractor with another.
  BoundaryRule boundary_rule() const noexcept { return boundary_; }
  ENGRAM_ALWAYS_INLINE void address(int layer, const NgramWindow& window,
                                    RowId* out) const noexcept {
    hash_window<Mix>(ref(layer), window, out);
  }

  /// The tables of one layer. Valid while this object lives and is not moved.
  ModularHashRef ref(int layer) const noexcept {
    const auto l = static_cast<std::size_t>(layer);
    const std::size_t at = l * padded_columns_;
    return {
        &multipliers_[l * max_order], &divisors_[at], &inverses_[at], &offsets_[at], salt_, pad_,
        max_ngram_size_ - 1,          heads_};
  }

  /// Smallest modulus of all layers; decides which loops are exact (hash_rows.hpp).
  std::uint64_t smallest_modulus() const noexcept { return smallest_modulus_; }

 private:
  ENGRAM_ALWAYS_INLINE explicit ModularHash(const Layout& layout)
      : max_ngram_size_(layout.max_ngram_size),
        heads_(layout.heads),
        pad_(layout.pad),
        salt_(layout.salt),
        boundary_(layout.boundary),
        canonical_size_(layout.canonical_size),
        columns_(layout.columns()),
        padded_columns_(static_cast<std::size_t>(layout.columns()) + 7) {
    for (const LayerLayout& layer : layout.layers) {
      rows_.push_back(layer.rows);
      for (std::size_t i = 0; i < max_order; ++i)
        multipliers_.push_back(i < layer.multipliers.size() ? layer.multipliers[i] : 0);
      for (std::size_t c = 0; c < padded_columns_; ++c) {
        const bool real = c < layer.moduli.size();
        const std::uint64_t divisor = real ? layer.moduli[c] : 1;
        divisors_.push_back(divisor);
        inverses_.push_back(Reciprocal::of(divisor).inverse);
        offsets_.push_back(real ? layer.offsets[c] : 0);
        if (real && divisor < smallest_modulus_) smallest_modulus_ = divisor;
      }
    }
  }

  std::int32_t max_ngram_size_;
  std::int32_t heads_;
  std::int32_t pad_;
  std::uint64_t salt_;
  BoundaryRule boundary_;
  Index canonical_size_;
  Index columns_;
  std::size_t padded_columns_;
  std::uint64_t smallest_modulus_ = ~std::uint64_t{0};
  std::vector<Index> rows_, offsets_;
  std::vector<std::uint64_t> multipliers_, divisors_, inverses_;
};

/// Multiplicative XOR: the paper, DeepSeek-V4.1, Qwen.
using MultiplicativeXor = ModularHash<XorMix>;
/// Wrap-around polynomial: BLT, LongCat style.
using Polynomial = ModularHash<SumMix>;

static_assert(check_addresser<MultiplicativeXor>());
static_assert(check_addresser<Polynomial>());

ENGRAM_END_NAMESPACE
