// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A text of any size as a row trace.

#include "bpe/encoder.hpp"

#include <engram/addressing/layout.hpp>
#include <engram/tokenizer/token_map.hpp>

namespace engram::trace {

/// Encodes the file `text` as one sequence and writes which rows it asks for to `out`; gives the
/// number of tokens.
///
/// Fails with what TokenStream and RowTraceWriter say, and with mismatch when map and layout do not
/// belong together; `out` is then as it was.
Result<Index> record_text(const bpe::Encoder& encoder, const TokenMap& map, const Layout& layout,
                          const std::string& text, const std::string& out);

}  // namespace engram::trace
