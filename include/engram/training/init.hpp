// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a memory starts. Numbers are keyed by seed and place, so that a table comes out the same
// whether one thread fills it or many, whole or in shards.
//
// A layer starts as the identity when its rows are zero or its value projection is: then the memory
// adds nothing and learns from the first step on. With both zero neither has a gradient, and the
// layer stays the identity for ever. A zero convolution alone is no identity: it only switches off
// the convolution's own branch, gate * value is still added.

#include <engram/codec/plain.hpp>
#include <engram/core/device.hpp>
#include <engram/core/splitmix.hpp>
#include <engram/storage/table.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A number with mean 0 and variance 1, close to normal: the sum of 12 uniform numbers of 21 bits
/// less their mean (Irwin-Hall), in integers, so that it is the same on every machine. It never
/// leaves (-6, 6); its fourth moment is 2.9 where the normal one is 3.
ENGRAM_HD ENGRAM_ALWAYS_INLINE float normal_number(std::uint64_t seed, std::uint64_t row,
                                                   std::uint64_t element) noexcept {
  std::uint64_t z = splitmix64(splitmix64(seed ^ row) ^ element);
  std::int64_t sum = 0;
  for (int part = 0; part < 4; ++part, z += splitmix64_step) {
    const std::uint64_t bits = splitmix64(z);
    for (int i = 0; i < 3; ++i) sum += static_cast<std::int64_t>(bits >> (21 * i) & 0x1FFFFF);
  }
  // 12 * 2^20 is the mean of the sum, less 6 for the halves that integers round away.
  return static_cast<float>(sum - 12 * 1048576 + 6) * 0x1p-21f;
}

/// The elements of one row of a table; the item is the row.
template <class Ref, Element T>
struct NormalRowBody {
  Ref ref;
  Index width;
  float deviation;
  std::uint64_t seed;
  Index first_row;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes&, Index row) const noexcept {
    std::byte* const to = ref(row).codes;
    for (Index d = 0; d < width; ++d) {
      const T element =
          from_float<T>(deviation * normal_number(seed, static_cast<std::uint64_t>(first_row + row),
                                                  static_cast<std::uint64_t>(d)));
      __builtin_memcpy(to + d * Index{sizeof(T)}, &element, sizeof(T));
    }
  }
};

ENGRAM_BEGIN_LOOPS

/// Fills all rows with normal numbers of that deviation; 0.02 is NeMo's choice for DeepSeek-V4.1's
/// tables, 1 PyTorch's default for an embedding.
///
/// first_row  the table's first row in the numbering of the whole, where it is a shard.
/// Status     invalid_config when deviation is not finite, or the device's share is none.
template <class Store, Element T, Device Dev = CpuDevice>
Status fill_rows_normal(Table<Store, PlainCodec<T>>& table, float deviation, std::uint64_t seed,
                        Index first_row = 0, const Dev& device = {}) noexcept {
  static_assert(check_mutable_store<Store>());
  bool valid = is_finite(deviation);
  if constexpr (requires { device.valid(); }) valid = valid && device.valid();
  if (!device.agree(valid)) return {Code::invalid_config};
  using Ref = decltype(table.store().mutable_ref());
  device.for_items(table.num_rows(),
                   NormalRowBody<Ref, T>{table.store().mutable_ref(), table.row_width(), deviation,
                                         seed, first_row});
  device.wait();
  return {};
}

/// Fills dense weights with normal numbers of that deviation, element i as element i of row 0.
inline void fill_normal(View<float, 1> weights, float deviation, std::uint64_t seed) noexcept {
  for (Index i = 0; i < weights.size(); ++i)
    weights(i) = deviation * normal_number(seed, 0, static_cast<std::uint64_t>(i));
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
