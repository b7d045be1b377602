// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Progress of calls that take seconds: a function that is called with how much is done, in rows or
// bytes, as the call says; false ends the call.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The one that ends nothing.
struct Unwatched {
  constexpr bool operator()(Index) const noexcept { return true; }
};

ENGRAM_END_NAMESPACE
