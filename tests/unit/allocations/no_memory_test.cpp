// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading rows when operator new has nothing left: a status, or no need of it.
#include "../storage/direct_case.hpp"
#include "../storage/numbered_store.hpp"
#include "counted_new.hpp"

#include <engram/storage/background_store.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>

#include <cerrno>
#include <system_error>

using namespace engram;
using namespace direct_case;

namespace {

/// The table of one file of 2,000 rows.
RandomTable table_of_a_file() {
  RandomTable table;
  table.rows = 2000;
  table.row_bytes = 264;
  RowExtent codes;
  codes.path = scratch_path("no_memory");
  codes.rows = table.rows;
  codes.stride = codes.bytes = table.row_bytes;
  Random random(1);
  std::string& bytes = table.files[codes.path];
  while (static_cast<Index>(bytes.size()) < span_of(codes))
    bytes += static_cast<char>(random.bits());
  table.segments = {{codes, {}}};
  table.write();
  return table;
}

/// A base whose readers need memory when they are made.
struct Hungry {
  NumberedStore store{100, 16};
  bool has_threads = true;  ///< if not, making a reader throws what starting a thread does
  struct Reader : NumberedStore::Reader {
    explicit Reader(const NumberedStore& from) : NumberedStore::Reader(from), memory(1000) {}
    std::vector<char> memory;
  };
  Index num_rows() const { return store.num_rows(); }
  Index row_bytes() const { return store.row_bytes(); }
  Index scale_bytes() const { return store.scale_bytes(); }
  std::uint64_t generation() const { return store.generation(); }
  Reader reader() const {
    if (!has_threads) throw std::system_error(EAGAIN, std::generic_category());
    return Reader(store);
  }
};

}  // namespace

TEST_CASE("no memory: batches from a disk by threads need none") {
  const RandomTable table = table_of_a_file();
  DirectOptions options;
  options.depth = 16;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(4).value(), options).value();
  auto reader = store.reader();
  Random random(2);
  for (int batch = 0; batch < 20; ++batch) {
    const std::vector<RowId> rows = random_rows(table, 300, random);
    std::string bytes(rows.size() * 264, '?');
    Ticket ticket;
    refuse_allocations(true);
    const Status submitted = reader.submit(view(rows), view(bytes), ticket);
    const Status status = submitted.ok() ? reader.wait(ticket) : submitted;
    refuse_allocations(false);
    REQUIRE(status.ok());
    CHECK(bytes == expected(table, rows));
  }
}

TEST_CASE("no memory: a cache whose base was opened anew says so, and goes on when there is some") {
  Hungry base;
  CacheOptions options;
  options.bytes = 1 << 20;
  const auto cache = CachedStore<Hungry>::make(base, options).value();
  auto reader = cache.reader();
  const std::vector<RowId> rows = {RowId{1}, RowId{50}};
  std::string bytes(32, '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  base.store.open_again();
  for (int tries = 0; tries < 2; ++tries) {
    refuse_allocations(true);
    const Status refused = reader.submit(view(rows), view(bytes), ticket);
    refuse_allocations(false);
    CHECK(refused == Status{Code::out_of_memory});
  }
  base.has_threads = false;
  CHECK(reader.submit(view(rows), view(bytes), ticket) == Status{Code::io});
  base.has_threads = true;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  const auto* const at = reinterpret_cast<const std::byte*>(bytes.data());
  CHECK(is_numbered_row(at, 16, 1, 1));
  CHECK(is_numbered_row(at + 16, 16, 50, 1));
  CHECK(base.store.notes().misuses == 0);
}

TEST_CASE("no memory: a background reader refuses, and its batches on the way are not hurt") {
  const RandomTable table = table_of_a_file();
  DirectOptions options;
  options.depth = 16;
  const auto store =
      DirectStore<ThreadReads>::open(table.segments, ThreadReads::make(4).value(), options).value();
  const BackgroundStore<DirectStore<ThreadReads>> background(store);
  auto reader = background.reader();
  Random random(3);
  const std::vector<RowId> rows = random_rows(table, 300, random);
  std::string bytes[2] = {std::string(rows.size() * 264, '?'), std::string(1, '?')};
  Ticket tickets[2];
  REQUIRE(reader.submit(view(rows), view(bytes[0]), tickets[0]).ok());
  refuse_allocations(true);
  const Status refused = reader.submit(view(rows), view(bytes[1]), tickets[1]);
  const Status status = reader.wait(tickets[0]);
  refuse_allocations(false);
  CHECK(refused == Status{Code::out_of_memory});
  CHECK(tickets[1].id == -1);
  CHECK(status.ok());
  CHECK(bytes[0] == expected(table, rows));
}
