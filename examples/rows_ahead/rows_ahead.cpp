// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows on their way while a model computes: the next tokens' rows of two layers are asked for in
// one batch, by a thread of their own, through a cache. docs/storage.md shows these pieces.

#include <engram/engram.hpp>
#include <engram/storage/background_store.hpp>
#include <engram/storage/cached_store.hpp>
#include <engram/storage/mapped_reader.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

namespace {

using namespace engram;

constexpr Index rows_of_layer = 5000, layers = 2, heads = 4, width = 16, tokens = 8, steps = 20;

/// Removes the file again, however the program ends its work.
struct ScratchFile {
  std::string path = (std::filesystem::temp_directory_path() /
                      ("engram_ahead_" + std::to_string(std::random_device()())))
                         .string();
  ~ScratchFile() { std::remove(path.c_str()); }
};

/// Both layers' rows, one layer behind the other; element d of row r is 10 r + d.
TableSegment write_table(const std::string& path) {
  std::vector<float> elements;
  for (Index row = 0; row < layers * rows_of_layer; ++row)
    for (Index d = 0; d < width; ++d) elements.push_back(static_cast<float>(10 * row + d));
  TableSegment segment;
  segment.codes = {path, -1, 0, layers * rows_of_layer, width * 4, width * 4};
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(elements.data()), segment.codes.rows * width * 4);
  return segment;
}

/// What a front end would give for some tokens of a step: row ids [T, L, H].
std::vector<std::int32_t> row_ids(Index step) {
  std::vector<std::int32_t> ids;
  for (Index i = 0; i < tokens * layers * heads; ++i)
    ids.push_back(static_cast<std::int32_t>((i * i + step * 131) % 700));
  return ids;
}
View<const std::int32_t, 3> view(const std::vector<std::int32_t>& ids) {
  return View<const std::int32_t, 3>(ids.data(), tokens, layers, heads);
}

bool run(const TableSegment& segment) {
  const SigbusGuard guard;
  const auto file = MappedFetchStore::open({segment}).value();
  CacheOptions options;
  options.bytes = 1 << 20;  // all of it: rows, tags and what readers need
  const auto cache = CachedStore<MappedFetchStore>::make(file, options).value();

  const BackgroundStore<CachedStore<MappedFetchStore>> store(cache);
  using Batch = FetchBatch<BackgroundStore<CachedStore<MappedFetchStore>>, F32Codec>;
  const Index most_ids = tokens * layers * heads;
  std::vector<std::byte> memory(static_cast<std::size_t>(Batch::memory_bytes(store, most_ids)));
  auto batch = Batch::make(store, {}, width, most_ids,
                           View<std::byte, 1>(memory.data(), static_cast<Index>(memory.size())))
                   .value();

  const Index first_rows[layers] = {0, rows_of_layer};
  std::vector<float> out(tokens * heads * width);
  bool right = true;
  for (Index step = 0; step < steps && right; ++step) {
    const std::vector<std::int32_t> ids = row_ids(step);
    Status status = batch.plan(view(ids), View<const Index, 1>(first_rows, layers));
    if (status.ok()) status = batch.submit();
    // The blocks before the first memory run here; the rows arrive meanwhile.
    if (status.ok()) status = batch.wait();
    for (Index layer = 0; layer < layers && status.ok(); ++layer) {
      status = batch.decode(layer, View<float, 2>(out.data(), tokens, heads * width));
      for (Index t = 0; t < tokens && status.ok(); ++t) {
        const Index row = view(ids)(t, layer, heads - 1) + first_rows[layer];
        right = right && out[static_cast<std::size_t>((t * heads + heads - 1) * width + 3)] ==
                             static_cast<float>(10 * row + 3);
      }
    }
    if (!status.ok()) raise(fail(status.code, describe(status, "rows ahead")));
  }
  const CacheReport report = cache.report();
  std::printf("%lld rows of %lld in the cache, %lld KiB\n", static_cast<long long>(report.rows),
              static_cast<long long>(cache.num_rows()),
              static_cast<long long>(report.bytes / 1024));
  return right;
}

}  // namespace

int main() try {
  const ScratchFile file;
  const bool right = run(write_table(file.path));
  std::printf("every row as it is in the file: %s\n", right ? "yes" : "NO");
  return right ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "rows_ahead: %s\n", error.what());
  return 1;
}
