// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <contains.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/codec/plain.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/store_view.hpp>
#include <engram/storage/table.hpp>
#include <random.hpp>

#include <cstring>
#include <vector>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::vector<float> all_elements(auto& table) {
  std::vector<int> ids(at(table.num_rows()));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(i);
  std::vector<float> out(ids.size() * at(table.row_width()));
  const View<const int, 2> rows(ids.data(), table.num_rows(), 1);
  REQUIRE(table.gather(rows, View<float, 2>(out.data(), table.num_rows(), table.row_width())).ok());
  return out;
}

}  // namespace

static_assert(std::is_trivially_copyable_v<StoreView<>>);
static_assert(MutableStore<StoreView<DeviceSpace, std::byte>>);
static_assert(!MutableStore<StoreView<DeviceSpace>>, "rows of const bytes are not written");

TEST_CASE(
    "store view: gives what a store that owns the same bytes gives, at any place and stride") {
  constexpr Index num_rows = 7, width = 64, row_bytes = 64, scale_bytes = 2;
  for (const Index stride : {Index{0}, Index{66}, Index{67}, Index{80}})
    for (const Index first : {Index{0}, Index{1}, Index{5}}) {
      INFO("stride " << stride << ", first row at byte " << first);
      const Index step = stride == 0 ? row_bytes + scale_bytes : stride;
      std::vector<std::byte> memory(at(first + (num_rows - 1) * step + row_bytes + scale_bytes));
      Random random(7);
      for (std::byte& b : memory) b = static_cast<std::byte>(random.bits() & 0x3F);
      HostStore owner = HostStore::make(num_rows, row_bytes, scale_bytes).value();
      for (Index r = 0; r < num_rows; ++r) {
        const std::byte* const row = memory.data() + first + r * step;
        std::memcpy(owner.mutable_ref()(r).codes, row, at(row_bytes));
        std::memcpy(owner.mutable_ref()(r).scales, row + row_bytes, at(scale_bytes));
      }
      const auto view =
          StoreView<>::make(memory.data() + first, {num_rows, row_bytes, scale_bytes}, stride);
      REQUIRE(view.ok());
      CHECK(view.value().num_rows() == num_rows);
      CHECK(view.value().row_bytes() == row_bytes);
      CHECK(view.value().scale_bytes() == scale_bytes);
      CHECK(view.value().stride() == step);
      auto seen = Table<StoreView<>, Fp8Codec>::make(view.value(), {}, width).value();
      auto owned = Table<HostStore, Fp8Codec>::make(std::move(owner), {}, width).value();
      CHECK(all_elements(seen) == all_elements(owned));
    }
}

TEST_CASE("store view: rows without scales have none, and those of std::byte are written") {
  std::vector<float> memory = {1, 2, 3, 4, 5, 6};
  auto* const bytes = reinterpret_cast<std::byte*>(memory.data());
  auto view = StoreView<HostSpace, std::byte>::make(bytes, {3, 8}).value();
  CHECK(view.ref()(2).codes == bytes + 16);
  CHECK(view.ref()(2).scales == nullptr);
  CHECK(view.mutable_ref()(2).scales == nullptr);
  const float seven = 7;
  std::memcpy(view.mutable_ref()(2).codes, &seven, sizeof seven);
  CHECK(memory == std::vector<float>{1, 2, 3, 4, 7, 6});
  auto table = Table<StoreView<HostSpace, std::byte>, F32Codec>::make(view, {}, 2).value();
  CHECK(all_elements(table) == memory);
}

TEST_CASE("store view: what cannot be rows is refused by name") {
  std::byte one{};
  const auto refused = [&](const RowShape& shape, Index stride, const char* why) {
    const auto view = StoreView<>::make(&one, shape, stride);
    INFO(view.message());
    CHECK(view.status().code == Code::invalid_config);
    CHECK(contains(view.message(), "store view: "));
    CHECK(contains(view.message(), why));
  };
  refused({0, 64}, 0, "0 rows");
  refused({-1, 64}, 0, "-1 rows");
  refused({1, 0}, 0, "rows of 0 bytes");
  refused({1, 64, -1}, 0, "scales of -1 bytes");
  refused({1, 64}, -64, "a stride of -64 bytes");
  refused({1, 64, 8}, 71, "a stride of 71 bytes, expected at least the 72 bytes of a row");
  refused({INT64_MAX, 2}, 0, "2^63");
  refused({1, INT64_MAX, INT64_MAX}, 0, "2^63");
  refused({Index{1} << 40, 1}, Index{1} << 40, "2^63");
  const auto nowhere = StoreView<>::make(nullptr, {1, 64});
  CHECK(nowhere.status().code == Code::invalid_config);
  CHECK(contains(nowhere.message(), "no memory"));
}
