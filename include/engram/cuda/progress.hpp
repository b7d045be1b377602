// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Who is told how far a call is that takes seconds: any function of a number that says whether to
// go on. Here the one that nobody listens to.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Goes on to the end.
struct Unwatched {
  constexpr bool operator()(Index) const noexcept { return true; }
};

ENGRAM_END_NAMESPACE
