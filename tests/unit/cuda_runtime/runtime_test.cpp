// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the library makes of what CUDA's runtime says, with doubles of the runtime's calls that the
// linker puts in their place (--wrap): no GPU, drivers that are missing or too old, too little
// memory, copies that fail; and an upload, into memory that plays the GPU's.
#include <catch.hpp>
#include <contains.hpp>
#include <engram/cuda/device_errors.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/row_cache.hpp>
#include <engram/storage/host_store.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

using namespace engram;

namespace {

/// How the doubles behave.
struct Runtime {
  cudaError_t count_error = cudaSuccess;
  int count = 1, driver = 13000, runtime = 13000;
  std::size_t free = 1000, total = 5000;
  std::size_t most_bytes = std::size_t{1} << 30;  ///< of one allocation
  int copies_that_work = 1 << 30;
  int allocated = 0;
  std::vector<std::pair<std::byte*, std::size_t>> locked;  ///< what is registered
  std::size_t most_locked = 100;                           ///< how many pieces may be
  bool is_capturing = false;
  cudaError_t last = cudaSuccess;
};
Runtime runtime;

cudaError_t allocate(void** data, std::size_t bytes) {
  if (bytes > runtime.most_bytes) return runtime.last = cudaErrorMemoryAllocation;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  ++runtime.allocated;
  return cudaSuccess;
}
cudaError_t release(void* data) {
  std::free(data);
  --runtime.allocated;
  return cudaSuccess;
}

}  // namespace

extern "C" {
cudaError_t __wrap_cudaGetDeviceCount(int* count) {
  *count = runtime.count;
  return runtime.count_error;
}
cudaError_t __wrap_cudaDriverGetVersion(int* version) {
  *version = runtime.driver;
  return cudaSuccess;
}
cudaError_t __wrap_cudaRuntimeGetVersion(int* version) {
  *version = runtime.runtime;
  return cudaSuccess;
}
cudaError_t __wrap_cudaGetLastError() {
  const cudaError_t last = runtime.last;
  runtime.last = cudaSuccess;
  return last;
}
cudaError_t __wrap_cudaMalloc(void** data, std::size_t bytes) { return allocate(data, bytes); }
cudaError_t __wrap_cudaFree(void* data) { return release(data); }
cudaError_t __wrap_cudaMallocHost(void** data, std::size_t bytes) { return allocate(data, bytes); }
cudaError_t __wrap_cudaFreeHost(void* data) { return release(data); }
cudaError_t __wrap_cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t __wrap_cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 1;
  return cudaSuccess;
}
cudaError_t __wrap_cudaHostRegister(void* data, std::size_t bytes, unsigned) {
  if (runtime.locked.size() == runtime.most_locked) return runtime.last = cudaErrorMemoryAllocation;
  runtime.locked.emplace_back(static_cast<std::byte*>(data), bytes);
  return cudaSuccess;
}
cudaError_t __wrap_cudaHostUnregister(void* data) {
  const auto found = std::find_if(runtime.locked.begin(), runtime.locked.end(),
                                  [&](const auto& piece) { return piece.first == data; });
  if (found == runtime.locked.end()) return runtime.last = cudaErrorHostMemoryNotRegistered;
  runtime.locked.erase(found);
  return cudaSuccess;
}
cudaError_t __wrap_cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = runtime.is_capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t __wrap_cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = runtime.free;
  *total = runtime.total;
  return cudaSuccess;
}
cudaError_t __wrap_cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  if (runtime.copies_that_work-- <= 0) return runtime.last = cudaErrorIllegalAddress;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t __wrap_cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t __wrap_cudaMemset(void* to, int value, std::size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
cudaError_t __wrap_cudaStreamCreateWithFlags(cudaStream_t*, unsigned) { return cudaSuccess; }
cudaError_t __wrap_cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t __wrap_cudaEventCreateWithFlags(cudaEvent_t*, unsigned) { return cudaSuccess; }
cudaError_t __wrap_cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
}

namespace {

HostStore numbered_rows(Index rows) {
  HostStore store = HostStore::make(rows, 256, 8).value();
  for (Index row = 0; row < rows; ++row) {
    const MutableRowBytes to = store.mutable_ref()(row);
    for (Index b = 0; b < 256; ++b) to.codes[b] = static_cast<std::byte>(row * 3 + b);
    for (Index b = 0; b < 8; ++b) to.scales[b] = static_cast<std::byte>(row + b);
  }
  return store;
}

}  // namespace

TEST_CASE("cuda runtime: no GPU, no driver and an old one are sentences that say what to do") {
  runtime = {};
  const auto refused = [] { return DeviceMemory::make(100); };
  runtime.count_error = cudaErrorNoDevice;
  CHECK(refused().status().code == Code::unsupported);
  CHECK(refused().message() == "no GPU was found; the CPU does the same work");
  runtime.count_error = cudaSuccess;
  runtime.count = 0;
  CHECK(refused().message() == "no GPU was found; the CPU does the same work");
  runtime.count_error = cudaErrorInsufficientDriver;
  runtime.driver = 0;
  CHECK(refused().message() == "no driver of a GPU is installed; the CPU does the same work");
  runtime.driver = 11040;
  CHECK(refused().message() ==
        "the GPU's driver is too old: it knows CUDA 11.4, this program needs 13.0");
  runtime.count_error = runtime.last = cudaErrorUnknown;
  CHECK(refused().status() == Status{Code::device, static_cast<std::int32_t>(cudaErrorUnknown)});
  CHECK(contains(refused().message(), "the GPU cannot be used: "));
  CHECK(runtime.last == cudaSuccess);  // taken from the runtime
}

TEST_CASE("cuda runtime: too little memory says how much was asked for and how much is free") {
  runtime = {};
  runtime.most_bytes = 2000;
  const auto memory = DeviceMemory::make(3000);
  CHECK(memory.status() ==
        Status{Code::out_of_memory, static_cast<std::int32_t>(cudaErrorMemoryAllocation), 3000});
  CHECK(memory.message() == "device memory: 3000 bytes asked for; of the GPU's 5000 are 1000 free");
  CHECK(DeviceStore::make(10, 256, 8).status().code == Code::out_of_memory);
  CHECK(contains(RowCache::make({1000, 256, 8}, 100'000).message(), " are 1000 free"));
  CHECK(contains(PinnedMemory::make(3000).message(), "3000 bytes cannot be locked"));
  CHECK(runtime.last == cudaSuccess);
  CHECK(runtime.allocated == 0);
}

TEST_CASE("cuda runtime: an upload brings every row, pieces of 8 MiB one after the other") {
  runtime = {};
  constexpr Index rows = 70'000;  // three pieces
  const HostStore from = numbered_rows(rows);
  std::vector<Index> told;
  {
    const auto store = DeviceStore::copy_of(from, [&](Index done) {
                         told.push_back(done);
                         return true;
                       }).value();
    CHECK(store.stride() == 272);
    Index wrong = 0;
    for (Index row = 0; row < rows; ++row) {
      const RowBytes a = store.ref()(row), b = from.ref()(row);
      wrong += std::memcmp(a.codes, b.codes, 256) == 0 && std::memcmp(a.scales, b.scales, 8) == 0
                   ? 0
                   : 1;
    }
    CHECK(wrong == 0);
    CHECK(told.size() == 3);
    CHECK(told.back() == rows);
  }
  CHECK(runtime.allocated == 0);
}

TEST_CASE("cuda runtime: an upload that fails or is given up leaves nothing behind") {
  const HostStore from = numbered_rows(70'000);
  runtime = {};
  runtime.copies_that_work = 1;
  const auto failed = DeviceStore::copy_of(from);
  CHECK(failed.status() ==
        Status{Code::device, static_cast<std::int32_t>(cudaErrorIllegalAddress)});
  CHECK(contains(failed.message(), "upload: "));
  CHECK(runtime.last == cudaSuccess);
  CHECK(runtime.allocated == 0);
  runtime = {};
  const auto given_up = DeviceStore::copy_of(from, [](Index) { return false; });
  CHECK(given_up.status() == Status{Code::io, ECANCELED});
  CHECK(runtime.allocated == 0);
}

TEST_CASE("cuda runtime: counts of a cache, and a copy of them that fails") {
  runtime = {};
  const RowCache cache = RowCache::make({1000, 256, 8}, 100'000).value();
  CHECK(cache.counts(nullptr).value().hits == 0);
  runtime.copies_that_work = 0;
  CHECK(cache.counts(nullptr).status().code == Code::device);
}

TEST_CASE("cuda runtime: a large table is locked a GiB at a time, told after each, and unlocked") {
  constexpr std::size_t gib = std::size_t{1} << 30;
  constexpr Index rows = 700'000, stride = 4096;  // 2.67 GiB, of which no page is touched
  const auto table = [] { return HostStore::make(rows, stride).value(); };
  runtime = {};
  std::vector<Index> told;
  const auto tell = [&](Index bytes) {
    told.push_back(bytes);
    return true;
  };
  {
    const PinnedStore store = PinnedStore::make(table(), tell).value();
    REQUIRE(runtime.locked.size() == 3);
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(runtime.locked[i].first == store.ref().base + i * gib);
    CHECK(runtime.locked[1].second == gib);
    CHECK(runtime.locked[2].second == rows * stride - 2 * gib);
    CHECK(told == std::vector<Index>{gib, 2 * gib, rows * stride});
  }
  CHECK(runtime.locked.empty());

  runtime.most_locked = 2;
  HostStore kept = table();
  const auto refused = PinnedStore::make(std::move(kept), tell);
  CHECK(refused.status() == Status{Code::out_of_memory,
                                   static_cast<std::int32_t>(cudaErrorMemoryAllocation),
                                   rows * stride});
  CHECK(contains(refused.message(),
                 "pinned store: 2147483648 of 2867200000 bytes are locked, the next are not: "));
  CHECK(contains(refused.message(), " bytes of the host's memory are free"));
  CHECK(runtime.locked.empty());
  CHECK(runtime.last == cudaSuccess);
  CHECK(kept.num_rows() == rows);  // the caller's still

  runtime.most_locked = 100;
  const auto given_up =
      PinnedStore::make(std::move(kept), [](Index bytes) { return bytes <= Index{1} << 30; });
  CHECK(given_up.status().code == Code::io);
  CHECK(runtime.locked.empty());
}

TEST_CASE(
    "cuda runtime: what was refused, what kernels noted, and a copy that fails are told once") {
  runtime = {};
  DeviceErrors errors = DeviceErrors::make().value();
  CHECK(errors.take(nullptr).ok());
  errors.word().report(Code::bad_row, 7);
  errors.word().report(Code::bad_row, 4);
  errors.note(cudaErrorInvalidConfiguration);
  errors.note(cudaErrorNoKernelImageForDevice);  // the first is kept
  runtime.is_capturing = true;
  CHECK(errors.take(nullptr) == Status{Code::busy, 0, 1});
  runtime.is_capturing = false;
  CHECK(errors.take(nullptr) ==
        Status{Code::device, static_cast<std::int32_t>(cudaErrorInvalidConfiguration)});
  CHECK(errors.take(nullptr) == Status{Code::bad_row, 0, 4});
  CHECK(errors.take(nullptr).ok());
  runtime.copies_that_work = 0;
  CHECK(errors.take(nullptr) ==
        Status{Code::device, static_cast<std::int32_t>(cudaErrorIllegalAddress)});
  CHECK(runtime.last == cudaSuccess);
}
