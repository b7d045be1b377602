// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a row trace, as they are and with every checksum made right: refused with a
// sentence, or windows that are in range, as many as the file says, and the same when they are
// written again.

#include <engram/io/row_trace_writer.hpp>
#include <engram/unicode/utf8.hpp>

#include <cstdlib>

namespace {

using namespace engram;
namespace format = row_trace_format;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string path_of(const char* name) {
  static const std::string folder = [] {
    std::string made = (std::filesystem::temp_directory_path() / "engram_fuzz_XXXXXX").string();
    require(mkdtemp(made.data()) != nullptr);
    static const std::string kept = made;
    std::atexit([] { std::filesystem::remove_all(kept); });
    return made;
  }();
  return folder + "/" + name;
}

/// Seals header, blocks and end, as far as the numbers in the bytes lead.
void repair(std::vector<std::byte>& bytes) {
  const auto size = static_cast<Index>(bytes.size());
  const auto seal = [&](Index at, Index count, std::uint64_t seed) {
    const std::uint64_t sum = format::checksum(bytes.data() + at, count - 8, seed);
    for (Index b = 0; b < 8; ++b)
      bytes[static_cast<std::size_t>(at + count - 8 + b)] = static_cast<std::byte>(sum >> (8 * b));
    return sum;
  };
  if (size < 16) return;
  const Index header = 24 + static_cast<Index>(format::get(bytes.data() + 12, 4));
  if (size < header + format::end_bytes) return;
  const std::uint64_t seed = seal(0, header, 0);
  const Result<Layout> layout = parse_layout(Bytes(bytes.data() + 16, header - 24));
  if (!layout.ok()) return;
  const Index end = size - format::end_bytes;
  std::uint64_t blocks = 0;
  for (Index at = header; at + 8 <= end; ++blocks) {
    const Index length = format::block_bytes(
        static_cast<Index>(format::get(bytes.data() + at, 4)),
        static_cast<Index>(format::get(bytes.data() + at + 4, 4)), layout.value().max_ngram_size);
    if (length > end - at) break;
    seal(at, length, seed + blocks);
    at += length;
  }
  seal(end, format::end_bytes, seed + format::get(bytes.data() + end + 16, 8));
}

void check(const std::vector<std::byte>& bytes) {
  const std::string path = path_of("input"), again = path_of("again");
  // Not replaced by a new name, which some file systems take as a wish to have it on the disk.
  std::remove(path.c_str());
  std::remove(again.c_str());
  require(write_file(path, Bytes(bytes.data(), static_cast<Index>(bytes.size()))).ok());
  const auto is_sentence = [](const std::string& message) {
    require(message.size() > 7 && message.size() < 1000);
    require(find_invalid_utf8(message) == message.size());
  };
  Result<RowTrace> trace = RowTrace::open(path);
  if (!trace.ok()) return is_sentence(trace.message());
  const Layout& layout = trace.value().layout();
  Result<RowTraceWriter> writer = RowTraceWriter::create(again, layout);
  require(writer.ok());
  std::vector<NgramWindow> windows, all;
  for (;;) {
    const Result<Index> got = trace.value().next(windows);
    if (!got.ok()) return is_sentence(got.message());
    require(got.value() == static_cast<Index>(windows.size()));
    if (windows.empty()) break;
    require(writer.value().append(windows).ok());
    all.insert(all.end(), windows.begin(), windows.end());
  }
  require(trace.value().tokens() == static_cast<Index>(all.size()));
  require(writer.value().finish().ok());
  Result<RowTrace> reread = RowTrace::open(again);
  require(reread.ok() && reread.value().layout() == layout);
  std::size_t at = 0;
  while (reread.value().next(windows).value() > 0)
    for (const NgramWindow& window : windows)
      require(std::memcmp(window.ids, all[at++].ids, sizeof window.ids) == 0);
  require(at == all.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* first = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(first, first + size);
  check(bytes);
  repair(bytes);
  check(bytes);
  return 0;
}
