// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The normaliser against values that were not made with it.

#include "catch.hpp"

#include <engram/core/sha256.hpp>
#include <engram/io/file.hpp>
#include <engram/io/json.hpp>
#include <engram/unicode/normalizer.hpp>

#include <string>

TEST_CASE("golden: normalised strings and keys made with Python's unicodedata") {
  const std::string path = std::string(ENGRAM_TEST_DIR) + "/golden/vectors/normalizer_vectors.json";
  const auto text = engram::read_file(path);
  INFO(text.message());
  REQUIRE(text.ok());
  const auto json = engram::parse_json(text.value(), path);
  INFO(json.message());
  REQUIRE(json.ok());
  const engram::Json* cases = json.value().find("cases");
  REQUIRE(cases != nullptr);
  REQUIRE(cases->as_array() != nullptr);
  CHECK(cases->as_array()->size() == 24);
  for (const engram::Json& entry : *cases->as_array()) {
    const std::string* given = entry.find("text")->as_string();
    REQUIRE(given != nullptr);
    INFO(*given);
    CHECK(engram::normalize(*given).value() == *entry.find("normalized")->as_string());
    CHECK(engram::canonical_key(*given).value() == *entry.find("key")->as_string());
  }
}

TEST_CASE("golden: every code point has the key that the tokenizers library gives it") {
  // Digest by tests/oracle/normalizer_oracle.py with the Python package tokenizers 0.23.3: the key
  // of "a", the code point, "b", one key a line. It pins the answer for every version of ICU.
  engram::Sha256 sha;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text = "a";
    engram::append_utf8(text, c);
    auto key = engram::canonical_key(text + "b");
    REQUIRE(key.ok());
    key.value() += '\n';
    sha.update(engram::as_bytes(key.value()));
  }
  CHECK(sha.hex() == "7ed290a7c1b45235d27676a96877e0bbc635a56d3476df2c9948e85c4db82b16");
}
