// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A token's bytes for people to read: they may hold control characters, or a part of one of UTF-8.

#include <string>
#include <string_view>

namespace engram::bpe {

/// Control bytes and broken UTF-8 as \xNN, line ends and tabs as \n and \t.
std::string printable(std::string_view bytes);

}  // namespace engram::bpe
