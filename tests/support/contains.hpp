// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whether a message says what it should. (Catch2's own matcher has another name in each version.)

#include <string_view>

inline bool contains(std::string_view text, std::string_view words) {
  return text.find(words) != std::string_view::npos;
}
