// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows read through io_uring. Where the system forbids rings the cases say so and are skipped.
#include "../storage/direct_case.hpp"

#include <engram/uring/best_reads.hpp>

#include <filesystem>
#include <iostream>

#include <sys/resource.h>

using namespace engram;
using namespace direct_case;

namespace {

static_assert(check_fetch_store<DirectStore<UringReads>>());
static_assert(check_fetch_store<DirectStore<BestReads>>());

bool is_allowed() {
  const auto reads = UringReads::make();
  if (!reads.ok()) std::cout << "[skipped] " << reads.message() << '\n';
  return reads.ok();
}

/// Pages of random bytes, the table and its segments.
RandomTable pages(Index count) {
  RandomTable table;
  table.rows = count;
  table.row_bytes = 4096;
  RowExtent codes;
  codes.path = scratch_path("pages");
  codes.rows = count;
  codes.stride = codes.bytes = 4096;
  Random random(1);
  std::string& bytes = table.files[codes.path];
  while (static_cast<Index>(bytes.size()) < count * 4096) bytes += static_cast<char>(random.bits());
  table.segments = {{codes, {}}};
  table.write();
  return table;
}

}  // namespace

TEST_CASE("io_uring: rows of random tables are what the files hold") {
  if (!is_allowed()) return;
  check_random_tables([] { return UringReads::make().value(); }, 25);
}

TEST_CASE("io_uring: a row at each of the 4096 places in a page") {
  if (!is_allowed()) return;
  const RandomTable table = table_at_every_place();
  DirectOptions options;
  options.depth = 32;
  check_all_rows(
      DirectStore<UringReads>::open(table.segments, UringReads::make().value(), options).value(),
      table);
}

TEST_CASE("io_uring: a file cut off while open is a status") {
  if (!is_allowed()) return;
  const RandomTable table = pages(100);
  DirectOptions options;
  options.depth = 16;
  const auto store =
      DirectStore<UringReads>::open(table.segments, UringReads::make().value(), options).value();
  auto reader = store.reader();
  std::filesystem::resize_file(table.segments[0].codes.path, 50 * 4096);
  Random random(2);
  const std::vector<RowId> rows = random_rows(table, 60, random);
  std::string bytes(60 * 4096, '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  CHECK(reader.wait(ticket).code == Code::corrupt);
  const std::vector<RowId> before = {RowId{49}};
  std::string page(4096, '?');
  REQUIRE(reader.submit(view(before), view(page), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(page == expected(table, before));
}

TEST_CASE("io_uring: a descriptor that is none comes back with its errno and hurts no other read") {
  if (!is_allowed()) return;
  const RandomTable table = pages(10);
  const UringReads reads = UringReads::make().value();
  auto queue = reads.queue(8);
  REQUIRE(queue.status().ok());
  const DiskFile file = DiskFile::open(table.segments[0].codes.path, 0).value();
  alignas(4096) static std::byte memory[8][4096];
  for (int round = 0; round < 3; ++round) {
    for (Index slot = 0; slot < 8; ++slot)
      queue.start({slot == 3 ? -7 : file.descriptor(), slot * 4096, memory[slot], 4096, slot});
    Index left = 8;
    while (left > 0) {
      DiskDone done[8];
      const Index count = queue.reap(View<DiskDone, 1>(done, 8), true);
      REQUIRE(count > 0);
      for (Index i = 0; i < count; ++i)
        CHECK(done[i].result == (done[i].slot == 3 ? -EBADF : 4096));
      left -= count;
    }
    DiskDone none;
    CHECK(queue.reap(View<DiskDone, 1>(&none, 1), true) == 0);  // nothing is on the way
  }
  CHECK(std::memcmp(memory[5], table.files.begin()->second.data() + 5 * 4096, 4096) == 0);
}

TEST_CASE("io_uring: a batch that is given up, and readers that go while reads are on the way") {
  if (!is_allowed()) return;
  const RandomTable table = pages(1000);
  DirectOptions options;
  options.depth = 64;
  const auto store =
      DirectStore<UringReads>::open(table.segments, UringReads::make().value(), options).value();
  Random random(3);
  const std::vector<RowId> rows = random_rows(table, 500, random);
  for (int round = 0; round < 10; ++round) {
    auto reader = store.reader();
    std::string bytes(500 * 4096, '?');
    Ticket ticket;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    if (round % 2 == 0) reader.cancel(ticket);
  }
}

TEST_CASE("io_uring: readers whose rings the system refuses read by threads") {
  if (!is_allowed()) return;
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
  std::cout << "[skipped] the sanitizer opens files of its own, and here none can be opened\n";
  return;
#endif
#endif
  const RandomTable table = pages(200);
  DirectOptions options;
  options.depth = 8;
  const auto store =
      DirectStore<BestReads>::open(table.segments, BestReads::make().value(), options).value();
  const auto only_rings =
      DirectStore<UringReads>::open(table.segments, UringReads::make().value(), options).value();
  rlimit usual{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual) == 0);
  rlimit none = usual;
  none.rlim_cur = 0;  // no more files, and a ring is one
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto reader = store.reader();
  auto refused = only_rings.reader();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &usual) == 0);
  Random random(5);
  const std::vector<RowId> rows = random_rows(table, 100, random);
  std::string bytes(rows.size() * 4096, '?');
  Ticket ticket;
  CHECK(refused.submit(view(rows), view(bytes), ticket) == Status{Code::io, EMFILE});
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(bytes == expected(table, rows));
}

TEST_CASE("io_uring: the ring where there is one, else threads, and the reason") {
  const BestReads reads = BestReads::make().value();
  if (const auto ring = UringReads::make(); ring.ok()) {
    CHECK(reads.name() == "io_uring");
    CHECK(reads.why_no_ring().empty());
  } else {
    CHECK(reads.name() == "threads");
    CHECK(reads.why_no_ring() == ring.message());
  }
  check_random_tables([] { return BestReads::make().value(); }, 3);
  check_random_tables([] { return BestReads::without_ring("told so", 4).value(); }, 3);
  CHECK(BestReads::without_ring("told so", 4).value().name() == "threads");
}
