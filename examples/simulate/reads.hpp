// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The row reads of a trace, in memory: what every simulation goes through again and again.

#include <engram/io/packed_rows.hpp>
#include <engram/io/row_trace.hpp>

namespace engram::simulate {

/// Rows numbered from 0 on in the order in which they came first.
class RowNumbers {
 public:
  RowNumbers() : slots_(1024) {}

  /// The number of a row, from 0. Precondition: fewer than 2^32 - 1 rows.
  std::uint32_t operator()(Index row);
  std::size_t size() const noexcept { return rows_.size(); }
  std::vector<Index> take() && { return std::move(rows_); }

 private:
  std::vector<std::uint32_t> slots_;  // hash table of numbers + 1; 0: empty
  std::vector<Index> rows_;           // [size] by number
};

/// The reads of a whole trace, or of one of `sample` columns of every order, all layers counted
/// through. The columns of an order are asked for the same n-grams, each for rows of its own, so
/// that 1 / sample of a cache sees of them what the cache would see of all; only which n-grams
/// share a row differs between columns.
struct Reads {
  Index tokens = 0;
  Index sample = 1;
  int max_ngram_size = 0;
  Index heads = 0;  ///< of an order, in one layer
  std::vector<PackedLayer> layers;
  std::string layout_digest;
  std::vector<std::uint32_t> rows;      ///< [reads] in the order of the trace, by number
  std::vector<std::uint32_t> reads_of;  ///< [tokens] how many of them
  std::vector<Index> row_of;            ///< [unique] number to row, through all layers
  std::vector<std::uint8_t> order_of;   ///< [unique]

  Index table_rows() const noexcept {
    Index sum = 0;
    for (const PackedLayer& layer : layers) sum += layer.rows;
    return sum;
  }
};

/// Reads a trace to its end. 4 bytes a read that is followed, 4 a token, 17 to 25 a row.
///
/// Fails with what the trace says; invalid_config when `sample` does not divide the columns of an
/// order; unsupported for a layout of another mixer, and for 2^32 - 1 followed reads or more.
Result<Reads> read_trace(RowTrace& trace, Index sample);

}  // namespace engram::simulate
