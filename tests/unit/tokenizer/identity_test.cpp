// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/tokenizer/identity.hpp>
#include <engram/tokenizer/token_map.hpp>

TEST_CASE("identity: every token is its own canonical id") {
  constexpr engram::IdentityCompressor identity(1000);
  static_assert(to_integer(identity(999)) == 999);
  CHECK(identity.vocab_size() == 1000);
  CHECK(identity.canonical_size() == 1000);
  for (engram::Index t = 0; t < 1000; ++t) CHECK(to_integer(identity(t)) == t);
}

TEST_CASE("identity: the digest says that there is no map") {
  const engram::IdentityCompressor identity(3);
  CHECK(identity.digest() == "none");
  // A map that happens to be the identity is a map, and says so.
  const auto map = engram::TokenMap::make({0, 1, 2});
  REQUIRE(map.ok());
  CHECK(map.value().digest() == "ad5dc1478de06a4c2728ea528bd9361a4b945e92a414bf4d180cedaaeaa5f4cc");
}

TEST_CASE("identity: the last id of the largest vocabulary fits") {
  const engram::IdentityCompressor identity(engram::Index{1} << 31);
  CHECK(to_integer(identity(0x7FFFFFFF)) == 0x7FFFFFFF);
}
