// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Names that come out of a JSON text: how a sentence shows them, and whether two are the same.

#include <engram/io/json.hpp>
#include <engram/io/quoted.hpp>

#include <algorithm>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

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
