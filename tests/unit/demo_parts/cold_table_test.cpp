// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The demo's table read back from a disk: the same bits, counters that agree, damage and other
// values that are found, and a disk that takes nothing is no failure. Nothing is left behind.
#if __has_include(<Eigen/Core>) && __has_include("demo/cold_table.hpp")

#include <catch.hpp>
#include <contains.hpp>

#include "lm/hashed_rows.hpp"
#include "small_demo.hpp"

#include <engram/training/init.hpp>

#include <sys/resource.h>
#include <csignal>
#include <cstdlib>
#include <set>

using namespace small_demo;

namespace {

/// A model with a memory, in which every row is another one.
struct Remembering {
  text::Corpus corpus = small_corpus();
  std::vector<Contender> contenders = small_contenders(corpus);
  lm::Model& model = contenders[1].model;
  std::vector<std::int32_t> tokens = choose_passage(corpus, context + 1).value().tokens;

  Remembering() { REQUIRE(fill_rows_normal(rows().table(), 1.0f, 7).ok()); }
  /// Whose table a test may change.
  lm::HashedRows& rows() { return const_cast<lm::HashedRows&>(*model.rows()); }
};

/// TMPDIR is a folder of the case's own meanwhile.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string path = scratch_path("folder")) : path_(std::move(path)) {
    if (const char* set = std::getenv("TMPDIR")) before_ = set;
    std::filesystem::create_directories(path_);
    ::setenv("TMPDIR", path_.c_str(), 1);
  }
  ~TemporaryFolder() { before_ ? ::setenv("TMPDIR", before_->c_str(), 1) : ::unsetenv("TMPDIR"); }
  bool is_empty() const { return std::filesystem::is_empty(path_); }

 private:
  std::string path_;
  std::optional<std::string> before_;
};

/// No file may grow beyond these bytes meanwhile: a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("a trained table comes back from a disk with the bits that it has in memory") {
  Remembering it;
  const TemporaryFolder folder;
  const ColdTable cold = read_cold(it.model, it.tokens).value();
  CHECK(folder.is_empty());
  CHECK(cold.left_out.empty());
  std::vector<std::int32_t> ids;
  REQUIRE(it.rows().address(it.tokens.data(), 1, context + 1, ids).ok());
  const std::set<std::int32_t> different(ids.begin(), ids.end());
  CHECK(cold.file_rows == it.rows().table().num_rows());
  CHECK(cold.rows == static_cast<Index>(ids.size()));
  CHECK(cold.different_rows == static_cast<Index>(different.size()));
  const ReadCounters& c = cold.counters;
  CHECK(c.batches == 1);
  CHECK(c.failed_batches == 0);
  CHECK(c.checked_pages == c.pages);
  CHECK(c.reads >= 1);
  CHECK(c.reads <= c.pages);
  CHECK(c.pages <= cold.file_rows / (4088 / 32) + 1);  // each at most once
  CHECK(c.bytes == c.pages * 4096);
  CHECK(cold.milliseconds > 0);
}

TEST_CASE("a value that came back changed is a failure and so is a damaged page") {
  Remembering it;
  const std::string path = scratch_path("table.rows");
  write_packed(it.rows(), path).value();
  CHECK(read_packed(it.rows(), path, it.tokens).ok());

  std::vector<std::int32_t> ids;
  REQUIRE(it.rows().address(it.tokens.data(), 1, context + 1, ids).ok());
  std::byte& bit = it.rows().table().store().mutable_ref()(ids[5]).codes[31];
  bit ^= std::byte{1};
  const Result<ColdTable> other = read_packed(it.rows(), path, it.tokens);
  CHECK(other.status().code == Code::mismatch);
  CHECK(other.status().index == ids[5]);
  CHECK(contains(other.message(), "row " + std::to_string(ids[5])));
  bit ^= std::byte{1};

  const std::string whole = read_file(path).value();
  std::string damaged = whole;
  for (std::size_t page = 1; page < damaged.size() / 4096; ++page) damaged[page * 4096 + 9] ^= 1;
  write_file(path, as_bytes(damaged)).value();
  CHECK(read_packed(it.rows(), path, it.tokens).status().code == Code::corrupt);
  write_file(path, as_bytes(whole.substr(0, whole.size() - 1))).value();
  CHECK(read_packed(it.rows(), path, it.tokens).status().code == Code::corrupt);
  std::filesystem::remove(path);
  CHECK(read_packed(it.rows(), path, it.tokens).status().code == Code::io);
}

TEST_CASE("a disk that is full and a folder that cannot be written are said and are no failure") {
  Remembering it;
  {
    const TemporaryFolder folder;
    const FullDisk full(8192);
    const Result<ColdTable> cold = read_cold(it.model, it.tokens);
    REQUIRE(cold.ok());
    CHECK(contains(cold.value().left_out, "table.rows"));
    CHECK(cold.value().rows == 0);
    CHECK(folder.is_empty());
  }
  if (!std::filesystem::is_directory("/proc")) {
    WARN("[skipped] there is no folder that nobody can write");
    return;
  }
  const TemporaryFolder folder("/proc");
  const Result<ColdTable> cold = read_cold(it.model, it.tokens);
  REQUIRE(cold.ok());
  CHECK(contains(cold.value().left_out, "/proc"));
}

#endif
