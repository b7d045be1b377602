// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How an engine's own threads enter a call together: each is share i of n, and between two phases
// they meet at a barrier in the engine's memory. The library starts no thread.

#include <engram/core/ids.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Items [begin, end).
struct ItemRange {
  Index begin = 0;
  Index end = 0;
};

/// Share `index` of `count` equal parts of any work; the default is all of it.
struct Share {
  Index index = 0;
  Index count = 1;

  /// The items of `total` that are this share's: contiguous, and the shares cover all.
  ENGRAM_HD constexpr ItemRange of(Index total) const noexcept {
    const Index each = total / count;
    const Index rest = total % count;
    const Index begin = index * each + (index < rest ? index : rest);
    return {begin, begin + each + (index < rest ? 1 : 0)};
  }
};

/// Where the threads of one call meet. Waits by spinning, because between the phases of a layer
/// there are microseconds; so give it no more threads than there are processors.
///
/// One for each group of threads, used by them alone; not copied while in use.
class alignas(64) Barrier {
 public:
  /// Returns when `count` threads have arrived, which all pass the same count: whether all of them
  /// said yes.
  ENGRAM_ALWAYS_INLINE bool agree(Index count, bool yes) noexcept {
    const Index phase = __atomic_load_n(&phase_, __ATOMIC_RELAXED);
    if (!yes) __atomic_store_n(&refused_, true, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&arrived_, 1, __ATOMIC_ACQ_REL) == count) {
      __atomic_store_n(&agreed_, !__atomic_load_n(&refused_, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
      __atomic_store_n(&refused_, false, __ATOMIC_RELAXED);
      __atomic_store_n(&arrived_, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&phase_, phase + 1, __ATOMIC_RELEASE);
    }
    while (__atomic_load_n(&phase_, __ATOMIC_ACQUIRE) == phase) {
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
    }
    return __atomic_load_n(&agreed_, __ATOMIC_RELAXED);
  }

 private:
  Index arrived_ = 0;
  Index phase_ = 0;
  bool refused_ = false;
  bool agreed_ = true;  // of the phase before; overwritten only when all have left it
};

ENGRAM_END_NAMESPACE
