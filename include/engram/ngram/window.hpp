// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What is hashed at one position: the token there and the ones before it, as far as they count.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The longest n-gram that the library extracts.
inline constexpr int max_order = 8;

/// Canonical ids at one position, newest first: ids[s] is the token s places back, or -1 where the
/// look-back is blocked. Once blocked, every older place is blocked too. The addresser puts its pad
/// id into blocked places.
struct NgramWindow {
  std::int32_t ids[max_order];
};

ENGRAM_END_NAMESPACE
