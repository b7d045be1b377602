// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A cache over stores of files: one that is opened anew under its readers, a reader that goes with
// a batch on its way, and what a failing row is called.
#include "direct_case.hpp"
#include "numbered_store.hpp"

#include <engram/storage/background_store.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/disk/adaptive_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>
#include <engram/storage/mapped_reader.hpp>

#include <filesystem>

using namespace direct_case;

namespace {

constexpr Index num_rows = 700, row_bytes = 64;

/// A file of rows, each byte of which is `fill`.
std::vector<TableSegment> file_of(const char* name, char fill) {
  TableSegment segment;
  segment.codes.path = scratch_path(name);
  segment.codes.rows = num_rows;
  segment.codes.stride = segment.codes.bytes = row_bytes;
  std::ofstream(segment.codes.path, std::ios::binary | std::ios::trunc)
      << std::string(at(num_rows * row_bytes), fill);
  return {segment};
}

ThreadReads threads() { return ThreadReads::make(2).value(); }

CacheOptions small_cache() {
  CacheOptions options;
  options.bytes = 1 << 20;
  options.miss_rows = 64;
  return options;
}

/// Opens the base anew between batches and while one is on its way.
template <class Store, class Open>
void check_opened_anew(const Open& open) {
  Store base = open(file_of("first", 'a'));
  const auto cache = CachedStore<Store>::make(base, small_cache()).value();
  auto reader = cache.reader();
  std::vector<RowId> rows;
  for (Index i = 0; i < 60; ++i) rows.push_back(RowId{i * 11});
  std::vector<std::byte> bytes(rows.size() * row_bytes);
  const auto all_are = [&](char fill) {
    for (const std::byte b : bytes)
      if (b != static_cast<std::byte>(fill)) return false;
    return true;
  };
  Ticket ticket;
  REQUIRE(reader.submit(rows, bytes, ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(all_are('a'));
  base = open(file_of("second", 'b'));
  REQUIRE(reader.submit(rows, bytes, ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(all_are('b'));

  for (RowId& row : rows) row = RowId{to_integer(row) + 1};  // not there yet
  REQUIRE(reader.submit(rows, bytes, ticket).ok());
  base = open(file_of("third", 'c'));
  const Status status = reader.wait(ticket);
  CHECK((status.ok() ? all_are('b') : status.code == Code::mismatch));
  REQUIRE(reader.submit(rows, bytes, ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(all_are('c'));
}

}  // namespace

TEST_CASE("cached store: files opened anew under a reader are read as they are now") {
  using Direct = DirectStore<ThreadReads>;
  using Adaptive = AdaptiveStore<ThreadReads>;
  check_opened_anew<Direct>([](auto s) { return Direct::open(s, threads()).value(); });
  check_opened_anew<Adaptive>([](auto s) { return Adaptive::open(s, threads()).value(); });
  check_opened_anew<MappedFetchStore>([](auto s) { return MappedFetchStore::open(s).value(); });
}

TEST_CASE("cached store: a store driven by a thread tells that it was opened anew") {
  MappedFetchStore base = MappedFetchStore::open(file_of("before", 'a')).value();
  const BackgroundStore<MappedFetchStore> driven(base);
  const auto cache =
      CachedStore<BackgroundStore<MappedFetchStore>>::make(driven, small_cache()).value();
  auto reader = cache.reader();
  const std::vector<RowId> rows = {RowId{5}, RowId{600}};
  std::vector<std::byte> bytes(2 * row_bytes);
  for (const char fill : {'a', 'b'}) {
    Ticket ticket;
    REQUIRE(reader.submit(rows, bytes, ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    CHECK(bytes[70] == static_cast<std::byte>(fill));
    base = MappedFetchStore::open(file_of("after", 'b')).value();
  }
}

TEST_CASE("cached store: a reader's place is as new after one that went with a batch on its way") {
  NumberedStore base(1000, row_bytes);
  base.notes().polls = 1000;
  CacheOptions options = small_cache();
  options.miss_rows = 8;
  auto cache = CachedStore<NumberedStore>::make(base, options).value();
  std::vector<RowId> rows;
  for (Index i = 0; i < 8; ++i) rows.push_back(RowId{i});
  std::vector<std::byte> bytes(rows.size() * row_bytes);
  Ticket ticket;
  {
    auto reader = cache.reader();
    REQUIRE(reader.submit(rows, bytes, ticket).ok());
  }
  for (RowId& row : rows) row = RowId{to_integer(row) + 100};
  const Result<Index> refused = cache.pin(rows);
  REQUIRE(refused.ok());
  CHECK(refused.value() == 0);
  CHECK(cache.report().pinned_rows == 8);
  auto reader = cache.reader();
  REQUIRE(reader.submit(rows, bytes, ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  for (Index i = 0; i < 8; ++i)
    CHECK(is_numbered_row(bytes.data() + i * row_bytes, row_bytes, 100 + i, 0));
}

TEST_CASE("cached store: the row that failed is named by its place in the batch") {
  std::vector<TableSegment> segments = file_of("short", 'a');
  const auto base = DirectStore<ThreadReads>::open(segments, threads()).value();
  const auto cache = CachedStore<DirectStore<ThreadReads>>::make(base, small_cache()).value();
  auto reader = cache.reader();
  std::vector<RowId> rows;
  for (Index i = 0; i < 40; ++i) rows.push_back(RowId{i});
  std::vector<std::byte> bytes(41 * row_bytes);
  Ticket ticket;
  const View<std::byte, 1> all(bytes);
  REQUIRE(reader.submit(rows, all.slice(0, 40 * row_bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  rows.push_back(RowId{num_rows - 1});
  std::filesystem::resize_file(segments[0].codes.path, 4096);
  Status status = reader.submit(rows, all, ticket);  // which may have seen it already
  if (status.ok()) status = reader.wait(ticket);
  CHECK(status.code == Code::corrupt);
  CHECK(status.index == 40);
}
