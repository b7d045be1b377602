// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row traces: the windows come back, whatever their order, and no damaged or cut-off file is read
// as a shorter one.

#include <catch.hpp>
#include <contains.hpp>
#include <engram/addressing/make_layout.hpp>
#include <engram/io/row_trace_writer.hpp>
#include <engram/ngram/suffix.hpp>
#include <engram/tokenizer/identity.hpp>
#include <random.hpp>
#include <scratch.hpp>

#include <numeric>

namespace fs = std::filesystem;
namespace format = engram::row_trace_format;
using namespace engram;
using Windows = std::vector<NgramWindow>;

namespace {

Layout layout_of(int max_ngram_size, std::uint64_t seed = 0) {
  AddressingConfig config;
  config.layer_ids = {1, 4};
  config.max_ngram_size = max_ngram_size;
  config.engram_vocab_size.assign(static_cast<std::size_t>(max_ngram_size - 1), 100);
  config.n_head_per_ngram = 2;
  config.pad_id = 0;
  config.seed = seed;
  config.compressed_vocab_size = 50;
  return make_layout(config, IdentityCompressor(50)).value();
}

/// Windows of several sequences by turns, with masked positions and documents that begin.
Windows windows_of(int max_ngram_size, std::size_t count, std::uint64_t seed, Index sequences) {
  Random random(seed);
  const SuffixNgrams<> extractor(max_ngram_size);
  std::vector<NgramState> states(static_cast<std::size_t>(sequences), extractor.initial_state());
  Windows windows;
  Index sequence = 0;
  while (windows.size() < count) {
    if (random.below(3) == 0) sequence = random.below(sequences);
    const Index kind = random.below(40);
    const Mark mark = kind == 0 ? Mark::dead : kind == 1 ? Mark::start : Mark::token;
    windows.push_back(extractor.push(states[static_cast<std::size_t>(sequence)],
                                     CanonicalId{static_cast<std::int32_t>(random.below(50))},
                                     mark));
  }
  return windows;
}

void record(const std::string& path, const Layout& layout, const Windows& windows,
            std::size_t at_once) {
  RowTraceWriter writer = RowTraceWriter::create(path, layout).value();
  for (std::size_t at = 0; at < windows.size(); at += at_once)
    writer
        .append(View<const NgramWindow, 1>(
            windows.data() + at, static_cast<Index>(std::min(at_once, windows.size() - at))))
        .value();
  CHECK(writer.tokens() == static_cast<Index>(windows.size()));
  writer.finish().value();
  CHECK(writer.finish().status().code == Code::bad_state);
  CHECK(writer.append({}).status().code == Code::bad_state);
}

/// Everything up to the end, or the status that stopped it.
struct Read {
  Windows windows;
  Status status;
  std::string message;
};
Read read_all(const std::string& path) {
  Read read;
  Result<RowTrace> trace = RowTrace::open(path);
  read.status = trace.status();
  read.message = trace.message();
  Windows block;
  while (read.status.ok()) {
    const Result<Index> got = trace.value().next(block);
    read.status = got.status();
    read.message = got.message();
    if (!got.ok() || got.value() == 0) break;
    CHECK(got.value() == static_cast<Index>(block.size()));
    read.windows.insert(read.windows.end(), block.begin(), block.end());
  }
  return read;
}

bool equal(const Windows& a, const Windows& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return std::memcmp(x.ids, y.ids, sizeof x.ids) == 0;
         });
}

std::string new_path(const std::string& name) {
  const std::string path = scratch_path(name);
  fs::remove_all(path);
  fs::remove_all(path + ".part");
  return path;
}

}  // namespace

TEST_CASE("row trace: windows come back in their order") {
  const std::string path = new_path("trace");
  for (const int n : {2, 3, 4, 8})
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{4095},
                                    std::size_t{4096}, std::size_t{4097}, std::size_t{9000}})
      for (const Index sequences : {1, 3}) {
        INFO(n << " " << count << " " << sequences);
        const Windows windows = windows_of(n, count, count + 7, sequences);
        record(path, layout_of(n), windows, count / 3 + 1);
        CHECK_FALSE(fs::exists(path + ".part"));
        RowTrace trace = RowTrace::open(path).value();
        CHECK(trace.layout() == layout_of(n));
        CHECK(trace.tokens() == static_cast<Index>(count));
        CHECK(trace.expect(layout_digest(layout_of(n))).ok());
        CHECK(trace.expect(layout_digest(layout_of(n, 1))).status().code == Code::mismatch);
        const Read read = read_all(path);
        INFO(read.message);
        CHECK(read.status.ok());
        CHECK(equal(read.windows, windows));
      }
}

TEST_CASE("row trace: the bytes are those of the format, however many come at a time") {
  const std::string path = new_path("trace"), other = new_path("other");
  const Windows windows = windows_of(3, 5000, 1, 2);
  record(path, layout_of(3), windows, 5000);
  record(other, layout_of(3), windows, 1);
  CHECK(read_file(path).value() == read_file(other).value());

  // One sequence without breaks: a header, the ids, a history a block.
  const SuffixNgrams<> extractor(4);
  NgramState state = extractor.initial_state();
  Windows plain;
  for (int t = 0; t < 4100; ++t)
    plain.push_back(extractor.push(state, CanonicalId{t % 50}, Mark::token));
  record(path, layout_of(4), plain, 4100);
  const std::string bytes = read_file(path).value();
  const std::size_t header = 16 + serialize(layout_of(4)).size() + 8;
  REQUIRE(bytes.size() == header + 2 * (8 + 16 + 8) + 4 * 4100 + 32);
  CHECK(bytes.substr(0, 8) == "ENGRTRCE");
  CHECK(bytes.substr(16, header - 24) == serialize(layout_of(4)));
  const auto number = [&](std::size_t at) {
    return format::get(reinterpret_cast<const std::byte*>(bytes.data()) + at, 4);
  };
  CHECK(number(header) == 4096);
  CHECK(number(header + 4) == 1);
  CHECK(number(header + 8 + 4 * 49) == 49);
  CHECK(number(header + 8 + 4 * 4096) == 0);               // the place of the history
  CHECK(number(header + 8 + 4 * 4096 + 4) == 0xFFFFFFFF);  // nothing before the first token
  const std::size_t second = header + 8 + 4 * 4096 + 16 + 8;
  CHECK(number(second) == 4);
  CHECK(number(second + 8 + 16 + 4) == 4095 % 50);
  CHECK(bytes.substr(bytes.size() - 32, 8) == "ENGRTEND");
}

TEST_CASE("row trace: a file that is cut off anywhere is refused") {
  const std::string path = new_path("trace");
  const Windows windows = windows_of(3, 4500, 1, 1);
  record(path, layout_of(3), windows, 4500);
  const std::string whole = read_file(path).value();
  for (std::size_t size = 0; size < whole.size(); size += size < 700 ? 1 : 331) {
    write_file(path, as_bytes(std::string_view(whole).substr(0, size))).value();
    INFO(size);
    const Read read = read_all(path);
    CHECK(read.status.code == (size < 8 ? Code::unsupported : Code::corrupt));
    CHECK(contains(read.message, path));
  }
  write_file(path, as_bytes(whole + "x")).value();
  CHECK(read_all(path).status.code == Code::corrupt);
  // A block that is missing in the middle, and a block of another trace.
  const std::size_t header = 16 + serialize(layout_of(3)).size() + 8;
  write_file(path, as_bytes(whole.substr(0, header) + whole.substr(whole.size() - 32))).value();
  CHECK(read_all(path).status.code == Code::corrupt);
  record(path, layout_of(3, 5), windows, 4500);
  const std::string other = read_file(path).value();
  REQUIRE(other.size() == whole.size());
  write_file(path, as_bytes(whole.substr(0, header) + other.substr(header))).value();
  CHECK(read_all(path).status.code == Code::corrupt);
}

TEST_CASE("row trace: a flipped bit anywhere is found") {
  const std::string path = new_path("trace");
  record(path, layout_of(2), windows_of(2, 300, 3, 2), 300);
  const std::string whole = read_file(path).value();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    write_file(path, as_bytes(damaged)).value();
    INFO(at);
    CHECK_FALSE(read_all(path).status.ok());
  }
}

TEST_CASE("row trace: blocks whose checksum is right and whose words are wrong") {
  const Layout layout = layout_of(3);
  const auto parse = [&](std::initializer_list<std::uint32_t> words) {
    std::vector<std::byte> block;
    for (const std::uint32_t word : words) format::put(block, word, 4);
    Windows windows;
    const char* why = format::parse_block(block.data(), layout, windows);
    return std::string(why == nullptr ? "" : why);
  };
  const std::uint32_t none = 0xFFFFFFFF;
  CHECK(parse({2, 1, 7, 8, 0, none, none}).empty());
  CHECK(parse({2, 2, 7, 8, 0, none, none, 1, 3, none}).empty());
  CHECK(contains(parse({1, 1, 50, 0, none, none}), "out of range"));
  CHECK(contains(parse({1, 1, 0xFFFFFFFE, 0, none, none}), "out of range"));
  CHECK(contains(parse({1, 1, none, 0, 3, none}), "out of range"));  // behind a blocked place
  CHECK(contains(parse({1, 1, 4, 0, none, 3}), "out of range"));
  CHECK(contains(parse({2, 1, 7, 8, 1, none, none}), "no history"));
  CHECK(contains(parse({2, 2, 7, 8, 0, none, none, 0, none, none}), "ascend"));
  CHECK(contains(parse({2, 2, 7, 8, 0, none, none, 2, none, none}), "ascend"));
}

TEST_CASE("row trace: what is not one, or cannot be written") {
  const std::string path = new_path("trace");
  CHECK(RowTrace::open(path).status().code == Code::io);
  CHECK(RowTrace::open(fs::path(path).parent_path().string()).status().code == Code::io);
  write_file(path, as_bytes("GGUF and more")).value();
  CHECK(RowTrace::open(path).status().code == Code::unsupported);
  record(path, layout_of(3), {}, 1);
  std::string later = read_file(path).value();
  later[8] = 2;
  write_file(path, as_bytes(later)).value();
  CHECK(contains(RowTrace::open(path).message(), "format 2, this version reads 1"));

  CHECK(RowTraceWriter::create(path + "/none/x", layout_of(3)).status().code == Code::io);
  CHECK(RowTraceWriter::create(path, Layout()).status().code == Code::invalid_config);
  write_file(path, as_bytes("old")).value();
  {
    RowTraceWriter writer = RowTraceWriter::create(path, layout_of(3)).value();
    Windows windows = windows_of(3, 3, 1, 1);
    windows[1].ids[0] = 50;
    const Result<void> refused = writer.append(windows);
    CHECK(refused.status() == Status{Code::bad_state, 0, 1});
    CHECK(writer.tokens() == 0);
    CHECK(fs::exists(path + ".part"));
  }
  CHECK_FALSE(fs::exists(path + ".part"));
  CHECK(read_file(path).value() == "old");
  {
    const std::string folder = path + ".folder";
    fs::create_directories(folder + "/in the way");
    RowTraceWriter writer = RowTraceWriter::create(folder, layout_of(3)).value();
    CHECK(writer.finish().status().code == Code::io);
    CHECK(writer.finish().status().code == Code::io);  // once more, with the file closed
    fs::remove_all(folder);
  }
#if defined(__linux__)
  if (fs::exists("/dev/full")) {
    fs::create_symlink("/dev/full", path + ".part");
    Result<RowTraceWriter> writer = RowTraceWriter::create(path, layout_of(3));
    Status status = writer.status();
    if (status.ok()) status = writer.value().finish().status();
    CHECK(status.code == Code::io);
    CHECK(status.system_error == ENOSPC);
    CHECK(read_file(path).value() == "old");
  }
#endif
}
