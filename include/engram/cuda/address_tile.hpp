// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// AddressBody for 64 tokens by the threads of a block together: each window is made once and by one
// thread, each mix once for all its heads, and a thread that keeps to one column has its modulus at
// hand and divides by no run-time number. The same bits.

#include <engram/cuda/address_body.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What the threads of a block share.
struct AddressTile {
  static constexpr int tokens = 64;

  std::uint64_t mixes[max_order - 1][tokens];  ///< of one layer
  bool has_rows[tokens];
};

/// The rows of tokens begin, begin + 1, ..., at most AddressTile::tokens of them.
///
/// Block: `int thread()`, this one's; `static constexpr int threads`, at least as many as the tile
/// has tokens; `void sync()`, where all of them meet. All threads make the call.
template <class Block, class Mix, class Boundary, class Token, class Start, class Row, class Report>
ENGRAM_HD void address_tile(const Block& block, AddressTile& shared,
                            const AddressBody<Mix, Boundary, Token, Start, Row, Report>& body,
                            Index begin) noexcept {
  static_assert(Block::threads >= AddressTile::tokens);
  const HashTables& tables = body.tables;
  const Index left = body.rows.extent(0) - begin;
  const int count = static_cast<int>(left < AddressTile::tokens ? left : AddressTile::tokens);
  const int thread = block.thread();
  const int columns = tables.columns;
  const int orders = columns / tables.heads;

  NgramWindow window{};
  if (thread < count) {
    const auto found = body.look_at(begin + thread);
    if (found.wrong != Code::ok) body.errors.report(found.wrong, begin + thread);
    shared.has_rows[thread] = found.has_rows;
    window = found.window;
    for (std::int32_t& id : window.ids) id = id < 0 ? tables.pad : id;
  }
  // Where there are more threads than columns, several take the tokens of a column in turn.
  const int turns = columns < Block::threads ? Block::threads / columns : 1;
  const int turn = thread / columns;
  for (int layer = 0; layer < tables.layers; ++layer) {
    if (thread < count) {
      const std::uint64_t* const multipliers = tables.multipliers + layer * max_order;
      std::uint64_t mix = static_cast<std::uint64_t>(window.ids[0]) * multipliers[0];
      for (int order = 1; order <= orders; ++order) {
        mix = Mix::combine(mix, static_cast<std::uint64_t>(window.ids[order]) * multipliers[order]);
        shared.mixes[order - 1][thread] = mix ^ tables.salt;
      }
    }
    block.sync();
    for (int column = thread % columns; turn < turns && column < columns;
         column += Block::threads) {
      const int at = layer * columns + column;
      const Reciprocal modulus{tables.divisors[at], tables.inverses[at]};
      const Index offset = tables.offsets[at];
      const std::uint64_t* const mixes = shared.mixes[column / tables.heads];
      Row* const first = &body.rows(begin, layer, column);
      for (int i = turn; i < count; i += turns)
        first[i * body.rows.stride(0)] = static_cast<Row>(
            shared.has_rows[i] ? static_cast<Index>(modulus.remainder(mixes[i])) + offset
                               : Index{-1});
    }
    block.sync();
  }
}

ENGRAM_END_NAMESPACE
