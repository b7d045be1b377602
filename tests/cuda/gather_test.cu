// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Rows gathered on the GPU have the bits of the CPU's decoding: every codec, store, width and
// stride, for few tokens and many, in graphs and on streams beside each other.
#include "gpu.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/codec/ggml_blocks.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/pinned_store.hpp>
#include <engram/storage/host_store.hpp>
#include <random_table.hpp>

using namespace engram;
using elements::poisoned;
using gpu::at;
using gpu::same_bits;
using random_tables::expected_rows;
using random_tables::zipf_ids;

namespace {

/// Decoded by bits alone.
template <class Codec>
inline constexpr bool keeps_nan = std::is_same_v<Codec, Fp8Codec> || is_plain_codec<Codec>;

/// Random rows. The GGUF formats' halves are finite: of a NaN the two processors make other bits.
template <class Codec>
HostStore random_table(const Codec& codec, Index rows, Index width, std::uint64_t seed) {
  HostStore store = random_tables::random_table(codec, rows, width, seed);
  for (Index row = 0; row < rows && !keeps_nan<Codec>; ++row) {
    const MutableRowBytes to = store.mutable_ref()(row);
    for (Index d = 0; d < width; ++d)
      if (is_nan(codec.value({to.codes, to.scales}, d))) {
        for (Index b = 0; b < store.row_bytes(); ++b) to.codes[b] &= std::byte{0x3B};
        break;
      }
  }
  return store;
}

template <class Row, class Out, class Codec, class Store>
void check_gather(const Store& store, const HostStore& table, const Codec& codec, Index width,
                  Index tokens, Index columns, std::uint64_t seed, int most_blocks = 0) {
  INFO("width " << width << ", " << tokens << " x " << columns << ", stride " << store.stride());
  Random random(seed);
  gpu::OwnStream stream;
  const std::vector<Row> ids = zipf_ids<Row>(tokens * columns, store.num_rows(), random);
  const gpu::Array<Row> rows(ids);
  const gpu::Array<Out> out(poisoned<Out>(tokens * columns * width));
  const CudaDevice device = stream.device(most_blocks);
  REQUIRE(gather(device, store, codec, width, rows.view(tokens, columns),
                 out.view(tokens, columns * width))
              .ok());
  REQUIRE(device.wait().ok());
  CHECK(same_bits(out.get(), expected_rows<Out>(table, codec, width, ids)));
}

template <class Out, class Codec>
void check_codec(const Codec& codec, Index width) {
  const HostStore table = random_table(codec, 997, width, 4);
  const Index bytes = table.row_bytes() + table.scale_bytes();
  for (const Index stride : {Index{0}, bytes, bytes + 7, (bytes + 63) / 64 * 64}) {
    const DeviceStore store = DeviceStore::copy_of(table, Unwatched(), stride).value();
    check_gather<int, Out>(store, table, codec, width, 1, 1, 5);
    check_gather<std::int64_t, Out>(store, table, codec, width, 33, 3, 6);
    check_gather<int, Out>(store, table, codec, width, 700, 16, 7, 3);
  }
  const auto pinned = PinnedStore::make(random_table(codec, 997, width, 4));
  if (!gpu::could_pin(pinned)) return;
  check_gather<int, Out>(pinned.value(), table, codec, width, 57, 4, 8);
}

}  // namespace

TEST_CASE("cuda gather: every codec, width and stride has the CPU's bits") {
  if (!gpu::is_here()) return;
  for (const Index width : {1, 7, 32, 64, 100, 128, 512, 1280}) {
    check_codec<float>(F32Codec(), width);
    check_codec<Bf16>(Bf16Codec(), width);
    check_codec<F16>(F16Codec(), width);
  }
  check_codec<float>(Bf16Codec(), 96);
  check_codec<Bf16>(F32Codec(), 33);
  for (const Index width : {32, 64, 96, 256, 288, 1280}) {
    check_codec<Bf16>(Fp8Codec(), width);
    check_codec<float>(Fp8Codec(), width);
  }
  check_codec<F16>(Fp8Codec(), 256);
  check_codec<float>(Q8_0Codec(), 64);
  check_codec<float>(Q2_KCodec(), 256);
  check_codec<Bf16>(Q3_KCodec(), 256);
  check_codec<float>(Q4_KCodec(), 256);
  check_codec<F16>(Q6_KCodec(), 256);
}

/// All codes under each scale, as rows of a model have them and with every eighth scale another.
template <class Out>
void check_all_pairs() {
  const Fp8Codec codec;
  HostStore table = HostStore::make(512, 256, 8).value();
  for (Index row = 0; row < 512; ++row) {
    const MutableRowBytes to = table.mutable_ref()(row);
    for (Index b = 0; b < 256; ++b) to.codes[b] = static_cast<std::byte>(b);
    for (Index b = 0; b < 8; ++b)
      to.scales[b] = static_cast<std::byte>(row >= 256 && b == row % 8 ? 127 : row % 256);
  }
  const DeviceStore store = DeviceStore::copy_of(table).value();
  std::vector<int> ids(512);
  for (std::size_t i = 0; i < 512; ++i) ids[i] = static_cast<int>(i);
  gpu::OwnStream stream;
  const gpu::Array<int> rows(ids);
  const gpu::Array<Out> out(std::vector<Out>(512 * 256, from_float<Out>(-9)));
  const CudaDevice device = stream.device();
  REQUIRE(gather(device, store, codec, 256, rows.view(64, 8), out.view(64, 8 * 256)).ok());
  REQUIRE(device.wait().ok());
  CHECK(same_bits(out.get(), expected_rows<Out>(table, codec, 256, ids)));
}

TEST_CASE("cuda gather: all 65,536 pairs of a code and a scale have the CPU's bits") {
  if (!gpu::is_here()) return;
  check_all_pairs<Bf16>();
  check_all_pairs<float>();
  check_all_pairs<F16>();
}

TEST_CASE("cuda gather: more than 65,535 blocks, and more than 4 GiB of rows and output",
          "[large]") {
  if (!gpu::is_here()) return;
  const Fp8Codec small;
  const HostStore table = random_table(small, 500, 64, 18);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  check_gather<int, Bf16>(store, table, small, 64, 65536, 130,
                          19);  // 128 rows a block: 66,560 blocks

  const Bf16Codec codec;
  constexpr Index width = 16384, rows = 150'000;  // 4.9 GB
  const HostStore few = random_table(codec, 16, width, 20);
  DeviceStore large = DeviceStore::make(rows, 2 * width).value();
  const std::vector<std::byte> row(few.ref()(3).codes, few.ref()(3).codes + 2 * width);
  REQUIRE(cudaMemcpy(large.mutable_ref()(rows - 1).codes, row.data(), row.size(),
                     cudaMemcpyHostToDevice) == cudaSuccess);
  REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  const gpu::Array<int> ids(std::vector<int>(at(rows), static_cast<int>(rows - 1)));
  const DeviceMemory out = DeviceMemory::make(rows * 2 * width).value();
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  REQUIRE(gather(device, large, codec, width, ids.view(rows, 1),
                 engram::DeviceView<Bf16, 2>(reinterpret_cast<Bf16*>(out.data()), rows, width))
              .ok());
  REQUIRE(device.wait().ok());
  std::vector<std::byte> found(row.size());
  for (const Index at_row : {Index{0}, Index{65535}, rows - 1}) {
    REQUIRE(cudaMemcpy(found.data(), out.data() + at_row * 2 * width, found.size(),
                       cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(found == row);
  }
}

TEST_CASE("cuda gather: 65,536 tokens, and outputs with gaps", "[large]") {
  if (!gpu::is_here()) return;
  const Bf16Codec codec;
  const HostStore table = random_table(codec, 5000, 128, 9);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  check_gather<int, Bf16>(store, table, codec, 128, 65536, 16, 10);
  const auto check_gaps = [](const auto& of, const HostStore& from, Index width) {
    const DeviceStore rows_of = DeviceStore::copy_of(from).value();
    const Index used = 3 * width, stride = used + 16;
    Random random(11);
    gpu::OwnStream stream;
    const std::vector<int> ids = zipf_ids<int>(20 * 3, from.num_rows(), random);
    const gpu::Array<int> rows(ids);
    const std::vector<Bf16> poison(at(20 * stride), from_float<Bf16>(-9));
    const gpu::Array<Bf16> out(poison);
    const CudaDevice device = stream.device();
    REQUIRE(gather(device, rows_of, of, width, rows.view(20, 3),
                   out.view(20, used).with_stride<0>(stride))
                .ok());
    REQUIRE(device.wait().ok());
    const std::vector<Bf16> found = out.get(), expected = expected_rows<Bf16>(from, of, width, ids);
    for (Index t = 0; t < 20; ++t) {
      CHECK(std::memcmp(&found[at(t * stride)], &expected[at(t * used)], at(used) * sizeof(Bf16)) ==
            0);
      CHECK(std::memcmp(&found[at(t * stride + used)], poison.data(), 16 * sizeof(Bf16)) == 0);
    }
  };
  check_gaps(codec, table, 128);
  check_gaps(Fp8Codec(), random_table(Fp8Codec(), 500, 256, 21), 256);
}

TEST_CASE("cuda gather: ids that are no rows give zeros and are reported, the first of them") {
  if (!gpu::is_here()) return;
  const auto check = [](const auto& codec, Index width, auto element) {
    using Out = decltype(element);
    const HostStore table = random_table(codec, 100, width, 12);
    const DeviceStore store = DeviceStore::copy_of(table).value();
    Random random(13);
    gpu::OwnStream stream;
    std::vector<std::int64_t> ids = zipf_ids<std::int64_t>(500, 100, random);
    ids[77] = 100;
    ids[300] = -2;
    ids[490] = INT64_MAX;
    const gpu::Array<std::int64_t> rows(ids);
    const gpu::Array<Out> out(std::vector<Out>(500 * at(width), from_float<Out>(-9)));
    const CudaDevice device = stream.device();
    REQUIRE(gather(device, store, codec, width, rows.view(250, 2), out.view(250, 2 * width)).ok());
    CHECK(device.wait() == Status{Code::bad_row, 0, 77});
    CHECK(same_bits(out.get(), expected_rows<Out>(table, codec, width, ids)));
    CHECK(device.wait().ok());  // said once
  };
  check(F32Codec(), 64, float());
  check(Fp8Codec(), 64, float());
  check(Fp8Codec(), 256, Bf16());
  check(Fp8Codec(), 64, F16());
}

TEST_CASE("cuda gather: shapes that disagree are refused, and nothing is launched") {
  if (!gpu::is_here()) return;
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const DeviceStore store = DeviceStore::make(10, 128).value();
  const gpu::Array<int> rows(std::vector<int>(6, 0));
  const gpu::Array<float> out(std::vector<float>(192, 0));
  CHECK(gather(device, store, F32Codec(), 32, rows.view(3, 2), out.view(2, 64)) ==
        Status{Code::shape_mismatch, 0, 3});
  CHECK(gather(device, store, F32Codec(), 32, rows.view(3, 2), out.view(3, 63)) ==
        Status{Code::shape_mismatch, 0, 64});
  CHECK(gather(device, store, F32Codec(), 16, rows.view(3, 2), out.view(3, 32)) ==
        Status{Code::mismatch, 0, 64});
  CHECK(gather(device, store, F32Codec(), 32, rows.view(0, 2), out.view(0, 64)).ok());
  CHECK(device.wait().ok());
}

TEST_CASE("cuda gather: a captured call, replayed 72 times with other ids") {
  if (!gpu::is_here()) return;
  const Bf16Codec codec;
  const HostStore table = random_table(codec, 3000, 128, 14);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  Random random(15);
  gpu::OwnStream stream;
  gpu::Array<int> rows(std::vector<int>(640, 0));
  const gpu::Array<Bf16> out(std::vector<Bf16>(640 * 128, Bf16{}));
  const gpu::Graph graph = stream.captured([&](const CudaDevice& device) {
    CHECK(gather(device, store, codec, 128, rows.view(40, 16), out.view(40, 16 * 128)).ok());
  });
  for (int replay = 0; replay < 72; ++replay) {
    const std::vector<int> ids = zipf_ids<int>(640, 3000, random);
    rows.set(ids);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    REQUIRE(same_bits(out.get(), expected_rows<Bf16>(table, codec, 128, ids)));
  }
}

TEST_CASE("cuda gather: streams beside each other keep their rows and errors apart") {
  if (!gpu::is_here()) return;
  const F32Codec codec;
  const HostStore table = random_table(codec, 3000, 64, 16);
  const DeviceStore store = DeviceStore::copy_of(table).value();
  constexpr int count = 4, turns = 20;
  gpu::OwnStream streams[count];
  std::vector<gpu::Array<int>> rows;
  std::vector<gpu::Array<float>> out;
  std::vector<std::vector<int>> ids;
  Random random(17);
  for (int s = 0; s < count; ++s) {
    ids.push_back(zipf_ids<int>(9000, 3000, random));
    if (s == 2) ids.back()[1234] = 3000;
    rows.emplace_back(ids.back());
    for (int turn = 0; turn < turns; ++turn) out.emplace_back(std::vector<float>(9000 * 64, -9.0f));
  }
  for (int turn = 0; turn < turns; ++turn)
    for (int s = 0; s < count; ++s)
      CHECK(gather(streams[s].device(), store, codec, 64, rows[at(s)].view(9000, 1),
                   out[at(s * turns + turn)].view(9000, 64))
                .ok());
  for (int s = 0; s < count; ++s) {
    CHECK(streams[s].device().wait() == (s == 2 ? Status{Code::bad_row, 0, 1234} : Status{}));
    const auto expected = expected_rows<float>(table, codec, 64, ids[at(s)]);
    for (int turn = 0; turn < turns; ++turn)
      CHECK(same_bits(out[at(s * turns + turn)].get(), expected));
  }
}
