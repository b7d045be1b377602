// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Packed rows: the same bytes come back, damage is found, and a writer that is stopped anywhere is
// followed by one that ends with the same file.

#include <catch.hpp>
#include <contains.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <engram/storage/mmap_store.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <csignal>

#if defined(__unix__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;
using namespace engram;

namespace {

const std::string digest(64, 'b');

PackedInfo info_of(Index row_bytes, Index scale_bytes, std::vector<PackedLayer> layers) {
  return {row_bytes,         scale_bytes, "F8_E4M3", scale_bytes > 0 ? "F8_E8M0" : "",
          std::move(layers), digest};
}

std::vector<std::byte> random_rows(const PackedInfo& info) {
  Random random(7);
  std::vector<std::byte> rows(
      static_cast<std::size_t>(info.rows() * (info.row_bytes + info.scale_bytes)));
  for (std::byte& b : rows) b = static_cast<std::byte>(random.below(256));
  return rows;
}

Bytes part(const std::vector<std::byte>& rows, const PackedInfo& info, Index first, Index count) {
  const Index each = info.row_bytes + info.scale_bytes;
  return Bytes(rows.data() + first * each, count * each);
}

void pack(const std::string& path, const PackedInfo& info, const std::vector<std::byte>& rows) {
  PackedWriter writer = PackedWriter::open(path, info).value();
  writer.append(part(rows, info, writer.rows_done(), info.rows() - writer.rows_done())).value();
  writer.finish().value();
}

std::string new_path(const std::string& name) {
  const std::string path = scratch_path(name);
  fs::remove_all(path);
  fs::remove_all(path + ".part");
  return path;
}

/// Two layers in three pages.
const PackedInfo small = info_of(500, 20, {{1, 9}, {14, 3}});

Status open_status(const std::string& path) { return PackedRows::open(path).status(); }

}  // namespace

TEST_CASE("packed rows: where the format says, and the same through a store") {
  for (const PackedInfo& info :
       {info_of(256, 8, {{1, 100}}), info_of(256, 8, {{1, 15}, {2, 16}, {9, 1}}),
        info_of(1, 0, {{0, 5000}}), info_of(4088, 0, {{3, 3}}), info_of(2040, 4, {{3, 5}}),
        info_of(7, 3, {{-1, 409}})}) {
    INFO(info.row_bytes << " + " << info.scale_bytes);
    const std::string path = new_path("packed");
    const std::vector<std::byte> rows = random_rows(info);
    pack(path, info, rows);
    CHECK_FALSE(fs::exists(path + ".part"));
    const PackedRows packed = PackedRows::open(path).value();
    CHECK(packed.info() == info);

    const std::string file = read_file(path).value();
    const Index each = info.row_bytes + info.scale_bytes, per_page = 4088 / each;
    const auto store = MmapStore::open(packed.segments()).value();
    REQUIRE(store.num_rows() == info.rows());
    Index layer_page = 1, row = 0, wrong = 0;
    for (const PackedLayer& layer : info.layers) {
      const auto alone = MmapStore::open({packed.segment(layer.layer_id).value()}).value();
      CHECK(alone.num_rows() == layer.rows);
      for (Index r = 0; r < layer.rows; ++r, ++row) {
        const Index at = 4096 * (layer_page + r / per_page) + r % per_page * each;
        const std::byte* const expected = rows.data() + row * each;
        wrong += std::memcmp(file.data() + at, expected, static_cast<std::size_t>(each)) != 0;
        for (const RowBytes& found : {store.ref()(row), alone.ref()(r)}) {
          wrong +=
              std::memcmp(found.codes, expected, static_cast<std::size_t>(info.row_bytes)) != 0;
          if (info.scale_bytes > 0)
            wrong += std::memcmp(found.scales, expected + info.row_bytes,
                                 static_cast<std::size_t>(info.scale_bytes)) != 0;
        }
      }
      layer_page += (layer.rows + per_page - 1) / per_page;
    }
    CHECK(wrong == 0);
    CHECK(static_cast<Index>(file.size()) == 4096 * layer_page);
    CHECK(packed.pages() == layer_page - 1);
    CHECK(packed.segment(77).status().code == Code::mismatch);
  }
}

TEST_CASE("packed rows: the bytes do not depend on how many rows come at a time") {
  const std::vector<std::byte> rows = random_rows(small);
  const std::string whole = new_path("packed_whole"), pieces = new_path("packed_pieces");
  pack(whole, small, rows);
  PackedWriter writer = PackedWriter::open(pieces, small).value();
  for (Index at = 0, count = 1; at < small.rows(); at += count, count = count % 4 + 1)
    writer.append(part(rows, small, at, std::min(count, small.rows() - at))).value();
  writer.append(Bytes()).value();
  Index seen = 0;
  writer.finish([&](Index pages) { seen = pages; }).value();
  CHECK(seen == 3);
  CHECK(read_file(whole).value() == read_file(pieces).value());
}

TEST_CASE("packed rows: a writer that was stopped after any byte is followed by the same file") {
  const std::vector<std::byte> rows = random_rows(small);
  const std::string path = new_path("packed_stopped");
  pack(path, small, rows);
  const std::string finished = read_file(path).value();
  std::string unfinished = finished;
  {
    const auto header = packed_format::header(small, false);
    std::memcpy(unfinished.data(), header.data(), header.size());
  }
  for (const std::string* bytes : std::initializer_list<const std::string*>{&unfinished, &finished})
    for (std::size_t size = 0; size <= bytes->size(); size += size % 4096 == 4095 ? 1 : 455) {
      if (bytes == &finished && size < 4096) continue;
      fs::remove(path);
      write_file(path + ".part", as_bytes(std::string_view(*bytes).substr(0, size))).value();
      CHECK(open_status(path + ".part").code == (size < 8                 ? Code::unsupported
                                                 : bytes == &unfinished   ? Code::corrupt
                                                 : size < finished.size() ? Code::corrupt
                                                                          : Code::ok));
      {
        PackedWriter writer = PackedWriter::open(path, small).value();
        const Index pages = std::max<Index>(0, static_cast<Index>(size / 4096) - 1);
        CHECK(writer.rows_done() == (pages < 2 ? 7 * pages : pages == 2 ? 9 : 12));
      }
      pack(path, small, rows);
      CHECK(read_file(path).value() == finished);
    }
  // A page in the middle that never reached the disk.
  std::string hole = unfinished;
  std::fill_n(hole.begin() + 4096, 4096, '\0');
  write_file(path + ".part", as_bytes(hole)).value();
  CHECK(PackedWriter::open(path, small).value().rows_done() == 0);
  pack(path, small, rows);
  CHECK(read_file(path).value() == finished);
}

TEST_CASE("packed rows: every flipped byte and every missing one is found") {
  const std::string path = new_path("packed_damaged");
  pack(path, small, random_rows(small));
  const std::string good = read_file(path).value();
  PackedRows::open(path).value().verify(0, 3).value();
  Index missed = 0;
  for (std::size_t at = 0; at < good.size(); at += at < 4300 ? 1 : 13) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(path, as_bytes(bad)).value();
    Result<PackedRows> packed = PackedRows::open(path);
    if (at < 4096) {
      missed += packed.ok();
      continue;
    }
    const Index page = static_cast<Index>(at) / 4096 - 1;
    const Result<void> verified = packed.value().verify(0, 3);
    missed += verified.status() != Status{Code::corrupt, 0, page};
    missed += !packed.value().verify((page + 1) % 3, 1).ok();
  }
  CHECK(missed == 0);
  for (std::size_t size = 0; size < good.size(); size += size < 4100 ? 1 : 101) {
    write_file(path, as_bytes(std::string_view(good).substr(0, size))).value();
    const Code code = open_status(path).code;
    missed += code != Code::corrupt && code != Code::unsupported;
  }
  CHECK(missed == 0);
  write_file(path, as_bytes(good + "x")).value();
  CHECK(open_status(path) == Status{Code::corrupt, 0, static_cast<Index>(good.size() + 1)});

  // Two pages that changed places have the right bytes in the wrong place.
  std::string swapped = good;
  std::swap_ranges(swapped.begin() + 4096, swapped.begin() + 8192, swapped.begin() + 8192);
  write_file(path, as_bytes(swapped)).value();
  CHECK(PackedRows::open(path).value().verify(0, 3).status().index == 0);
}

TEST_CASE("packed rows: what is refused, and leaves everything as it was") {
  const auto refused = [](PackedInfo info, const char* why) {
    const auto writer = PackedWriter::open(new_path("packed_refused"), info);
    REQUIRE_FALSE(writer.ok());
    INFO(writer.message());
    CHECK(writer.status().code == Code::invalid_config);
    CHECK(contains(writer.message(), why));
    CHECK_FALSE(fs::exists(scratch_path("packed_refused") + ".part"));
  };
  refused(info_of(4089, 0, {{1, 1}}), "at most 4088");
  refused(info_of(4088, 1, {{1, 1}}), "at most 4088");
  refused(info_of(0, 8, {{1, 1}}), "at least 1");
  refused(info_of(8, -1, {{1, 1}}), "-1 bytes");
  refused(info_of(8, 0, {}), "0 layers");
  refused(info_of(8, 0, {{1, 0}}), "layer 1 with 0 rows");
  refused(info_of(8, 0, {{1, 5}, {2, INT64_MAX}}), "layer 2 with");
  refused(info_of(8, 0, {{1, 5}, {1, 5}}), "layer 1 twice");
  PackedInfo info = small;
  info.codes = "no such, type";
  refused(info, "element types");
  info = small;
  info.scales.clear();
  refused(info, "element types");
  info = small;
  info.layout_digest = "ABC";
  refused(info, "64 hexadecimal");

  const std::string path = new_path("packed_kept");
  const std::vector<std::byte> rows = random_rows(small);
  const auto huge = PackedWriter::open(path, info_of(264, 0, {{1, Index{1} << 48}}));
  CHECK(huge.status() == Status{Code::io, ENOSPC, -1});
  CHECK_FALSE(fs::exists(path + ".part"));
  {
    PackedWriter writer = PackedWriter::open(path, small).value();
    CHECK(writer.append(Bytes(rows.data(), 519)).status().code == Code::invalid_config);
    CHECK(writer.finish().status().code == Code::invalid_config);
    writer.append(part(rows, small, 0, 12)).value();
    CHECK(writer.append(part(rows, small, 0, 1)).status().code == Code::invalid_config);
  }
  const auto other = PackedWriter::open(path, info_of(500, 20, {{1, 9}, {14, 4}}));
  CHECK(other.status().code == Code::mismatch);
  CHECK(contains(other.message(), "not the beginning of these rows"));
  write_file(path + ".part", as_bytes(std::string(5000, 'x'))).value();
  CHECK(PackedWriter::open(path, small).status().code == Code::mismatch);
  CHECK(read_file(path + ".part").value() == std::string(5000, 'x'));
  fs::remove(path + ".part");
  CHECK(open_status(path).code == Code::io);

  pack(path, small, rows);
  const PackedRows packed = PackedRows::open(path).value();
  CHECK(packed.expect(digest).ok());
  const auto unlike = packed.expect(std::string(64, 'c'));
  CHECK(unlike.status().code == Code::mismatch);
  CHECK(contains(unlike.message(), digest));
  CHECK(PackedWriter::open(path + "/below", small).status().code == Code::io);
}

#if defined(__unix__)
TEST_CASE("packed rows: a disk that is full while rows are written, and then is not") {
  const std::vector<std::byte> rows = random_rows(small);
  const std::string path = new_path("packed_full"), whole = new_path("packed_not_full");
  pack(whole, small, rows);
  for (const rlim_t limit : {0u, 4096u, 5000u, 8192u, 12288u, 16000u}) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit bytes{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &bytes);
      Result<PackedWriter> writer = PackedWriter::open(path, small);
      Status status = writer.status();
      if (status.ok()) {
        const Index done = writer.value().rows_done();
        status = writer.value().append(part(rows, small, done, small.rows() - done)).status();
        if (status.ok()) status = writer.value().finish().status();
      }
      ::_exit(status.code == Code::io ? 0 : 1);
    }
    int result = 1;
    REQUIRE(::waitpid(child, &result, 0) == child);
    CHECK(result == 0);
    CHECK_FALSE(fs::exists(path));
  }
  pack(path, small, rows);
  CHECK(read_file(path).value() == read_file(whole).value());
}
#endif
