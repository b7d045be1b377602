// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One table in every place where rows can live, read the same way from each. docs/storage.md shows
// these pieces and says when to take which.

#include <engram/engram.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <engram/storage/disk/adaptive_store.hpp>
#include <engram/uring/best_reads.hpp>

#include <cstdio>
#include <filesystem>
#include <random>

namespace {

using namespace engram;

constexpr Index num_rows = 6000, width = 32;  // rows of 32 bf16, 64 bytes

/// Removes the file again, however the program ends its work.
struct ScratchFile {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("engram_rows_" + std::to_string(std::random_device()())))
                         .string();
  ~ScratchFile() { std::remove(path.c_str()); }
};

void write_table(const std::string& path) {
  PackedInfo info{2 * width, 0, "BF16", "", {{1, num_rows}}, ""};
  std::vector<Bf16> rows(num_rows * width);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = to_bf16(static_cast<float>(i % 251));
  PackedWriter writer = PackedWriter::open(path, info).value();
  writer.append(Bytes(reinterpret_cast<const std::byte*>(rows.data()), 2 * num_rows * width))
      .value();
  writer.finish().value();
}

/// Three tokens of four rows each, decoded to float; the sum stands for what a layer would do.
template <class AnyRowTable>
float sum_of_tokens(AnyRowTable& table) {
  const std::vector<std::int32_t> ids = {5, 17, 5, 5999, 2048, 1, 0, 3, 3000, 5998, 77, 4096};
  std::vector<float> out(ids.size() * width);
  const Status status = table.gather(View<const std::int32_t, 2>(ids.data(), 3, 4),
                                     View<float, 2>(out.data(), 3, 4 * width));
  if (!status.ok()) raise(fail(status.code, describe(status, "gather")));
  float sum = 0;
  for (const float x : out) sum += x;
  return sum;
}

float from_memory(const std::vector<TableSegment>& segments) {
  HostStore store = HostStore::make(num_rows, 2 * width).value();
  const MmapStore file = MmapStore::open(segments).value();
  for (Index row = 0; row < num_rows; ++row)
    std::memcpy(store.mutable_ref()(row).codes, file.ref()(row).codes, 2 * width);
  const auto table = Table<HostStore, Bf16Codec>::make(std::move(store), {}, width).value();
  return sum_of_tokens(table);
}

float from_a_mapping(const std::vector<TableSegment>& segments) {
  const SigbusGuard guard;  // a disk that fails becomes a status
  MmapStore store = MmapStore::open(segments).value();
  const auto table = Table<MmapStore, Bf16Codec>::make(std::move(store), {}, width).value();
  return sum_of_tokens(table);
}

float from_the_disk(const std::vector<TableSegment>& segments) {
  const auto store = DirectStore<ThreadReads>::open(segments, ThreadReads::make(32).value());
  std::vector<std::byte> memory(1 << 16);  // rows arrive here, some at a time
  auto table = FetchTable<DirectStore<ThreadReads>, Bf16Codec>::make(
      store.value(), {}, width, View<std::byte, 1>(memory.data(), 1 << 16));
  return sum_of_tokens(table.value());
}

float through_a_ring(const std::vector<TableSegment>& segments) {
  const auto store = DirectStore<BestReads>::open(segments, BestReads::make().value()).value();
  auto reader = store.reader();  // one for each thread
  const std::vector<RowId> rows = {RowId{5}, RowId{17}, RowId{5999}};
  std::vector<std::byte> bytes(3 * 2 * width);
  Ticket ticket;
  Status status = reader.submit(View<const RowId, 1>(rows.data(), 3),
                                View<std::byte, 1>(bytes.data(), 3 * 2 * width), ticket);
  // Compute something else here; the disk is busy meanwhile.
  if (status.ok()) status = reader.wait(ticket);
  if (!status.ok()) raise(fail(status.code, describe(status, "reading rows")));
  float first = 0;
  for (Index d = 0; d < width; ++d) first += Bf16Codec().value({bytes.data(), nullptr}, d);
  std::printf("%s, %lld reads at the same time\n", store.report().reads.c_str(),
              static_cast<long long>(store.report().depth));
  return first;
}

float from_wherever_they_are(const std::vector<TableSegment>& segments) {
  const SigbusGuard guard;
  const auto store = AdaptiveStore<BestReads>::open(segments, BestReads::make().value()).value();
  std::vector<std::byte> memory(1 << 16);
  auto table = FetchTable<AdaptiveStore<BestReads>, Bf16Codec>::make(
      store, {}, width, View<std::byte, 1>(memory.data(), 1 << 16));
  return sum_of_tokens(table.value());
}

}  // namespace

int main() try {
  const ScratchFile file;
  write_table(file.path);
  const std::vector<TableSegment> segments = PackedRows::open(file.path).value().segments();
  const float sum = from_memory(segments);
  const bool equal = sum > 0 && sum == from_a_mapping(segments) && sum == from_the_disk(segments) &&
                     sum == from_wherever_they_are(segments) && through_a_ring(segments) > 0;
  std::printf("the same rows from every store: %s\n", equal ? "yes" : "NO");
  return equal ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "row_stores: %s\n", error.what());
  return 1;
}
