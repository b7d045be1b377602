// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The token map of a released tokenizer, from its file to its digest. Golden values by
// tests/oracle/token_map_oracle.py with the Python package tokenizers 0.23.3.

#include "catch.hpp"

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

namespace {

// The path of a file of the data folder, or "" after saying which one is missing.
std::string shared_data(const std::string& file) {
  std::string folder = ENGRAM_SHARED_DATA_DIR;
  if (const char* set = std::getenv("ENGRAM_SHARED_DATA_DIR")) folder = set;
  const std::string path = folder + "/" + file;
  if (!folder.empty() && engram::read_file(path).ok()) return path;
  std::cout << "[skipped] needs " << (folder.empty() ? "ENGRAM_SHARED_DATA_DIR/" + file : path)
            << ", which is not there\n";
  return "";
}

}  // namespace

TEST_CASE("golden: the DeepSeek-V3 tokenizer's map") {
  const std::string path = shared_data("tokenizers/deepseek-v3/tokenizer.json");
  if (path.empty()) return;
  const auto tokenizer = engram::read_tokenizer_json(path);
  INFO(tokenizer.message());
  REQUIRE(tokenizer.ok());
  CHECK(tokenizer.value().tokens.size() == 128815);
  CHECK(tokenizer.value().added_tokens.size() == 818);
  CHECK(tokenizer.value().merges.size() == 127741);

  const auto made = engram::build_token_map(tokenizer.value().tokens);
  INFO(made.message());
  REQUIRE(made.ok());
  const engram::TokenMap& map = made.value();
  const auto expected =
      map.expect(128815, 98627, "cd48cb62d9cca1baaf08d9e7795ad3d4c22b6c56f0f070178b9e3a52694ea930");
  INFO(expected.message());
  CHECK(expected.ok());

  // The five largest groups are those of the paper's appendix C.
  std::map<std::int32_t, int> sizes;
  std::map<std::string, std::int32_t> ids;
  for (engram::Index t = 0; t < map.vocab_size(); ++t) {
    const std::int32_t id = to_integer(map(t));
    ++sizes[id];
    ids[tokenizer.value().tokens[static_cast<std::size_t>(t)]] = id;
  }
  CHECK(sizes[ids["\u0120"]] == 163);
  CHECK(sizes[ids["a"]] == 54);
  CHECK(sizes[ids["o"]] == 40);
  CHECK(sizes[ids["e"]] == 35);
  CHECK(sizes[ids["i"]] == 30);
}
