// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A file may include xxhash.h for itself, before the library's headers or behind them.
#include <xxhash.h>

#include <catch.hpp>
#include <string>

namespace {

XXH64_hash_t linked(const std::string& text) { return XXH3_64bits(text.data(), text.size()); }

}  // namespace

#include <engram/io/checkpoint.hpp>
#include <engram/xxhash/addresser.hpp>

#include <xxhash.h>

TEST_CASE("xxhash.h may be included by itself around the library's headers") {
  for (const std::size_t size : {0u, 8u, 100u, 1000u, 100000u}) {
    const std::string text(size, 'x');
    XXH3_state_t running;
    XXH3_64bits_reset(&running);
    XXH3_64bits_update(&running, text.data(), text.size());
    CHECK(XXH3_64bits_digest(&running) == linked(text));
    CHECK(XXH3_64bits(text.data(), text.size()) == linked(text));
  }
}
