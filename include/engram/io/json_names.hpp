// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Names that come out of a JSON text: how a sentence quotes them, and whether two are the same.

#include <engram/io/json.hpp>

#include <algorithm>
#include <vector>

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

/// The key that two members of an object share; null when all differ. n log n.
inline const std::string* repeated_key(const Json::Object& object) {
  std::vector<const std::string*> keys;
  keys.reserve(object.size());
  for (const auto& member : object) keys.push_back(&member.first);
  std::sort(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a < *b; });
  const auto same =
      std::adjacent_find(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a == *b; });
  return same == keys.end() ? nullptr : *same;
}

ENGRAM_END_NAMESPACE
