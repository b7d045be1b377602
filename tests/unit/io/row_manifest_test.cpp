// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row manifests: the rows come back, and nothing damaged or out of range is taken for one.

#include <catch.hpp>
#include <contains.hpp>
#include <engram/io/row_manifest.hpp>
#include <scratch.hpp>

using namespace engram;

namespace {

RowManifest small() {
  return {std::string(62, 'a') + "09", {{1, 100}, {14, 50}}, {149, 3, 100, 99, 0}};
}

std::string bytes_of(const RowManifest& manifest) {
  const std::string path = scratch_path("manifest");
  write_row_manifest(path, manifest).value();
  return read_file(path).value();
}

Status status_of(const std::string& bytes) {
  return parse_row_manifest(as_bytes(bytes), "it").status();
}

std::string sealed(std::string bytes) {
  const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
  for (int b = 0; b < 8; ++b) bytes += static_cast<char>(sum >> (8 * b));
  return bytes;
}

}  // namespace

TEST_CASE("row manifest: rows come back, also by layer") {
  const std::string path = scratch_path("manifest");
  write_row_manifest(path, small()).value();
  const RowManifest read = read_row_manifest(path).value();
  CHECK(read.layout_digest == small().layout_digest);
  CHECK(read.layers == small().layers);
  CHECK(read.rows == small().rows);
  CHECK(read.rows_of(1).value() == std::vector<RowId>{RowId{3}, RowId{99}, RowId{0}});
  CHECK(read.rows_of(14).value() == std::vector<RowId>{RowId{49}, RowId{0}});
  CHECK(read.rows_of(2).status() == Status{Code::mismatch, 0, 2});
  CHECK(read.expect(small().layout_digest).ok());
  CHECK(read.expect(std::string(64, 'b')).status().code == Code::mismatch);

  RowManifest empty = small();
  empty.rows.clear();
  CHECK(parse_row_manifest(as_bytes(bytes_of(empty)), "it").value().rows.empty());
}

TEST_CASE("row manifest: the bytes are those of the format") {
  const std::string bytes = bytes_of(small());
  REQUIRE(bytes.size() == 56 + 2 * 12 + 5 * 8 + 8);
  CHECK(bytes.substr(0, 16) == std::string("ENGRHOTS\1\0\0\0\2\0\0\0", 16));
  CHECK(bytes.substr(46, 10) == std::string("\xaa\x09\5\0\0\0\0\0\0\0", 10));
  CHECK(bytes.substr(56, 12) == std::string("\1\0\0\0\x64\0\0\0\0\0\0\0", 12));
  CHECK(bytes.substr(80, 8) == std::string("\x95\0\0\0\0\0\0\0", 8));
  CHECK(sealed(bytes.substr(0, bytes.size() - 8)) == bytes);
}

TEST_CASE("row manifest: damage and cuts are found") {
  const std::string whole = bytes_of(small());
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK(status_of(whole.substr(0, size)).code == (size < 8 ? Code::unsupported : Code::corrupt));
  CHECK(status_of(whole + "x").code == Code::corrupt);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    INFO(at);
    CHECK(status_of(damaged).code ==
          (at < 8 || (at >= 8 && at < 12) ? Code::unsupported : Code::corrupt));
  }
}

TEST_CASE("row manifest: numbers that are wrong under a right checksum") {
  const std::string whole = bytes_of(small());
  const auto with = [&](std::size_t at, const std::string& words) {
    std::string changed = whole.substr(0, whole.size() - 8);
    changed.replace(at, words.size(), words);
    const auto read = parse_row_manifest(as_bytes(sealed(changed)), "it");
    CHECK(read.status().code == Code::corrupt);
    return read.message();
  };
  const std::string all_ones(8, '\xff');
  CHECK(contains(with(12, std::string("\0\0\0\0", 4)), "numbers"));
  CHECK(contains(with(12, all_ones.substr(4)), "numbers"));
  CHECK(contains(with(48, all_ones), "numbers"));
  CHECK(contains(with(48, std::string("\6", 1)), "numbers"));
  CHECK(contains(with(60, all_ones), "layer 1 has -1 rows"));
  CHECK(contains(with(60, std::string("\0", 1)), "layer 1 has 0 rows"));
  CHECK(contains(with(68, std::string("\1", 1)), "layer 1 stands twice"));
  CHECK(contains(with(80, std::string("\x96", 1)), "row 150 of 150"));
  CHECK(contains(with(80, all_ones), "row -1 of 150"));
  CHECK(contains(with(80, std::string("\3", 1)), "row 3 stands twice"));
}

TEST_CASE("row manifest: what cannot be written") {
  const std::string path = scratch_path("refused");
  RowManifest manifest = small();
  manifest.rows.push_back(150);
  CHECK(write_row_manifest(path, manifest).status().code == Code::invalid_config);
  manifest = small();
  manifest.layout_digest = "none";
  CHECK(write_row_manifest(path, manifest).status().code == Code::invalid_config);
  manifest = small();
  manifest.layers.clear();
  CHECK(write_row_manifest(path, manifest).status().code == Code::invalid_config);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK(write_row_manifest(path + "/none/x", small()).status().code == Code::io);
  CHECK(read_row_manifest(path).status().code == Code::io);
}
