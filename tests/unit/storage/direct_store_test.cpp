// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows read from files past the system's cache, by threads: what arrives, and what is said when
// files, the system or the caller do what they should not.
#include "direct_case.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/codec/plain.hpp>
#include <engram/storage/disk/thread_reads.hpp>
#include <engram/storage/fetch_table.hpp>
#include <engram/storage/mmap_store.hpp>

#include <filesystem>

#include <sys/stat.h>

using namespace engram;
using namespace direct_case;
namespace fs = std::filesystem;

namespace {

using Store = DirectStore<ThreadReads>;
static_assert(check_fetch_store<Store>());

ThreadReads threads(Index count = 4) { return ThreadReads::make(count).value(); }

/// One file of `rows` rows that lie `stride` apart from `offset` on, no byte behind the last.
RandomTable plain_table(Index rows, Index bytes, Index offset = 0, Index stride = 0) {
  RandomTable table;
  table.rows = rows;
  table.row_bytes = bytes;
  RowExtent codes;
  codes.path = scratch_path("rows");
  codes.offset = offset;
  codes.rows = rows;
  codes.stride = stride > 0 ? stride : bytes;
  codes.bytes = bytes;
  Random random(7);
  std::string content;
  while (static_cast<Index>(content.size()) < offset + span_of(codes))
    content += static_cast<char>(random.bits());
  table.files[codes.path] = content;
  table.segments = {{codes, {}}};
  table.write();
  return table;
}

DirectOptions depth(Index reads, Index batches = 4) {
  DirectOptions options;
  options.depth = reads;
  options.most_batches = batches;
  return options;
}

/// Reads through another queue, and does to the n-th what it is told.
struct FaultyReads {
  enum class Fault { none, eio, eintr, eagain, shorter, nothing, one_byte };
  struct Plan {
    Fault fault = Fault::none;
    Index at = 0;     ///< which read, from 0
    Index times = 1;  ///< it and those behind it
    Index seen = 0;   ///< reads so far
    Index on_the_way = 0;
  };

  ThreadReads reads = ThreadReads::make(4).value();
  std::shared_ptr<Plan> plan = std::make_shared<Plan>();

  class Queue {
   public:
    Queue(ThreadReads::Queue queue, std::shared_ptr<Plan> plan)
        : queue_(std::move(queue)), plan_(std::move(plan)) {}
    Status status() const { return queue_.status(); }
    void start(const DiskRead& read) {
      DiskRead sent = read;
      const bool hit = plan_->seen >= plan_->at && plan_->seen < plan_->at + plan_->times;
      ++plan_->seen;
      ++plan_->on_the_way;
      if (hit && plan_->fault != Fault::none) {
        switch (plan_->fault) {
          case Fault::shorter:
            sent.bytes = std::max<Index>(disk_page_bytes, sent.bytes / 2 / 4096 * 4096);
            break;
          case Fault::one_byte: {  // as a file system without O_DIRECT may do
            return made_up(read.slot, 1);
          }
          case Fault::nothing:
            return made_up(read.slot, 0);
          case Fault::eio:
            return made_up(read.slot, -EIO);
          case Fault::eintr:
            return made_up(read.slot, -EINTR);
          default:
            return made_up(read.slot, -EAGAIN);
        }
      }
      queue_.start(sent);
      ++real_;
    }
    Index reap(View<DiskDone, 1> done, bool wait) {
      Index count = 0;
      for (; count < done.size() && !made_up_.empty(); made_up_.pop_back())
        done(count++) = made_up_.back();
      if (count == 0 || real_ > 0) {
        const Index more =
            queue_.reap(done.slice(count, done.size() - count), wait && count == 0 && real_ > 0);
        real_ -= more;
        count += more;
      }
      plan_->on_the_way -= count;
      return count;
    }

   private:
    void made_up(Index slot, Index result) { made_up_.push_back({slot, result}); }

    ThreadReads::Queue queue_;
    std::shared_ptr<Plan> plan_;
    std::vector<DiskDone> made_up_;
    Index real_ = 0;
  };

  Queue queue(Index reads_at_once) const { return Queue(reads.queue(reads_at_once), plan); }
  std::string_view name() const { return "faulty"; }
};
static_assert(check_disk_reads<FaultyReads>());

}  // namespace

TEST_CASE("direct store: rows of random tables are what the files hold") {
  check_random_tables([] { return threads(); }, 25);
}

TEST_CASE("direct store: a row at every place in a page, and at the file's end") {
  for (Index offset = 0; offset < 4096; offset += 37) {
    const RandomTable table = plain_table(3, 264, offset);
    const auto store = Store::open(table.segments, threads(), depth(4)).value();
    auto reader = store.reader();
    const std::vector<RowId> rows = {RowId{2}, RowId{0}, RowId{1}};
    std::string bytes(3 * 264, '?');
    Ticket ticket;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    INFO("offset " << offset);
    REQUIRE(bytes == expected(table, rows));
  }
}

TEST_CASE("direct store: a row at each of the 4096 places in a page") {
  const RandomTable table = table_at_every_place();
  check_all_rows(Store::open(table.segments, threads(), depth(16)).value(), table);
}

TEST_CASE("direct store: each page is read once, and neighbours together") {
  const RandomTable table = plain_table(4096, 256);  // 16 a page, 256 pages
  const auto store = Store::open(table.segments, threads(), depth(8)).value();
  auto reader = store.reader();
  std::string bytes;
  Ticket ticket;
  const auto reads_of = [&](const std::vector<RowId>& rows) {
    const ReadCounters before = reader.counters();
    bytes.assign(rows.size() * 256, '?');
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
    REQUIRE(bytes == expected(table, rows));
    const ReadCounters after = reader.counters();
    return std::vector<Index>{after.reads - before.reads, after.pages - before.pages,
                              after.unique_rows - before.unique_rows};
  };
  CHECK(reads_of({RowId{5}, RowId{5}, RowId{5}}) == std::vector<Index>{1, 1, 1});
  CHECK(reads_of({RowId{0}, RowId{15}, RowId{3}}) == std::vector<Index>{1, 1, 3});
  CHECK(reads_of({RowId{0}, RowId{63}}) == std::vector<Index>{1, 4, 2});  // 16 KiB
  CHECK(reads_of({RowId{0}, RowId{64}}) == std::vector<Index>{2, 2, 2});  // beyond
  CHECK(reads_of({RowId{0}, RowId{4095}, RowId{2000}}) == std::vector<Index>{3, 3, 3});
}

TEST_CASE("direct store: more rows than are planned at once") {
  const RandomTable table = plain_table(300, 8);
  const auto store = Store::open(table.segments, threads(), depth(2)).value();
  auto reader = store.reader();
  Random random(3);
  const std::vector<RowId> rows = random_rows(table, 70000, random);
  std::string bytes(rows.size() * 8, '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(bytes == expected(table, rows));
}

TEST_CASE("direct store: rows may arrive with gaps") {
  const RandomTable table = plain_table(50, 10);
  const auto store = Store::open(table.segments, threads(), depth(2)).value();
  auto reader = store.reader();
  const std::vector<RowId> rows = {RowId{7}, RowId{9}, RowId{7}};
  const std::vector<std::int32_t> places = {4, 0, 2};
  std::string bytes(50, '?');
  Ticket ticket;
  REQUIRE(
      reader.submit(view(rows), View<const std::int32_t, 1>(places.data(), 3), view(bytes), ticket)
          .ok());
  REQUIRE(reader.wait(ticket).ok());
  const std::string gap(10, '?');
  CHECK(bytes == table.row(9) + gap + table.row(7) + gap + table.row(7));
  const std::vector<std::int32_t> beyond = {4, 5, 2};
  CHECK(reader.submit(view(rows), View<const std::int32_t, 1>(beyond.data(), 3), view(bytes),
                      ticket) == Status{Code::shape_mismatch, 0, 5});
}

TEST_CASE("direct store: bad calls are refused and nothing is read") {
  const RandomTable table = plain_table(10, 16);
  const auto store = Store::open(table.segments, threads(), depth(2, 2)).value();
  auto reader = store.reader();
  std::string bytes(48, '?');
  Ticket ticket;
  const auto submit = [&](const std::vector<RowId>& rows) {
    return reader.submit(view(rows), view(bytes), ticket);
  };
  CHECK(submit({RowId{0}, RowId{10}, RowId{1}}) == Status{Code::bad_row, 0, 1});
  CHECK(submit({RowId{-1}, RowId{0}, RowId{1}}) == Status{Code::bad_row, 0, 0});
  CHECK(submit({RowId{0}, RowId{1}}) == Status{Code::shape_mismatch, 0, 32});
  CHECK(reader.counters().reads == 0);
  CHECK(bytes == std::string(48, '?'));
  CHECK(reader.poll(ticket));  // nothing on the way
}

TEST_CASE("direct store: more batches than allowed are refused until one is done") {
  const RandomTable table = plain_table(1000, 4096);
  const auto store = Store::open(table.segments, threads(1), depth(1, 2)).value();
  auto reader = store.reader();
  Random random(1);
  std::vector<RowId> rows[3];
  std::string bytes[3];
  Ticket tickets[3];
  for (int b = 0; b < 3; ++b) {
    rows[b] = random_rows(table, 100, random);
    bytes[b].assign(100 * 4096, '?');
  }
  REQUIRE(reader.submit(view(rows[0]), view(bytes[0]), tickets[0]).ok());
  CHECK(reader.submit(view(rows[1]), view(bytes[1]), tickets[0]) == Status{Code::busy, 0, 2});
  REQUIRE(reader.submit(view(rows[1]), view(bytes[1]), tickets[1]).ok());
  CHECK(reader.submit(view(rows[2]), view(bytes[2]), tickets[2]) == Status{Code::busy, 0, 2});
  REQUIRE(reader.wait(tickets[0]).ok());
  CHECK(reader.submit(view(rows[2]), view(bytes[2]), tickets[2]).ok());
  REQUIRE(reader.wait(tickets[2]).ok());
  REQUIRE(reader.wait(tickets[1]).ok());
  for (int b = 0; b < 3; ++b) CHECK(bytes[b] == expected(table, rows[b]));
}

TEST_CASE("direct store: a batch that is given up writes nothing more, and the reader goes on") {
  const RandomTable table = plain_table(1000, 4096);
  const auto store = Store::open(table.segments, threads(2), depth(4, 1)).value();
  Random random(1);
  const std::vector<RowId> rows = random_rows(table, 300, random);
  std::string bytes(300 * 4096, '?');
  auto reader = store.reader();
  for (int round = 0; round < 20; ++round) {
    Ticket ticket;
    std::uint32_t flag = 0;
    ticket.flag = &flag;
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    reader.cancel(ticket);
    CHECK(flag == 2);
    CHECK(reader.wait(ticket) == Status{Code::io, ECANCELED, -1});
    bytes.assign(bytes.size(), '?');
    const std::vector<RowId> few = {RowId{1}, RowId{999}};
    std::string found(2 * 4096, '!');
    Status submitted;
    do {
      submitted = reader.submit(view(few), view(found), ticket);
    } while (submitted.code == Code::busy);
    REQUIRE(submitted.ok());
    REQUIRE(reader.wait(ticket).ok());
    CHECK(found == expected(table, few));
    CHECK(bytes == std::string(bytes.size(), '?'));
    reader.cancel(ticket);  // done: as it was
    CHECK(ticket.status.ok());
  }
  Ticket ticket;  // and may be on the way when the reader goes
  (void)reader.submit(view(rows), view(bytes), ticket);
}

TEST_CASE("direct store: open says what is wrong with files and options") {
  const RandomTable table = plain_table(10, 100);
  const auto refused = [&](const RowExtent& codes, Code code, const char* word,
                           DirectOptions options = depth(2)) {
    const auto store = Store::open({{codes, {}}}, threads(1), options);
    REQUIRE_FALSE(store.ok());
    INFO(store.message());
    CHECK(store.status().code == code);
    CHECK(contains(store.message(), word));
  };
  const RowExtent good = table.segments[0].codes;
  RowExtent codes = good;
  codes.path = scratch_path("absent");
  refused(codes, Code::io, "No such file");
  codes.path = fs::path(good.path).parent_path().string();
  refused(codes, Code::io, "directory");
  codes.path = scratch_path("pipe");
  fs::remove(codes.path);
  REQUIRE(::mkfifo(codes.path.c_str(), 0600) == 0);
  refused(codes, Code::unsupported, "regular file");
  fs::remove(codes.path);
  codes = good;
  codes.rows = 11;
  refused(codes, Code::corrupt, "1100 bytes needed, 1000 found");
  codes = good;
  codes.path.clear();
  codes.descriptor = 9999;
  refused(codes, Code::io, "descriptor 9999");
  refused(good, Code::invalid_config, "1 to 4096", depth(-1));
  refused(good, Code::invalid_config, "1 to 64", depth(1, 0));
  DirectOptions verify = depth(1);
  verify.verify = Verify::strict;
  refused(good, Code::unsupported, "no checksums", verify);
  CHECK_FALSE(Store::open({}, threads(1), depth(1)).ok());
  CHECK_FALSE(ThreadReads::make(0).ok());
  CHECK_FALSE(ThreadReads::make(257).ok());
}

TEST_CASE("direct store: a file by its descriptor, which may be closed") {
  const RandomTable table = plain_table(10, 100);
  std::vector<TableSegment> segments = table.segments;
  segments[0].codes.descriptor = ::open(segments[0].codes.path.c_str(), O_RDONLY);
  segments[0].codes.path.clear();
  const auto store = Store::open(segments, threads(1), depth(2)).value();
  ::close(segments[0].codes.descriptor);
  auto reader = store.reader();
  const std::vector<RowId> rows = {RowId{9}};
  std::string bytes(100, '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(bytes == expected(table, rows));
}

TEST_CASE(
    "direct store: a file cut off while open is a status, and rows before the cut still come") {
  const RandomTable table = plain_table(100, 1000);
  const auto store = Store::open(table.segments, threads(), depth(4)).value();
  auto reader = store.reader();
  fs::resize_file(table.segments[0].codes.path, 50500);
  std::string bytes(3000, '?');
  Ticket ticket;
  const std::vector<RowId> beyond = {RowId{1}, RowId{99}, RowId{2}};
  REQUIRE(reader.submit(view(beyond), view(bytes), ticket).ok());
  CHECK(reader.wait(ticket) == Status{Code::corrupt, 0, 1});
  CHECK(reader.counters().failed_batches == 1);
  bytes.assign(1000, '?');
  const std::vector<RowId> across = {RowId{50}};
  REQUIRE(reader.submit(view(across), view(bytes), ticket).ok());
  CHECK(reader.wait(ticket) == Status{Code::corrupt, 0, 0});
  const std::vector<RowId> before = {RowId{49}};
  REQUIRE(reader.submit(view(before), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(bytes == expected(table, before));
}

TEST_CASE("direct store: a file that is replaced under its name is read as it was") {
  const RandomTable table = plain_table(100, 1000);
  const auto store = Store::open(table.segments, threads(), depth(4)).value();
  auto reader = store.reader();
  const std::string path = table.segments[0].codes.path;
  std::ofstream(path + ".new") << std::string(100000, 'n');
  fs::rename(path + ".new", path);
  const std::vector<RowId> rows = {RowId{3}, RowId{99}};
  std::string bytes(2000, '?');
  Ticket ticket;
  REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
  REQUIRE(reader.wait(ticket).ok());
  CHECK(bytes == expected(table, rows));
  const auto again = Store::open(table.segments, threads(), depth(4)).value();
  CHECK(again.generation() > store.generation());
}

TEST_CASE("direct store: whatever befalls any one read, rows are right or a status says so") {
  using Fault = FaultyReads::Fault;
  const RandomTable table = plain_table(400, 700);
  FaultyReads reads;
  const auto store = DirectStore<FaultyReads>::open(table.segments, reads, depth(8)).value();
  Random random(5);
  const std::vector<RowId> rows = random_rows(table, 40, random);
  const std::string right = expected(table, rows);
  for (const Fault fault : {Fault::none, Fault::eio, Fault::eintr, Fault::eagain, Fault::shorter,
                            Fault::nothing, Fault::one_byte})
    for (const Index times : {1, 3, 100000})
      for (Index n = 0; n < 24; n += 3) {
        INFO("fault " << static_cast<int>(fault) << " at " << n << ", " << times << " times");
        *reads.plan = {fault, n, times, 0, 0};
        auto reader = store.reader();
        std::string bytes(right.size(), '?');
        Ticket ticket;
        REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
        const Status status = reader.wait(ticket);
        const bool lasting = times == 100000 && fault != Fault::none && fault != Fault::shorter;
        if ((fault == Fault::eio || lasting) && reads.plan->seen > n) {
          CHECK(status.code == Code::io);
          CHECK(status.index >= 0);
        } else {
          CHECK(status.ok());
          CHECK(bytes == right);
        }
        CHECK(reads.plan->on_the_way == 0);
        // The next batch is as good as ever.
        reads.plan->fault = Fault::none;
        REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
        REQUIRE(reader.wait(ticket).ok());
        CHECK(bytes == right);
      }
}

TEST_CASE("direct store: checksums of pages are compared, some or all") {
  const RandomTable table = plain_table(640, 256);
  struct Page {
    static bool is_even(const std::byte*, Index number) noexcept { return number % 2 == 0; }
    static bool is_odd(const std::byte*, Index number) noexcept { return number % 2 == 1; }
    static bool is_good(const std::byte*, Index) noexcept { return true; }
  };
  DirectOptions options = depth(4);
  options.verify = Verify::strict;
  options.page_check = Page::is_even;
  std::string bytes(512, '?');
  Ticket ticket;
  {
    const auto store = Store::open(table.segments, threads(), options).value();
    auto reader = store.reader();
    const std::vector<RowId> good = {RowId{0}, RowId{160}}, bad = {RowId{0}, RowId{100 * 2 + 16}};
    REQUIRE(reader.submit(view(good), view(bytes), ticket).ok());
    CHECK(reader.wait(ticket).ok());
    CHECK(reader.counters().checked_pages == 2);
    REQUIRE(reader.submit(view(bad), view(bytes), ticket).ok());
    CHECK(reader.wait(ticket) == Status{Code::corrupt, 0, 1});
    const std::vector<RowId> second = {RowId{0}, RowId{16}};  // the next page, in the same read
    REQUIRE(reader.submit(view(second), view(bytes), ticket).ok());
    CHECK(reader.wait(ticket) == Status{Code::corrupt, 0, 1});
  }
  // A damaged page that no asked row is in does not matter, also where a read brings it along.
  options.page_check = Page::is_odd;
  {
    const auto store = Store::open(table.segments, threads(), options).value();
    auto reader = store.reader();
    const std::vector<RowId> around = {RowId{16}, RowId{48}};  // pages 1 and 3, page 2 between them
    REQUIRE(reader.submit(view(around), view(bytes), ticket).ok());
    CHECK(reader.wait(ticket).ok());
    CHECK(reader.counters().reads == 1);
    CHECK(bytes == expected(table, around));
  }
  options.verify = Verify::sample;
  options.page_check = Page::is_good;
  const auto store = Store::open(table.segments, threads(), options).value();
  auto reader = store.reader();
  for (int i = 0; i < 320; ++i) {
    const std::vector<RowId> rows = {RowId{i}, RowId{i + 320}};
    REQUIRE(reader.submit(view(rows), view(bytes), ticket).ok());
    REQUIRE(reader.wait(ticket).ok());
  }
  CHECK(reader.counters().checked_pages == 10);
}

TEST_CASE("direct store: through a table, the bits of a mapped one") {
  const RandomTable table = plain_table(500, 64, 24);
  const auto mapped =
      Table<MmapStore, F32Codec>::make(MmapStore::open(table.segments).value(), {}, 16).value();
  const auto store = Store::open(table.segments, threads(), depth(8)).value();
  std::vector<std::byte> memory(at(FetchTable<Store, F32Codec>::memory_bytes(store, 50)));
  auto fetched =
      FetchTable<Store, F32Codec>::make(
          store, {}, 16, View<std::byte, 1>(memory.data(), static_cast<Index>(memory.size())))
          .value();
  Random random(2);
  std::vector<std::int64_t> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(random.below(500));
  const View<const std::int64_t, 2> rows(ids.data(), 100, 3);
  std::vector<float> a(100 * 48), b(100 * 48, 1.0f);
  REQUIRE(mapped.gather(rows, View<float, 2>(a.data(), 100, 48)).ok());
  REQUIRE(fetched.gather(rows, View<float, 2>(b.data(), 100, 48)).ok());
  CHECK(std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

TEST_CASE("direct store: every fp8 code under every scale has the bits of a mapped table") {
  // Row r has the 256 codes, NaN and -0 among them, under scales of r; 255 is NaN.
  RandomTable table;
  table.rows = table.row_bytes = 256;
  table.scale_bytes = 8;
  RowExtent codes;
  codes.path = scratch_path("fp8");
  codes.rows = codes.bytes = 256;
  codes.stride = 264;
  RowExtent scales = codes;
  scales.offset = 256;
  scales.bytes = 8;
  std::string& bytes = table.files[codes.path];
  for (int r = 0; r < 256; ++r) {
    for (int c = 0; c < 256; ++c) bytes += static_cast<char>(c);
    bytes.append(8, static_cast<char>(r));
  }
  table.segments = {{codes, scales}};
  table.write();
  const auto mapped =
      Table<MmapStore, Fp8Codec>::make(MmapStore::open(table.segments).value(), {}, 256).value();
  const auto store = Store::open(table.segments, threads(), depth(8)).value();
  std::vector<std::byte> memory(at(FetchTable<Store, Fp8Codec>::memory_bytes(store, 256)));
  auto fetched =
      FetchTable<Store, Fp8Codec>::make(
          store, {}, 256, View<std::byte, 1>(memory.data(), static_cast<Index>(memory.size())))
          .value();
  std::vector<std::int64_t> ids(256);
  for (std::size_t i = 0; i < 256; ++i) ids[i] = static_cast<std::int64_t>(i * 37 % 256);
  const View<const std::int64_t, 2> rows(ids.data(), 256, 1);
  std::vector<float> a(256 * 256), b(256 * 256, 1.0f);
  REQUIRE(mapped.gather(rows, View<float, 2>(a.data(), 256, 256)).ok());
  REQUIRE(fetched.gather(rows, View<float, 2>(b.data(), 256, 256)).ok());
  CHECK(std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
  Index nans = 0;
  for (const float value : b) nans += value != value;
  CHECK(nans == 255 * 2 + 256);
}

TEST_CASE("direct store: the depth is measured where the table is large enough to say anything") {
  RandomTable table = plain_table(10, 4096);
  CHECK(Store::open(table.segments, threads()).value().report().measured.empty());
  CHECK(Store::open(table.segments, threads()).value().report().depth == 64);
  RowExtent& codes = table.segments[0].codes;
  codes.rows = 5000;
  fs::resize_file(codes.path, 5000 * 4096);
  const auto store = Store::open(table.segments, threads(8)).value();
  const DirectReport& report = store.report();
  REQUIRE(report.measured.size() == 5);
  Index best = 0;
  for (const DepthRate& rate : report.measured) best = std::max(best, rate.reads_per_second);
  CHECK(best > 0);
  for (const DepthRate& rate : report.measured)
    if (rate.depth == report.depth) CHECK(rate.reads_per_second * 20 >= best * 19);
  CHECK(report.reads == "threads");
  CHECK(report.files == 1);
}
