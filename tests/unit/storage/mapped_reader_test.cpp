// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <engram/codec/plain.hpp>
#include <engram/storage/fetch_table.hpp>
#include <engram/storage/mapped_reader.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#if __has_include(<sys/mman.h>)

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

using namespace engram;

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

// The byte at an offset of a test file, any function that tells places apart.
std::byte byte_of(Index offset) {
  return static_cast<std::byte>(splitmix64(static_cast<std::uint64_t>(offset / 8)) >>
                                (8 * (offset % 8)));
}

// A file of such bytes, deleted afterwards.
struct File {
  std::string path;
  int descriptor = -1;
  Index bytes;
  File(const std::string& name, Index size) : path(scratch_path(name)), bytes(size) {
    descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    REQUIRE(descriptor >= 0);
    std::vector<std::byte> all(at(size));
    for (Index i = 0; i < size; ++i) all[at(i)] = byte_of(i);
    REQUIRE(::pwrite(descriptor, all.data(), all.size(), 0) == static_cast<ssize_t>(size));
    REQUIRE(::fsync(descriptor) == 0);
  }
  ~File() {
    ::close(descriptor);
    ::unlink(path.c_str());
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  // Out of the page cache, as far as the system does that.
  void forget() const { (void)::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED); }
};

TableSegment codes_of(const File& file, Index row_bytes) {
  return {{file.path, -1, 0, file.bytes / row_bytes, row_bytes, row_bytes}, {}};
}

// Rows in whatever places: pages, strides, codes and scales together or apart.
std::vector<TableSegment> random_segments(const File& a, const File& b, Index codes, Index scales,
                                          Random& random) {
  std::vector<TableSegment> segments;
  for (Index s = 1 + random.below(3); s > 0; --s) {
    const Index rows = 1 + random.below(400);
    const auto extent = [&](const File& file, Index bytes) {
      RowExtent made{file.path, -1, random.below(5000), rows, bytes + random.below(70), bytes};
      if (random.below(2) == 0) {
        made.page_rows = 1 + random.below(20);
        made.page_bytes = made.page_rows * made.stride + random.below(100);
      }
      return made;
    };
    TableSegment segment{extent(a, codes), {}};
    if (scales > 0) segment.scales = extent(random.below(2) == 0 ? a : b, scales);
    segments.push_back(segment);
  }
  return segments;
}

// What a row must be, by the offsets alone.
std::vector<std::byte> expected_row(const std::vector<TableSegment>& segments, Index row) {
  std::size_t s = 0;
  while (row >= segments[s].codes.rows) row -= segments[s++].codes.rows;
  std::vector<std::byte> bytes;
  for (const RowExtent* extent : {&segments[s].codes, &segments[s].scales})
    for (Index i = 0; i < extent->bytes; ++i)
      bytes.push_back(byte_of(extent->offset + offset_of(*extent, row) + i));
  return bytes;
}

struct Call {
  std::vector<RowId> rows;
  std::vector<std::byte> bytes;
  std::uint32_t flag = 0;
  Ticket ticket;
  Call(std::vector<RowId> ids, Index each)
      : rows(std::move(ids)), bytes(rows.size() * at(each), std::byte{0x5a}) {
    ticket.flag = &flag;
  }
  Call(const Call&) = delete;  // a ticket in flight stays where it is
  Call& operator=(const Call&) = delete;
  Status submit(MappedReader& reader) { return reader.submit(rows, bytes, ticket); }
};

std::vector<RowId> random_rows(Index count, Index num_rows, Random& random) {
  std::vector<RowId> rows;
  for (Index i = 0; i < count; ++i) rows.push_back(RowId{random.below(num_rows)});
  return rows;
}

bool is_untouched(const Call& call) {
  for (const std::byte b : call.bytes)
    if (b != std::byte{0x5a}) return false;
  return true;
}

// How a child process ends that runs `body`: its exit status, or minus the signal.
template <class Body>
int outcome_of(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    ::_exit(body());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

bool in_memory(const MappedFetchStore& store, Index row) {
  return is_in_memory(store.in_place().ref()(row).codes, store.row_bytes(), system_page_bytes());
}

}  // namespace

TEST_CASE("mapped reader: the bytes of the files, whatever the places, batches and their order") {
  const File a("a", 300'000), b("b", 300'000);
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Random random(seed);
    const Index codes = 1 + random.below(300), scales = random.below(2) * (1 + random.below(20));
    const auto segments = random_segments(a, b, codes, scales, random);
    auto made = MappedFetchStore::open(segments);
    if (!made.ok()) {  // too long for the file
      REQUIRE(made.status().code == Code::corrupt);
      continue;
    }
    const MappedFetchStore store = std::move(made).value();
    CHECK(store.row_bytes() == codes);
    CHECK(store.scale_bytes() == scales);
    MappedReader reader = store.reader();
    Index rows = 0;
    for (int round = 0; round < 4; ++round) {
      if (round % 2 == 0) {
        a.forget();
        b.forget();
      }
      std::deque<Call> calls;
      for (const Index count : {0, 1, 3, 48, 255, 256, 257, 1300})
        calls.emplace_back(random_rows(count, store.num_rows(), random), codes + scales);
      for (Call& call : calls) {
        REQUIRE(call.submit(reader).ok());
        rows += static_cast<Index>(call.rows.size());
      }
      std::vector<std::size_t> order = {0, 1, 2, 3, 4, 5, 6, 7};
      for (std::size_t left = order.size(); left > 0; --left) {
        std::swap(order[at(random.below(static_cast<Index>(left)))], order[left - 1]);
        Call& call = calls[order[left - 1]];
        if (random.below(2) == 0)
          while (!reader.poll(call.ticket)) {
          }
        CHECK(reader.wait(call.ticket).ok());
        CHECK(call.ticket.id == -1);
        bool right = true;
        const auto each = at(codes + scales);
        for (std::size_t i = 0; i < call.rows.size(); ++i)
          right = right &&
                  std::memcmp(call.bytes.data() + i * each,
                              expected_row(segments, to_integer(call.rows[i])).data(), each) == 0;
        CHECK(right);
      }
    }
    CHECK(reader.counters().batches == 32);
    CHECK(reader.counters().rows == rows);
    CHECK(reader.counters().failed_batches == 0);
  }
}

TEST_CASE("mapped reader: the flag is written with the end, and not before") {
  const File file("file", 64 * 4096);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, 4096)}).value();
  MappedReader reader = store.reader();
  Call call({RowId{3}, RowId{60}}, 4096), none({}, 4096), bad({RowId{64}}, 4096);
  REQUIRE(call.submit(reader).ok());
  CHECK(call.flag == 0);
  CHECK(reader.wait(call.ticket).ok());
  CHECK(call.flag == 1);
  REQUIRE(none.submit(reader).ok());
  CHECK(none.flag == 1);  // nothing to wait for
  CHECK_FALSE(bad.submit(reader).ok());
  CHECK(bad.flag == 2);
}

TEST_CASE("mapped reader: calls that cannot be are refused, and nothing is written") {
  const File file("file", 64 * 4096), other_file("other", 64 * 4096);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, 4096)}).value();
  MappedReader reader = store.reader();
  for (const Index bad : {Index{-1}, Index{64}, Index{INT64_MIN}, Index{INT64_MAX}}) {
    Call call({RowId{0}, RowId{63}, RowId{bad}, RowId{bad}}, 4096);
    CHECK(call.submit(reader) == Status{Code::bad_row, 0, 2});
    CHECK(call.ticket.status == Status{Code::bad_row, 0, 2});
    CHECK(reader.wait(call.ticket) == Status{Code::bad_row, 0, 2});
    CHECK(reader.poll(call.ticket));
    CHECK(is_untouched(call));
  }
  Call call({RowId{0}, RowId{1}}, 4096);
  for (const Index bytes : {0, 1, 8191, 8193}) {
    std::vector<std::byte> wrong(at(bytes));
    Ticket ticket;
    CHECK(reader.submit(call.rows, wrong, ticket) == Status{Code::shape_mismatch, 0, 8192});
  }
  REQUIRE(call.submit(reader).ok());
  Call second({RowId{5}}, 4096);
  CHECK(reader.submit(second.rows, second.bytes, call.ticket) ==
        Status{Code::busy, 0, MappedReader::max_batches});
  CHECK(is_untouched(second));
  CHECK(reader.wait(call.ticket).ok());  // the first is as it was
  CHECK(call.bytes[0] == byte_of(0));

  MappedReader other = store.reader();
  REQUIRE(call.submit(reader).ok());
  Ticket strange;
  strange.id = 12345;
  CHECK(other.wait(strange) == Status{Code::invalid_config});
  CHECK(reader.wait(call.ticket).ok());
  CHECK(reader.wait(call.ticket).ok());  // its status again
  CHECK(reader.counters().batches == 2);
}

TEST_CASE("mapped reader: as many batches as it holds, one more is refused, one done makes room") {
  const File file("file", 64 * 4096);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, 4096)}).value();
  MappedReader reader = store.reader();
  file.forget();
  std::deque<Call> calls;
  for (Index i = 0; i <= MappedReader::max_batches; ++i)
    calls.emplace_back(std::vector<RowId>{RowId{i % 64}, RowId{63 - i % 64}}, Index{4096});
  for (Index i = 0; i < MappedReader::max_batches; ++i) REQUIRE(calls[at(i)].submit(reader).ok());
  Call& more = calls.back();
  const Status full{Code::busy, 0, MappedReader::max_batches};
  CHECK(more.submit(reader) == full);
  CHECK(is_untouched(more));
  CHECK(more.flag == 0);  // nothing came of it: the ticket is as it was
  CHECK(reader.wait(calls[40].ticket).ok());
  CHECK(more.submit(reader).ok());
  MappedReader moved = std::move(reader);
  for (Call& call : calls) {
    CHECK(moved.wait(call.ticket).ok());
    CHECK(call.bytes[100] == byte_of(4096 * to_integer(call.rows[0]) + 100));
    CHECK(call.bytes[8191] == byte_of(4096 * to_integer(call.rows[1]) + 4095));
  }
}

TEST_CASE("mapped reader: pages are asked for once, neighbours together, and no page besides") {
  const Index page = system_page_bytes();
  const File file("file", 512 * page);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, page)}).value();
  file.forget();
  for (Index row = 0; row < 512; ++row)
    if (in_memory(store, row)) {
      std::printf("[skipped] this system keeps the pages of a file that it was told to drop\n");
      return;
    }
  if (page != 4096) {
    std::printf("[skipped] the counts below are for pages of 4 KiB\n");
    return;
  }
  MappedReader reader = store.reader();
  std::vector<RowId> rows;
  for (const Index row : {300, 7, 5, 6, 7, 5, 300, 200, 202}) rows.push_back(RowId{row});
  for (Index row = 400; row < 433; ++row) rows.push_back(RowId{row});  // 33 pages: two requests
  Call call(rows, page);
  REQUIRE(call.submit(reader).ok());
  CHECK(reader.wait(call.ticket).ok());
  const ReadCounters& counters = reader.counters();
  CHECK(counters.reads == 6);  // 5 to 7, 200, 202, 300, 400 to 431, 432
  CHECK(counters.pages == 3 + 1 + 1 + 1 + 33);
  CHECK(counters.bytes == counters.pages * 4096);
  CHECK(counters.most_in_flight == 6);
  CHECK(counters.mapped_rows == 0);
  CHECK(counters.wrong_guesses == 0);
  for (Index row = 0; row < 512; ++row) {
    const bool asked = (row >= 5 && row <= 7) || row == 200 || row == 202 || row == 300 ||
                       (row >= 400 && row < 433);
    if (in_memory(store, row) != asked) FAIL("page " << row);
  }
  REQUIRE(call.submit(reader).ok());  // all there now
  CHECK(reader.wait(call.ticket).ok());
  CHECK(counters.reads == 6);
  CHECK(counters.mapped_rows == static_cast<Index>(rows.size()));
  CHECK(counters.wrong_guesses == 0);
}

TEST_CASE("mapped reader: of a large batch, only so much is on its way at a time") {
  const Index page = system_page_bytes();
  const File file("file", 4096 * page);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, page)}).value();
  file.forget();
  MappedReader reader = store.reader();
  std::vector<RowId> rows;
  for (Index i = 0; i < 2048; ++i) rows.push_back(RowId{i * 1025 % 2048 * 2});
  Call call(rows, page);
  REQUIRE(call.submit(reader).ok());
  const Index first = reader.counters().reads;
  CHECK(reader.wait(call.ticket).ok());
  if (first == 0) {
    std::printf("[skipped] this system keeps the pages of a file that it was told to drop\n");
    return;
  }
  CHECK(first == 256);
  CHECK(reader.counters().reads == 2048);
  CHECK(reader.counters().most_in_flight == 512);
}

TEST_CASE("mapped reader: a file cut off after opening is a status under a guard") {
  File file("file", 64 * 4096);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, 4096)}).value();
  MappedReader reader = store.reader();
  const SigbusGuard guard;
  const Status fault{Code::io, EFAULT, -1};
  Call before({RowId{1}, RowId{60}}, 4096), after({RowId{2}, RowId{61}}, 4096);
  Call polled({RowId{3}, RowId{62}}, 4096), whole({RowId{4}, RowId{9}}, 4096);
  REQUIRE(before.submit(reader).ok());
  REQUIRE(::ftruncate(file.descriptor, 32 * 4096) == 0);
  REQUIRE(after.submit(reader).ok());
  REQUIRE(polled.submit(reader).ok());
  REQUIRE(whole.submit(reader).ok());
  CHECK(reader.wait(after.ticket) == fault);
  CHECK(reader.wait(after.ticket) == fault);
  CHECK(after.flag == 2);
  CHECK(reader.wait(before.ticket) == fault);
  while (!reader.poll(polled.ticket)) {  // for 100 ms
  }
  CHECK(polled.ticket.status == fault);
  CHECK(polled.flag == 2);
  CHECK(reader.wait(whole.ticket).ok());
  CHECK(whole.bytes[4096] == byte_of(9 * 4096));
  CHECK(reader.counters().failed_batches == 3);
  CHECK(reader.counters().batches == 4);
  REQUIRE(::ftruncate(file.descriptor, 64 * 4096) == 0);
  REQUIRE(after.submit(reader).ok());
  CHECK(reader.wait(after.ticket).ok());
  CHECK(after.bytes[4096] == std::byte{0});  // what was cut off is gone
}

TEST_CASE("mapped reader: without a guard, a file cut off ends the process by SIGBUS") {
  const File file("file", 8 * 4096);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, 4096)}).value();
  const int outcome = outcome_of([&] {
    ::signal(SIGBUS, SIG_DFL);  // a sanitizer has one of its own
    MappedReader reader = store.reader();
    Call call({RowId{7}}, 4096);
    if (::ftruncate(file.descriptor, 4096) != 0 || !call.submit(reader).ok()) return 1;
    (void)reader.wait(call.ticket);
    return 2;
  });
  CHECK(outcome == -SIGBUS);
}

TEST_CASE("mapped reader: where the system hides what is in memory, faults teach it") {
  if (::geteuid() != 0) {
    std::printf("[skipped] only root can become a user that does not own the file\n");
    return;
  }
  const Index page = system_page_bytes();
  const File file("file", 2048 * page);
  const MappedFetchStore store = MappedFetchStore::open({codes_of(file, page)}).value();
  file.forget();
  if (in_memory(store, 0) || in_memory(store, 2047) || count_disk_faults() < 0) {
    std::printf("[skipped] this system drops no pages, or counts no faults\n");
    return;
  }
  CHECK(outcome_of([&] {
          if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
          if (!in_memory(store, 0)) return 0;  // it hides nothing: nothing to learn
          MappedReader reader = store.reader();
          for (Index batch = 0; batch < 40; ++batch) {
            std::vector<RowId> rows;
            for (Index i = 0; i < 48; ++i) rows.push_back(RowId{i * 40 + batch});
            Call call(rows, page);
            if (!call.submit(reader).ok() || !reader.wait(call.ticket).ok()) return 2;
            for (Index i = 0; i < 48; ++i)
              if (call.bytes[at(i * page)] != byte_of((i * 40 + batch) * page)) return 3;
          }
          // 40 batches: seen 1, then 1 unseen, 1, 2, 1, 4, 1, 8, 1, 16, 1.
          const ReadCounters& counters = reader.counters();
          if (counters.wrong_guesses < 48 || counters.mapped_rows > 7 * 48) return 4;
          return counters.reads >= 33 * 40 ? 0 : 5;
        }) == 0);
}

TEST_CASE(
    "mapped fetch store: opened again it is another generation, and fails as MmapStore does") {
  const File file("file", 8 * 4096);
  const auto first = MappedFetchStore::open({codes_of(file, 4096)}).value();
  const auto second = MappedFetchStore::open({codes_of(file, 4096)}).value();
  CHECK(first.generation() != second.generation());
  CHECK(first.num_rows() == 8);
  TableSegment long_one = codes_of(file, 4096);
  long_one.codes.rows = 9;
  const auto too_long = MappedFetchStore::open({long_one});
  CHECK(too_long.status() == Status{Code::corrupt, 0, 8 * 4096});
  CHECK(MappedFetchStore::open({}).status().code == Code::invalid_config);
}

TEST_CASE("mapped fetch store: a FetchTable over it gives what a table in place gives") {
  const File file("file", 64 * 256);
  const auto segments = std::vector<TableSegment>{codes_of(file, 64)};
  const auto in_place =
      Table<MmapStore, Bf16Codec>::make(MmapStore::open(segments).value(), {}, 32).value();
  const MappedFetchStore store = MappedFetchStore::open(segments).value();
  using Fetch = FetchTable<MappedFetchStore, Bf16Codec>;
  std::vector<std::byte> memory(at(Fetch::memory_bytes(store, 5)));
  auto table = Fetch::make(store, {}, 32, memory).value();
  Random random(3);
  std::vector<std::int64_t> ids;
  for (Index i = 0; i < 60; ++i) ids.push_back(random.below(256));
  const View<const std::int64_t, 2> rows(ids.data(), 15, 4);
  std::vector<Bf16> expected(15 * 128), found(15 * 128);
  REQUIRE(in_place.gather(rows, View<Bf16, 2>(expected.data(), 15, 128)).ok());
  REQUIRE(table.gather(rows, View<Bf16, 2>(found.data(), 15, 128)).ok());
  CHECK(std::memcmp(expected.data(), found.data(), found.size() * 2) == 0);
}

#endif
