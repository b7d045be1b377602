// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tables on the GPU and in page-locked memory hold the bytes they were made from.
#include "gpu.hpp"

#include <engram/cuda/device_store.hpp>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/verify_upload.cuh>
#include <engram/storage/host_store.hpp>
#include <random_table.hpp>

using namespace engram;
using gpu::at;
using random_tables::random_store;

namespace {

/// The rows of a store on the GPU, read back by a copy, are those of the host's.
void check_rows(const DeviceStore& store, const HostStore& host) {
  std::vector<std::byte> all(at(store.num_rows() * store.stride()));
  REQUIRE(cudaMemcpy(all.data(), store.ref().base, all.size(), cudaMemcpyDeviceToHost) ==
          cudaSuccess);
  Index wrong = 0;
  for (Index row = 0; row < store.num_rows(); ++row) {
    const std::byte* const found = all.data() + row * store.stride();
    const RowBytes expected = host.ref()(row);
    wrong += std::memcmp(found, expected.codes, at(host.row_bytes())) != 0;
    if (host.scale_bytes() > 0)
      wrong += std::memcmp(found + host.row_bytes(), expected.scales, at(host.scale_bytes())) != 0;
    for (Index b = host.row_bytes() + host.scale_bytes(); b < store.stride(); ++b)
      wrong += found[b] != std::byte{0};
  }
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("device store: the rows of a host store, also more than are packed at once") {
  if (!gpu::is_here()) return;
  struct Shape {
    Index rows, codes, scales, stride, expected;
  };
  for (const Shape& s : {Shape{1, 1, 0, 0, 16}, Shape{1000, 256, 8, 0, 272},
                         Shape{777, 33, 0, 0, 48}, Shape{100, 128, 4, 640, 640},
                         Shape{100'000, 256, 8, 0, 272}, Shape{3, 9'000'000, 0, 0, 9'000'000}}) {
    INFO(s.rows << " rows of " << s.codes << " and " << s.scales);
    const HostStore host = random_store(s.rows, s.codes, s.scales, 1);
    Index last = 0;
    const auto store = DeviceStore::copy_of(
        host,
        [&last](Index done) {
          CHECK(done > last);
          last = done;
          return true;
        },
        s.stride);
    REQUIRE(store.ok());
    CHECK(last == s.rows);
    CHECK(store.value().stride() == s.expected);
    check_rows(store.value(), host);
  }
}

TEST_CASE("device store: an upload that is given up, and a table larger than the GPU",
          "[refused]") {
  if (!gpu::is_here()) return;
  const HostStore host = random_store(100'000, 256, 0, 2);
  const auto given_up = DeviceStore::copy_of(host, [](Index) { return false; });
  CHECK(given_up.status() == Status{Code::io, ECANCELED});
  const Index rows = Index{1} << 40;
  const auto large = DeviceStore::make(rows, 256);
  CHECK(large.status().code == Code::out_of_memory);
  CHECK(large.status().index == rows * 256);
  CHECK(large.message().find(" free") != std::string::npos);
  CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("device store: an upload is verified, and a byte that changed since is found") {
  if (!gpu::is_here()) return;
  gpu::OwnStream stream;
  struct Shape {
    Index rows, codes, scales, stride;
  };
  for (const Shape& s : {Shape{1, 1, 0, 0}, Shape{1000, 256, 8, 0}, Shape{777, 33, 0, 0},
                         Shape{500, 33, 4, 41}, Shape{100'000, 256, 8, 0}}) {
    INFO(s.rows << " rows of " << s.codes << " and " << s.scales << ", stride " << s.stride);
    const HostStore host = random_store(s.rows, s.codes, s.scales, 5);
    const DeviceStore store = DeviceStore::copy_of(host, Unwatched(), s.stride).value();
    CHECK(verify_upload(stream.device(), store).ok());
    CHECK(verify_upload(stream.device(1), store).ok());
    const Index used = s.codes + s.scales;
    const auto flip = [&](Index row, Index b) {
      std::byte byte{};
      auto* const at = const_cast<std::byte*>(store.ref().base) + row * store.stride() + b;
      REQUIRE(cudaMemcpy(&byte, at, 1, cudaMemcpyDeviceToHost) == cudaSuccess);
      byte ^= std::byte{4};
      REQUIRE(cudaMemcpy(at, &byte, 1, cudaMemcpyHostToDevice) == cudaSuccess);
      REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    };
    for (const Index row : {Index{0}, s.rows / 2, s.rows - 1})
      for (const Index b : {Index{0}, used / 2, used - 1}) {
        flip(row, b);
        const Result<void> refused = verify_upload(stream.device(), store);
        CHECK(refused.status() == Status{Code::corrupt});
        CHECK(refused.message().find(std::to_string(*store.sent_digest())) != std::string::npos);
        flip(row, b);
      }
    if (store.stride() > used) {  // no byte of a row
      flip(s.rows - 1, used);
      CHECK(verify_upload(stream.device(), store).ok());
    }
  }
  const DeviceStore empty = DeviceStore::make(10, 64).value();
  CHECK(verify_upload(stream.device(), empty).status().code == Code::invalid_config);
  CHECK(stream.device().wait().ok());
}

TEST_CASE("pinned store: the GPU reads the host's rows by the host's addresses") {
  if (!gpu::is_here()) return;
  HostStore host = random_store(5000, 264, 0, 3);
  const std::byte* const base = host.ref().base;
  auto pinned = PinnedStore::make(std::move(host));
  if (!gpu::could_pin(pinned)) return;
  CHECK(pinned.value().ref().base == base);
  cudaPointerAttributes attributes{};
  REQUIRE(cudaPointerGetAttributes(&attributes, base) == cudaSuccess);
  CHECK(attributes.type == cudaMemoryTypeHost);
  CHECK(attributes.devicePointer == base);
  const PinnedStore moved(std::move(pinned.value()));
  CHECK(moved.ref().base == base);
}

TEST_CASE("pinned store: one that is given up leaves the rows where they were") {
  if (!gpu::is_here()) return;
  HostStore host = random_store(100, 264, 0, 4);
  const std::byte* const base = host.ref().base;
  const auto given_up = PinnedStore::make(std::move(host), [](Index) { return false; });
  if (given_up.status().code == Code::unsupported) return gpu::say_skipped(given_up.message());
  CHECK(given_up.status() == Status{Code::io, ECANCELED});
  CHECK(host.ref().base == base);
  CHECK(host.num_rows() == 100);
}
