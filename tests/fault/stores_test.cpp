// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stores under every fault of the system at every call: rows are right, or a status says that they
// are not, and the reader goes on.
//
// What io_uring gives back without a system call, the result of a request, is changed by changing
// the request when it is submitted: a descriptor that is none, half of the bytes, a place behind
// the file's end. Its bytes cannot be changed on the way; that is done to reads by threads.

#include "scenario.hpp"

#include <engram/io/packed_rows_writer.hpp>
#include <engram/storage/copy_rows.hpp>
#include <engram/storage/disk/adaptive_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>
#include <random.hpp>

#include <fcntl.h>

#if defined(ENGRAM_FAULT_URING)
#include <engram/uring/best_reads.hpp>
#include <iostream>
#endif

using namespace fault;
using shim::Call;

namespace {

constexpr Index num_rows = 90, codes_bytes = 700, scales_bytes = 21;
constexpr Index each = codes_bytes + scales_bytes;

std::string random_bytes(Index count, std::uint64_t seed) {
  Random random(seed);
  std::string bytes;
  while (static_cast<Index>(bytes.size()) < count) bytes += static_cast<char>(random.bits() >> 40);
  return bytes;
}

/// A table of which every row's bytes are known.
struct KnownTable {
  std::string folder;
  std::vector<TableSegment> segments;
  std::string bytes;  ///< of all rows

  std::string rows(const std::vector<RowId>& ids) const {
    std::string all;
    for (const RowId id : ids)
      all += bytes.substr(static_cast<std::size_t>(to_integer(id) * each),
                          static_cast<std::size_t>(each));
    return all;
  }
};

/// In two files; the scales of the first lie in the second.
KnownTable plain_table(const std::string& name) {
  KnownTable table;
  table.folder = new_folder(name);
  table.bytes = random_bytes(num_rows * each, 5);
  const std::string a = table.folder + "/a", b = table.folder + "/b";
  std::string in_a = random_bytes(100, 1), in_b = random_bytes(33, 2);
  constexpr Index first_rows = 50;
  for (Index r = 0; r < num_rows; ++r) {
    const auto at = static_cast<std::size_t>(r * each);
    const std::string codes = table.bytes.substr(at, codes_bytes);
    const std::string scales = table.bytes.substr(at + codes_bytes, scales_bytes);
    if (r < first_rows)
      in_a += codes, in_b += scales;
    else
      in_b += codes + scales;
  }
  write_file(a, as_bytes(in_a)).value();
  write_file(b, as_bytes(in_b)).value();
  const Index second = 33 + first_rows * scales_bytes;
  table.segments = {{{a, -1, 100, first_rows, codes_bytes, codes_bytes},
                     {b, -1, 33, first_rows, scales_bytes, scales_bytes}},
                    {{b, -1, second, num_rows - first_rows, each, codes_bytes},
                     {b, -1, second + codes_bytes, num_rows - first_rows, each, scales_bytes}}};
  return table;
}

/// Packed, in pages with checksums.
KnownTable packed_table(const std::string& name) {
  KnownTable table;
  table.folder = new_folder(name);
  table.bytes = random_bytes(num_rows * each, 6);
  const std::string path = table.folder + "/packed";
  PackedWriter writer =
      PackedWriter::open(path,
                         {codes_bytes, scales_bytes, "F8_E4M3", "F8_E8M0", {{1, num_rows}}, ""})
          .value();
  writer.append(as_bytes(table.bytes)).value();
  writer.finish().value();
  table.segments = PackedRows::open(path).value().segments();
  return table;
}

/// So that rows come from the disk.
void forget(const KnownTable& table) {
  for (const auto& entry : fs::directory_iterator(table.folder)) {
    const int file = ::open(entry.path().c_str(), O_RDONLY);
    ::fsync(file);
    ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    ::close(file);
  }
}

std::vector<RowId> some_rows(Index count, std::uint64_t seed) {
  Random random(seed);
  std::vector<RowId> rows;
  for (Index i = 0; i < count; ++i) rows.push_back(RowId{random.below(num_rows)});
  return rows;
}

View<const RowId, 1> view(const std::vector<RowId>& rows) {
  return View<const RowId, 1>(rows.data(), static_cast<Index>(rows.size()));
}
View<std::byte, 1> view(std::string& bytes) {
  return View<std::byte, 1>(reinterpret_cast<std::byte*>(bytes.data()),
                            static_cast<Index>(bytes.size()));
}

const std::vector<RowId> batches[3] = {some_rows(40, 1), some_rows(3, 2), some_rows(60, 3)};

std::string right_of(const KnownTable& table) {
  return table.rows(batches[0]) + table.rows(batches[1]) + table.rows(batches[2]);
}

/// Several batches on the way, one given up, and then the same again where something failed.
template <class Reader>
Outcome read_batches(Reader& reader, const KnownTable& table) {
  Outcome outcome;
  for (int round = 0; round < 3; ++round) {
    std::string bytes[4];
    Ticket tickets[4];
    Status first;
    for (int b = 0; b < 4; ++b) {
      bytes[b].assign(batches[b % 3].size() * static_cast<std::size_t>(each), '?');
      const Status submitted = reader.submit(view(batches[b % 3]), view(bytes[b]), tickets[b]);
      if (!submitted.ok()) tickets[b].status = submitted;
      // A reader without memory or ring stays so; nothing was begun.
      if (!submitted.ok() && b == 0 && round == 0) return failed(submitted);
      if (b == 3) reader.cancel(tickets[b]);
    }
    const std::string given_up = bytes[3];
    for (int b = 0; b < 3; ++b) {
      const Status status = reader.wait(tickets[b]);
      if (!status.ok() && first.ok()) first = status;
      if (!status.ok() && !rests(bytes[b]))
        outcome.complaint = "a batch is written to after it failed";
    }
    if (bytes[3] != given_up) outcome.complaint = "a batch is written to after it was given up";
    if (first.ok()) {
      outcome.bytes = bytes[0] + bytes[1] + bytes[2];
      return outcome;
    }
    if (outcome.status.ok()) outcome.status = first;
    if (first.code == Code::out_of_memory) return outcome;  // as above
    // The fault is over: from the second time on all is well.
    if (round == 1) break;
    std::string retried(batches[0].size() * static_cast<std::size_t>(each), '?');
    Ticket ticket;
    Status status = reader.submit(view(batches[0]), view(retried), ticket);
    if (status.ok()) status = reader.wait(ticket);
    if (!status.ok() || retried != table.rows(batches[0])) {
      outcome.complaint = describe(status, "the reader does not go on after a failure");
      return outcome;
    }
  }
  if (outcome.complaint.empty()) outcome.complaint = "the same batches failed twice";
  return outcome;
}

template <class MakeReads>
Scenario direct(const KnownTable& table, const MakeReads& make, const DirectOptions& options) {
  using Reads = std::decay_t<decltype(make().value())>;
  Scenario scenario;
  scenario.folder = table.folder;
  scenario.right = right_of(table);
  scenario.tried_again = {Call::read, Call::ring_read, Call::ring_wait, Call::ring_submit};
  scenario.run = [&table, make, options] {
    auto reads = make();
    if (!reads.ok()) return failed(reads.failure());
    auto store = DirectStore<Reads>::open(table.segments, std::move(reads).value(), options);
    if (!store.ok()) return failed(store.failure());
    auto reader = store.value().reader();
    return read_batches(reader, table);
  };
  return scenario;
}

DirectOptions depth(Index reads) {
  DirectOptions options;
  options.depth = reads;
  options.most_batches = 4;
  return options;
}

Result<ThreadReads> threads() { return ThreadReads::make(3); }

}  // namespace

TEST_CASE("faults: mmap store - a mapping has no checksums and does not find flipped bits") {
  const KnownTable table = plain_table("mmap");
  Scenario scenario;
  scenario.folder = table.folder;
  scenario.right = right_of(table);
  scenario.flips_are_found = false;
  scenario.expected = {Call::open, Call::stat, Call::map, Call::advise, Call::unmap, Call::close};
  scenario.run = [&] {
    const auto store = MmapStore::open(table.segments);
    if (!store.ok()) return failed(store.failure());
    Outcome outcome;
    for (const std::vector<RowId>& rows : batches) {
      std::string bytes(rows.size() * static_cast<std::size_t>(each), '?');
      copy_rows(store.value().ref(), view(rows), {num_rows, codes_bytes, scales_bytes},
                view(bytes).data());
      outcome.bytes += bytes;
    }
    return outcome;
  };
  CHECK(sweep(scenario) > 50);
}

TEST_CASE("faults: direct store by threads - rows without checksums do not tell flipped bits") {
  const KnownTable table = plain_table("direct");
  Scenario scenario = direct(table, threads, depth(6));
  scenario.flips_are_found = false;
  scenario.expected = {Call::open, Call::stat, Call::read, Call::map, Call::protect, Call::close};
  scenario.most_of_a_kind = 30;
  CHECK(sweep(scenario) > 100);
}

TEST_CASE("faults: direct store by threads with strict checksums finds flipped bits") {
  const KnownTable table = packed_table("strict");
  DirectOptions options = depth(6);
  options.verify = Verify::strict;
  options.page_check = packed_format::page_is_good;
  Scenario scenario = direct(table, threads, options);
  scenario.most_of_a_kind = 30;
  CHECK(sweep(scenario) > 100);
}

TEST_CASE("faults: direct store by threads while its depth is measured") {
  KnownTable table = plain_table("measured");
  // Enough pages to say something: a hole behind the rows, and a segment of rows in it.
  fs::resize_file(table.folder + "/a", Index{5000} * 4096);
  RowExtent hole{table.folder + "/a", -1, 4096 * 100, 4500, 4096, codes_bytes};
  RowExtent scales = hole;
  scales.offset += codes_bytes;
  scales.bytes = scales_bytes;
  table.segments.insert(table.segments.begin(), {hole, scales});
  Scenario scenario = direct(table, threads, depth(0));
  scenario.folder = table.folder;
  scenario.right.clear();
  scenario.flips_are_found = false;
  scenario.only = scenario.expected = {Call::read};
  scenario.most_of_a_kind = 1;  // a run takes 100 ms
  scenario.run = [&table] {
    auto reads = threads();
    if (!reads.ok()) return failed(reads.failure());
    auto store = DirectStore<ThreadReads>::open(table.segments, std::move(reads).value(), depth(0));
    if (!store.ok()) return failed(store.failure());
    Outcome outcome;
    const DirectReport& report = store.value().report();
    if (report.depth < 1 || report.depth > 128) outcome.complaint = "a depth that was not tried";
    if (report.measured.size() != 5) outcome.complaint = "not every depth was tried";
    return outcome;
  };
  CHECK(sweep(scenario) > 5);
}

TEST_CASE("faults: adaptive store - rows without checksums do not tell flipped bits") {
  const KnownTable table = plain_table("adaptive");
  for (const bool cold : {true, false}) {
    Scenario scenario;
    scenario.folder = table.folder;
    scenario.right = right_of(table);
    scenario.flips_are_found = false;
    scenario.most_of_a_kind = 10;
    scenario.expected = {Call::open, Call::stat, Call::map, Call::close};
    if (cold) scenario.prepare = [&] { forget(table); };
    scenario.run = [&] {
      auto reads = threads();
      if (!reads.ok()) return failed(reads.failure());
      const auto store =
          AdaptiveStore<ThreadReads>::open(table.segments, std::move(reads).value(), 6);
      if (!store.ok()) return failed(store.failure());
      auto reader = store.value().reader();
      return read_batches(reader, table);
    };
    CHECK(sweep(scenario) > 100);
  }
}

#if defined(ENGRAM_FAULT_URING)

TEST_CASE("faults: direct store by io_uring - submissions and waits and requests") {
  if (const auto ring = UringReads::make(); !ring.ok()) {
    std::cout << "[skipped] " << ring.message() << '\n';
    return;
  }
  const KnownTable table = plain_table("uring");
  for (const Index reads : {4, 64}) {
    Scenario scenario = direct(table, UringReads::make, depth(reads));
    scenario.flips_are_found = false;
    scenario.expected = {Call::open, Call::stat, Call::ring, Call::ring_submit, Call::ring_read};
    scenario.most_of_a_kind = 40;
    CHECK(sweep(scenario) > 100);
  }
}

TEST_CASE("faults: where a ring is refused threads read and the reason is said") {
  const KnownTable table = plain_table("best");
  Scenario scenario = direct(table, BestReads::make, depth(6));
  scenario.flips_are_found = false;
  scenario.expected = {Call::ring};
  scenario.most_of_a_kind = 6;
  CHECK(sweep(scenario) > 100);
  for (const auto& [fault, words] : {std::pair(shim::Fault::eacces, "Permission denied"),
                                     std::pair(shim::Fault::enomem, "Cannot allocate memory"),
                                     std::pair(shim::Fault::emfile, "Too many open files")}) {
    shim::arm(table.folder, {Call::ring, 0, fault});
    const auto reads = BestReads::make();
    shim::disarm();
    REQUIRE(reads.ok());
    CHECK(reads.value().name() == "threads");
    CHECK(reads.value().why_no_ring().find(words) != std::string::npos);
  }
}

#endif
