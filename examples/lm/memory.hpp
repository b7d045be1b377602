// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The Engram memory of a block: a front end that turns tokens into row ids, a table, the layer's
// dense weights among the model's, and what the optimizer remembers of the rows.

#include "config.hpp"
#include "matrix.hpp"

#include <engram/codec/plain.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/table.hpp>
#include <engram/tokenizer/token_map.hpp>

#include <functional>

namespace engram::lm {

class Memory {
 public:
  using RowTable = Table<HostStore, F32Codec>;
  using TokenFrontEnd = FrontEnd<TokenMap, SuffixNgrams<RuntimeBoundary>, MultiplicativeXor>;

  /// What backward needs of a batch, and what may be watched.
  struct Tape {
    Matrix hidden;                   ///< [T, G D] in front of the memory
    std::vector<std::int32_t> rows;  ///< [T, H]
    std::vector<Index> sequence_starts;
    std::vector<std::byte> kept, workspace;
    std::vector<float> scale;         ///< [T] factor of the gates; empty: 1
    std::vector<float> gates, norms;  ///< [T, G] written by forward
  };

  /// Fails with what make_layout(), the front end and the table say.
  static Result<Memory> make(WeightList& list, const ModelConfig& config, const TokenMap& map);

  Index columns() const { return columns_; }
  Index row_width() const { return table_.row_width(); }
  const RowTable& table() const { return table_; }
  RowTable& table() { return table_; }
  std::vector<float>& state() { return state_; }
  const Layout& layout() const { return layout_; }

  /// Row ids of sequences of `context` tokens, each `stride` behind the one before.
  Status address(const std::int32_t* tokens, Index sequences, Index stride, Tape& tape) const;

  /// streams [T, G D] += memory.
  Status forward(const float* weights, Tape& tape, Matrix& streams) const;
  /// Moves the streams' gradient in front of the memory. Dense gradients and to_rows [T, H E]
  /// are written.
  Status backward(const float* weights, Tape& tape, Matrix& to_streams, float* gradients,
                  float* to_rows) const;

  /// Moves the rows that were read: rows [T, H], to_rows [T, H E]. `rate` is the dense weights'.
  Status update(View<const std::int32_t, 2> rows, View<const float, 2> to_rows, float rate,
                Index step);

 private:
  Memory(const ModelConfig& config, Layout layout, TokenFrontEnd front, RowTable table);

  /// Calls what(training) with the layer over these weights.
  Status with_layer(const float* weights, const auto& what) const;

  ModelConfig config_;
  MemoryConfig memory_;
  Layout layout_;
  TokenFrontEnd front_;
  RowTable table_;
  Index columns_;
  Weight key_, value_, gain_, conv_gain_, conv_;
  std::vector<float> state_;  // [rows, LazyAdam's]
  std::vector<std::byte> reducing_;
  std::vector<std::int32_t> unique_;
  std::vector<float> sums_;
};

}  // namespace engram::lm
