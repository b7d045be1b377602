// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packing under every fault of the system, and packing that is killed at every call that changes a
// file: what stands under the file's name is whole, and the next writer goes on to the same bytes.
// (Files that end at any byte, and a full disk: unit/io/packed_rows_test.cpp.)

#include "scenario.hpp"

#include <contains.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <random.hpp>

#include <sys/wait.h>

using namespace fault;
using shim::Call;

namespace {

/// Two layers in 14 pages; each more than a page, the last page of each in part.
const PackedInfo info = {500, 20, "F8_E4M3", "F8_E8M0", {{1, 65}, {14, 23}}, std::string(64, 'c')};
constexpr Index each = 520;

std::string all_rows() {
  Random random(9);
  std::string bytes;
  while (static_cast<Index>(bytes.size()) < info.rows() * each)
    bytes += static_cast<char>(random.bits() >> 40);
  return bytes;
}
const std::string rows = all_rows();

/// Packs what is missing, some rows at a time. A writer that failed says so again.
Outcome pack(const std::string& path) {
  Result<PackedWriter> writer = PackedWriter::open(path, info);
  if (!writer.ok()) return failed(writer.failure());
  PackedWriter& to = writer.value();
  while (to.rows_done() < to.rows()) {
    const Index first = to.rows_done(), count = std::min<Index>(10, to.rows() - first);
    const Bytes bytes = as_bytes(rows).slice(first * each, count * each);
    const Result<void> added = to.append(bytes);
    if (added.ok()) continue;
    Outcome outcome = failed(added.failure());
    for (int again = 0; again < 20; ++again)
      if (to.rows() - to.rows_done() >= count && to.append(bytes).status().code != Code::io)
        outcome.complaint = "a writer goes on behind a hole";
    if (to.finish().ok()) outcome.complaint = "a writer that failed finished";
    return outcome;
  }
  const Result<void> finished = to.finish();
  if (!finished.ok()) return failed(finished.failure());
  return {};
}

/// The file of an uninterrupted writer.
const std::string& right() {
  static const std::string bytes = [] {
    const std::string path = new_folder("right") + "/rows";
    REQUIRE(pack(path).status.ok());
    return content_of(path);
  }();
  return bytes;
}

/// A reader takes a file when it is whole, and refuses anything else.
std::string refused_or_whole(const std::string& path) {
  for (const std::string& file : {path, path + ".part"}) {
    auto packed = PackedRows::open(file);
    const bool taken = packed.ok() && packed.value().verify(0, packed.value().pages()).ok();
    if (taken && content_of(file) != right()) return file + " is taken, and is not whole";
    if (file == path && fs::exists(path) && !taken) return path + " is there, and is not whole";
  }
  return {};
}

void begin_anew(const std::string& path) {
  fs::remove(path);
  fs::remove(path + ".part");
}

/// The first pages, as a writer that was killed leaves them.
void begin_with(const std::string& path, Index pages) {
  begin_anew(path);
  const std::vector<std::byte> header = packed_format::header(info, false);
  const Bytes parts[2] = {Bytes(header.data(), 4096), as_bytes(right()).slice(4096, pages * 4096)};
  write_file(path + ".part", std::span<const Bytes>(parts)).value();
}

/// Packs in a process of its own that may end; gives its exit status, 0: it is done.
int pack_and_die(const std::string& path, const shim::Death& death) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    shim::arm(fs::path(path).parent_path(), death);
    ::_exit(pack(path).status.ok() ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("faults: packing begins and goes on and ends with the right file") {
  // Anew, behind some pages, and behind all of them with the header of a finished file.
  for (const Index pages : {-1, 5, 15}) {
    Scenario scenario;
    scenario.folder = new_folder("pack");
    const std::string path = scenario.file = scenario.folder + "/rows";
    scenario.right = right();
    scenario.expected = {Call::stat,   Call::space,  Call::fopen, Call::fwrite, Call::fflush,
                         Call::fclose, Call::rename, Call::sync,  Call::fread,  Call::advise};
    if (pages >= 0) scenario.expected.push_back(Call::cut);
    scenario.prepare = [&] {
      begin_anew(path);
      if (pages >= 0 && pages < 15) begin_with(path, pages);
      if (pages == 15) write_file(path + ".part", as_bytes(right())).value();
    };
    scenario.run = [&] { return pack(path); };
    scenario.check = [&](const Outcome&) { return refused_or_whole(path); };
    INFO(pages << " pages");
    CHECK(sweep(scenario) > 100);
  }
}

TEST_CASE("faults: a writer that cannot look at what is there does not begin anew") {
  const std::string folder = new_folder("kept"), path = folder + "/rows";
  for (const Call call : {Call::stat, Call::fopen, Call::seek, Call::tell, Call::fread})
    for (const shim::Fault fault : shim::faults_of(call)) {
      if (fault == shim::Fault::slow) continue;
      begin_with(path, 9);
      const std::string before = content_of(path + ".part");
      shim::arm(folder, {call, 0, fault});
      const auto writer = PackedWriter::open(path, info);
      shim::disarm();
      INFO(shim::name(fault) << " at " << shim::name(call) << ": " << writer.message());
      CHECK(shim::struck());
      if (!writer.ok()) CHECK(content_of(path + ".part") == before);
      if (writer.ok()) CHECK(writer.value().rows_done() == 63);
    }
}

TEST_CASE("faults: packed rows are opened and verified and flipped bits are found") {
  Scenario scenario;
  scenario.folder = new_folder("verify");
  const std::string path = scenario.folder + "/rows";
  write_file(path, as_bytes(right())).value();
  scenario.expected = {Call::stat, Call::fopen, Call::fread, Call::seek, Call::tell};
  scenario.right = "500 20 65 23 14";
  scenario.run = [&] {
    auto packed = PackedRows::open(path);
    if (!packed.ok()) return failed(packed.failure());
    const PackedInfo& found = packed.value().info();
    if (const auto fits = packed.value().expect(info.layout_digest); !fits.ok())
      return failed(fits.failure());
    for (Index page = 0; page < packed.value().pages(); page += 5) {
      const Index count = std::min<Index>(5, packed.value().pages() - page);
      const auto good = packed.value().verify(page, count);
      if (good.ok()) continue;
      Outcome outcome = failed(good.failure());
      if (!packed.value().verify(page, count).ok())
        outcome.complaint = "pages that could not be read once can never be read";
      return outcome;
    }
    return Outcome{{},
                   sentence({found.row_bytes, " ", found.scale_bytes, " ", found.layers[0].rows,
                             " ", found.layers[1].rows, " ", packed.value().pages()}),
                   {}};
  };
  CHECK(sweep(scenario) > 50);
}

TEST_CASE("faults: packing that is killed at any call is gone on with to the same bytes") {
  const std::string folder = new_folder("killed"), path = folder + "/rows";
  for (const Index pages : {-1, 6})
    for (const shim::Fault fault : {shim::Fault::killed, shim::Fault::killed_after}) {
      int ended = 77;
      for (long at = 0; ended == 77; ++at) {
        INFO(shim::name(fault) << " at change " << at << ", begun with " << pages << " pages");
        begin_anew(path);
        if (pages >= 0) begin_with(path, pages);
        ended = pack_and_die(path, {at, fault});
        CHECK(refused_or_whole(path) == "");
        const bool is_done = pack(path).status.ok() && content_of(path) == right();
        CHECK(is_done);
        CHECK_FALSE(fs::exists(path + ".part"));
        if (ended == 0) CHECK(at > 20 - pages);
      }
      CHECK(ended == 0);
    }
}

TEST_CASE("faults: packing that is killed again and again comes to an end") {
  const std::string folder = new_folder("again"), path = folder + "/rows";
  int ended = 77, killed = 0;
  for (long at = 0; ended == 77; ++at, ++killed) {
    REQUIRE(killed < 200);
    ended = pack_and_die(path,
                         {at % 31, at % 2 == 0 ? shim::Fault::killed : shim::Fault::killed_after});
    CHECK(refused_or_whole(path) == "");
  }
  CHECK(ended == 0);
  CHECK(killed > 2);
  const bool is_right = content_of(path) == right();
  CHECK(is_right);
}
