// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A packed file read row by row from the disk, with its pages' checksums compared.
#include <catch.hpp>
#include <contains.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <random.hpp>
#include <scratch.hpp>

#if !defined(_WIN32)
#include <engram/storage/disk/direct_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>

using namespace engram;

namespace {

/// Two layers of 100 and 50 rows, 15 a page: 7 and 4 pages behind the header.
std::string packed_file(std::vector<std::byte>& rows) {
  const std::string path = scratch_path("packed");
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".part");
  Random random(3);
  rows.resize(150 * 264);
  for (std::byte& b : rows) b = static_cast<std::byte>(random.bits());
  const PackedInfo info{256, 8, "F8_E4M3", "F8_E8M0", {{1, 100}, {14, 50}}, std::string(64, 'a')};
  PackedWriter writer = PackedWriter::open(path, info).value();
  writer.append(Bytes(rows.data(), static_cast<Index>(rows.size()))).value();
  writer.finish().value();
  return path;
}

DirectOptions checking(Verify verify) {
  DirectOptions options;
  options.depth = 4;
  options.verify = verify;
  options.page_check = packed_format::page_is_good;
  return options;
}

Status read(const std::string& path, Verify verify, std::vector<RowId> rows,
            std::vector<std::byte>& bytes, ReadCounters& counters) {
  const auto store = DirectStore<ThreadReads>::open(PackedRows::open(path).value().segments(),
                                                    ThreadReads::make(2).value(), checking(verify))
                         .value();
  auto reader = store.reader();
  bytes.assign(rows.size() * 264, std::byte{});
  Ticket ticket;
  REQUIRE(reader
              .submit(View<const RowId, 1>(rows.data(), static_cast<Index>(rows.size())),
                      View<std::byte, 1>(bytes.data(), static_cast<Index>(bytes.size())), ticket)
              .ok());
  const Status status = reader.wait(ticket);
  counters = reader.counters();
  return status;
}

}  // namespace

TEST_CASE("packed store: all rows of both layers, a read a page or less, every page compared") {
  std::vector<std::byte> rows, bytes;
  const std::string path = packed_file(rows);
  std::vector<RowId> all;
  for (int r = 0; r < 150; ++r) all.push_back(RowId{r});
  ReadCounters counters;
  REQUIRE(read(path, Verify::strict, all, bytes, counters).ok());
  CHECK(bytes == rows);
  CHECK(counters.pages == 11);
  CHECK(counters.checked_pages == 11);
  CHECK(counters.reads == 3);  // of 4, 4 and 3 pages, across the layers' border too
  CHECK(counters.unique_rows == 150);
}

TEST_CASE("packed store: a flipped bit in any page is found, and rows of other pages still come") {
  std::vector<std::byte> rows, bytes;
  const std::string path = packed_file(rows);
  const std::string whole = read_file(path).value();
  ReadCounters counters;
  for (std::size_t page = 1; page < 12; ++page) {
    std::string damaged = whole;
    damaged[page * 4096 + 1000 + page] = static_cast<char>(damaged[page * 4096 + 1000 + page] ^ 4);
    write_file(path, Bytes(reinterpret_cast<const std::byte*>(damaged.data()),
                           static_cast<Index>(damaged.size())))
        .value();
    INFO("page " << page);
    const Index hit =
        page <= 7 ? static_cast<Index>(page - 1) * 15 : 100 + static_cast<Index>(page - 8) * 15;
    const RowId far{page <= 7 ? 149 : 0};
    CHECK(read(path, Verify::strict, {far, RowId{hit}}, bytes, counters) ==
          Status{Code::corrupt, 0, 1});
    CHECK(read(path, Verify::strict, {far}, bytes, counters).ok());
    CHECK(read(path, Verify::off, {RowId{hit}}, bytes, counters).ok());  // nobody looked
    CHECK(counters.checked_pages == 0);
  }
}
#endif
