// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Words of page-locked memory by which host and GPU wait for each other, and a clock for how long.

#include <engram/config.hpp>

#include <chrono>
#include <cstdint>
#include <thread>

ENGRAM_BEGIN_NAMESPACE

/// The word as it is now; nothing is known of what was written before it.
ENGRAM_HD inline std::uint32_t peek_shared(const std::uint32_t* word) noexcept {
#if defined(__CUDA_ARCH__)
  return *static_cast<const volatile std::uint32_t*>(word);
#else
  return __atomic_load_n(word, __ATOMIC_RELAXED);
#endif
}

/// The word, and everything that was written before it by who wrote it.
ENGRAM_HD inline std::uint32_t load_shared(const std::uint32_t* word) noexcept {
#if defined(__CUDA_ARCH__)
  const std::uint32_t value = peek_shared(word);
  __threadfence_system();
  return value;
#else
  return __atomic_load_n(word, __ATOMIC_ACQUIRE);
#endif
}

/// Writes the word, behind everything that was written before.
ENGRAM_HD inline void store_shared(std::uint32_t* word, std::uint32_t value) noexcept {
#if defined(__CUDA_ARCH__)
  __threadfence_system();
  *static_cast<volatile std::uint32_t*>(word) = value;
#else
  __atomic_store_n(word, value, __ATOMIC_RELEASE);
#endif
}

/// Nanoseconds of a clock that only goes forward; how fine is the processor's matter.
ENGRAM_HD inline std::uint64_t clock_nanoseconds() noexcept {
#if defined(__CUDA_ARCH__)
  std::uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
#else
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
#endif
}

/// About a microsecond without work, where the processor can.
ENGRAM_HD inline void pause_a_microsecond() noexcept {
#if !defined(__CUDA_ARCH__)
  std::this_thread::yield();
#elif __CUDA_ARCH__ >= 700
  __nanosleep(1000);
#endif
}

ENGRAM_END_NAMESPACE
