// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table of rows that n-grams are hashed to, and that learns: the front end that turns tokens into
// row ids, the rows, and what their optimizer remembers.

#include "config.hpp"

#include <engram/codec/plain.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/table.hpp>
#include <engram/tokenizer/token_map.hpp>

namespace engram::lm {

class HashedRows {
 public:
  using RowTable = Table<HostStore, F32Codec>;
  using TokenFrontEnd = FrontEnd<TokenMap, SuffixNgrams<RuntimeBoundary>, MultiplicativeXor>;

  /// The rows of config.memory or config.bigrams, zero at first unless they are frozen.
  ///
  /// Fails with what make_layout(), the front end and the table say.
  static Result<HashedRows> make(const ModelConfig& config, const TokenMap& map);

  Index columns() const { return layout_.columns(); }  ///< H, rows of a position
  Index row_width() const { return table_.row_width(); }
  const RowTable& table() const { return table_; }
  RowTable& table() { return table_; }
  std::vector<float>& state() { return state_; }
  const Layout& layout() const { return layout_; }

  /// Row ids [T, H] of sequences of `context` tokens, each `stride` behind the one before.
  Status address(const std::int32_t* tokens, Index sequences, Index stride,
                 std::vector<std::int32_t>& rows) const;

  /// Moves the rows that were read: rows [T, H], to_rows [T, H E]. `rate` is the dense weights'.
  Status update(View<const std::int32_t, 2> rows, View<const float, 2> to_rows, float rate,
                Index step);

 private:
  HashedRows(const ModelConfig& config, Layout layout, TokenFrontEnd front, RowTable table);

  void shuffle(std::vector<std::int32_t>& rows) const;

  Index context_;
  float rate_;
  bool frozen_, shuffled_;
  std::uint64_t seed_;
  Layout layout_;
  TokenFrontEnd front_;
  RowTable table_;
  std::vector<float> state_;  // [rows, LazyAdam's]
  std::vector<std::byte> reducing_;
  std::vector<std::int32_t> unique_;
  std::vector<float> sums_;
};

}  // namespace engram::lm
