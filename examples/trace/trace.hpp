// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a text does to an Engram memory: which n-grams each token ends, which rows they read, and
// how much of that repeats. Shown by `engram trace` and by the demo.

#include "bpe/encoder.hpp"

#include <engram/addressing/layout.hpp>
#include <engram/tokenizer/token_map.hpp>

#include <cstdio>

namespace engram::trace {

/// One token of the text.
struct TokenLine {
  std::string text;  ///< printable: control bytes and broken UTF-8 as \xNN
  std::int32_t token_id = 0;
  std::int32_t canonical_id = 0;
  std::vector<std::string> ngrams;       ///< [N - 1] the tokens of each order, joined by '|'
  std::vector<std::vector<Index>> rows;  ///< [L][H]
};

/// What the n-grams of one order do, in the first layer of the layout.
struct OrderSummary {
  int order = 0;
  Index distinct = 0;     ///< different n-grams
  Index reads = 0;        ///< row ids asked for: tokens * heads
  Index unique_rows = 0;  ///< different rows among them
  double reuse = 0;       ///< 1 - unique_rows / reads: what reading each row once saves
  double collisions = 0;  ///< share of the distinct n-grams that share a row in one head, mean of
                          ///< the heads
  Index collided_in_all_heads = 0;  ///< distinct n-grams that share every row with another
};

struct Trace {
  Index tokens = 0;
  std::vector<TokenLine> first;      ///< the first tokens of the text
  std::vector<OrderSummary> orders;  ///< [N - 1]
};

/// Encodes a text and follows it to the rows. `limit`: how many tokens `first` holds.
///
/// Fails with what the encoder says, and when map and layout do not belong together.
Result<Trace> trace_text(const bpe::Encoder& encoder, const TokenMap& map, const Layout& layout,
                         std::string_view text, Index limit);

/// The trace for a person at a terminal; escape sequences only with `color`.
void print(std::FILE* out, const Trace& trace, const Layout& layout, bool color);

/// Text in exactly `columns` columns: cut with an ellipsis or filled with blanks.
std::string fit(const std::string& text, std::size_t columns);

}  // namespace engram::trace
