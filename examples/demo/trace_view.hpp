// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What happens to real text on its way to a memory, without training: a tokenizer, its token map,
// n-grams, row ids and what repeats, then a layer with random weights over the text.

#include <engram/core/status.hpp>

#include <string>

namespace engram::demo {

struct TraceOptions {
  std::string tokenizer, text;  ///< empty: from the C++ headers of this machine
  std::string save_tokenizer;   ///< empty: not saved
  bool color = false;
};

/// Prints it. Fails with what the readers say.
Result<void> show_trace(const TraceOptions& options);

}  // namespace engram::demo
