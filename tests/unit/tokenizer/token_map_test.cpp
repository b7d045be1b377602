// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/tokenizer/token_map.hpp>

#include <string>
#include <vector>

using engram::Code;
using engram::Index;
using engram::TokenMap;

namespace {

std::vector<std::byte> bytes_of(const std::vector<int>& values) {
  std::vector<std::byte> bytes;
  for (const int v : values) bytes.push_back(static_cast<std::byte>(v));
  return bytes;
}

void check(const engram::Failure& failure, Code code, Index index, const std::string& part) {
  INFO(failure.message);
  CHECK(failure.status.code == code);
  CHECK(failure.status.index == index);
  CHECK(failure.message.compare(0, 11, "token map: ") == 0);
  CHECK(failure.message.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("token map: an empty map is refused") {
  const auto map = TokenMap::make({});
  REQUIRE_FALSE(map.ok());
  check(map.failure(), Code::invalid_config, -1, "no entries");
  const auto saved = TokenMap::from_bytes({});
  REQUIRE_FALSE(saved.ok());
  check(saved.failure(), Code::invalid_config, -1, "no entries");
}

TEST_CASE("token map: the first entry outside the canonical ids is named") {
  const auto negative = TokenMap::make({0, 1, -2, -3});
  REQUIRE_FALSE(negative.ok());
  check(negative.failure(), Code::corrupt, 2, "entry 2 is -2");
  const auto beyond = TokenMap::make({0, 1, 5, 6}, 5);
  REQUIRE_FALSE(beyond.ok());
  check(beyond.failure(), Code::corrupt, 2, "entry 2 is 5, expected a canonical id below 5");
  const auto both = TokenMap::make({0, -1}, 5);
  REQUIRE_FALSE(both.ok());
  check(both.failure(), Code::corrupt, 1, "entry 1 is -1");
}

TEST_CASE("token map: a saved map of broken length is refused") {
  for (const std::size_t size : {1u, 2u, 3u, 5u, 7u}) {
    const std::vector<std::byte> bytes(size);
    const auto map = TokenMap::from_bytes(bytes);
    REQUIRE_FALSE(map.ok());
    check(map.failure(), Code::corrupt, static_cast<Index>(size),
          std::to_string(size) + " bytes, expected a multiple of 4");
  }
}

TEST_CASE("token map: saved entries are little-endian and checked") {
  const auto map = TokenMap::from_bytes(bytes_of({0, 0, 0, 0, 0x04, 0x03, 0x02, 0x01}));
  REQUIRE(map.ok());
  CHECK(to_integer(map.value()(1)) == 0x01020304);
  CHECK(map.value().canonical_size() == 0x01020305);
  const auto negative = TokenMap::from_bytes(bytes_of({0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF}));
  REQUIRE_FALSE(negative.ok());
  check(negative.failure(), Code::corrupt, 1, "entry 1 is -2");
  const auto beyond = TokenMap::from_bytes(bytes_of({0, 0, 0, 0, 2, 0, 0, 0}), 2);
  REQUIRE_FALSE(beyond.ok());
  check(beyond.failure(), Code::corrupt, 1, "entry 1 is 2, expected a canonical id below 2");
}

TEST_CASE("token map: the largest id there is fits") {
  const auto map = TokenMap::make({0x7FFFFFFF, 0});
  REQUIRE(map.ok());
  CHECK(map.value().canonical_size() == Index{1} << 31);
}

TEST_CASE("token map: another tokenizer's map is not taken for the expected one") {
  const auto made = TokenMap::make({0, 1, 0, 2, 1});
  REQUIRE(made.ok());
  const TokenMap& map = made.value();
  // sha256 of the five little-endian int32, computed with Python's hashlib.
  const std::string digest = "daad5be5d806be05dd623730630fe46a2aad38014462e4e7952b226d7172ead6";
  CHECK(map.digest() == digest);
  CHECK(map.expect(5, 3, digest).ok());
  CHECK(map.expect(0, 0, "").ok());

  const auto refuse = [](const engram::Result<void>& answer, const std::string& part) {
    REQUIRE_FALSE(answer.ok());
    check(answer.failure(), Code::mismatch, -1, part);
  };
  refuse(map.expect(6, 3, digest), "number of entries is 5, expected 6");
  refuse(map.expect(5, 4, digest), "compressed size is 3, expected 4");
  const auto other = TokenMap::make({0, 1, 0, 2, 0});  // same sizes, another map
  REQUIRE(other.ok());
  CHECK(other.value().expect(5, 3, "").ok());
  refuse(other.value().expect(5, 3, digest), "expected " + digest);
}

TEST_CASE("token map: entries, sizes and saved form agree") {
  const std::vector<std::int32_t> ids = {0, 1, 0, 2, 1};
  const auto made = TokenMap::make(ids);
  REQUIRE(made.ok());
  const TokenMap& map = made.value();
  CHECK(map.vocab_size() == 5);
  CHECK(map.canonical_size() == 3);
  for (Index t = 0; t < 5; ++t) CHECK(to_integer(map(t)) == ids[static_cast<std::size_t>(t)]);
  CHECK(map.bytes().size() == 20);
  const auto again = TokenMap::from_bytes(map.bytes(), 7);
  REQUIRE(again.ok());
  CHECK(again.value().canonical_size() == 7);  // as told, not as found
  CHECK(again.value().digest() == map.digest());
}
