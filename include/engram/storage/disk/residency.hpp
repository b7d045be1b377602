// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whether the system says which bytes of a mapped file are in memory.

#include <engram/storage/disk/disk_file.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Whether is_in_memory() tells this process the truth: the system says of other people's files
/// that all of them are in memory, so that nobody learns what others read (Linux 5.2).
ENGRAM_ALWAYS_INLINE bool residency_is_told(int descriptor) noexcept {
  struct stat file {};
  if (::fstat(descriptor, &file) != 0) return false;
  const uid_t user = ::geteuid();
  return user == 0 || user == file.st_uid;
}

ENGRAM_END_NAMESPACE
