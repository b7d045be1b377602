// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Threads on a cache, without a sanitizer; tests/tsan/ runs the same with one.
#include "cache_hammer.hpp"

#include <catch.hpp>

TEST_CASE("cached store: threads on a tiny cache, every byte checked") {
  CHECK(hammer_cache(264, 600, 4, 1200, false) == "");
  CHECK(hammer_cache(8, 3000, 3, 1200, false) == "");
  CHECK(hammer_cache(1000, engram::Index{1} << 34, 4, 800, true) == "");
}
