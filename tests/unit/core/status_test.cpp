// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <engram/core/status.hpp>

#include <memory>
#include <vector>

using namespace engram;

TEST_CASE("a result holds a value or the reason why not") {
  Result<std::vector<int>> good = std::vector<int>{1, 2, 3};
  REQUIRE(good.ok());
  CHECK(good.status().ok());
  CHECK(good.message().empty());
  CHECK(good.value()[2] == 3);

  Result<std::vector<int>> bad = fail(Code::corrupt, {"byte ", 7, " is wrong"}, 7);
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.status() == Status{Code::corrupt, 0, 7});
  CHECK(bad.message() == "byte 7 is wrong");
  CHECK_THROWS_AS(bad.value(), Error);
  try {
    (void)bad.value();
  } catch (const Error& e) {
    CHECK(e.status().index == 7);
    CHECK(std::string(e.what()) == "byte 7 is wrong");
  }
}

TEST_CASE("a result moves what cannot be copied") {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
  Result<std::unique_ptr<int>> moved = std::move(result);
  const std::unique_ptr<int> owned = std::move(moved).value();
  CHECK(*owned == 5);
}

TEST_CASE("a result of nothing") {
  CHECK(Result<void>().ok());
  CHECK_NOTHROW(Result<void>().value());
  const Result<void> bad = fail(Code::io, "disk", -1, 5);
  CHECK(bad.status().system_error == 5);
  CHECK_THROWS_AS(bad.value(), Error);
}

TEST_CASE("numbers of every width enter a sentence") {
  CHECK(sentence({"a", 1, -2L, 3LL, 4U, 5UL, 18446744073709551615ULL, std::string("b")}) ==
        "a1-234518446744073709551615b");
  CHECK(sentence({}).empty());
}

TEST_CASE("every code has a name and describe() says what, where and why") {
  for (int c = 0; c <= static_cast<int>(Code::out_of_memory); ++c)
    CHECK(std::string(to_string(static_cast<Code>(c))) != "unknown");
  const std::string text = describe({Code::bad_token, 0, 17}, "address");
  CHECK(text.find("address: bad_token at index 17") == 0);
  CHECK(text.find("beyond the token map") != std::string::npos);
  CHECK(describe({Code::io, 28, -1}, "write") == "write: io, system error 28");
}
