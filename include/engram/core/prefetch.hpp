// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Asks for a line of memory before it is read, in bodies that also run on a GPU, where nothing is
// asked for: its other warps run while one waits.

#include <engram/config.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The line at `at`, into the second-level cache. Any address will do.
ENGRAM_HD ENGRAM_ALWAYS_INLINE void prefetch([[maybe_unused]] const void* at) noexcept {
#if !defined(__CUDA_ARCH__)
  __builtin_prefetch(at, 0, 2);
#endif
}

ENGRAM_END_NAMESPACE
