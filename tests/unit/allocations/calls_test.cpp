// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls that say they allocate nothing allocate nothing: rows of a batch, asked for early, and a
// layer over caller memory.
#include "../layer/layer_case.hpp"
#include "counted_new.hpp"

#include <catch.hpp>

#include <engram/codec/plain.hpp>
#include <engram/layer/fetch_batch.hpp>
#include <engram/storage/mapped_reader.hpp>
#include <scratch.hpp>

#include <fstream>
#include <memory>

using namespace engram;
using namespace layer_case;

TEST_CASE("allocations: the counter counts") {
  const std::size_t before = allocated_bytes();
  std::vector<int> list(100);
  struct alignas(128) Wide {
    char bytes[128];
  };
  const auto wide = std::make_unique<Wide>();
  CHECK(list.size() == 100);
  CHECK(wide != nullptr);
  CHECK(allocated_bytes() - before >= 400 + 128);
}

TEST_CASE("allocations: a layer's forward has none") {
  Shape shape;
  shape.taps = 4;
  const LayerCase<Bf16, Bf16> c(shape, 3);
  const auto layer = c.layer();
  Random random(4);
  Batch<Bf16> batch(shape, 40, random);
  batch.scatter(shape, random);
  Outcome<Bf16> to(batch, layer.conv_state_size());
  Scratch scratch(layer.workspace_bytes(40, 1));
  const FusionOptions options = options_of(batch, to, 0, 40);
  const View<const std::int64_t, 2> rows(batch.rows.data(), 40, layer.columns());
  const std::size_t before = allocated_bytes();
  const Status status =
      layer.forward(rows, batch.hidden.view(), to.out.view(), scratch.view(), options);
  const std::size_t extra = allocated_bytes() - before;
  CHECK(status.ok());
  CHECK(extra == 0);
}

TEST_CASE("allocations: rows asked for early have none") {
  constexpr Index rows = 1000, width = 8, tokens = 50, columns = 4;
  const std::string path = scratch_path("allocations");
  std::vector<float> elements(at(rows * width), 1.5f);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(elements.data()), rows * width * Index{sizeof(float)});
  TableSegment segment;
  segment.codes.path = path;
  segment.codes.rows = rows;
  segment.codes.stride = segment.codes.bytes = width * Index{sizeof(float)};
  const auto store = MappedFetchStore::open({segment}).value();

  using Batches = FetchBatch<MappedFetchStore, F32Codec>;
  std::vector<std::byte> memory(at(Batches::memory_bytes(store, tokens * columns)));
  auto batch = Batches::make(store, {}, width, tokens * columns,
                             View<std::byte, 1>(memory.data(), static_cast<Index>(memory.size())))
                   .value();
  std::vector<std::int64_t> ids;
  for (Index i = 0; i < tokens * columns; ++i) ids.push_back(i * 37 % rows);
  std::vector<float> out(at(tokens * columns * width));
  const Index first[] = {0};
  const std::size_t before = allocated_bytes();
  bool ok = batch
                .plan(View<const std::int64_t, 3>(ids.data(), tokens, 1, columns),
                      View<const Index, 1>(first, 1))
                .ok();
  ok = ok && batch.submit().ok() && batch.wait().ok();
  ok = ok && batch.decode(0, View<float, 2>(out.data(), tokens, columns * width)).ok();
  const std::size_t extra = allocated_bytes() - before;
  CHECK(ok);
  CHECK(out.front() == 1.5f);
  CHECK(extra == 0);
}
