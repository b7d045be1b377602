// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is said while a program works: a line that is redrawn leaves nothing of what was longer, and
// a file gets lines, few of them.

#if __has_include("program/progress.hpp")

#include <catch.hpp>

#include "program/progress.hpp"

#include <memory>

using namespace engram;

namespace {

/// What the line prints for these texts, the last of which ends it.
std::string printed(bool redrawn, const std::vector<std::string>& texts) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  REQUIRE(file);
  program::ProgressLine line(redrawn, file.get());
  for (std::size_t i = 0; i < texts.size(); ++i) line.show(texts[i], i + 1 == texts.size());
  std::rewind(file.get());
  char bytes[256] = {};
  return {bytes, std::fread(bytes, 1, sizeof bytes, file.get())};
}

}  // namespace

TEST_CASE("a line on a terminal is drawn over the one before") {
  CHECK(printed(true, {"one of two", "two"}) == "\rone of two\rtwo       \n");
  CHECK(printed(true, {"all"}) == "\rall\n");
}

TEST_CASE("a file gets the first line and the last of work that is soon done") {
  CHECK(printed(false, {"one of three", "two of three", "three"}) == "one of three\nthree\n");
}

TEST_CASE("what is left follows from what is done") {
  CHECK(program::seconds_left(10, 1, 4) == 30);
  CHECK(program::seconds_left(10, 4, 4) == 0);
  program::Stopwatch watch;
  const double first = watch.seconds();
  CHECK(first >= 0);
  CHECK(watch.seconds() >= first);
}

#endif
