// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A Status that nobody looks at is reported; here the report is made an error.
// expect-match: nodiscard|unused-result
#include <engram/core/status.hpp>

#if defined(__CUDACC__)
#pragma nv_diag_error 2810
#else
#pragma GCC diagnostic error "-Wunused-result"
#endif

engram::Status work();

void call() {
#ifdef ENGRAM_MUST_FAIL
  work();
#else
  (void)work();
#endif
}
