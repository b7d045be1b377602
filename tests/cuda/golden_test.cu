// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The golden files on a card: row ids, stored rows, and the published modules forward and backward.
#include "gpu.hpp"

#include "../golden/hash_cases.hpp"

#include <engram/cuda/device_front_end.cuh>
#include <engram/cuda/fuse.cuh>
#include <engram/cuda/gather.cuh>
#include <golden_module.hpp>
#include <golden_rows.hpp>

using namespace engram;
using gpu::at;

namespace {

template <class Row>
void check_row_ids(const HashCase& c) {
  const auto host = make_front_end(c.layout, IdentityCompressor(c.layout.canonical_size)).value();
  const auto front = make_device_front_end(host).value();
  gpu::OwnStream stream;
  const gpu::Array<std::int64_t> ids(c.ids);
  const gpu::Array<Mark> marks(c.marks());
  const gpu::Array<NgramState> state(std::vector<NgramState>{state_of(c, host)});
  const gpu::Array<Row> rows(std::vector<Row>(c.rows.size(), Row{-7}));
  const auto tokens = static_cast<Index>(c.ids.size());
  const CudaDevice device = stream.device();
  REQUIRE(front
              .address(device, ids.read(tokens), state.view(1),
                       rows.view(tokens, host.num_layers(), host.num_columns()), marks.read(tokens))
              .ok());
  REQUIRE(device.wait().ok());
  const std::vector<Row> found = rows.get();
  CHECK(std::vector<std::int64_t>(found.begin(), found.end()) == c.rows);
}

}  // namespace

TEST_CASE("cuda golden: row ids of the published models") {
  if (!gpu::is_here()) return;
  for (const HashCase& c : hash_cases(std::string(ENGRAM_TEST_DIR) + "/golden")) {
    INFO(c.name);
    check_row_ids<std::int64_t>(c);
    check_row_ids<std::int32_t>(c);
  }
}

TEST_CASE("cuda golden: modules, forward and backward") {
  if (!gpu::is_here()) return;
  gpu::Arrays memory;
  gpu::OwnStream stream;
  golden_module::check_all(stream.device(), memory);
}

TEST_CASE("cuda golden: stored rows") {
  if (!gpu::is_here()) return;
  gpu::Arrays memory;
  gpu::OwnStream stream;
  golden_rows::check_all(stream.device(), memory);
}
