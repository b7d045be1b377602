// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A table that stays in its safetensors file: the file is written, mapped where the table lies in
// it, and read in place; nothing is loaded. Then the file is cut short under the running program,
// and the read fails with a status instead of ending it.

#include <engram/engram.hpp>
#include <engram/io/safetensors_writer.hpp>

#include <cstdio>
#include <filesystem>
#include <random>

namespace {

using namespace engram;

constexpr Index num_rows = 4096;
constexpr Index width = 32;  // elements of a row, bf16

/// Removes the file again, however the program ends its work.
struct ScratchFile {
  std::string path =
      (std::filesystem::temp_directory_path() / ("engram_gather_" + unique() + ".safetensors"))
          .string();
  ~ScratchFile() { std::remove(path.c_str()); }
  static std::string unique() { return std::to_string(std::random_device()()); }
};

/// The segment of a table that a tensor [rows, width] of the file is.
TableSegment segment_of(const SafetensorsFile& file, const TensorInfo& tensor) {
  TableSegment segment;
  segment.codes.path = file.path();
  segment.codes.offset = tensor.file_offset;
  segment.codes.rows = tensor.shape[0];
  segment.codes.bytes = segment.codes.stride = tensor.bytes / tensor.shape[0];
  return segment;
}

bool run() {
  // A checkpoint of two tensors; the table is the second, so it starts somewhere in the file.
  std::vector<Bf16> norm(48, to_bf16(1)), table_rows(num_rows * width);
  for (std::size_t i = 0; i < table_rows.size(); ++i)
    table_rows[i] = to_bf16(static_cast<float>(i % 1009) / 64 - 8);
  const auto bytes_of = [](const std::vector<Bf16>& v) {
    return Bytes(reinterpret_cast<const std::byte*>(v.data()), 2 * v.size());
  };
  const ScratchFile scratch;
  const std::vector<TensorToWrite> tensors = {
      {"layers.1.norm.weight", DType::bf16, {48}, bytes_of(norm)},
      {"layers.1.memory.table", DType::bf16, {num_rows, width}, bytes_of(table_rows)}};
  write_safetensors(scratch.path, tensors).value();

  // Opening reads the header only; it says where each tensor lies.
  const SafetensorsFile file = SafetensorsFile::open(scratch.path).value();
  const TensorInfo* tensor = file.find("layers.1.memory.table");
  if (tensor == nullptr || tensor->dtype != DType::bf16) return false;
  std::printf("%s [%lld, %lld] %s: %lld bytes, from byte %lld of the file on\n",
              tensor->name.c_str(), static_cast<long long>(tensor->shape[0]),
              static_cast<long long>(tensor->shape[1]), to_string(tensor->dtype),
              static_cast<long long>(tensor->bytes), static_cast<long long>(tensor->file_offset));
  MmapStore store = MmapStore::open({segment_of(file, *tensor)}).value();
  const auto table =
      Table<MmapStore, Bf16Codec>::make(std::move(store), {}, tensor->shape[1]).value();

  // Three tokens with two rows each; the last is padding and has none.
  const SigbusGuard guard;  // a fault in the mapping becomes a status; see below
  const std::vector<int> ids = {0, 4095, 17, 17, -1, -1};
  const View<const int, 2> rows(ids.data(), 3, 2);
  std::vector<float> e(3 * 2 * width);
  const View<float, 2> out(e.data(), 3, 2 * width);
  const Status gathered = table.gather(rows, out);
  if (!gathered.ok()) raise(fail(gathered.code, describe(gathered, "gather")));
  bool equal = true;
  for (std::size_t i = 0; i < ids.size(); ++i)
    for (std::size_t d = 0; d < width; ++d) {
      const std::size_t row = ids[i] < 0 ? 0 : static_cast<std::size_t>(ids[i]);
      const float expected = ids[i] < 0 ? 0 : to_float(table_rows[row * width + d]);
      equal = equal && e[i * width + d] == expected;
    }
  std::printf("rows read from the mapped file equal those in memory: %s\n", equal ? "yes" : "NO");

  // Somebody cuts the file after its first 64 KiB. Reading what is gone raises SIGBUS, which ends a
  // program; under the guard the call returns, and rows that are still there can be read.
  std::filesystem::resize_file(scratch.path, 65536);
  const Status cut_off = table.gather(rows, out);
  const std::vector<int> low = {0, 1, 2, 3, 4, 5};
  const Status still_there = table.gather(View<const int, 2>(low.data(), 3, 2), out);
  std::printf("after the file was cut: row 4095 -> \"%s\", row 0 to 5 -> %s\n",
              describe(cut_off, "gather").c_str(), to_string(still_there.code));
  return equal && cut_off.code == Code::io && still_there.ok();
}

}  // namespace

int main() try { return run() ? 0 : 1; } catch (const std::exception& error) {
  std::fprintf(stderr, "gather_mmap: %s\n", error.what());
  return 1;
}
