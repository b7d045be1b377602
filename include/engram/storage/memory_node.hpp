// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Memory nodes (NUMA): asks Linux to take the pages of a range from one node, and where pages are.
// By system calls, because all that is needed are two of them. Other systems answer ENOSYS.

#include <engram/core/ids.hpp>

#include <cerrno>
#include <cstddef>
#if defined(__linux__) && __has_include(<sys/syscall.h>)
#include <sys/syscall.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

inline constexpr int max_memory_nodes = 1024;  // what Linux can be built for

ENGRAM_BEGIN_LOOPS

/// Asks for the pages of a mapping, none of which is touched yet, to come from `node`; from it
/// alone (`strict`: when it is full, the process is killed on touching), or from it as long as it
/// has any. Returns 0 or errno: EINVAL (no such node, or not this process's), ENOSYS, EPERM.
inline int bind_to_node(void* data, std::size_t bytes, int node, bool strict) noexcept {
  if (node < 0 || node >= max_memory_nodes) return EINVAL;
#if defined(SYS_mbind)
  constexpr int word_bits = 8 * static_cast<int>(sizeof(unsigned long));
  unsigned long mask[max_memory_nodes / word_bits] = {};
  mask[node / word_bits] = 1UL << (node % word_bits);
  constexpr long preferred = 1, bind = 2;  // MPOL_...
  // The kernel takes one bit less than it is told.
  return ::syscall(SYS_mbind, data, bytes, strict ? bind : preferred, mask,
                   static_cast<unsigned long>(max_memory_nodes) + 1, 0UL) == 0
             ? 0
             : errno;
#else
  (void)data, (void)bytes, (void)strict;
  return ENOSYS;
#endif
}

/// The nodes of `count` addresses of this process, at most 64; below 0 where a page is not touched
/// yet or its node is not known.
inline void nodes_of(const std::byte* const* addresses, int* nodes, Index count) noexcept {
  for (Index i = 0; i < count; ++i) nodes[i] = -1;
#if defined(SYS_move_pages)
  // Without target nodes nothing is moved: the call then says where pages are.
  if (::syscall(SYS_move_pages, 0, static_cast<unsigned long>(count), addresses, nullptr, nodes,
                0) != 0)
    for (Index i = 0; i < count; ++i) nodes[i] = -1;
#else
  (void)addresses;
#endif
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
