// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A cache's budget is all that it and its readers ever allocate: every operator new of the process
// is counted, and what the system gave is asked.
#include "counted_new.hpp"

#include <catch.hpp>

#include <engram/storage/cached_store.hpp>

#include <cstring>
#include <vector>

using namespace engram;

namespace {

/// Rows of zeros, from a store that allocates nothing.
struct ZeroStore {
  Index rows, bytes;
  struct Reader {
    Status submit(View<const RowId, 1>, View<std::byte, 1> to, Ticket&) {
      std::memset(to.data(), 0, static_cast<std::size_t>(to.size()));
      return {};
    }
    bool poll(Ticket&) { return true; }
    Status wait(Ticket& ticket) { return ticket.status; }
  };
  Index num_rows() const { return rows; }
  Index row_bytes() const { return bytes; }
  Index scale_bytes() const { return 0; }
  Reader reader() const { return {}; }
};

}  // namespace

TEST_CASE("cached store: the budget is the peak of all that it allocates") {
  for (const Index row_bytes : {1, 64, 264, 4096})
    for (const Index budget : {1 << 20, 9 << 20, 40'000'001}) {
      const ZeroStore base{1'000'000, row_bytes};
      CacheOptions options;
      options.max_readers = 3;
      options.miss_rows = 50;
      options.bytes = budget;
      std::vector<RowId> rows;
      for (Index i = 0; i < 1'000'000; i += 7) rows.push_back(RowId{i});
      std::vector<std::byte> bytes(static_cast<std::size_t>(5000 * row_bytes));
      const std::size_t before = allocated_bytes();
      auto cache = CachedStore<ZeroStore>::make(base, options).value();
      {
        auto first = cache.reader(), second = cache.reader();
        bool ok = true;
        for (std::size_t at = 0; at + 5000 <= rows.size(); at += 5000) {
          Ticket ticket;
          auto& reader = at % 2 == 0 ? first : second;
          ok =
              ok && reader.submit(View<const RowId, 1>(rows.data() + at, 5000), bytes, ticket).ok();
        }
        CHECK(ok);
        ok = cache.pin(View<const RowId, 1>(rows.data(), 60)).ok();
        CHECK(ok);
      }
      const std::size_t extra = allocated_bytes() - before;
      const CacheReport report = cache.report();
      INFO("row bytes " << row_bytes << ", budget " << budget);
      CHECK(extra < 2000);  // what Catch2 keeps of a CHECK
      CHECK(report.bytes <= budget);
      CHECK(report.memory.bytes == report.bytes);
      if (report.memory.resident_bytes >= 0) CHECK(report.memory.resident_bytes <= budget);
      CHECK(report.payload_bytes + report.tag_bytes + report.reader_bytes <= report.bytes);
      // Rounded down to whole sets and pages, no further, unless the whole table fits.
      const Index set = (report.payload_bytes + report.tag_bytes) / report.sets;
      CHECK((report.capacity_rows > base.rows || report.bytes > budget - set - 4096 - 200));
    }
}
