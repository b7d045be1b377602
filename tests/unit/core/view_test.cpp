// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <engram/core/view.hpp>

#include <array>
#include <span>
#include <vector>

using namespace engram;

TEST_CASE("a view indexes row-major and keeps its strides through slices") {
  std::vector<int> v(24);
  for (int i = 0; i < 24; ++i) v[static_cast<std::size_t>(i)] = i;
  const View<int, 3> view(v.data(), 2, 3, 4);
  CHECK(view(1, 2, 3) == 23);
  CHECK(view.size() == 24);
  CHECK(view.at<1>(2)(1, 3) == 23);
  CHECK(view.at<0>(1)(2, 3) == 23);
  CHECK(view.slice(1, 1)(0, 2, 3) == 23);
  CHECK(view.slice(1, 1).extent(0) == 1);
}

TEST_CASE("rows may be padded") {
  std::vector<int> v = {0, 1, -1, -1, 2, 3, -1, -1};
  const auto view = View<int, 2>(v.data(), 2, 2).with_stride<0>(4);
  CHECK(view(1, 0) == 2);
  CHECK(view(1, 1) == 3);
}

TEST_CASE("containers are views of themselves") {
  std::vector<std::int64_t> v = {1, 2, 3};
  const View<const std::int64_t, 1> from_vector = v;
  const View<const std::int64_t, 1> from_span = std::span<const std::int64_t>(v);
  const std::array<std::int64_t, 2> a = {7, 8};
  const View<const std::int64_t, 1> from_array = a;
  CHECK(from_vector(2) == 3);
  CHECK(from_span.extent(0) == 3);
  CHECK(from_array(1) == 8);
  static_assert(std::is_same_v<decltype(View(v)), View<const std::int64_t, 1>>);
  CHECK(View<int, 1>().size() == 0);
}

TEST_CASE("a view goes where its memory can be reached, and nowhere else") {
  static_assert(std::is_convertible_v<View<int, 1, PinnedSpace>, View<const int, 1, HostSpace>>);
  static_assert(std::is_convertible_v<View<int, 1, PinnedSpace>, DeviceView<int, 1>>);
  static_assert(!std::is_convertible_v<DeviceView<int, 1>, View<int, 1, HostSpace>>);
  static_assert(!std::is_convertible_v<View<int, 1, HostSpace>, View<int, 1, PinnedSpace>>);
  static_assert(!std::is_convertible_v<View<const int, 1>, View<int, 1>>);
  static_assert(std::is_trivially_copyable_v<DeviceView<int, 4>>);
  static_assert(sizeof(View<int, 1>) == 24 && sizeof(View<int, 3>) == 56);
  SUCCEED("checked while compiling");
}
