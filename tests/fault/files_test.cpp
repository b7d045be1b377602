// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Files under every fault of the system at every call: what is read is right or refused with a
// sentence, what is written stands under its name whole or not at all.

#include "scenario.hpp"

#include <contains.hpp>
#include <engram/io/checkpoint.hpp>
#include <engram/io/safetensors_index.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/tokenizer/token_map.hpp>
#include <random.hpp>

#include <sys/stat.h>

using namespace fault;
using shim::Call;

namespace {

std::string random_text(Index count, std::uint64_t seed) {
  Random random(seed);
  std::string bytes;
  while (static_cast<Index>(bytes.size()) < count) bytes += static_cast<char>(random.bits() >> 40);
  return bytes;
}

/// That `path` holds one of two texts, and that nothing else is in its folder.
std::string whole_and_alone(const std::string& path, const std::string& before,
                            const std::string& after) {
  const std::string now = content_of(path);
  if (now != before && now != after) return "the file is neither the old one nor the new one";
  for (const auto& entry : fs::directory_iterator(fs::path(path).parent_path()))
    if (entry.path() != fs::path(path)) return "left behind: " + entry.path().string();
  return {};
}

// A tensor of each kind of size in two files, and the same in a checkpoint.
const std::string tensor_bytes[3] = {random_text(3000, 1), random_text(8, 2), random_text(700, 3)};
TensorToWrite tensor(const std::string& name, int which) {
  const std::string& bytes = tensor_bytes[which];
  return {name, DType::u8, {static_cast<Index>(bytes.size())}, as_bytes(bytes), {}};
}

std::string text_of(const SafetensorsFile& file) {
  std::string text;
  for (const TensorInfo& t : file.tensors())
    text += sentence({t.name, " ", to_string(t.dtype), " ", t.shape[0], " ", t.file_offset, "\n"});
  for (const auto& [key, value] : file.metadata()) text += key + "=" + value + "\n";
  return text;
}

/// Memory for what a checkpoint holds, rows with gaps and a dense array.
struct Memory {
  std::vector<std::byte> rows = std::vector<std::byte>(40 * 80);
  std::vector<std::int64_t> dense = std::vector<std::int64_t>(500);

  std::vector<CheckpointTensor> tensors() {
    return {
        {"rows", DType::u8, {40, 75}, View<std::byte, 2>(rows.data(), 40, 75).with_stride<0>(80)},
        checkpoint_tensor("dense", View<std::int64_t, 1>(dense))};
  }
  std::string bytes() const {
    return std::string(reinterpret_cast<const char*>(rows.data()), rows.size()) +
           std::string(reinterpret_cast<const char*>(dense.data()), dense.size() * 8);
  }
  explicit Memory(std::uint64_t seed) {
    Random random(seed);
    for (Index r = 0; r < 40; ++r)
      for (Index b = 0; b < 75; ++b)
        rows[static_cast<std::size_t>(r * 80 + b)] = static_cast<std::byte>(random.bits() >> 40);
    for (std::int64_t& d : dense) d = static_cast<std::int64_t>(random.bits());
  }
  Memory() = default;
};

}  // namespace

TEST_CASE("faults: read_file - bytes alone do not tell flipped bits or an early end") {
  Scenario scenario;
  scenario.folder = new_folder("read");
  const std::string path = scenario.folder + "/file";
  scenario.right = random_text(200000, 4);
  write_file(path, as_bytes(scenario.right)).value();
  scenario.flips_are_found = scenario.ends_are_found = false;
  scenario.expected = {Call::stat, Call::fopen, Call::fread, Call::fclose};
  scenario.run = [&] {
    auto bytes = read_regular_file(path);
    if (!bytes.ok()) return failed(bytes.failure());
    return Outcome{{}, bytes.value(), {}};
  };
  CHECK(sweep(scenario) > 15);
}

TEST_CASE("faults: write_file leaves the old file or the new one and its permissions") {
  for (const Sync sync : {Sync::none, Sync::disk}) {
    Scenario scenario;
    scenario.folder = new_folder("write");
    const std::string path = scenario.folder + "/file", old = "old";
    scenario.right = random_text(100000, 5);
    scenario.file = path;
    scenario.expected = {Call::stat,   Call::fopen,  Call::fwrite, Call::fflush,
                         Call::fclose, Call::rename, Call::mode};
    if (sync == Sync::disk) scenario.expected.push_back(Call::sync);
    scenario.prepare = [&] {
      fs::remove_all(scenario.folder);
      fs::create_directories(scenario.folder);
      write_file(path, as_bytes(old)).value();
      ::chmod(path.c_str(), 0600);
    };
    scenario.run = [&] {
      const Bytes all = as_bytes(scenario.right);
      const Bytes parts[2] = {all.slice(0, 30000), all.slice(30000, 70000)};
      const auto written = write_file(path, std::span<const Bytes>(parts), sync);
      if (!written.ok()) return failed(written.failure());
      return Outcome{};
    };
    scenario.check = [&](const Outcome&) {
      struct stat file {};
      if (::stat(path.c_str(), &file) != 0 || (file.st_mode & 0777) != 0600)
        return std::string("the file has other permissions");
      return whole_and_alone(path, old, scenario.right);
    };
    CHECK(sweep(scenario) > 30);
  }
}

TEST_CASE("faults: write_file through a link leaves the link") {
  Scenario scenario;
  scenario.folder = new_folder("link");
  const std::string target = scenario.folder + "/below/file", link = scenario.folder + "/link";
  scenario.right = "new bytes";
  scenario.file = link;
  scenario.expected = {Call::stat, Call::rename};
  scenario.prepare = [&] {
    fs::remove_all(scenario.folder);
    fs::create_directories(scenario.folder + "/below");
    write_file(target, as_bytes("old bytes")).value();
    fs::create_symlink(target, link);
  };
  scenario.run = [&] {
    const auto written = write_file(link, as_bytes(scenario.right));
    if (!written.ok()) return failed(written.failure());
    return Outcome{};
  };
  scenario.check = [&](const Outcome&) {
    if (!fs::is_symlink(link)) return std::string("the link is gone");
    return whole_and_alone(target, "old bytes", scenario.right);
  };
  CHECK(sweep(scenario) > 30);
}

TEST_CASE("faults: safetensors file and tensors - the format has no checksums for flipped bits") {
  Scenario scenario;
  scenario.folder = new_folder("safetensors");
  const std::string path = scenario.folder + "/a.safetensors";
  const TensorToWrite tensors[3] = {tensor("first", 0), tensor("second", 1), tensor("third", 2)};
  write_safetensors(path, tensors, {{"key", "value"}}).value();
  scenario.flips_are_found = false;
  scenario.expected = {Call::stat, Call::fopen, Call::fread, Call::fclose, Call::seek, Call::tell};
  scenario.run = [&] {
    const auto file = SafetensorsFile::open(path);
    if (!file.ok()) return failed(file.failure());
    Outcome outcome{{}, text_of(file.value()), {}};
    for (const TensorInfo& t : file.value().tensors()) {
      const auto bytes = read_tensor(file.value(), t);
      if (!bytes.ok()) return failed(bytes.failure());
      outcome.bytes.append(reinterpret_cast<const char*>(bytes.value().data()),
                           bytes.value().size());
    }
    return outcome;
  };
  scenario.right = scenario.run().bytes;
  CHECK(contains(scenario.right, tensor_bytes[0] + tensor_bytes[1] + tensor_bytes[2]));
  CHECK(sweep(scenario) > 100);
}

TEST_CASE("faults: safetensors index names the same tensors or none - no checksums for its bits") {
  const std::string folder = new_folder("index");
  const TensorToWrite in_a[] = {tensor("first", 0)}, in_b[] = {tensor("second", 1)},
                      in_c[] = {tensor("third", 2)};
  write_safetensors(folder + "/a.safetensors", in_a).value();
  write_safetensors(folder + "/b.safetensors", in_b).value();
  write_safetensors(folder + "/model.safetensors", in_c).value();
  // With a list what it names; without it model.safetensors alone; without that everything.
  for (const int kind : {0, 1, 2}) {
    if (kind == 0)
      write_file(folder + "/model.safetensors.index.json",
                 as_bytes(R"({"weight_map":{"first":"a.safetensors","second":"b.safetensors"}})"))
          .value();
    else
      fs::remove(folder + (kind == 1 ? "/model.safetensors.index.json" : "/model.safetensors"));
    Scenario scenario;
    scenario.folder = folder;
    scenario.right = kind == 1 ? "third " : "first second ";
    scenario.flips_are_found = false;
    scenario.expected = {Call::stat, Call::fopen, Call::fread};
    if (kind != 0) scenario.expected.insert(scenario.expected.end(), {Call::list, Call::entry});
    scenario.run = [&] {
      const auto index = SafetensorsIndex::open(folder);
      if (!index.ok()) return failed(index.failure());
      Outcome outcome;
      for (const char* name : {"first", "second", "third"})
        if (index.value().find(name)) outcome.bytes += sentence({name, " "});
      return outcome;
    };
    INFO("kind " << kind);
    CHECK(sweep(scenario) > 50);
  }
}

TEST_CASE("faults: a checkpoint that is saved is whole or the one before") {
  Scenario scenario;
  scenario.folder = new_folder("save");
  const std::string path = scenario.folder + "/checkpoint";
  Memory before(1), after(2);
  const auto save = [&](Memory& memory, std::uint64_t step) {
    return save_checkpoint(path, {step, 7, "layout", {}}, memory.tensors());
  };
  save(before, 1).value();
  const std::string old = content_of(path);
  save(after, 2).value();
  scenario.right = content_of(path);
  scenario.file = path;
  scenario.expected = {Call::fwrite, Call::sync, Call::rename};
  scenario.prepare = [&] {
    fs::remove_all(scenario.folder);
    fs::create_directories(scenario.folder);
    write_file(path, as_bytes(old)).value();
  };
  scenario.run = [&] {
    const auto saved = save(after, 2);
    if (!saved.ok()) return failed(saved.failure());
    return Outcome{};
  };
  scenario.check = [&](const Outcome&) { return whole_and_alone(path, old, scenario.right); };
  CHECK(sweep(scenario) > 30);
}

TEST_CASE("faults: a checkpoint that is loaded is what was saved and flipped bits are found") {
  Scenario scenario;
  scenario.folder = new_folder("load");
  const std::string path = scenario.folder + "/checkpoint";
  Memory saved(1);
  save_checkpoint(path, {12, 7, "layout", {{"note", "n"}}}, saved.tensors()).value();
  scenario.right = saved.bytes() + "12 7 n";
  scenario.expected = {Call::stat, Call::fopen, Call::fread, Call::seek, Call::tell};
  scenario.run = [&] {
    auto checkpoint = Checkpoint::open(path, "layout");
    if (!checkpoint.ok()) return failed(checkpoint.failure());
    const CheckpointInfo& info = checkpoint.value().info();
    Memory memory;
    const auto text = [&] {
      return memory.bytes() + sentence({info.step, " ", info.seed, " "}) +
             (info.metadata.size() == 1 ? info.metadata[0].second : "?");
    };
    const auto read = checkpoint.value().read(memory.tensors());
    if (read.ok()) return Outcome{{}, text(), {}};
    Outcome outcome = failed(read.failure());
    // What failed while it was read can be read again; what was damaged when it was opened cannot.
    if (read.status().code == Code::io && !checkpoint.value().read(memory.tensors()).ok())
      outcome.complaint = "a checkpoint that could not be read once can never be read";
    return outcome;
  };
  CHECK(sweep(scenario) > 100);
}

TEST_CASE("faults: a token map that is read - its digest tells flipped bits and early ends") {
  Scenario scenario;
  scenario.folder = new_folder("map");
  const std::string path = scenario.folder + "/map";
  std::vector<std::int32_t> ids(3000);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i / 2);
  const TokenMap map = TokenMap::make(ids).value();
  scenario.right.assign(reinterpret_cast<const char*>(ids.data()), ids.size() * 4);
  write_file(path, as_bytes(scenario.right)).value();
  scenario.expected = {Call::fopen, Call::fread, Call::fclose};
  scenario.run = [&] {
    const auto bytes = read_file(path);
    if (!bytes.ok()) return failed(bytes.failure());
    const auto read = TokenMap::from_bytes(as_bytes(bytes.value()));
    if (!read.ok()) return failed(read.failure());
    const auto fits = read.value().expect(0, 0, map.digest());
    if (!fits.ok()) return failed(fits.failure());
    return Outcome{{}, bytes.value(), {}};
  };
  CHECK(sweep(scenario) > 15);
}

TEST_CASE("faults: tokenizer.json - its text has no checksum for flipped bits") {
  Scenario scenario;
  scenario.folder = new_folder("tokenizer");
  const std::string path = scenario.folder + "/tokenizer.json";
  std::string vocab, text;
  for (int i = 0; i < 500; ++i) vocab += sentence({i == 0 ? "" : ",", "\"token", i, "\":", i});
  text = R"({"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{)" + vocab +
         R"(},"merges":[]}})";
  write_file(path, as_bytes(text)).value();
  scenario.flips_are_found = false;
  scenario.expected = {Call::fopen, Call::fread, Call::fclose};
  scenario.run = [&] {
    const auto tokenizer = read_tokenizer_json(path);
    if (!tokenizer.ok()) return failed(tokenizer.failure());
    Outcome outcome;
    for (const auto& token : tokenizer.value().tokens) outcome.bytes += token + " ";
    return outcome;
  };
  scenario.right = scenario.run().bytes;
  CHECK(contains(scenario.right, "token499"));
  CHECK(sweep(scenario) > 15);
}
