// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A cache held to a plain map, over a store that answers late, fails and is opened again.
#include "numbered_store.hpp"

#include <catch.hpp>
#include <contains.hpp>
#include <random.hpp>

#include <engram/codec/plain.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/fetch_table.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/table.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

using namespace engram;
using Cache = CachedStore<NumberedStore>;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

/// The least budget with these options, as the refusal says.
Index least_bytes(const NumberedStore& base, CacheOptions options) {
  options.bytes = 0;
  const auto made = Cache::make(base, options);
  REQUIRE_FALSE(made.ok());
  CHECK(contains(made.message(), std::to_string(made.status().index)));
  return made.status().index;
}

struct Batch {
  std::vector<RowId> rows;
  std::vector<std::byte> bytes;
  Ticket ticket;

  Batch(std::vector<RowId> ids, Index row_bytes)
      : rows(std::move(ids)), bytes(rows.size() * at(row_bytes), std::byte{0x77}) {}
  template <class Reader>
  Status read(Reader& reader) {
    if (const Status s = reader.submit(rows, bytes, ticket); !s.ok()) return s;
    return reader.wait(ticket);
  }
};

bool all_right(const Batch& batch, Index row_bytes, std::uint64_t edition) {
  for (std::size_t i = 0; i < batch.rows.size(); ++i)
    if (!is_numbered_row(batch.bytes.data() + i * at(row_bytes), row_bytes,
                         to_integer(batch.rows[i]), edition))
      return false;
  return true;
}

Index sum(const Index (&counts)[ReadCounters::max_orders]) {
  Index all = 0;
  for (const Index count : counts) all += count;
  return all;
}

/// No batch is on its way, nobody is copying.
void check_quiet(const Cache& cache, const NumberedStore& base, Index readers) {
  CHECK(base.notes().open == 0);
  CHECK(base.notes().misuses == 0);
  CHECK(base.notes().readers == readers);
  CHECK(cache.report().readers == readers);
}

/// Random operations against a map from row to bytes.
void check_against_map(Index num_rows, Index codes, Index scales, Index more_bytes, Index miss_rows,
                       Index operations, std::uint64_t seed) {
  Random random(seed);
  NumberedStore base(num_rows, codes, scales);
  const Index each = codes + scales;
  CacheOptions options;
  options.max_readers = 4;
  options.miss_rows = miss_rows;
  const RowRange ranges[] = {{0, 2, true}, {num_rows / 3, 3, false}, {num_rows / 2, 4, true}};
  if (num_rows > 6 && seed % 2 == 0) options.ranges = View<const RowRange, 1>(ranges, 3);
  options.bytes = least_bytes(base, options) + more_bytes;
  Cache cache = Cache::make(base, options).value();
  CHECK(cache.report().bytes <= options.bytes);
  CHECK(cache.num_rows() == num_rows);
  CHECK(cache.row_bytes() == codes);
  CHECK(cache.scale_bytes() == scales);
  INFO("rows " << num_rows << ", bytes " << each << ", sets " << cache.report().sets << ", seed "
               << seed);

  std::map<Index, std::vector<std::byte>> model;
  const auto bytes_of = [&](Index row) -> const std::vector<std::byte>& {
    std::vector<std::byte>& bytes = model[row];
    if (bytes.empty()) {
      bytes.resize(at(each));
      write_numbered_row(bytes.data(), each, row, base.edition());
    }
    return bytes;
  };
  const auto draw = [&] {
    const Index kind = random.below(3);
    return kind == 0   ? random.below(num_rows)
           : kind == 1 ? num_rows - 1 - random.below(std::min<Index>(num_rows, 40))
                       : random.zipf(num_rows);
  };
  std::set<Index> pinned;
  std::vector<Cache::Reader> readers;
  readers.push_back(cache.reader());
  readers.push_back(cache.reader());
  for (Index op = 0; op < operations; ++op) {
    Cache::Reader& reader = readers[at(random.below(static_cast<Index>(readers.size())))];
    NumberedStore::Notes& notes = base.notes();
    notes.polls = random.below(4) - 1;
    const Index kind = random.below(20);
    if (kind == 0) {  // another edition
      base.open_again();
      model.clear();
      pinned.clear();
      CHECK(cache.generation() == base.generation());
    } else if (kind == 1 && readers.size() < 3) {
      readers.push_back(cache.reader());
    } else if (kind == 2 && readers.size() > 1) {
      readers.pop_back();
    } else if (kind == 3) {
      std::vector<RowId> rows;
      for (Index i = random.below(12); i > 0; --i) rows.push_back(RowId{draw()});
      const auto refused = cache.pin(rows);
      REQUIRE(refused.ok());
      std::set<Index> fresh;
      for (const RowId row : rows)
        if (pinned.count(to_integer(row)) == 0) fresh.insert(to_integer(row));
      const auto asked = static_cast<Index>(fresh.size());
      const Index now = cache.report().pinned_rows;
      CHECK(refused.value() <= static_cast<Index>(rows.size()));
      if (refused.value() == 0) {
        pinned.insert(fresh.begin(), fresh.end());
        CHECK(now == static_cast<Index>(pinned.size()));
      } else {  // some found no way: which, the next read of each tells
        CHECK(now <= static_cast<Index>(pinned.size()) + asked);
        for (const Index row : fresh) {
          const Index misses = sum(reader.counters().misses);
          Batch one({RowId{row}}, each);
          REQUIRE(one.read(reader).ok());
          if (sum(reader.counters().misses) == misses) pinned.insert(row);
        }
        if (now != static_cast<Index>(pinned.size())) break;  // one entered unpinned: start afresh
      }
    } else {
      const bool failing = kind == 4 || kind == 5;
      (kind == 4 ? notes.fail_submit : notes.fail_wait) = failing ? 1 : 0;
      std::vector<RowId> rows;
      for (Index i = random.below(random.below(8) == 0 ? 300 : 30); i >= 0; --i)
        rows.push_back(random.below(3) == 0 && !rows.empty()
                           ? rows[at(random.below(static_cast<Index>(rows.size())))]
                           : RowId{draw()});
      Batch batch(rows, each);
      std::uint32_t flag = 0;
      batch.ticket.flag = &flag;
      const ReadCounters before = reader.counters();
      const Index fetched = notes.rows;
      Status status = reader.submit(batch.rows, batch.bytes, batch.ticket);
      if (status.ok() && random.below(2) == 0)
        for (Index p = 0; p < 5; ++p)
          if (reader.poll(batch.ticket)) break;
      if (status.ok()) {
        if (batch.ticket.id >= 0 && random.below(3) == 0) {
          Batch second({RowId{0}}, each);
          CHECK(reader.submit(second.rows, second.bytes, second.ticket) ==
                Status{Code::busy, 0, 1});
          CHECK(second.bytes == std::vector<std::byte>(at(each), std::byte{0x77}));
        }
        status = reader.wait(batch.ticket);
      }
      const ReadCounters now = reader.counters();
      CHECK(batch.ticket.id == -1);
      CHECK(flag == (status.ok() ? 1U : 2U));
      CHECK(now.batches == before.batches + 1);
      const Index hits = sum(now.hits) - sum(before.hits);
      const Index misses = sum(now.misses) - sum(before.misses);
      if (status.ok()) {
        CHECK(hits + misses == static_cast<Index>(rows.size()));
        CHECK(now.unique_rows - before.unique_rows == hits + notes.rows - fetched);
        bool right = true;
        for (std::size_t i = 0; i < rows.size(); ++i)
          right = right && std::memcmp(bytes_of(to_integer(rows[i])).data(),
                                       batch.bytes.data() + i * at(each), at(each)) == 0;
        CHECK(right);
        CHECK(((misses == 0) == (notes.rows == fetched)));
        for (const RowId row : rows)  // the pinned ones never go
          if (pinned.count(to_integer(row)) != 0 && rows.size() == 1) CHECK(misses == 0);
      } else {
        CHECK(failing);
        Index place = 0;  // of the row that the base failed on: the first in this batch
        while (to_integer(rows[at(place)]) != notes.failed_row) ++place;
        CHECK(status == (kind == 4 ? Status{Code::io, 5, place} : Status{Code::corrupt, 0, place}));
        CHECK(now.failed_batches == before.failed_batches + 1);
      }
      notes.fail_submit = notes.fail_wait = 0;
    }
    if (op % 16 == 0) CHECK(cache.report().rows <= cache.report().capacity_rows);
    CHECK(base.notes().open == 0);
    CHECK(base.notes().misuses == 0);
  }
  check_quiet(cache, base, static_cast<Index>(readers.size()));
  readers.clear();
  check_quiet(cache, base, 0);
}

}  // namespace

static_assert(check_fetch_store<Cache>());
static_assert(!std::is_copy_constructible_v<Cache>);
static_assert(!std::is_copy_constructible_v<Cache::Reader>);

TEST_CASE("cached store: random operations against a map, rows of 1 byte to 4096") {
  std::uint64_t seed = 1;
  for (const Index codes : {1, 3, 8, 63, 64, 100, 264, 4096})
    for (const Index more : {0, 20'000, 400'000})
      for (const Index num_rows : {1, 40, 5000}) {
        check_against_map(num_rows, codes, seed % 3 == 0 ? 8 : 0, more, 1 + Index(seed % 5) * 40,
                          120, seed);
        ++seed;
      }
}

TEST_CASE("cached store: tables beyond 2^33 rows, down to the least budget") {
  check_against_map((Index{1} << 33) + 12345, 264, 0, 0, 64, 200, 1001);
  check_against_map((Index{1} << 33) + 12345, 264, 0, 3'000'000, 64, 200, 1002);
  check_against_map((Index{1} << 40) - 1, 20, 4, 0, 16, 200, 1003);
  check_against_map(384'006'168, 256, 8, 5'000'000, 128, 200, 1004);
}

TEST_CASE("cached store: a budget for all rows holds all rows") {
  NumberedStore base(10'000, 100);
  CacheOptions options;
  options.bytes = 64 << 20;
  const Cache cache = Cache::make(base, options).value();
  CHECK(cache.report().bytes < options.bytes / 4);  // no more than is of use
  auto reader = cache.reader();
  std::vector<RowId> rows;
  for (Index r = 0; r < 10'000; ++r) rows.push_back(RowId{r});
  for (Index turn = 0; turn < 3; ++turn) {
    Batch batch(rows, 100);
    REQUIRE(batch.read(reader).ok());
    CHECK(all_right(batch, 100, 0));
    CHECK(base.notes().rows == 10'000);  // fetched once
    std::reverse(rows.begin(), rows.end());
  }
  CHECK(cache.report().rows == 10'000);
  CHECK(cache.report().changes.evicted == 0);
}

TEST_CASE("cached store: what is read often stays, what is read once goes") {
  NumberedStore base(100'000, 64);
  CacheOptions options;
  options.bytes = least_bytes(base, options) + 20 * 16 * 100;
  const Cache cache = Cache::make(base, options).value();
  auto reader = cache.reader();
  std::vector<RowId> hot;
  for (Index r = 0; r < cache.report().capacity_rows / 8; ++r) hot.push_back(RowId{r * 7});
  Random random(5);
  for (Index turn = 0; turn < 200; ++turn) {
    Batch often(hot, 64);
    REQUIRE(often.read(reader).ok());
    std::vector<RowId> once;
    for (Index i = 0; i < 20; ++i) once.push_back(RowId{random.below(100'000)});
    Batch rare(once, 64);
    REQUIRE(rare.read(reader).ok());
  }
  const Index misses = sum(reader.counters().misses);
  Batch often(hot, 64);
  REQUIRE(often.read(reader).ok());
  CHECK(sum(reader.counters().misses) - misses <= static_cast<Index>(hot.size()) / 20);
}

TEST_CASE("cached store: pinned rows stay, and a full set says how many it refused") {
  NumberedStore base(1000, 4096);
  CacheOptions options;
  options.miss_rows = 8;
  options.bytes = least_bytes(base, options);  // one set
  Cache cache = Cache::make(base, options).value();
  REQUIRE(cache.report().capacity_rows == 16);
  std::vector<RowId> rows;
  for (Index r = 0; r < 20; ++r) rows.push_back(RowId{r * 50});
  const auto refused = cache.pin(rows);
  REQUIRE(refused.ok());
  CHECK(refused.value() == 4);
  CHECK(cache.report().pinned_rows == 16);
  auto reader = cache.reader();
  for (Index r = 0; r < 1000; r += 7) {  // others find no way, and are right all the same
    Batch batch({RowId{r}, RowId{r}}, 4096);
    REQUIRE(batch.read(reader).ok());
    CHECK(all_right(batch, 4096, 0));
  }
  const Index fetched = base.notes().rows;
  for (Index r = 0; r < 16; ++r) {
    Batch batch({rows[at(r)]}, 4096);
    REQUIRE(batch.read(reader).ok());
    CHECK(all_right(batch, 4096, 0));
  }
  CHECK(base.notes().rows == fetched);
  CHECK(cache.report().changes.evicted == 0);

  const auto taken = cache.pin(rows);  // max_readers is 1
  CHECK(taken.status() == Status{Code::unsupported, 0, 1});
  check_quiet(cache, base, 1);
}

TEST_CASE("cached store: the row that could not be pinned is named by its place in the list") {
  NumberedStore base(100, 10);
  CacheOptions options;
  options.bytes = 1 << 20;
  options.miss_rows = 4;
  Cache cache = Cache::make(base, options).value();
  std::vector<RowId> list;
  for (const Index row : {9, 9, 8, 7, 6, 5, 9, 4}) list.push_back(RowId{row});
  for (const Index batch : {1, 2}) {
    base.notes().batches = 0;
    base.notes().fail_wait = batch;  // the first batch fails, or the second
    const Result<Index> refused = cache.pin(list);
    REQUIRE(refused.status().code == Code::corrupt);
    const Index at = refused.status().index;
    CHECK(at / options.miss_rows == batch - 1);
    CHECK(to_integer(list[static_cast<std::size_t>(at)]) == base.notes().failed_row);
  }
}

TEST_CASE("cached store: pinning what cannot be") {
  NumberedStore base(100, 10);
  CacheOptions options;
  options.bytes = 1 << 20;
  Cache cache = Cache::make(base, options).value();
  const std::vector<RowId> beyond = {RowId{3}, RowId{100}};
  CHECK(cache.pin(beyond).status() == Status{Code::bad_row, 0, 1});
  const std::vector<RowId> below = {RowId{-1}};
  CHECK(cache.pin(below).status() == Status{Code::bad_row, 0, 0});
  const std::vector<RowId> fine = {RowId{3}, RowId{99}, RowId{3}};
  base.notes().fail_wait = 1;
  CHECK(cache.pin(fine).status() == Status{Code::corrupt, 0, 1});  // row 99
  base.notes().fail_wait = 0;
  CHECK(cache.report().pinned_rows == 0);
  CHECK(cache.pin(fine).value() == 0);
  CHECK(cache.report().pinned_rows == 2);
  const Index fetched = base.notes().rows;
  CHECK(cache.pin(fine).value() == 0);
  CHECK(base.notes().rows == fetched);  // they are there
  check_quiet(cache, base, 0);
}

TEST_CASE(
    "cached store: rows of an order that is not admitted are fetched each time, and counted") {
  NumberedStore base(300, 16);
  const RowRange ranges[] = {{0, 2, true}, {50, 2, true}, {100, 3, true}, {200, 4, false}};
  CacheOptions options;
  options.ranges = View<const RowRange, 1>(ranges, 4);
  options.bytes = 1 << 20;
  Cache cache = Cache::make(base, options).value();
  auto reader = cache.reader();
  std::vector<RowId> rows;
  for (Index r = 0; r < 300; ++r) rows.push_back(RowId{r});
  for (Index turn = 0; turn < 2; ++turn) {
    Batch batch(rows, 16);
    REQUIRE(batch.read(reader).ok());
    CHECK(all_right(batch, 16, 0));
  }
  const ReadCounters counters = reader.counters();
  CHECK(counters.misses[2] == 100);
  CHECK(counters.misses[3] == 100);
  CHECK(counters.misses[4] == 200);
  CHECK(counters.hits[2] == 100);
  CHECK(counters.hits[3] == 100);
  CHECK(counters.hits[4] == 0);
  CHECK(counters.rows == 600);
  CHECK(counters.unique_rows == 600);
  CHECK(cache.report().rows == 200);
}

TEST_CASE("cached store: ranges that cannot be are refused by name") {
  NumberedStore base(300, 16);
  const auto refused = [&](std::vector<RowRange> ranges, const char* words, Index index) {
    CacheOptions options;
    options.ranges = ranges;
    options.bytes = 1 << 20;
    const auto made = Cache::make(base, options);
    REQUIRE_FALSE(made.ok());
    INFO(made.message());
    CHECK(contains(made.message(), words));
    CHECK(made.status() == Status{Code::invalid_config, 0, index});
  };
  refused({{1, 2, true}}, "begins at row 1", 0);
  refused({{0, 2, true}, {0, 3, true}}, "at least 1", 1);
  refused({{0, 2, true}, {300, 3, true}}, "table of 300", 1);
  refused({{0, 9, true}}, "order 9", 0);
  refused({{0, -1, true}}, "order -1", 0);
  std::vector<RowRange> many;
  for (Index r = 0; r < 65; ++r) many.push_back({r, static_cast<int>(r % 2), true});
  refused(many, "more than 64", 64);
  many.pop_back();
  CacheOptions options;
  options.ranges = many;
  options.bytes = 1 << 20;
  CHECK(Cache::make(base, options).ok());
}

TEST_CASE("cached store: sizes that cannot work are refused, and the least budget works") {
  NumberedStore base(1000, 264);
  CacheOptions options;
  const Index least = least_bytes(base, options);
  options.bytes = least - 1;
  CHECK(Cache::make(base, options).status() == Status{Code::invalid_config, 0, least});
  options.bytes = -5;
  CHECK(Cache::make(base, options).status() == Status{Code::invalid_config, 0, least});
  options.bytes = least;
  CHECK(Cache::make(base, options).ok());
  const auto code = [&](const NumberedStore& store, CacheOptions with) {
    return Cache::make(store, with).status().code;
  };
  for (const Index readers : {-1, 0, 4097}) {
    CacheOptions with = options;
    with.max_readers = readers;
    CHECK(code(base, with) == Code::invalid_config);
  }
  for (const Index miss_rows : {-1, 0, (1 << 20) + 1}) {
    CacheOptions with = options;
    with.miss_rows = miss_rows;
    CHECK(code(base, with) == Code::invalid_config);
  }
  CHECK(code(NumberedStore(0, 1), options) == Code::invalid_config);
  CHECK(code(NumberedStore(10, 0), options) == Code::invalid_config);
  CHECK(code(NumberedStore(10, -1), options) == Code::invalid_config);
  CHECK(code(NumberedStore(10, INT64_MAX, INT64_MAX), options) == Code::invalid_config);
  options.bytes = INT64_MAX - 1;
  CHECK_FALSE(Cache::make(NumberedStore(10, INT64_MAX / 2), options).ok());
  CHECK_FALSE(Cache::make(NumberedStore(INT64_MAX, 1), options).ok());
  CHECK_FALSE(Cache::make(NumberedStore(Index{1} << 62, 4096), options).ok());
}

TEST_CASE("cached store: bad calls say what was wrong and leave the reader usable") {
  NumberedStore base(100, 10);
  CacheOptions options;
  options.bytes = 1 << 20;
  options.max_readers = 2;
  const Cache cache = Cache::make(base, options).value();
  auto reader = cache.reader();
  auto other = cache.reader();
  auto third = cache.reader();  // no place
  Batch good({RowId{1}, RowId{2}, RowId{1}}, 10);
  CHECK(good.read(third) == Status{Code::unsupported, 0, 2});
  CHECK(third.wait(good.ticket).ok());  // nothing is on its way
  CHECK(third.poll(good.ticket));
  CHECK(third.counters() == ReadCounters());
  for (Index bad : {Index{-1}, Index{100}, INT64_MAX, INT64_MIN})
    for (Index where : {0, 1, 40, 99}) {
      std::vector<RowId> rows(100, RowId{50});
      rows[at(where)] = RowId{bad};
      Batch batch(rows, 10);
      CHECK(batch.read(reader) == Status{Code::bad_row, 0, where});
      CHECK(batch.ticket.id == -1);
      CHECK(batch.ticket.status.code == Code::bad_row);
    }
  Batch small({RowId{1}}, 9);
  CHECK(small.read(reader) == Status{Code::shape_mismatch, 0, 10});
  Batch none({}, 10);
  CHECK(none.read(reader).ok());
  CHECK(good.read(reader).ok());
  CHECK(all_right(good, 10, 0));
  CHECK(base.notes().rows == 2);  // row 1 once
  CHECK(reader.counters().failed_batches == 17);
  check_quiet(cache, base, 2);
}

TEST_CASE(
    "cached store: a failed batch enters nothing, the next one works, a lost one is waited for") {
  NumberedStore base(100'000, 32);
  CacheOptions options;
  options.bytes = 1 << 20;
  options.miss_rows = 10;
  options.max_readers = 2;
  const Cache cache = Cache::make(base, options).value();
  std::vector<RowId> rows;
  for (Index r = 0; r < 35; ++r) rows.push_back(RowId{r * 1000});
  {
    auto reader = cache.reader();
    base.notes().fail_wait = 3;  // the third piece
    Batch batch(rows, 32);
    REQUIRE(reader.submit(batch.rows, batch.bytes, batch.ticket).ok());
    CHECK(batch.ticket.id >= 0);
    CHECK(reader.wait(batch.ticket) == Status{Code::corrupt, 0, 23});  // the piece's fourth row
    CHECK(base.notes().open == 0);
    CHECK(cache.report().rows == 20);  // of the pieces before
    base.notes().fail_wait = 0;
    CHECK(batch.read(reader).ok());
    CHECK(all_right(batch, 32, 0));
    CHECK(cache.report().rows == 35);
    CHECK(reader.counters().failed_batches == 1);
    CHECK(reader.counters().wait_ns > 0);
    Batch lost({RowId{7}}, 32);
    REQUIRE(reader.submit(lost.rows, lost.bytes, lost.ticket).ok());
    CHECK(base.notes().open == 1);
    auto moved = std::move(reader);
    CHECK(moved.counters().batches == 3);
  }
  check_quiet(cache, base, 0);
}

TEST_CASE("cached store: no row outlives its edition") {
  NumberedStore base(50, 24);
  CacheOptions options;
  options.bytes = 1 << 20;
  options.max_readers = 3;
  Cache cache = Cache::make(base, options).value();
  auto first = cache.reader();
  auto second = cache.reader();
  std::vector<RowId> rows;
  for (Index r = 0; r < 50; ++r) rows.push_back(RowId{r});
  for (std::uint64_t edition = 0; edition < 4; ++edition) {
    CHECK(cache.generation() == base.generation());
    for (auto* reader : {&first, &second, &first}) {
      Batch batch(rows, 24);
      REQUIRE(batch.read(*reader).ok());
      CHECK(all_right(batch, 24, edition));
    }
    CHECK(cache.pin(rows).value() == 0);
    CHECK(cache.report().rows == 50);
    base.open_again();
  }
  Batch batch(rows, 24);
  REQUIRE(batch.read(first).ok());
  CHECK(cache.report().pinned_rows == 0);

  // A batch on its way while the base is exchanged gives no row of either.
  base.open_again();
  Batch across({RowId{1}}, 24);
  REQUIRE(second.submit(across.rows, across.bytes, across.ticket).ok());
  REQUIRE(across.ticket.id >= 0);
  base.open_again();
  CHECK(second.wait(across.ticket) == Status{Code::mismatch});
  REQUIRE(across.read(second).ok());
  CHECK(all_right(across, 24, base.edition()));

  base.open_again(51);  // another table
  CHECK(across.read(second) == Status{Code::mismatch});
  CHECK(across.read(first) == Status{Code::mismatch});
  CHECK(cache.pin(rows).status().code == Code::mismatch);
  base.open_again(50);
  REQUIRE(across.read(second).ok());
  CHECK(all_right(across, 24, base.edition()));
  CHECK(base.notes().open == 0);
  CHECK(base.notes().misuses == 0);
}

TEST_CASE("cached store: in a FetchTable it gives the bits of a Table") {
  NumberedStore base(200, 36);
  HostStore in_memory = HostStore::make(200, 36).value();
  for (Index r = 0; r < 200; ++r) write_numbered_row(in_memory.mutable_ref()(r).codes, 36, r, 0);
  const auto table = Table<HostStore, F16Codec>::make(std::move(in_memory), {}, 18).value();
  CacheOptions options;
  options.miss_rows = 5;
  options.bytes = least_bytes(base, options) + 3 * 1200;
  Cache made = Cache::make(base, options).value();
  const Cache cache = std::move(made);
  std::vector<std::byte> memory(at(FetchTable<Cache, F16Codec>::memory_bytes(cache, 13)));
  auto fetched = FetchTable<Cache, F16Codec>::make(cache, {}, 18, memory).value();
  Random random(3);
  for (Index turn = 0; turn < 40; ++turn) {
    std::vector<std::int64_t> ids;
    for (Index t = 0; t < 20; ++t) {
      const bool none = random.below(5) == 0;
      for (Index c = 0; c < 3; ++c) ids.push_back(none ? -1 : random.zipf(200));
    }
    std::vector<float> expected(20 * 54), found(20 * 54);
    const View<const std::int64_t, 2> rows(ids.data(), 20, 3);
    REQUIRE(table.gather(rows, View<float, 2>(expected.data(), 20, 54)).ok());
    REQUIRE(fetched.gather(rows, View<float, 2>(found.data(), 20, 54)).ok());
    CHECK(std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)) == 0);
  }
  CHECK(cache.report().changes.evicted > 0);
  check_quiet(cache, base, 1);
}
