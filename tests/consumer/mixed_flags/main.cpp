// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Parts of one program, compiled with different flags, agree; and the linker did not hand a part
// that was compiled for the oldest processor the code of one that was not.
#include "part.hpp"

#include <cstdio>

#define PARTS(X) X(plain) X(newest_cpu) X(fast_math) X(no_debug) X(no_exceptions)
#define DECLARE(name) Text name();
PARTS(DECLARE)

int main() {
  const Text expected = plain();
  int bad = 0;
#define COMPARE(name)                                                             \
  if (const Text found = name(); std::strcmp(found.bytes, expected.bytes) != 0) { \
    std::printf("%s: %s\nplain: %s\n", #name, found.bytes, expected.bytes);       \
    bad = 1;                                                                      \
  }
  PARTS(COMPARE)
  std::puts(expected.bytes);
  return bad;
}
