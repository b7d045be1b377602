// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The size of the system's pages of memory.

#include <engram/core/ids.hpp>

#if __has_include(<sys/mman.h>)
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// Of ordinary pages. 4096 where the system has no POSIX mappings, where it only rounds sizes.
inline Index system_page_bytes() noexcept {
#if __has_include(<sys/mman.h>)
  return static_cast<Index>(::sysconf(_SC_PAGESIZE));
#else
  return 4096;
#endif
}

ENGRAM_END_NAMESPACE
