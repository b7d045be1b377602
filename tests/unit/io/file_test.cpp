// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/io/file.hpp>

#include <cerrno>
#include <filesystem>
#include <string>

#if defined(__unix__)
#include <sys/resource.h>
#include <csignal>
#endif

namespace fs = std::filesystem;
using engram::Code;
using engram::read_file;
using engram::write_file;

namespace {

// An empty folder of this test, removed afterwards.
struct Scratch {
  fs::path folder;
  explicit Scratch(const std::string& name)
      : folder(fs::path(ENGRAM_SCRATCH_DIR) / ("file_test_" + name)) {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~Scratch() { fs::remove_all(folder); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return (folder / name).string(); }
  long entries() const {
    return static_cast<long>(
        std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
};

void check_io(const engram::Failure& failure, int error, const std::string& path) {
  INFO(failure.message);
  CHECK(failure.status.code == Code::io);
  CHECK(failure.status.system_error == error);
  CHECK(failure.message.find(path) != std::string::npos);
  CHECK(failure.message.find(std::generic_category().message(error)) != std::string::npos);
}

}  // namespace

TEST_CASE("file: a missing file is named, with the system's reason") {
  const Scratch scratch("missing");
  const auto read = read_file(scratch / "none");
  REQUIRE_FALSE(read.ok());
  check_io(read.failure(), ENOENT, scratch / "none");
}

TEST_CASE("file: a directory is no file") {
  const Scratch scratch("directory");
  const auto read = read_file(scratch.folder.string());
  REQUIRE_FALSE(read.ok());
  check_io(read.failure(), EISDIR, scratch.folder.string());
  fs::create_directory(scratch / "d");
  const auto written = write_file(scratch / "d", engram::as_bytes("x"));
  REQUIRE_FALSE(written.ok());
  check_io(written.failure(), EISDIR, scratch / "d");
  CHECK(fs::is_directory(scratch / "d"));
  CHECK(scratch.entries() == 1);
}

TEST_CASE("file: writing below a missing folder fails") {
  const Scratch scratch("no_parent");
  const auto written = write_file(scratch / "no/f", engram::as_bytes("x"));
  REQUIRE_FALSE(written.ok());
  check_io(written.failure(), ENOENT, scratch / "no/f");
}

TEST_CASE("file: a name that is taken is left alone") {
  const Scratch scratch("taken");
  REQUIRE(write_file(scratch / "f.tmp0", engram::as_bytes("mine")).ok());
  fs::create_symlink(scratch / "f.tmp0", scratch / "f.tmp1");  // must not be written through
  REQUIRE(write_file(scratch / "f", engram::as_bytes("new")).ok());
  CHECK(read_file(scratch / "f").value() == "new");
  CHECK_FALSE(fs::is_symlink(scratch / "f"));
  CHECK(read_file(scratch / "f.tmp0").value() == "mine");
  CHECK(fs::is_symlink(scratch / "f.tmp1"));
}

TEST_CASE("file: when no temporary file can be made, the old file stays") {
  const Scratch scratch("blocked");
  REQUIRE(write_file(scratch / "f", engram::as_bytes("old")).ok());
  for (int i = 0; i < 100; ++i) fs::create_directory(scratch / ("f.tmp" + std::to_string(i)));
  const auto written = write_file(scratch / "f", engram::as_bytes("new"));
  REQUIRE_FALSE(written.ok());
  check_io(written.failure(), EEXIST, scratch / "f");
  CHECK(read_file(scratch / "f").value() == "old");
  CHECK(fs::is_directory(scratch / "f.tmp0"));  // not ours to remove
}

TEST_CASE("file: bytes come back as they were") {
  const Scratch scratch("round_trip");
  std::string all;
  for (int i = 0; i < 200000; ++i) all += static_cast<char>(static_cast<unsigned char>(i * 7));
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65535},
                                 std::size_t{65536}, std::size_t{65537}, all.size()}) {
    const std::string part = all.substr(0, size);
    REQUIRE(write_file(scratch / "f", engram::as_bytes(part)).ok());
    const auto back = read_file(scratch / "f");
    REQUIRE(back.ok());
    CHECK((back.value() == part));
    CHECK(scratch.entries() == 1);  // no temporary file is left
  }
}

#if defined(__unix__)
TEST_CASE("file: a write that stops half-way leaves the old file and no other") {
  const Scratch scratch("short");
  REQUIRE(write_file(scratch / "f", engram::as_bytes("old")).ok());
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100000;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto written = write_file(scratch / "f", engram::as_bytes(std::string(300000, 'x')));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(written.ok());
  check_io(written.failure(), EFBIG, scratch / "f");
  CHECK(read_file(scratch / "f").value() == "old");
  CHECK(scratch.entries() == 1);
}

TEST_CASE("file: a symbolic link stays, its target is replaced") {
  const Scratch scratch("link");
  REQUIRE(write_file(scratch / "target", engram::as_bytes("old")).ok());
  fs::create_symlink("target", scratch / "link");
  REQUIRE(write_file(scratch / "link", engram::as_bytes("new")).ok());
  CHECK(fs::is_symlink(scratch / "link"));
  CHECK(read_file(scratch / "target").value() == "new");
  fs::create_symlink("later", scratch / "dangling");
  REQUIRE(write_file(scratch / "dangling", engram::as_bytes("made")).ok());
  CHECK(fs::is_symlink(scratch / "dangling"));
  CHECK(read_file(scratch / "later").value() == "made");
}
#endif

#if defined(__linux__)
TEST_CASE("file: a device is written, not replaced, and a full one is reported") {
  REQUIRE(write_file("/dev/null", engram::as_bytes("x")).ok());
  CHECK(fs::is_character_file("/dev/null"));
  const auto written = write_file("/dev/full", engram::as_bytes("x"));
  REQUIRE_FALSE(written.ok());
  check_io(written.failure(), ENOSPC, "/dev/full");
  CHECK(fs::is_character_file("/dev/full"));
}
#endif
