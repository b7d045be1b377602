// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A machine without a GPU: everything that would need one says so in a sentence. Where there is
// one, it works.
#include "gpu.hpp"

#include <engram/cuda/device_store.hpp>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/row_cache.hpp>
#include <engram/storage/host_store.hpp>

using namespace engram;

namespace {

template <class Made>
void check_made(const Made& made) {
  const Result<int> found = cuda_device_count();
  CHECK(made.ok() == found.ok());
  if (found.ok()) return;
  CHECK(made.status().code == found.status().code);
  CHECK(made.message() == found.message());
}

}  // namespace

TEST_CASE("no GPU: a sentence, and the runtime has no error left") {
  const Result<int> found = cuda_device_count();
  if (!found.ok()) {
    std::cout << found.message() << '\n';
    CHECK(found.status().code == Code::unsupported);
    CHECK_FALSE(found.message().empty());
  } else {
    CHECK(found.value() > 0);
  }
  check_made(DeviceErrors::make());
  check_made(DeviceMemory::make(64));
  check_made(PinnedMemory::make(64));
  check_made(DeviceStore::make(10, 64));
  check_made(RowCache::make({10, 64, 0}, 4096));
  check_made(DeviceStore::copy_of(HostStore::make(10, 64).value()));
  const auto pinned = PinnedStore::make(HostStore::make(10, 64).value());
  if (!found.ok() || gpu::could_pin(pinned)) check_made(pinned);
  if (found.ok()) CHECK(cudaGetLastError() == cudaSuccess);  // without a driver it never is
}

TEST_CASE("device memory: sizes that cannot be are refused before a GPU is asked") {
  for (const Index bytes : {Index{0}, Index{-1}, INT64_MIN}) {
    CHECK(DeviceMemory::make(bytes).status().code == Code::invalid_config);
    CHECK(PinnedMemory::make(bytes).status().code == Code::invalid_config);
  }
  CHECK(DeviceStore::make(0, 64).status().code == Code::invalid_config);
  CHECK(DeviceStore::make(10, 0).status().code == Code::invalid_config);
  CHECK(DeviceStore::make(10, 64, -1).status().code == Code::invalid_config);
  CHECK(DeviceStore::make(10, 64, 8, 71).status().code == Code::invalid_config);
  CHECK(DeviceStore::make(10, INT64_MAX).status().code == Code::invalid_config);
  CHECK(DeviceStore::make(INT64_MAX, 64).status().code == Code::invalid_config);
}

TEST_CASE("row cache: shapes and sizes that cannot be are refused before a GPU is asked") {
  const auto code = [](const RowShape& shape, Index bytes) {
    return RowCache::make(shape, bytes).status().code;
  };
  CHECK(code({0, 64, 0}, 4096) == Code::invalid_config);
  CHECK(code({10, 0, 0}, 4096) == Code::invalid_config);
  CHECK(code({10, 64, -1}, 4096) == Code::invalid_config);
  CHECK(code({Index{1} << 40, 64, 0}, 4096) == Code::invalid_config);
  CHECK(code({1, INT64_MAX / 4, 0}, INT64_MAX) == Code::invalid_config);
  for (const Index bytes : {INT64_MIN, Index{-1}, Index{0}, Index{1407}}) {
    const auto small = RowCache::make({10, 60, 2}, bytes);
    CHECK(small.status() == Status{Code::invalid_config, 0, 256 + 16 * (64 + 8)});
    CHECK_FALSE(small.message().empty());
  }
}
