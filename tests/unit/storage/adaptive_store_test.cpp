// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows from a mapping or from the disk, whichever has them: always the same bytes, and the right
// half is asked.
#include "direct_case.hpp"

#include <engram/storage/disk/adaptive_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>

#include <filesystem>
#include <iostream>

#include <sys/mman.h>

using namespace engram;
using namespace direct_case;
namespace fs = std::filesystem;

namespace {

using Store = AdaptiveStore<ThreadReads>;
static_assert(check_fetch_store<Store>());

ThreadReads threads() { return ThreadReads::make(4).value(); }

RandomTable pages(Index count, Index bytes = 4096) {
  RandomTable table;
  table.rows = count;
  table.row_bytes = bytes;
  RowExtent codes;
  codes.path = scratch_path("pages");
  codes.rows = count;
  codes.stride = codes.bytes = bytes;
  Random random(1);
  std::string& content = table.files[codes.path];
  while (static_cast<Index>(content.size()) < count * bytes)
    content += static_cast<char>(random.bits());
  table.segments = {{codes, {}}};
  table.write();
  return table;
}

/// Drops a file from memory; false where it stays there: pages that are mapped do, and those of
/// some file systems.
bool forget(const RandomTable& table, Index begin = 0, Index bytes = 0) {
  const RowExtent& codes = table.segments[0].codes;
  const int file = ::open(codes.path.c_str(), O_RDONLY);
  ::fsync(file);
  ::posix_fadvise(file, begin, bytes, POSIX_FADV_DONTNEED);
  const auto size = static_cast<std::size_t>(codes.offset + span_of(codes));
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  const bool gone = !is_in_memory(static_cast<const std::byte*>(map) + begin, 1, 4096);
  ::munmap(map, size);
  ::close(file);
  return gone;
}

/// Whether a case that needs the file cold can run; else says why not.
bool starts_cold(const RandomTable& table, Index begin = 0, Index bytes = 0) {
  const bool gone = forget(table, begin, bytes);
  if (!gone) std::cout << "[skipped] this file system keeps what it is told to forget\n";
  return gone;
}

bool is_told(const Store& store) {
  if (!store.residency_is_told())
    std::cout << "[skipped] the system does not say what is in memory\n";
  return store.residency_is_told();
}

void expect_rows(AdaptiveReader<ThreadReads>& reader, const RandomTable& table,
                 const std::vector<RowId>& rows) {
  std::string bytes(rows.size() * at(table.each()), '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  REQUIRE(bytes == expected(table, rows));
}

}  // namespace

TEST_CASE("adaptive store: rows of random tables are what the files hold, in memory or not") {
  for (std::uint64_t seed = 100; seed < 120; ++seed) {
    INFO("seed " << seed);
    const RandomTable table = random_table(seed);
    table.write();
    const auto store = Store::open(table.segments, threads(), 8).value();
    CHECK(store.num_rows() == table.rows);
    auto reader = store.reader();
    Random random(seed);
    for (int round = 0; round < 10; ++round) {
      if (round % 3 == 1)
        for (const auto& [path, content] : table.files) {
          const int file = ::open(path.c_str(), O_RDONLY);
          ::fsync(file);
          ::posix_fadvise(file, 0, round % 2 == 0 ? 0 : 8192, POSIX_FADV_DONTNEED);
          ::close(file);
        }
      expect_rows(reader, table, random_rows(table, random.below(300), random));
    }
  }
}

TEST_CASE("adaptive store: a row at each of the 4096 places in a page, in memory or not") {
  const RandomTable table = table_at_every_place();
  const auto store = Store::open(table.segments, threads(), 16).value();
  check_all_rows(store, table);
  (void)forget(table);
  check_all_rows(store, table);
}

TEST_CASE("adaptive store: warm rows are copied, cold ones come from the disk, and it notices") {
  const RandomTable table = pages(3000);
  if (!starts_cold(table)) return;
  const auto store = Store::open(table.segments, threads(), 16).value();
  if (!is_told(store)) return;
  auto reader = store.reader();
  Random random(3);
  // Cold: the first batch finds out, the second knows.
  expect_rows(reader, table, random_rows(table, 200, random));
  const ReadCounters first = reader.counters();
  CHECK(first.mapped_rows < 100);
  expect_rows(reader, table, random_rows(table, 200, random));
  const ReadCounters second = reader.counters();
  CHECK(second.mapped_rows - first.mapped_rows <= 40);  // those that the first batch faulted in
  CHECK(second.reads > first.reads);
  // Warm: all of the file is read by somebody else.
  {
    std::ifstream file(table.segments[0].codes.path, std::ios::binary);
    std::string all(3000 * 4096, '?');
    file.read(all.data(), static_cast<std::streamsize>(all.size()));
  }
  expect_rows(reader, table, random_rows(table, 200, random));
  const ReadCounters third = reader.counters();
  CHECK(third.mapped_rows - second.mapped_rows == 200);
  for (int round = 0; round < 20; ++round)
    expect_rows(reader, table, random_rows(table, 200, random));
  CHECK(reader.counters().reads == third.reads);
}

TEST_CASE("adaptive store: of a table that is half in memory, each half is read where it is") {
  const RandomTable table = pages(4096);
  if (!starts_cold(table, 2048 * 4096, 2048 * 4096)) return;
  const auto store = Store::open(table.segments, threads(), 16).value();
  if (!is_told(store)) return;
  auto reader = store.reader();
  std::vector<RowId> rows;
  for (int i = 0; i < 400; ++i) rows.push_back(RowId{i % 2 == 0 ? i : 2048 + 4 * i});
  expect_rows(reader, table, rows);
  const ReadCounters counters = reader.counters();
  CHECK(counters.mapped_rows >= 200);
  CHECK(counters.mapped_rows < 300);
  CHECK(counters.reads > 0);
}

TEST_CASE("adaptive store: a file replaced while it opens is one file, from memory and disk") {
  const RandomTable table = pages(64);
  // Asked for its name once the files are open for the disk's half.
  struct Replacing {
    ThreadReads reads = threads();
    std::string path;

    ThreadReads::Queue queue(Index depth) const { return reads.queue(depth); }
    std::string_view name() const {
      fs::remove(path);
      std::ofstream(path) << std::string(64 * 4096, '!');
      return reads.name();
    }
  };
  const std::string path = table.segments[0].codes.path;
  const auto store =
      AdaptiveStore<Replacing>::open(table.segments, Replacing{threads(), path}).value();
  REQUIRE(fs::file_size(path) == 64 * 4096);
  auto reader = store.reader();
  Random random(3);
  for (int batch = 0; batch < 4; ++batch) {
    const std::vector<RowId> rows = random_rows(table, 40, random);
    std::string bytes(rows.size() * 4096, '?');
    Ticket ticket;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    CHECK(bytes == expected(table, rows));
  }
}

TEST_CASE("adaptive store: bad calls are refused, and batches may be on the way or given up") {
  const RandomTable table = pages(2000);
  const auto store = Store::open(table.segments, threads(), 2).value();
  auto reader = store.reader();
  std::string bytes(3 * 4096, '?');
  Ticket ticket;
  const std::vector<RowId> bad = {RowId{0}, RowId{1}, RowId{2000}};
  CHECK(reader.submit(view(bad), view(bytes), ticket) == Status{Code::bad_row, 0, 2});
  const std::vector<RowId> few = {RowId{0}};
  CHECK(reader.submit(view(few), view(bytes), ticket).code == Code::shape_mismatch);
  Random random(9);
  for (int round = 0; round < 30; ++round) {
    if (round % 4 == 0) (void)forget(table);
    const std::vector<RowId> rows = random_rows(table, 100, random);
    std::string first(100 * 4096, '?'), second = first;
    Ticket tickets[2];
    REQUIRE(reader.submit(view(rows), view(first), tickets[0]).ok());
    REQUIRE(reader.submit(view(rows), view(second), tickets[1]).ok());
    if (round % 3 == 0) reader.cancel(tickets[0]);
    REQUIRE(reader.wait(tickets[1]).ok());
    CHECK(second == expected(table, rows));
    const Status status = reader.wait(tickets[0]);
    CHECK((status.ok() || status == Status{Code::io, ECANCELED, -1}));
    if (status.ok()) CHECK(first == expected(table, rows));
  }
}

TEST_CASE("adaptive store: more batches than allowed are refused until one is at rest") {
  const RandomTable table = pages(2000);
  if (!starts_cold(table)) return;
  const auto store = Store::open(table.segments, ThreadReads::make(1).value(), 64).value();
  if (!is_told(store)) return;
  auto reader = store.reader();
  Random random(5);
  expect_rows(reader, table, random_rows(table, 100, random));  // now it knows that rows are cold
  const std::vector<RowId> rows = random_rows(table, 16, random);
  std::string bytes[6];
  Ticket tickets[6];
  const auto submit = [&](int b) {
    bytes[b].assign(16 * 4096, '?');
    return reader.submit(view(rows), view(bytes[b]), tickets[b]);
  };
  for (int b = 0; b < 4; ++b) REQUIRE(submit(b).ok());
  CHECK(submit(4) == Status{Code::busy, 0, 4});
  // Those that are given up are on the way until their reads are over.
  for (int b = 0; b < 4; ++b) reader.cancel(tickets[b]);
  Status submitted;
  do {
    submitted = submit(5);
    REQUIRE((submitted.ok() || submitted == Status{Code::busy, 0, 4}));
  } while (!submitted.ok());
  CHECK(reader.wait(tickets[5]).ok());
  const bool is_right = bytes[5] == expected(table, rows);
  CHECK(is_right);
  CHECK(reader.counters().batches == 6);
}

TEST_CASE("adaptive store: a file cut off while open is a status under a guard") {
  const SigbusGuard guard;
  const RandomTable table = pages(1000);
  const auto store = Store::open(table.segments, threads(), 4).value();
  auto reader = store.reader();
  fs::resize_file(table.segments[0].codes.path, 100 * 4096);
  Random random(2);
  for (int round = 0; round < 20; ++round) {
    std::vector<RowId> rows = random_rows(table, 50, random);
    rows.push_back(RowId{500});
    std::string bytes(rows.size() * 4096, '?');
    Ticket ticket;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    const Status status = reader.wait(ticket);
    CHECK((status.code == Code::io || status.code == Code::corrupt));
  }
  const std::vector<RowId> before = {RowId{99}, RowId{3}};
  expect_rows(reader, table, before);
}
