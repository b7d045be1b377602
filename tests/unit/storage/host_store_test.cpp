// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <contains.hpp>
#include <engram/storage/host_store.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

using namespace engram;

namespace {

constexpr Index largest = INT64_MAX;

void check_refused(const Result<HostStore>& store, std::initializer_list<const char*> words) {
  REQUIRE_FALSE(store.ok());
  INFO(store.message());
  CHECK(store.status().code == Code::invalid_config);
  for (const char* word : words) CHECK(contains(store.message(), word));
}

// Row r's byte i, any function that tells rows and bytes apart.
std::byte pattern(Index row, Index i) { return static_cast<std::byte>(row * 37 + i * 5 + 1); }

bool all_zero(const std::byte* at, Index bytes) {
  for (Index i = 0; i < bytes; ++i)
    if (at[i] != std::byte{0}) return false;
  return true;
}

}  // namespace

static_assert(!std::is_copy_constructible_v<HostStore> && !std::is_copy_assignable_v<HostStore>);
static_assert(std::is_nothrow_move_constructible_v<HostStore>);
static_assert(std::is_nothrow_move_assignable_v<HostStore>);

TEST_CASE("host store: sizes that cannot work are refused by name") {
  check_refused(HostStore::make(0, 64), {"0 rows"});
  check_refused(HostStore::make(-3, 64), {"-3 rows"});
  check_refused(HostStore::make(10, 0), {"rows of 0 bytes"});
  check_refused(HostStore::make(10, -1), {"rows of -1 bytes"});
  check_refused(HostStore::make(10, 64, -1), {"scales of -1 bytes"});
  check_refused(HostStore::make(10, 64, 0, {-64}), {"stride of -64"});
  check_refused(HostStore::make(10, 64, 8, {71}), {"stride of 71", "72 bytes", "64", "8"});
}

TEST_CASE("host store: sizes beyond 64 bits are refused before any arithmetic") {
  check_refused(HostStore::make(largest, 2), {"2^63"});
  check_refused(HostStore::make(1, largest), {"2^63"});
  check_refused(HostStore::make(1, 1, largest), {"2^63"});
  check_refused(HostStore::make(1, largest, largest), {"2^63"});
  check_refused(HostStore::make(Index{1} << 40, 1, 0, {Index{1} << 40}), {"2^63"});
  check_refused(HostStore::make(largest, largest, largest, {largest}), {"2^63"});
}

TEST_CASE("host store: memory that the system does not have is out_of_memory, with the bytes") {
  for (const Index rows : {Index{1} << 50, (Index{1} << 56), largest / 64}) {
    const auto store = HostStore::make(rows, 64);
    REQUIRE_FALSE(store.ok());
    INFO(store.message());
    CHECK(store.status().code == Code::out_of_memory);
    CHECK(store.status().index == rows * 64);
    CHECK(contains(store.message(), std::to_string(rows * 64)));
  }
}

TEST_CASE("host memory: less than a byte is refused") {
  for (const Index bytes : {Index{0}, Index{-1}, -largest}) {
    const auto memory = HostMemory::make(bytes);
    REQUIRE_FALSE(memory.ok());
    CHECK(memory.status().code == Code::invalid_config);
    CHECK(contains(memory.message(), std::to_string(bytes)));
  }
}

TEST_CASE("host store: the stride lets a row touch as few cache lines as its size allows") {
  CHECK(default_stride(1) == 1);
  CHECK(default_stride(2) == 2);
  CHECK(default_stride(3) == 4);
  CHECK(default_stride(33) == 64);
  CHECK(default_stride(63) == 64);
  CHECK(default_stride(64) == 64);
  CHECK(default_stride(65) == 128);
  CHECK(default_stride(264) == 320);
  CHECK(default_stride(largest - 63) == largest - 63);
  for (Index bytes = 1; bytes <= 700; ++bytes) {
    const Index stride = default_stride(bytes);
    REQUIRE(stride >= bytes);
    const Index fewest = (bytes + 63) / 64;
    for (Index row = 0; row < 64; ++row) {
      const Index first = row * stride / 64;
      const Index last = (row * stride + bytes - 1) / 64;
      if (last - first + 1 != fewest) FAIL("row " << row << " of " << bytes << " bytes");
    }
  }
}

TEST_CASE("host store: rows start zeroed, keep their bytes and do not touch each other") {
  for (const Index row_bytes : {1, 7, 32, 64, 100, 256})
    for (const Index scale_bytes : {0, 1, 8, 33})
      for (const Index stride :
           {Index{0}, row_bytes + scale_bytes, row_bytes + scale_bytes + 13, Index{512}}) {
        const Index rows = 50;
        auto made = HostStore::make(rows, row_bytes, scale_bytes, {stride});
        REQUIRE(made.ok());
        HostStore store = std::move(made).value();
        CHECK(store.num_rows() == rows);
        CHECK(store.row_bytes() == row_bytes);
        CHECK(store.scale_bytes() == scale_bytes);
        CHECK(store.stride() == (stride > 0 ? stride : default_stride(row_bytes + scale_bytes)));
        const auto ref = store.ref();
        CHECK(reinterpret_cast<std::uintptr_t>(ref(0).codes) % 64 == 0);
        bool zeroed = true;
        for (Index r = 0; r < rows; ++r) {
          zeroed = zeroed && all_zero(ref(r).codes, row_bytes);
          CHECK((ref(r).scales == nullptr) == (scale_bytes == 0));
          if (scale_bytes > 0) zeroed = zeroed && all_zero(ref(r).scales, scale_bytes);
        }
        CHECK(zeroed);
        for (Index r = 0; r < rows; ++r) {
          const MutableRowBytes to = store.mutable_ref()(r);
          for (Index i = 0; i < row_bytes; ++i) to.codes[i] = pattern(r, i);
          for (Index i = 0; i < scale_bytes; ++i) to.scales[i] = pattern(r, row_bytes + i);
        }
        const HostStore moved = std::move(store);
        bool kept = true;
        for (Index r = 0; r < rows; ++r) {
          kept = kept && ref(r).codes == moved.ref()(r).codes;  // refs outlive a move
          for (Index i = 0; i < row_bytes; ++i) kept = kept && ref(r).codes[i] == pattern(r, i);
          for (Index i = 0; i < scale_bytes; ++i)
            kept = kept && ref(r).scales[i] == pattern(r, row_bytes + i);
        }
        CHECK(kept);
      }
}

TEST_CASE("host store: assignment frees the old rows and takes the new ones") {
  HostStore store = HostStore::make(4, 64).value();
  HostStore other = HostStore::make(9, 32).value();
  const std::byte* const at = other.ref()(0).codes;
  store = std::move(other);
  CHECK(store.num_rows() == 9);
  CHECK(store.ref()(0).codes == at);
  HostMemory empty;
  CHECK(empty.data() == nullptr);
  CHECK(empty.size() == 0);
  CHECK(empty.report().bytes == 0);
  empty = HostMemory::make(100).value();
  CHECK(empty.bytes().size() == 100);
  HostMemory& same = empty;
  empty = std::move(same);
  CHECK(empty.size() == 100);
}

TEST_CASE("host store: rows beyond 2^31 and bytes beyond 2^32") {
  const Index rows = (Index{1} << 31) + 5;
  auto made = HostStore::make(rows, 3, 1, {4, {Pages::ordinary}});
  if (!made.ok()) {
    std::printf("[skipped] no address space for 8 GiB here: %s\n", made.message().c_str());
    return;
  }
  HostStore store = std::move(made).value();
  for (const Index row : {Index{0}, Index{1} << 30, Index{1} << 31, rows - 1}) {
    CHECK(all_zero(store.ref()(row).codes, 3));
    std::memset(store.mutable_ref()(row).codes, 7, 3);
    *store.mutable_ref()(row).scales = std::byte{9};
  }
  CHECK(store.ref()(rows - 1).codes - store.ref()(0).codes == 4 * (rows - 1));
  CHECK(store.ref()(rows - 1).codes[2] == std::byte{7});
  CHECK(*store.ref()(rows - 1).scales == std::byte{9});
  CHECK(all_zero(store.ref()(rows - 2).codes, 3));
}

TEST_CASE("host memory: the report counts what was touched, of this memory alone") {
  const Index bytes = Index{3} << 20;
  HostMemory memory = HostMemory::make(bytes, {Pages::ordinary}).value();
  HostMemory neighbour = HostMemory::make(bytes, {Pages::ordinary}).value();
  std::memset(neighbour.data(), 1, static_cast<std::size_t>(bytes));
  const HostMemoryReport before = memory.report();
  INFO(describe(before));
  CHECK(before.bytes == bytes);
  CHECK(contains(describe(before), "3145728 bytes of host memory"));
  if (before.resident_bytes < 0) {
    CHECK(contains(describe(before), "not known"));
    std::printf("[skipped] this system does not say what is resident\n");
    return;
  }
  CHECK(before.page_bytes >= 4096);
  CHECK(before.resident_bytes == 0);
  CHECK(before.huge_bytes == 0);
  std::memset(memory.data(), 1, static_cast<std::size_t>(bytes) / 3);
  const HostMemoryReport some = memory.report();
  INFO(describe(some));
  CHECK(some.resident_bytes >= bytes / 3);
  CHECK(some.resident_bytes <= bytes);
  CHECK(some.huge_bytes <= some.resident_bytes);
}

TEST_CASE("host memory: pages of 2 MiB are obtained where the system has them") {
  const Index bytes = (Index{8} << 20) + 5;  // not a whole number of pages
  HostMemory memory = HostMemory::make(bytes).value();
  std::memset(memory.data(), 1, static_cast<std::size_t>(bytes));
  const HostMemoryReport report = memory.report();
  std::printf("%s\n", describe(report).c_str());
  CHECK(memory.data()[bytes - 1] == std::byte{1});
  if (report.huge_bytes < 0) {
    std::printf("[skipped] this system does not say which pages it gave\n");
    return;
  }
  CHECK(report.resident_bytes >= bytes);
  CHECK(report.resident_bytes < bytes + report.page_bytes);
  CHECK(report.huge_bytes <= report.resident_bytes);
  CHECK(report.huge_bytes % report.page_bytes == 0);
  if (report.huge_bytes == 0) {
    std::printf("[skipped] no page of 2 MiB was given: they are off, or memory is in pieces\n");
    return;
  }
  CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % huge_page_bytes == 0);
  CHECK(report.huge_bytes <= Index{8} << 20);
}
