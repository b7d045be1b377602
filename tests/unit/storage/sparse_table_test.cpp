// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A table of 98 GB in a file that has almost no bytes: 64-bit arithmetic all the way, and memory
// for what is read, not for what there is.

#include <catch.hpp>
#include <engram/storage/mapped_reader.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#if __has_include(<sys/mman.h>)

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

using namespace engram;

namespace {

constexpr Index page = 4096;
constexpr Index pages = 98'000'000'000 / page + 1;
constexpr Index file_bytes = pages * page;
constexpr Index written_pages = 3;  // at both ends and in the middle
constexpr Index codes = 256, scales = 8;

// The byte at an offset of a written page.
std::byte byte_of(Index offset) {
  return static_cast<std::byte>(splitmix64(static_cast<std::uint64_t>(offset / 8)) >>
                                (8 * (offset % 8)));
}

bool is_written(Index offset) {
  for (const Index first : {Index{0}, pages / 2, pages - written_pages})
    if (offset / page >= first && offset / page < first + written_pages) return true;
  return false;
}

// A number of /proc/self/status, in bytes; -1 where there is none.
Index status_bytes(const char* key) {
  std::FILE* const file = std::fopen("/proc/self/status", "r");
  if (file == nullptr) return -1;
  char line[256];
  long long kib = -1;
  const std::string format = std::string(key) + ": %lld kB";
  while (std::fgets(line, sizeof line, file) != nullptr)
    if (std::sscanf(line, format.c_str(), &kib) == 1) break;
  std::fclose(file);
  return kib < 0 ? -1 : Index{kib} * 1024;
}

struct Sparse {
  std::string path = scratch_path("sparse");
  std::string why_not;
  Sparse() {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || ::ftruncate(file, file_bytes) != 0) why_not = std::strerror(errno);
    std::vector<std::byte> bytes(written_pages * page);
    for (const Index first : {Index{0}, pages / 2, pages - written_pages}) {
      for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = byte_of(first * page + static_cast<Index>(i));
      if (why_not.empty() && ::pwrite(file, bytes.data(), bytes.size(), first * page) < 0)
        why_not = std::strerror(errno);
    }
    struct stat found {};
    if (why_not.empty() && ::fstat(file, &found) == 0 && found.st_blocks > 100'000)
      why_not = "the file has all of its bytes";
    if (file >= 0) ::close(file);
  }
  ~Sparse() { ::unlink(path.c_str()); }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
};

}  // namespace

TEST_CASE("sparse table: rows at both ends of 98 GB are right, in a few megabytes") {
  const Sparse sparse;
  if (!sparse.why_not.empty()) {
    std::printf("[skipped] no sparse file of 98 GB here: %s\n", sparse.why_not.c_str());
    return;
  }
  for (const bool in_pages : {true, false}) {
    // Rows of 256 codes and 8 scales: 15 a page with something behind them, or one after the other.
    const Index rows = in_pages ? 15 * pages : file_bytes / (codes + scales);
    RowExtent code_extent{sparse.path, -1, 0, rows, codes + scales, codes};
    if (in_pages) {
      code_extent.page_rows = 15;
      code_extent.page_bytes = page;
    }
    RowExtent scale_extent = code_extent;
    scale_extent.offset = codes;
    scale_extent.bytes = scales;
    const Index before = status_bytes("VmRSS"), file_before = status_bytes("RssFile");
    auto made = MappedFetchStore::open({{code_extent, scale_extent}});
    if (!made.ok()) {
      std::printf("[skipped] no address space for 98 GB: %s\n", made.message().c_str());
      return;
    }
    const MappedFetchStore store = std::move(made).value();
    REQUIRE(store.num_rows() == rows);
    std::vector<RowId> ids;
    for (Index i = 0; i < 40; ++i)
      for (const Index row : {i, rows / 2 + i, rows - 1 - i}) ids.push_back(RowId{row});
    Random random(1);
    while (ids.size() < 2000) ids.push_back(RowId{random.below(rows)});
    std::vector<std::byte> bytes(ids.size() * (codes + scales));
    MappedReader reader = store.reader();
    Ticket ticket;
    REQUIRE(reader.submit(ids, bytes, ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    Index not_zero = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const Index row = to_integer(ids[i]);
      const Index offset = offset_of(code_extent, row);
      const RowBytes in_place = store.in_place().ref()(row);
      const std::byte* const found = bytes.data() + i * (codes + scales);
      bool right = std::memcmp(found, in_place.codes, codes) == 0 &&
                   std::memcmp(found + codes, in_place.scales, scales) == 0;
      for (Index b = 0; b < codes + scales; ++b) {
        const std::byte expected = is_written(offset + b) ? byte_of(offset + b) : std::byte{0};
        right = right && found[b] == expected;
        not_zero += found[b] != std::byte{0} ? 1 : 0;
      }
      if (!right) FAIL("row " << row);
    }
    CHECK(not_zero > 3 * 40 * 200);
    const Index after = status_bytes("VmRSS"), file_after = status_bytes("RssFile");
    if (before < 0 || after < 0) {
      std::printf("[skipped] this system does not say how much memory is resident\n");
      continue;
    }
    std::printf(
        "%lld rows read of a table of %lld bytes: resident %lld kB, %lld kB more than "
        "before, of these %lld kB of files\n",
        static_cast<long long>(ids.size()), static_cast<long long>(file_bytes),
        static_cast<long long>(after / 1000), static_cast<long long>((after - before) / 1000),
        static_cast<long long>((file_after - file_before) / 1000));
    CHECK(after - before < 50'000'000);
  }
}

#endif
