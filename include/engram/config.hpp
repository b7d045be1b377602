// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Every macro of the library, in one place: what compiler this is, what it may do, and the
// namespaces that keep differently compiled copies of a loop apart.

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "engram needs C++20: compile with -std=c++20 (nvcc: -std=c++20; MSVC: /std:c++20)."
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error \
    "engram writes little-endian files and reads them in place: big-endian targets are not supported."
#endif

/// Marks a function that both processors may run. Empty without a CUDA compiler.
#if defined(__CUDACC__)
#define ENGRAM_HD __host__ __device__
#else
#define ENGRAM_HD
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ENGRAM_ALWAYS_INLINE [[gnu::always_inline]] inline
#else
#define ENGRAM_ALWAYS_INLINE inline
#endif

/// 1 when `Result::value()` may throw; 0 under -fno-exceptions, where it traps.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define ENGRAM_EXCEPTIONS 1
#else
#define ENGRAM_EXCEPTIONS 0
#endif

/// 1 when loops may carry x86 `target("...")` copies chosen at run time (GNU vector extensions).
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define ENGRAM_X86_TARGETS 1
#else
#define ENGRAM_X86_TARGETS 0
#endif

// Types carry the version in their mangled name. Loops also carry what changes their code, so that
// a program whose files were compiled with different flags keeps one copy for each.
#if defined(__AVX512F__)
#define ENGRAM_TAG_ISA avx512
#elif defined(__AVX2__)
#define ENGRAM_TAG_ISA avx2
#elif defined(__AVX__)
#define ENGRAM_TAG_ISA avx
#else
#define ENGRAM_TAG_ISA base
#endif
#if defined(__FAST_MATH__)
#define ENGRAM_TAG_MATH fast
#else
#define ENGRAM_TAG_MATH strict
#endif
#if ENGRAM_EXCEPTIONS
#define ENGRAM_TAG_ERRORS throwing
#else
#define ENGRAM_TAG_ERRORS trapping
#endif
#define ENGRAM_JOIN3_(a, b, c) loops_##a##_##b##_##c
#define ENGRAM_JOIN3(a, b, c) ENGRAM_JOIN3_(a, b, c)

#define ENGRAM_BEGIN_NAMESPACE \
  namespace engram {           \
  inline namespace v0_1 {
#define ENGRAM_END_NAMESPACE \
  }                          \
  }
#define ENGRAM_BEGIN_LOOPS \
  inline namespace ENGRAM_JOIN3(ENGRAM_TAG_ISA, ENGRAM_TAG_MATH, ENGRAM_TAG_ERRORS) {
#define ENGRAM_END_LOOPS }
