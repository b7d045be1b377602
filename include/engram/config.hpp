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

/// Before a function template for lanes: they are of one processor, and nvcc does not complain that
/// the other could not call them.
#if defined(__CUDACC__)
#define ENGRAM_ANY_LANES _Pragma("nv_exec_check_disable")
#else
#define ENGRAM_ANY_LANES
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ENGRAM_ALWAYS_INLINE [[gnu::always_inline]] inline
#else
#define ENGRAM_ALWAYS_INLINE inline
#endif

/// Keeps kernels and what launches them out of a shared library's symbols: two libraries of one
/// process may hold copies for different GPUs.
#if defined(__GNUC__)
#define ENGRAM_HIDDEN __attribute__((visibility("hidden")))
#else
#define ENGRAM_HIDDEN
#endif

/// Unrolls the loop behind it. nvcc warns of a pragma that only the host compiler behind it knows.
#if defined(__GNUC__) && !defined(__CUDACC__)
#define ENGRAM_PRAGMA_(text) _Pragma(#text)
#define ENGRAM_UNROLL(n) ENGRAM_PRAGMA_(GCC unroll n)
#else
#define ENGRAM_UNROLL(n)
#endif

/// The same for code that runs on a GPU, where an array stays in registers if its indices are
/// known.
#if defined(__CUDA_ARCH__)
#define ENGRAM_CUDA_UNROLL _Pragma("unroll")
#else
#define ENGRAM_CUDA_UNROLL
#endif

/// Keeps a GPU's compiler from unrolling the loop behind it, which would take registers.
#if defined(__CUDA_ARCH__)
#define ENGRAM_CUDA_ROLLED _Pragma("unroll 1")
#else
#define ENGRAM_CUDA_ROLLED
#endif

/// 1 when `Result::value()` may throw; 0 under -fno-exceptions, where it traps.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define ENGRAM_EXCEPTIONS 1
#else
#define ENGRAM_EXCEPTIONS 0
#endif

/// 1 when loops may carry x86 `target("...")` copies chosen at run time. They are written with GNU
/// vector extensions (g++ 12, clang); Windows does not align the stack for 64-byte vectors.
#if defined(__has_builtin) && defined(__x86_64__) && !defined(_WIN32)
#if __has_builtin(__builtin_shufflevector) && __has_builtin(__builtin_convertvector)
#define ENGRAM_X86_TARGETS 1
#endif
#endif
#if !defined(ENGRAM_X86_TARGETS)
#define ENGRAM_X86_TARGETS 0
#endif

/// 1 when ThreadSanitizer watches: it knows nothing of loads that are atomic by the processor's
/// word only.
#if defined(__SANITIZE_THREAD__)
#define ENGRAM_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ENGRAM_THREAD_SANITIZER 1
#endif
#endif
#if !defined(ENGRAM_THREAD_SANITIZER)
#define ENGRAM_THREAD_SANITIZER 0
#endif

// Types carry the version in their mangled name. Functions with a body worth the name also carry
// what changes their code: the instruction set (x86-64 levels 1 to 4), -ffast-math and exceptions.
// A program whose files were compiled with different flags so keeps one copy for each, and a file
// compiled for every machine never runs the copy that needs a newer one.
#if defined(__AVX512F__)
#define ENGRAM_TAG_ISA 4
#elif defined(__AVX2__) || defined(__AVX__) || defined(__BMI__) || defined(__BMI2__) || \
    defined(__LZCNT__)
#define ENGRAM_TAG_ISA 3
#elif defined(__SSE3__) || defined(__SSE4_2__) || defined(__POPCNT__)
#define ENGRAM_TAG_ISA 2
#elif defined(__ARM_FEATURE_SVE)
#define ENGRAM_TAG_ISA 5
#else
#define ENGRAM_TAG_ISA 1
#endif
#if defined(__FAST_MATH__)
#define ENGRAM_TAG_MATH 1
#else
#define ENGRAM_TAG_MATH 0
#endif
#define ENGRAM_LOOPS_NAME_(isa, fast_math, exceptions) loops_##isa##_##fast_math##_##exceptions
#define ENGRAM_LOOPS_NAME(isa, fast_math, exceptions) ENGRAM_LOOPS_NAME_(isa, fast_math, exceptions)

#define ENGRAM_BEGIN_NAMESPACE \
  namespace engram {           \
  inline namespace v0_1 {
#define ENGRAM_END_NAMESPACE \
  }                          \
  }
#define ENGRAM_BEGIN_LOOPS \
  inline namespace ENGRAM_LOOPS_NAME(ENGRAM_TAG_ISA, ENGRAM_TAG_MATH, ENGRAM_EXCEPTIONS) {
#define ENGRAM_END_LOOPS }
