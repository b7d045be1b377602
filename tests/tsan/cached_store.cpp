// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Threads on a tiny cache, with ThreadSanitizer. Without an argument it does nothing: can it start?
#include "../unit/storage/cache_hammer.hpp"

#include <cstdio>

int main(int count, char**) {
  if (count < 2) return 0;
  std::string fault = hammer_cache(264, 600, 4, 400, false);
  if (fault.empty()) fault = hammer_cache(8, 3000, 3, 400, false);
  if (fault.empty()) fault = hammer_cache(1000, engram::Index{1} << 34, 4, 200, true);
  std::printf("%s\n", fault.empty() ? "every byte was right" : fault.c_str());
  return fault.empty() ? 0 : 1;
}
