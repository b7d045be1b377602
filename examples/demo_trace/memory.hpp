// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The demo's memory layer over the tokens of a text, from a table in memory and from the same table
// in a mapped file.

#include <engram/core/status.hpp>
#include <engram/tokenizer/token_map.hpp>

namespace engram::demo {

/// What was shown.
struct MemoryShown {
  Index tokens = 0;
  bool from_file = false;
};

/// Runs the layer and prints what it did and how fast.
///
/// pad_id  token id hashed where an n-gram reaches before the text.
/// Fails with out_of_memory, and with mismatch when memory and file do not give the same bits. Too
/// small a disk is no failure: it is said, and the file is left out.
Result<MemoryShown> show_memory(const TokenMap& map, std::int32_t pad_id,
                                View<const std::int32_t, 1> ids);

}  // namespace engram::demo
