// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The two scalar functions that gates and norms need, for both processors. <cmath> costs as much to
// parse as all of addressing.

#include <engram/config.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The square root, correctly rounded; NaN below 0.
ENGRAM_HD ENGRAM_ALWAYS_INLINE float square_root(float x) noexcept {
#if defined(__CUDA_ARCH__)
  return sqrtf(x);
#else
  return __builtin_sqrtf(x);
#endif
}

/// e^x as the system's math library gives it.
ENGRAM_HD ENGRAM_ALWAYS_INLINE float exponential(float x) noexcept {
#if defined(__CUDA_ARCH__)
  return expf(x);
#else
  return __builtin_expf(x);
#endif
}

ENGRAM_END_NAMESPACE
