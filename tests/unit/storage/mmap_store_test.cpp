// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <catch.hpp>
#include <contains.hpp>
#include <engram/storage/mmap_store.hpp>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#if __has_include(<sys/mman.h>)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace fs = std::filesystem;
using namespace engram;

namespace {

constexpr Index largest = INT64_MAX;

// An empty folder of this test, removed afterwards.
struct Scratch {
  fs::path folder;
  explicit Scratch(const std::string& name)
      : folder(fs::path(ENGRAM_SCRATCH_DIR) / ("mmap_store_test_" + name)) {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~Scratch() { fs::remove_all(folder); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return (folder / name).string(); }
};

void write(const std::string& path, const std::string& bytes, long long at = 0) {
  std::FILE* file = std::fopen(path.c_str(), at == 0 ? "wb" : "rb+");
  REQUIRE(file != nullptr);
  if (at != 0) fs::resize_file(path, static_cast<std::uintmax_t>(at));
  REQUIRE(std::fseek(file, static_cast<long>(at), SEEK_SET) == 0);
  REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  REQUIRE(std::fclose(file) == 0);
}

TableSegment codes_only(RowExtent codes) { return {std::move(codes), {}}; }

void check_refused(const std::vector<TableSegment>& segments, Code code,
                   const std::vector<std::string>& words) {
  const auto store = MmapStore::open(segments);
  REQUIRE_FALSE(store.ok());
  INFO(store.message());
  CHECK(store.status().code == code);
  for (const std::string& word : words) {
    INFO(word);
    CHECK(contains(store.message(), word));
  }
}

// Row r's byte i as written to the test files.
char pattern(Index row, Index i) { return static_cast<char>(row * 37 + i * 5 + 1); }

bool equals_pattern(const std::byte* at, Index row, Index begin, Index bytes) {
  for (Index i = 0; i < bytes; ++i) {
    char found = 0;
    std::memcpy(&found, at + i, 1);
    if (found != pattern(row, begin + i)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("mmap store: extents that cannot work are refused by name") {
  const Scratch scratch("bad");
  const std::string path = scratch / "rows.bin";
  write(path, std::string(1000, 'x'));
  const RowExtent good{path, -1, 0, 10, 16, 16};
  const RowExtent scale{path, -1, 500, 10, 4, 4};
  const auto bad = [&](const std::function<void(TableSegment&)>& spoil, Code code,
                       const std::vector<std::string>& words) {
    TableSegment segment{good, scale};
    spoil(segment);
    check_refused({TableSegment{good, scale}, segment}, code, words);
  };
  check_refused({}, Code::invalid_config, {"no segments"});
  check_refused({TableSegment()}, Code::invalid_config, {"segment 0", "codes", "path"});
  using S = TableSegment;
  const Code config = Code::invalid_config;
  bad([](S& s) { s.codes.path.clear(); }, config, {"segment 1", "codes in no file", "path"});
  bad([](S& s) { s.codes.rows = 0; }, config, {"segment 1", "codes", path, "0 rows"});
  bad([](S& s) { s.codes.rows = -4; }, config, {"segment 1", "-4 rows"});
  bad([](S& s) { s.codes.bytes = 0; }, config, {"rows of 0 bytes"});
  bad([](S& s) { s.codes.bytes = -1; }, config, {"rows of -1 bytes"});
  bad([](S& s) { s.codes.offset = -1; }, config, {"offset -1"});
  bad([](S& s) { s.codes.stride = 15; }, config, {"stride of 15", "16 bytes"});
  bad([](S& s) { s.codes.stride = 0; }, config, {"stride of 0"});
  bad([](S& s) { s.scales.path.clear(); }, config, {"scales in no file"});
  bad([](S& s) { s.scales.rows = 0; }, config, {"scales", "0 rows"});
  bad([](S& s) { s.scales.bytes = 0; }, config, {"scales", "rows of 0 bytes"});
  bad([](S& s) { s.scales.stride = 3; }, config, {"scales", "stride of 3"});
  bad([](S& s) { s.scales.rows = 9; }, Code::mismatch, {"segment 1", "9 rows of scales", "10"});
  bad([](S& s) { s.scales = {}; }, Code::mismatch, {"segment 1", "scales of 0", "expected 4"});
  bad([](S& s) { s.codes.bytes = 15; }, Code::mismatch, {"segment 1", "15 bytes", "expected 16"});
  bad([](S& s) { s.scales.bytes = 3; }, Code::mismatch, {"segment 1", "3 bytes", "expected 4"});
  check_refused({codes_only(good), {good, scale}}, Code::mismatch, {"segment 1", "expected 0"});
  const auto paged = [&](Index page_rows, Index page_bytes) {
    bad(
        [&](S& s) {
          s.codes.page_rows = page_rows;
          s.codes.page_bytes = page_bytes;
        },
        config, {"segment 1", "pages of", path});
  };
  paged(0, 64);
  paged(-1, 64);
  paged(3, 47);
  paged(3, 0);
  paged(largest, largest);
  paged(2, largest);
}

TEST_CASE("mmap store: rows in pages, with something else behind the rows of each") {
  const Scratch scratch("pages");
  const std::string path = scratch / "rows.bin";
  std::string bytes(3, '#');
  for (int row = 0; row < 11; ++row) {
    bytes += std::string(4, static_cast<char>('a' + row)) + static_cast<char>('A' + row);
    if (row % 3 == 2) bytes += std::string(6, '.');
  }
  write(path, bytes);
  RowExtent codes{path, -1, 3, 11, 5, 4};
  codes.page_rows = 3;
  codes.page_bytes = 21;
  RowExtent scales = codes;
  scales.offset = 7;
  scales.bytes = 1;
  const MmapStore store = MmapStore::open({{codes, scales}, {codes, scales}}).value();
  REQUIRE(store.num_rows() == 22);
  for (Index row = 0; row < 22; ++row) {
    const RowBytes found = store.ref()(row);
    CHECK(std::memcmp(found.codes, std::string(4, static_cast<char>('a' + row % 11)).data(), 4) ==
          0);
    CHECK(static_cast<char>(*found.scales) == static_cast<char>('A' + row % 11));
  }
  codes.rows = 12;
  check_refused({codes_only(codes)}, Code::corrupt, {path, "too short"});
}

TEST_CASE("mmap store: extents beyond 64 bits are refused before any arithmetic") {
  const Scratch scratch("overflow");
  const std::string path = scratch / "rows.bin";
  write(path, std::string(1000, 'x'));
  const auto bad = [&](Index offset, Index rows, Index stride, Index bytes) {
    check_refused({codes_only({path, -1, offset, rows, stride, bytes})}, Code::invalid_config,
                  {"2^63", path});
  };
  bad(0, largest, 16, 16);
  bad(largest, 1, 1, 1);
  bad(largest, 1, largest, largest);
  bad(0, 2, largest, largest);
  bad(0, 3, largest / 2, 1000);
  bad(largest - 16, 2, 16, 16);
  // The most that is no overflow is merely not in the file.
  check_refused({codes_only({path, -1, 0, 1, largest, largest})}, Code::corrupt,
                {std::to_string(largest), "1000"});
  check_refused({codes_only({path, -1, largest - 16, 1, 16, 16})}, Code::corrupt,
                {std::to_string(largest), "1000"});
  // Rows of several segments, each fine.
  std::vector<TableSegment> segments(3, codes_only({path, -1, 0, largest / 2, 1, 1}));
  check_refused(segments, Code::invalid_config, {"segment 2", "2^63 rows"});
}

#if __has_include(<sys/mman.h>)

TEST_CASE("mmap store: files that are missing, too short or no files are refused by name") {
  const Scratch scratch("files");
  const std::string path = scratch / "rows.bin";
  write(path, std::string(1000, 'x'));
  const auto at = [](const std::string& p) { return RowExtent{p, -1, 0, 10, 16, 16}; };

  const auto missing = MmapStore::open({codes_only(at(scratch / "none"))});
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.status().code == Code::io);
  CHECK(missing.status().system_error == ENOENT);
  CHECK(contains(missing.message(), scratch / "none"));
  CHECK(contains(missing.message(), std::strerror(ENOENT)));

  const auto folder = MmapStore::open({codes_only(at(scratch.folder.string()))});
  REQUIRE_FALSE(folder.ok());
  CHECK(folder.status().code == Code::io);
  CHECK(folder.status().system_error == EISDIR);
  CHECK(contains(folder.message(), scratch.folder.string()));

  REQUIRE(::mkfifo((scratch / "pipe").c_str(), 0600) == 0);
  check_refused({codes_only(at(scratch / "pipe"))}, Code::unsupported, {scratch / "pipe"});
  check_refused({codes_only(at("/dev/null"))}, Code::unsupported, {"/dev/null"});

  const auto closed = MmapStore::open({codes_only({"", 1000000, 0, 10, 16, 16})});
  REQUIRE_FALSE(closed.ok());
  CHECK(closed.status().code == Code::io);
  CHECK(closed.status().system_error == EBADF);
  CHECK(contains(closed.message(), "descriptor 1000000"));

  // One byte too many, in the codes, in the scales, in another segment.
  const RowExtent fits{path, -1, 1000 - 16 * 10, 10, 16, 16};
  RowExtent over = fits;
  ++over.offset;
  CHECK(MmapStore::open({codes_only(fits)}).ok());
  const auto shorter = MmapStore::open({codes_only(over)});
  REQUIRE_FALSE(shorter.ok());
  CHECK(shorter.status().code == Code::corrupt);
  CHECK(shorter.status().index == 1000);
  CHECK(contains(shorter.message(), path));
  CHECK(contains(shorter.message(), "1001 bytes needed, 1000 found"));
  const RowExtent far_scales{path, -1, 1000 - 39, 10, 4, 4};
  check_refused({{fits, far_scales}}, Code::corrupt, {path, "1001 bytes needed, 1000 found"});
  check_refused({codes_only(fits), codes_only(over)}, Code::corrupt, {"1001", "1000"});

  write(scratch / "empty", "");
  check_refused({codes_only(at(scratch / "empty"))}, Code::corrupt, {"160 bytes needed, 0 found"});
}

TEST_CASE("mapped file: the whole file, a range, the rest, nothing") {
  const Scratch scratch("mapped");
  const std::string path = scratch / "f";
  std::string bytes;
  for (int i = 0; i < 20000; ++i) bytes += pattern(0, i);
  write(path, bytes);
  const auto same = [&](const MappedFile& file, std::size_t offset, std::size_t size) {
    return file.size() == static_cast<Index>(size) &&
           (size == 0 || std::memcmp(file.data(), bytes.data() + offset, size) == 0);
  };
  const MappedFile whole = MappedFile::open(path).value();
  CHECK(same(whole, 0, bytes.size()));
  CHECK(whole.bytes().size() == 20000);
  for (const Index offset : {0, 1, 4095, 4096, 4097, 12288, 19999}) {
    CHECK(same(MappedFile::open(path, offset, 1).value(), static_cast<std::size_t>(offset), 1));
    CHECK(same(MappedFile::open(path, offset).value(), static_cast<std::size_t>(offset),
               static_cast<std::size_t>(20000 - offset)));
  }
  CHECK(same(MappedFile::open(path, 20000).value(), 20000, 0));
  CHECK(same(MappedFile::open(path, 5, 0).value(), 5, 0));
  CHECK(MappedFile::open(path, 20001).status().code == Code::corrupt);
  CHECK(MappedFile::open(path, 20001, 0).status().code == Code::corrupt);
  CHECK(MappedFile::open(path, -1).status().code == Code::invalid_config);
  CHECK(MappedFile::open(path, 0, -2).status().code == Code::invalid_config);
  CHECK(MappedFile::open(path, largest, largest).status().code == Code::invalid_config);
  write(scratch / "empty", "");
  CHECK(MappedFile::open(scratch / "empty").value().data() == nullptr);

  MappedFile moved = MappedFile::open(path, 100, 50).value();
  MappedFile target = MappedFile::open(path).value();
  target = std::move(moved);
  CHECK(same(target, 100, 50));
  MappedFile& itself = target;
  target = std::move(itself);
  CHECK(same(target, 100, 50));
}

TEST_CASE("mmap store: codes and scales at every byte offset modulo 64") {
  const Scratch scratch("offsets");
  const std::string path = scratch / "rows.bin";
  const Index rows = 9;
  const Index row_bytes = 24;
  const Index scale_bytes = 3;
  for (Index skew = 0; skew < 64; ++skew)
    for (const Index stride : {Index{27}, Index{40}}) {
      // Codes from `skew` on, scales behind them at another offset, each with its own stride.
      const Index scales_at = 4096 + 63 - skew;
      std::string bytes(8192, '\x7f');
      for (Index r = 0; r < rows; ++r) {
        for (Index i = 0; i < row_bytes; ++i)
          bytes[static_cast<std::size_t>(skew + r * stride + i)] = pattern(r, i);
        for (Index i = 0; i < scale_bytes; ++i)
          bytes[static_cast<std::size_t>(scales_at + r * scale_bytes + i)] =
              pattern(r, row_bytes + i);
      }
      write(path, bytes);
      const MmapStore store =
          MmapStore::open({{{path, -1, skew, rows, stride, row_bytes},
                            {path, -1, scales_at, rows, scale_bytes, scale_bytes}}})
              .value();
      REQUIRE(store.num_rows() == rows);
      CHECK(store.row_bytes() == row_bytes);
      CHECK(store.scale_bytes() == scale_bytes);
      const auto ref = store.ref();
      CHECK(reinterpret_cast<std::uintptr_t>(ref(0).codes) % 64 ==
            static_cast<std::uintptr_t>(skew));
      CHECK(reinterpret_cast<std::uintptr_t>(ref(0).scales) % 64 ==
            static_cast<std::uintptr_t>(63 - skew));
      bool equal = true;
      for (Index r = 0; r < rows; ++r)
        equal = equal && equals_pattern(ref(r).codes, r, 0, row_bytes) &&
                equals_pattern(ref(r).scales, r, row_bytes, scale_bytes);
      CHECK(equal);
    }
}

TEST_CASE("mmap store: codes and scales interleaved in one file, or none") {
  const Scratch scratch("interleaved");
  const std::string path = scratch / "rows.bin";
  const Index rows = 500;
  std::string bytes = "xyz";
  for (Index r = 0; r < rows; ++r)
    for (Index i = 0; i < 20; ++i) bytes += pattern(r, i);
  write(path, bytes);
  const MmapStore store =
      MmapStore::open({{{path, -1, 3, rows, 20, 16}, {path, -1, 19, rows, 20, 4}}}).value();
  const MmapStore alone = MmapStore::open({codes_only({path, -1, 3, rows, 20, 16})}).value();
  CHECK(alone.scale_bytes() == 0);
  bool equal = true;
  for (Index r = 0; r < rows; ++r) {
    equal = equal && equals_pattern(store.ref()(r).codes, r, 0, 16) &&
            equals_pattern(store.ref()(r).scales, r, 16, 4);
    equal = equal && equals_pattern(alone.ref()(r).codes, r, 0, 16);
    equal = equal && alone.ref()(r).scales == nullptr;
  }
  CHECK(equal);
}

TEST_CASE("mmap store: shards of uneven size read as one table") {
  const Scratch scratch("shards");
  for (const Index shards : {1, 2, 3, 7, 64, 300})
    for (const bool with_scales : {false, true}) {
      std::vector<TableSegment> segments;
      Index total = 0;
      for (Index s = 0; s < shards; ++s) {
        // Every other shard in a file of its own; the rows' strides and offsets differ.
        const Index rows = 1 + (s * 7) % 5;
        const Index stride = 8 + s % 3;
        const Index offset = s % 11;
        std::string bytes(static_cast<std::size_t>(offset), '\x7f');
        std::string scales = "s";
        for (Index r = 0; r < rows; ++r) {
          for (Index i = 0; i < stride; ++i) bytes += i < 8 ? pattern(total + r, i) : '\x7f';
          for (Index i = 0; i < 2; ++i) scales += pattern(total + r, 8 + i);
        }
        const std::string path = scratch / ("shard" + std::to_string(s));
        write(path, bytes);
        write(path + ".scales", scales);
        TableSegment segment = codes_only({path, -1, offset, rows, stride, 8});
        if (with_scales) segment.scales = {path + ".scales", -1, 1, rows, 2, 2};
        segments.push_back(segment);
        total += rows;
      }
      MmapStore opened = MmapStore::open(segments).value();
      const auto ref = opened.ref();
      const MmapStore store = std::move(opened);  // refs outlive a move
      REQUIRE(store.num_rows() == total);
      CHECK(ref.count == shards);
      bool equal = true;
      for (Index r = 0; r < total; ++r) {
        equal = equal && equals_pattern(ref(r).codes, r, 0, 8);
        equal = equal && (ref(r).scales != nullptr) == with_scales;
        if (with_scales) equal = equal && equals_pattern(ref(r).scales, r, 8, 2);
      }
      CHECK(equal);
    }
}

TEST_CASE("mmap store: an open descriptor instead of a path, closed or unlinked afterwards") {
  const Scratch scratch("descriptor");
  const std::string path = scratch / "rows.bin";
  std::string bytes;
  for (Index r = 0; r < 6; ++r)
    for (Index i = 0; i < 10; ++i) bytes += pattern(r, i);
  write(path, bytes);
  const int descriptor = ::open(path.c_str(), O_RDONLY);
  REQUIRE(descriptor >= 0);
  check_refused({codes_only({"", descriptor, 0, 7, 10, 10})}, Code::corrupt,
                {"descriptor " + std::to_string(descriptor), "70 bytes needed, 60 found"});
  check_refused({codes_only({"its name", descriptor, 0, 7, 10, 10})}, Code::corrupt, {"its name"});
  const MmapStore store = MmapStore::open({codes_only({"", descriptor, 0, 6, 10, 10})}).value();
  CHECK(::fcntl(descriptor, F_GETFD) != -1);  // it stayed the caller's
  ::close(descriptor);
  fs::remove(path);
  for (Index r = 0; r < 6; ++r) CHECK(equals_pattern(store.ref()(r).codes, r, 0, 10));
}

TEST_CASE("mmap store: opening and closing leaves no descriptor behind") {
  const Scratch scratch("leak");
  const std::string path = scratch / "rows.bin";
  write(path, std::string(100, 'x'));
  const int before = ::open(path.c_str(), O_RDONLY);
  ::close(before);
  for (int i = 0; i < 5; ++i) {
    CHECK(MmapStore::open({codes_only({path, -1, 0, 10, 10, 10})}).ok());
    CHECK_FALSE(MmapStore::open({codes_only({path, -1, 0, 11, 10, 10})}).ok());
  }
  const int after = ::open(path.c_str(), O_RDONLY);
  ::close(after);
  CHECK(after == before);
}

TEST_CASE("mmap store: more than 2^31 rows and 2^32 bytes") {
  const Scratch scratch("large");
  const std::string path = scratch / "sparse.bin";
  const Index rows = (Index{1} << 31) + 10;
  const Index offset = 5;
  const Index stride = 4;
  write(path, "start");
  std::string last;
  for (Index i = 0; i < 3; ++i) last += pattern(rows - 1, i);
  const Index last_at = offset + (rows - 1) * stride;
  REQUIRE(last_at > Index{1} << 32);
  std::error_code error;
  fs::resize_file(path, static_cast<std::uintmax_t>(last_at), error);
  if (error) {
    std::printf("[skipped] no sparse file of 8 GiB here: %s\n", error.message().c_str());
    return;
  }
  write(path, last, last_at);
  check_refused({codes_only({path, -1, offset, rows + 1, stride, 3})}, Code::corrupt,
                {std::to_string(last_at + 4 + 3), std::to_string(last_at + 3)});
  const RowExtent extent{path, -1, offset, rows, stride, 3};
  const MmapStore store = MmapStore::open({codes_only(extent)}).value();
  REQUIRE(store.num_rows() == rows);
  CHECK(equals_pattern(store.ref()(rows - 1).codes, rows - 1, 0, 3));
  for (const Index row : {Index{0}, Index{1} << 30, Index{1} << 31, rows - 2})
    CHECK(std::memcmp(store.ref()(row).codes, "\0\0\0", 3) == 0);

  // The same rows as the second of three segments: row ids beyond 2^32 too.
  const MmapStore many =
      MmapStore::open({codes_only(extent), codes_only(extent), codes_only(extent)}).value();
  REQUIRE(many.num_rows() == 3 * rows);
  REQUIRE(many.num_rows() > Index{1} << 32);
  for (const Index segment : {0, 1, 2}) {
    CHECK(equals_pattern(many.ref()((segment + 1) * rows - 1).codes, rows - 1, 0, 3));
    CHECK(std::memcmp(many.ref()(segment * rows).codes, "\0\0\0", 3) == 0);
  }
}

#else

TEST_CASE("mmap store: a system without mmap says so") {
  check_refused({codes_only({"rows.bin", -1, 0, 10, 16, 16})}, Code::unsupported, {"mmap"});
}

#endif
