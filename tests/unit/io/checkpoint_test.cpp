// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Checkpoints: what comes back, what is refused, and what a process that dies or a disk that is
// full leaves behind.

#include "catch.hpp"
#include "contains.hpp"
#include "random.hpp"

#include <engram/io/checkpoint.hpp>
#include <engram/training/row_update.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#if defined(__unix__)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <csignal>
#endif

namespace fs = std::filesystem;
using namespace engram;

namespace {

const std::string digest(64, 'a');

// An empty folder of this test, removed afterwards.
struct Scratch {
  fs::path folder;
  explicit Scratch(const std::string& name)
      : folder(fs::path(ENGRAM_SCRATCH_DIR) / ("checkpoint_test_" + name)) {
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

void put(const std::string& path, const std::string& bytes) {
  fs::remove(path);  // a new file: some systems wait for the disk when one is emptied
  std::ofstream(path, std::ios::binary) << bytes;
}

// A run's arrays, small: rows of five bf16 that lie 16 bytes apart, their optimizer's state with
// padding, dense weights, and a number.
struct Run {
  HostStore store = HostStore::make(7, 10, 3).value();
  std::vector<float> state = std::vector<float>(7 * 4);
  std::vector<float> weights = std::vector<float>(6);
  std::vector<std::int64_t> counter = std::vector<std::int64_t>(1);

  explicit Run(std::uint64_t seed) {
    Random random(seed);
    const auto fill = [&](void* to, std::size_t bytes) {
      for (std::size_t i = 0; i < bytes; ++i)
        static_cast<unsigned char*>(to)[i] = static_cast<unsigned char>(random.bits() >> 56);
    };
    fill(store.mutable_ref().base, static_cast<std::size_t>(7 * store.stride()));
    fill(state.data(), state.size() * 4);
    fill(weights.data(), weights.size() * 4);
    fill(counter.data(), 8);
  }
  std::vector<CheckpointTensor> tensors() {
    return {checkpoint_codes("rows", DType::bf16, store),
            checkpoint_scales("scales", DType::f8_e8m0, store),
            checkpoint_tensor("state", View<float, 2>(state.data(), 7, 3).with_stride<0>(4)),
            checkpoint_tensor("weights", View<float, 2>(weights.data(), 2, 3)),
            checkpoint_tensor("counter", View<std::int64_t, 1>(counter))};
  }
  // Everything, what lies between rows too.
  std::string bytes() {
    std::string all(reinterpret_cast<const char*>(store.ref().base),
                    static_cast<std::size_t>(7 * store.stride()));
    all.append(reinterpret_cast<const char*>(state.data()), state.size() * 4);
    all.append(reinterpret_cast<const char*>(weights.data()), weights.size() * 4);
    return all.append(reinterpret_cast<const char*>(counter.data()), 8);
  }
  // What a checkpoint is of.
  std::string saved_bytes() {
    std::string all;
    for (const CheckpointTensor& tensor : tensors())
      for (Index r = 0; r < tensor.rows.extent(0); ++r)
        all.append(reinterpret_cast<const char*>(&tensor.rows(r, 0)),
                   static_cast<std::size_t>(tensor.rows.extent(1)));
    return all;
  }
  Result<void> save(const std::string& path, std::uint64_t step = 1) {
    return save_checkpoint(path, {step, 7, digest, {{"note", "a \"b\""}}}, tensors());
  }
};

// Loads into a run; the failure, if any, must leave that run's memory as it was.
Failure load(const std::string& path, Run& to, std::uint64_t* step = nullptr) {
  const std::string before = to.bytes();
  auto checkpoint = Checkpoint::open(path, digest);
  Failure failure = checkpoint.failure();
  if (checkpoint.ok()) failure = checkpoint.value().read(to.tensors()).failure();
  if (!failure.status.ok()) CHECK((to.bytes() == before));
  if (failure.status.ok() && step != nullptr) *step = checkpoint.value().info().step;
  return failure;
}

void load_refused(const std::string& path, Code code, const std::string& words) {
  Run to(99);
  const Failure failure = load(path, to);
  INFO(failure.message);
  CHECK(failure.status.code == code);
  CHECK(contains(failure.message, path));
  CHECK(contains(failure.message, words));
}

// That the checkpoint at `path` is the one `of` saved as that step.
void check_intact(const std::string& path, Run& of, std::uint64_t step) {
  Run back(99);
  std::uint64_t found = 0;
  const Failure failure = load(path, back, &found);
  INFO(failure.message);
  CHECK(failure.status.ok());
  CHECK(found == step);
  CHECK((back.saved_bytes() == of.saved_bytes()));
}

// That a file ends with the XXH3 of all bytes before, taken in one call.
void check_stored_digest(const std::string& bytes) {
  std::uint64_t stored = 0;
  for (const char c : bytes.substr(bytes.size() - 8))
    stored = stored << 8 | static_cast<unsigned char>(c);
  CHECK(stored == XXH3_64bits(bytes.data(), bytes.size() - 8));
}

}  // namespace

TEST_CASE("checkpoint: bytes, step, seed and metadata come back, and nothing between rows moves") {
  const Scratch scratch("round_trip");
  Run run(1);
  REQUIRE(run.save(scratch / "c", 12345678901234567890u).ok());
  CHECK(scratch.entries() == 1);
  Run back(2);
  const std::string before = back.bytes();
  auto opened = Checkpoint::open(scratch / "c", digest);
  REQUIRE(opened.ok());
  const CheckpointInfo& info = opened.value().info();
  CHECK(info.step == 12345678901234567890u);
  CHECK(info.seed == 7);
  CHECK(info.layout_digest == digest);
  CHECK(info.metadata == SafetensorsFile::Metadata{{"note", "a \"b\""}});
  REQUIRE(opened.value().read(back.tensors()).ok());
  CHECK((back.saved_bytes() == run.saved_bytes()));
  const StridedRows rows = back.store.ref();
  for (Index r = 0; r < 7; ++r)
    for (Index b = 13; b < back.store.stride(); ++b) {
      const Index place = r * back.store.stride() + b;
      CHECK(rows.base[place] == static_cast<std::byte>(before[static_cast<std::size_t>(place)]));
    }
  REQUIRE(opened.value().read(back.tensors()).ok());  // twice is no harm

  REQUIRE(back.save(scratch / "again", 12345678901234567890u).ok());
  CHECK(read_file(scratch / "again").value() == read_file(scratch / "c").value());
}

TEST_CASE("checkpoint: is a plain safetensors file that ends with the XXH3 of what comes before") {
  const Scratch scratch("format");
  Run run(1);
  REQUIRE(run.save(scratch / "c").ok());
  const auto file = SafetensorsFile::open(scratch / "c");
  REQUIRE(file.ok());
  REQUIRE(file.value().tensors().size() == 6);
  CHECK(*file.value().metadata("engram.layout_digest") == digest);
  const TensorInfo& rows = *file.value().find("rows");
  CHECK(rows.dtype == DType::bf16);
  CHECK(rows.shape == std::vector<Index>{7, 5});
  const std::string bytes = read_file(scratch / "c").value();
  check_stored_digest(bytes);
  CHECK(bytes.substr(static_cast<std::size_t>(rows.file_offset), run.saved_bytes().size()) ==
        run.saved_bytes());
}

TEST_CASE("checkpoint: rows and dense arrays of several blocks") {
  const Scratch scratch("large");
  HostStore store = HostStore::make(70001, 33).value();
  std::vector<std::byte> dense(3000001);
  Random random(3);
  for (Index r = 0; r < store.num_rows(); ++r)
    for (Index b = 0; b < 33; ++b)
      store.mutable_ref()(r).codes[b] = static_cast<std::byte>(random.bits() >> 56);
  for (std::byte& b : dense) b = static_cast<std::byte>(random.bits() >> 56);
  const std::vector<std::byte> copy = dense;
  const auto tensors = [&](HostStore& rows) {
    return std::vector<CheckpointTensor>{checkpoint_codes("rows", DType::u8, rows),
                                         checkpoint_tensor("dense", View<std::byte, 1>(dense))};
  };
  REQUIRE(save_checkpoint(scratch / "c", {0, 0, digest, {}}, tensors(store)).ok());
  check_stored_digest(read_file(scratch / "c").value());
  HostStore back = HostStore::make(70001, 33).value();
  std::fill(dense.begin(), dense.end(), std::byte{0});
  auto opened = Checkpoint::open(scratch / "c", digest);
  REQUIRE(opened.ok());
  REQUIRE(opened.value().read(tensors(back)).ok());
  CHECK((dense == copy));
  bool same = true;
  for (Index r = 0; r < store.num_rows(); ++r)
    same = same && std::memcmp(store.ref()(r).codes, back.ref()(r).codes, 33) == 0;
  CHECK(same);
}

TEST_CASE("checkpoint: a resumed run is the uninterrupted one, bit for bit") {
  const Scratch scratch("resume");
  constexpr Index rows = 9, width = 20;
  const LazyAdam adam;
  using RowTable = Table<HostStore, PlainCodec<Bf16>>;
  struct Training {
    RowTable table = RowTable::make(HostStore::make(rows, width * 2).value(), {}, width).value();
    std::vector<float> state = std::vector<float>(rows * (2 * width + 1));
    View<float, 2> states() { return View<float, 2>(state.data(), rows, 2 * width + 1); }
    std::vector<CheckpointTensor> tensors() {
      return {checkpoint_codes("rows", DType::bf16, table.store()),
              checkpoint_tensor("state", states())};
    }
  };
  const auto train = [&](Training& run, std::uint64_t first, std::uint64_t end) {
    for (std::uint64_t step = first; step < end; ++step) {
      Random random(step);
      std::vector<std::int64_t> read;
      for (Index r = 0; r < rows; ++r)
        if (random.below(2) == 0) read.push_back(r);
      std::vector<float> sums(read.size() * width);
      for (float& g : sums) g = static_cast<float>(random.below(2001) - 1000) * 1e-3f;
      RowGradients<std::int64_t> found;
      found.rows = View<const std::int64_t, 1>(read);
      found.sums = View<const float, 2>(sums.data(), found.rows.size(), width);
      REQUIRE(update_rows(run.table, found, run.states(), adam, {1e-2f, 0.1f, step, 42}).ok());
    }
  };
  const auto bits = [](Training& run) {
    std::string all(reinterpret_cast<const char*>(run.state.data()), run.state.size() * 4);
    for (Index r = 0; r < rows; ++r)
      all.append(reinterpret_cast<const char*>(run.table.store().ref()(r).codes), width * 2);
    return all;
  };
  Training whole, first, second;
  train(whole, 0, 20);
  train(first, 0, 11);
  REQUIRE(save_checkpoint(scratch / "c", {11, 42, digest, {}}, first.tensors()).ok());
  auto opened = Checkpoint::open(scratch / "c", digest);
  REQUIRE(opened.ok());
  REQUIRE(opened.value().read(second.tensors()).ok());
  CHECK((bits(second) == bits(first)));
  train(second, opened.value().info().step, 20);
  CHECK((bits(second) == bits(whole)));
  CHECK((bits(first) != bits(whole)));
}

TEST_CASE("checkpoint: one that was opened stays readable when another takes its name") {
  const Scratch scratch("replaced");
  Run old(1), young(2), back(3);
  REQUIRE(old.save(scratch / "c", 1).ok());
  auto opened = Checkpoint::open(scratch / "c", digest);
  REQUIRE(opened.ok());
  REQUIRE(young.save(scratch / "c", 2).ok());
  REQUIRE(opened.value().read(back.tensors()).ok());
  CHECK((back.saved_bytes() == old.saved_bytes()));
  check_intact(scratch / "c", young, 2);
}

TEST_CASE("checkpoint: one of another layout is refused with both digests") {
  const Scratch scratch("layout");
  Run run(1);
  REQUIRE(run.save(scratch / "c").ok());
  const auto opened = Checkpoint::open(scratch / "c", std::string(64, 'b'));
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.status().code == Code::mismatch);
  CHECK(contains(opened.message(), digest));
  CHECK(contains(opened.message(), std::string(64, 'b')));
}

TEST_CASE("checkpoint: tensors that do not fit are refused, and nothing is written") {
  const Scratch scratch("tensors");
  Run run(1), to(2);
  REQUIRE(run.save(scratch / "c").ok());
  auto opened = Checkpoint::open(scratch / "c", digest);
  REQUIRE(opened.ok());
  const std::string before = to.bytes();
  const auto refused = [&](const std::vector<CheckpointTensor>& tensors, Code code,
                           const std::string& words) {
    const auto read = opened.value().read(tensors);
    INFO(read.message());
    CHECK(read.status().code == code);
    CHECK(contains(read.message(), words));
    CHECK((to.bytes() == before));
    return read.status().index;
  };
  auto tensors = to.tensors();
  tensors[0].dtype = DType::f16;
  refused(tensors, Code::mismatch, "\"rows\" is BF16 [7, 5], expected F16 [7, 5]");
  tensors = to.tensors();
  tensors[3].shape = {3, 2};
  refused(tensors, Code::mismatch, "\"weights\" is F32 [2, 3], expected F32 [3, 2]");
  tensors = to.tensors();
  tensors[4].shape = {};
  refused(tensors, Code::mismatch, "\"counter\" is I64 [1], expected I64 []");
  tensors = to.tensors();
  tensors[4].name = "count";
  refused(tensors, Code::mismatch, "\"count\" is missing, expected I64 [1]");
  tensors = to.tensors();
  tensors.pop_back();
  refused(tensors, Code::mismatch, "\"counter\", I64 [1], is none of those expected");
  tensors = to.tensors();
  tensors[3].rows = View<std::byte, 2>(tensors[3].rows.data(), 1, 23);
  CHECK(refused(tensors, Code::shape_mismatch, "has 24 bytes, there is room for 23") == 24);
  tensors[3].rows = View<std::byte, 2>(nullptr, 1, 24);
  CHECK(refused(tensors, Code::shape_mismatch, "has 24 bytes, there is room for 0") == 24);

  tensors = to.tensors();
  tensors.resize(1);
  REQUIRE(opened.value().read(tensors, OtherTensors::ignore).ok());
  Run rows_only(2);
  for (Index r = 0; r < 7; ++r)
    std::memcpy(rows_only.store.mutable_ref()(r).codes, run.store.ref()(r).codes, 10);
  CHECK((to.bytes() == rows_only.bytes()));
}

TEST_CASE("checkpoint: a file that ends early, anywhere, is refused") {
  const Scratch scratch("truncated");
  Run run(1);
  REQUIRE(run.save(scratch / "c").ok());
  const std::string whole = read_file(scratch / "c").value();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size << " of " << whole.size() << " bytes");
    put(scratch / "cut", whole.substr(0, size));
    load_refused(scratch / "cut", Code::corrupt, "");
  }
  put(scratch / "cut", whole + "x");
  load_refused(scratch / "cut", Code::corrupt, "");
}

TEST_CASE("checkpoint: a flipped bit, anywhere, is found before anything is written") {
  const Scratch scratch("flipped");
  Run run(1);
  REQUIRE(run.save(scratch / "c").ok());
  const std::string whole = read_file(scratch / "c").value();
  Run to(99);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    INFO("byte " << at << " of " << whole.size());
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
    put(scratch / "f", flipped);
    CHECK_FALSE(load(scratch / "f", to).status.ok());
  }
  std::string step = whole;  // a number that is still a number
  step[whole.find("\"engram.step\":\"1\"") + 15] = '2';
  put(scratch / "f", step);
  load_refused(scratch / "f", Code::corrupt, "damaged");
}

TEST_CASE("checkpoint: what is none is refused") {
  const Scratch scratch("none");
  load_refused(scratch / "missing", Code::io, "No such file");
  fs::create_directory(scratch / "folder");
  load_refused(scratch / "folder", Code::io, "directory");
  put(scratch / "text", "What is this? Not a checkpoint, to be sure.");
  load_refused(scratch / "text", Code::corrupt, "no safetensors file");
  put(scratch / "empty", "");
  load_refused(scratch / "empty", Code::corrupt, "0 bytes");

  Run run(1);
  const TensorToWrite weights{"weights", DType::f32, {6}, std::as_bytes(std::span(run.weights))};
  const auto file = [&](const SafetensorsFile::Metadata& metadata) {
    REQUIRE(write_safetensors(scratch / "f", std::span(&weights, 1), metadata).ok());
  };
  file({});
  load_refused(scratch / "f", Code::unsupported, "lacks the key \"engram.checkpoint\"");
  for (const std::string version : {"1", "3"}) {
    file({{"engram.checkpoint", version}});
    load_refused(scratch / "f", Code::unsupported,
                 "of format \"" + version + "\", this version reads 2");
  }
  SafetensorsFile::Metadata all = {{"engram.checkpoint", "2"}};
  file(all);
  load_refused(scratch / "f", Code::corrupt, "lacks the key \"engram.layout_digest\"");
  all.emplace_back("engram.layout_digest", digest);
  file(all);
  load_refused(scratch / "f", Code::corrupt, "\"engram.step\" is missing");
  all.emplace_back("engram.step", "1");
  for (const char* bad : {"", "x", "1x", "-1", "18446744073709551616"}) {
    all.emplace_back("engram.seed", bad);
    file(all);
    load_refused(scratch / "f", Code::corrupt, "\"engram.seed\" is \"" + std::string(bad) + "\"");
    all.pop_back();
  }
  all.emplace_back("engram.seed", "18446744073709551615");
  file(all);
  load_refused(scratch / "f", Code::corrupt, "the last tensor is not \"engram.checkpoint_digest\"");
}

TEST_CASE("checkpoint: what cannot be saved is refused before anything is written") {
  const Scratch scratch("unsaved");
  Run run(1);
  REQUIRE(run.save(scratch / "c", 1).ok());
  const auto refused = [&](const std::vector<CheckpointTensor>& tensors, const CheckpointInfo& info,
                           const std::string& words) {
    const auto saved = save_checkpoint(scratch / "c", info, tensors);
    INFO(saved.message());
    CHECK(saved.status().code == Code::invalid_config);
    CHECK(contains(saved.message(), words));
    CHECK(scratch.entries() == 1);
    check_intact(scratch / "c", run, 1);
  };
  refused(run.tensors(), {2, 7, digest, {{"engram.x", ""}}}, "\"engram.x\" is reserved");
  refused(run.tensors(), {2, 7, digest, {{"x", ""}, {"x", ""}}}, "\"x\" occurs twice");
  auto tensors = run.tensors();
  tensors[1].name = "rows";
  refused(tensors, {2, 7, digest, {}}, "\"rows\" occurs twice");
  tensors[1].name = "engram.checkpoint_digest";
  refused(tensors, {2, 7, digest, {}}, "occurs twice");
  tensors = run.tensors();
  tensors[0].shape = {7, 6};
  refused(tensors, {2, 7, digest, {}}, "ask for 84");
  tensors = run.tensors();
  tensors[0].rows = View<std::byte, 2>(nullptr, 7, 10);
  refused(tensors, {2, 7, digest, {}}, "\"rows\" has no memory");
}

#if defined(__unix__)
namespace {

// Saves `run` in a child that may write files of `limit` bytes; its wait status. A child that is
// not killed there exits with 0 after success, else with errno.
int save_in_child(Run& run, const std::string& path, std::uint64_t step, std::size_t limit,
                  void (*at_limit)(int)) {
  const pid_t child = fork();
  if (child == 0) {
    rlimit size{};
    getrlimit(RLIMIT_FSIZE, &size);
    size.rlim_cur = limit;
    setrlimit(RLIMIT_FSIZE, &size);
    std::signal(SIGXFSZ, at_limit);
    _exit(run.save(path, step).status().system_error);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("checkpoint: killed at any write, the one before still loads") {
  const Scratch scratch("killed");
  Run old(1), young(2);
  REQUIRE(old.save(scratch / "c", 1).ok());
  const std::size_t size = read_file(scratch / "c").value().size();
  for (std::size_t limit = 0; limit < size; limit += size / 40 + 1) {
    INFO("killed at byte " << limit << " of " << size);
    const int status = save_in_child(young, scratch / "c", 2, limit, SIG_DFL);
    REQUIRE(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGXFSZ);
    check_intact(scratch / "c", old, 1);
    CHECK(fs::exists(scratch / "c.tmp0"));  // as documented: what a killed process leaves
    fs::remove(scratch / "c.tmp0");
  }
  put(scratch / "c.tmp0", "left over");
  const int status = save_in_child(young, scratch / "c", 2, size, SIG_DFL);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  check_intact(scratch / "c", young, 2);
}

TEST_CASE("checkpoint: a full disk leaves the one before and no temporary file") {
  const Scratch scratch("full");
  Run old(1), young(2);
  REQUIRE(old.save(scratch / "c", 1).ok());
  const std::size_t size = read_file(scratch / "c").value().size();
  for (std::size_t limit = 0; limit < size; limit += size / 20 + 1) {
    INFO("full at byte " << limit << " of " << size);
    const int status = save_in_child(young, scratch / "c", 2, limit, SIG_IGN);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == EFBIG);
    CHECK(scratch.entries() == 1);
    check_intact(scratch / "c", old, 1);
  }
}

TEST_CASE("checkpoint: a folder that cannot be written is named, and stays as it was") {
  const Scratch scratch("read_only");
  Run old(1), young(2);
  fs::create_directory(scratch / "folder");
  REQUIRE(old.save(scratch / "folder/c", 1).ok());
  fs::permissions(scratch / "folder", fs::perms::owner_read | fs::perms::owner_exec |
                                          fs::perms::others_read | fs::perms::others_exec);
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(1);  // permissions do not bind root
    const auto saved = young.save(scratch / "folder/c", 2);
    _exit(contains(saved.message(), scratch / "folder/c") ? saved.status().system_error : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == EACCES);
  check_intact(scratch / "folder/c", old, 1);
  fs::permissions(scratch / "folder", fs::perms::owner_all);
}

TEST_CASE("checkpoint: a symbolic link stays, its target is replaced") {
  const Scratch scratch("link");
  Run old(1), young(2);
  fs::create_directory(scratch / "elsewhere");
  REQUIRE(old.save(scratch / "elsewhere/c", 1).ok());
  fs::create_symlink("elsewhere/c", scratch / "latest");
  REQUIRE(young.save(scratch / "latest", 2).ok());
  CHECK(fs::is_symlink(scratch / "latest"));
  check_intact(scratch / "elsewhere/c", young, 2);
}
#endif

#if defined(__linux__)
TEST_CASE("checkpoint: a device that is full is reported") {
  Run run(1);
  const auto saved = run.save("/dev/full");
  CHECK(saved.status().code == Code::io);
  CHECK(saved.status().system_error == ENOSPC);
  CHECK(fs::is_character_file("/dev/full"));
}
#endif
