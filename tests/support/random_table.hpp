// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Tables of random bytes, ids of their rows, and what a gather of these gives by the CPU's
// decoding.

#include <elements.hpp>
#include <engram/storage/gather.hpp>
#include <engram/storage/host_store.hpp>

#include <vector>

namespace random_tables {

using namespace engram;

inline HostStore random_store(Index rows, Index row_bytes, Index scale_bytes, std::uint64_t seed,
                              Index stride = 0) {
  HostStoreOptions options;
  options.stride = stride;
  HostStore store = HostStore::make(rows, row_bytes, scale_bytes, options).value();
  Random random(seed);
  for (Index row = 0; row < rows; ++row) {
    const MutableRowBytes to = store.mutable_ref()(row);
    for (Index b = 0; b < row_bytes; ++b) to.codes[b] = static_cast<std::byte>(random.bits());
    for (Index b = 0; b < scale_bytes; ++b) to.scales[b] = static_cast<std::byte>(random.bits());
  }
  return store;
}

/// Rows of `width` elements.
template <class Codec>
HostStore random_table(const Codec& codec, Index rows, Index width, std::uint64_t seed,
                       Index stride = 0) {
  return random_store(rows, codec.code_bytes(width), codec.scale_bytes(width), seed, stride);
}

/// Ids as words are, one of `one_in` being -1.
template <class Row>
std::vector<Row> zipf_ids(Index count, Index rows, Random& random, Index one_in = 20) {
  std::vector<Row> ids;
  for (Index i = 0; i < count; ++i)
    ids.push_back(static_cast<Row>(random.below(one_in) == 0 ? -1 : random.zipf(rows)));
  return ids;
}

/// Zeros for an id that is no row.
template <class Out, class Codec, class Row>
std::vector<Out> expected_rows(const HostStore& table, const Codec& codec, Index width,
                               const std::vector<Row>& ids) {
  std::vector<Out> all(ids.size() * elements::at(width));
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] >= 0 && static_cast<Index>(ids[i]) < table.num_rows())
      decode_row(HostLanes<16>(), codec, table.ref()(static_cast<Index>(ids[i])), width,
                 &all[i * elements::at(width)]);
  return all;
}

}  // namespace random_tables
