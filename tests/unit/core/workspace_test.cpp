// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <engram/core/workspace.hpp>

#include <vector>

using namespace engram;

TEST_CASE("a workspace hands out aligned arrays until it is used up") {
  std::vector<std::byte> bytes(Workspace::bytes_for<double>(10) + Workspace::bytes_for<int>(3) + 7);
  for (std::size_t skew = 0; skew < 7; ++skew) {  // whatever the alignment of the caller's memory
    Workspace workspace(
        View<std::byte, 1>(bytes.data() + skew, static_cast<Index>(bytes.size() - skew)));
    auto* doubles = workspace.take<double>(10);
    auto* ints = workspace.take<int>(3);
    REQUIRE(doubles != nullptr);
    REQUIRE(ints != nullptr);
    CHECK(reinterpret_cast<std::uintptr_t>(doubles) % 64 == 0);
    CHECK(reinterpret_cast<std::byte*>(ints) >= reinterpret_cast<std::byte*>(doubles + 10));
    CHECK(workspace.take<double>(100) == nullptr);
  }
}
