// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/io/checkpoint.hpp>

#include <cerrno>
#include <filesystem>
#include <string>

#if defined(__unix__)
#include <sys/resource.h>
#include <csignal>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
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

#if defined(__linux__)
namespace {
int fsyncs = 0;         // calls so far
int failing_fsync = 0;  // the call that fails, from 1
int fsync_error = 0;    // its errno; negative: the process ends there
}  // namespace

// Stands in for the C library's in this program.
extern "C" int fsync(int descriptor) {
  if (++fsyncs != failing_fsync) return static_cast<int>(syscall(SYS_fsync, descriptor));
  if (fsync_error < 0) _exit(77);
  errno = fsync_error;
  return -1;
}
#endif

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

TEST_CASE("file: synced or not, the same file comes of it") {
  const Scratch scratch("synced");
  REQUIRE(write_file(scratch / "f", engram::as_bytes("old"), engram::Sync::disk).ok());
  REQUIRE(write_file(scratch / "f", engram::as_bytes("new"), engram::Sync::disk).ok());
  CHECK(read_file(scratch / "f").value() == "new");
  CHECK(scratch.entries() == 1);
  const fs::path before = fs::current_path();
  fs::current_path(scratch.folder);  // a name without a directory
  const auto written = write_file("f", engram::as_bytes("newer"), engram::Sync::disk);
  fs::current_path(before);
  CHECK(written.ok());
  CHECK(read_file(scratch / "f").value() == "newer");
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
  // What has no fsync goes without.
  REQUIRE(write_file("/dev/null", engram::as_bytes("x"), engram::Sync::disk).ok());
}

TEST_CASE("file: the file is synced before it has its name, then the directory") {
  const Scratch scratch("fsync");
  const std::string path = scratch / "f";
  const auto write = [&](const char* text, int failing, int error,
                         engram::Sync sync = engram::Sync::disk) {
    fsyncs = 0;
    failing_fsync = failing;
    fsync_error = error;
    auto written = write_file(path, engram::as_bytes(text), sync);
    failing_fsync = 0;
    return written;
  };
  REQUIRE(write("unsynced", 0, 0, engram::Sync::none).ok());
  CHECK(fsyncs == 0);
  REQUIRE(write("old", 0, 0).ok());
  CHECK(fsyncs == 2);

  const auto file_fails = write("new", 1, EIO);
  REQUIRE_FALSE(file_fails.ok());
  check_io(file_fails.failure(), EIO, path);
  CHECK(read_file(path).value() == "old");
  CHECK(scratch.entries() == 1);
  const auto directory_fails = write("new", 2, EIO);
  REQUIRE_FALSE(directory_fails.ok());
  check_io(directory_fails.failure(), EIO, "sync directory " + scratch.folder.string());
  CHECK(read_file(path).value() == "new");
  CHECK(scratch.entries() == 1);
  CHECK(write("newer", 2, EINVAL).ok());  // a file system whose directories have no fsync
  CHECK(read_file(path).value() == "newer");

  // A process that ends at the first has not touched the old file, at the second it has the new.
  for (const int last : {1, 2}) {
    const pid_t child = fork();
    if (child == 0) {
      (void)write("newest", last, -1);
      _exit(1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 77);
    CHECK(read_file(path).value() == (last == 1 ? "newer" : "newest"));
  }
}

TEST_CASE("file: a checkpoint is synced, and says so when it could not be") {
  const Scratch scratch("checkpoint");
  const engram::CheckpointInfo info{1, 2, "", {}};
  fsyncs = 0;
  REQUIRE(engram::save_checkpoint(scratch / "c", info, {}).ok());
  CHECK(fsyncs == 2);
  const std::string before = read_file(scratch / "c").value();
  fsyncs = 0;
  failing_fsync = 1;
  fsync_error = ENOSPC;
  const auto saved = engram::save_checkpoint(scratch / "c", {3, 2, "", {}}, {});
  failing_fsync = 0;
  REQUIRE_FALSE(saved.ok());
  check_io(saved.failure(), ENOSPC, scratch / "c");
  CHECK(read_file(scratch / "c").value() == before);
  CHECK(scratch.entries() == 1);
}
#endif
