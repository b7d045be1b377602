// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a sentence shows a name that came out of a file, which may be long and hostile: apart from
// what reads JSON, since most files have none.

#include <engram/config.hpp>

#include <algorithm>
#include <string>
#include <string_view>

ENGRAM_BEGIN_NAMESPACE

/// A name from a file, in quotes for a sentence: control characters as '?', long names cut.
inline std::string quote_name(std::string_view name) {
  std::size_t size = std::min<std::size_t>(name.size(), 80);
  while (size < name.size() && size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0) == 0x80)
    --size;
  std::string quoted = "\"";
  for (const char c : name.substr(0, size))
    quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return quoted + (size < name.size() ? "...\"" : "\"");
}

ENGRAM_END_NAMESPACE
