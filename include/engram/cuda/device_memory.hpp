// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Memory of the GPU, and page-locked memory that the GPU copies from and to, freed with the object.

#include <engram/core/view.hpp>
#include <engram/cuda/runtime.hpp>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// Bytes of the GPU that is current when it is made, at a multiple of 256. Moves, is not copied.
class DeviceMemory {
 public:
  DeviceMemory() = default;

  /// Fails with invalid_config (bytes below 1), unsupported (no GPU), out_of_memory (index: the
  /// bytes asked for; the sentence has those that are free) or device.
  static Result<DeviceMemory> make(Index bytes);

  DeviceMemory(DeviceMemory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_ != nullptr) (void)cuda_status(cudaFree(data_));
  }

  std::byte* data() const noexcept { return data_; }
  Index size() const noexcept { return bytes_; }
  DeviceView<std::byte, 1> view() const noexcept { return DeviceView<std::byte, 1>(data_, bytes_); }

 private:
  DeviceMemory(std::byte* data, Index bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_ = nullptr;
  Index bytes_ = 0;
};

/// Page-locked bytes of the host, for copies that go on beside other work. Moves, is not copied.
class PinnedMemory {
 public:
  /// Fails as DeviceMemory::make(); the sentence has what the host has free.
  static Result<PinnedMemory> make(Index bytes);

  PinnedMemory(PinnedMemory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  PinnedMemory& operator=(PinnedMemory&&) = delete;
  ~PinnedMemory() {
    if (data_ != nullptr) (void)cuda_status(cudaFreeHost(data_));
  }

  std::byte* data() const noexcept { return data_; }
  Index size() const noexcept { return bytes_; }
  View<std::byte, 1, PinnedSpace> view() const noexcept {
    return View<std::byte, 1, PinnedSpace>(data_, bytes_);
  }

 private:
  PinnedMemory(std::byte* data, Index bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_ = nullptr;
  Index bytes_ = 0;
};

ENGRAM_BEGIN_LOOPS

/// out_of_memory with what was asked for and what is free, or another failure of the runtime.
inline Failure memory_failure(const char* what, Index bytes, cudaError_t error) {
  const Status status = cuda_status(error);
  if (status.code != Code::out_of_memory) return cuda_failure(what, error);
  std::size_t free = 0, all = 0;
  (void)cuda_status(cudaMemGetInfo(&free, &all));
  return fail(Code::out_of_memory,
              {what, ": ", bytes, " bytes asked for; of the GPU's ", all, " are ", free, " free"},
              bytes, status.system_error);
}

/// "; 123 bytes of the host's memory are free, its caches apart", where the system tells.
inline std::string free_host_memory() {
#if defined(_SC_AVPHYS_PAGES)
  const Index pages = sysconf(_SC_AVPHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && bytes > 0)
    return sentence(
        {"; ", pages * bytes, " bytes of the host's memory are free, its caches apart"});
#endif
  return {};
}

/// Waits for a copy or memset that was made on the legacy stream: streams that do not wait for that
/// one would else overtake it. `error` is what the call said.
inline cudaError_t finish_on_legacy_stream(cudaError_t error) noexcept {
  return error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error;
}

ENGRAM_END_LOOPS

ENGRAM_ALWAYS_INLINE Result<DeviceMemory> DeviceMemory::make(Index bytes) {
  if (bytes < 1)
    return fail(Code::invalid_config, {"device memory: ", bytes, " bytes, expected at least 1"});
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (error != cudaSuccess) return memory_failure("device memory", bytes, error);
  return DeviceMemory(static_cast<std::byte*>(data), bytes);
}

ENGRAM_ALWAYS_INLINE Result<PinnedMemory> PinnedMemory::make(Index bytes) {
  if (bytes < 1)
    return fail(Code::invalid_config, {"pinned memory: ", bytes, " bytes, expected at least 1"});
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  void* data = nullptr;
  const cudaError_t error = cudaMallocHost(&data, static_cast<std::size_t>(bytes));
  if (error != cudaSuccess) {
    const Status status = cuda_status(error);
    return fail(status.code,
                {"pinned memory: ", bytes, " bytes cannot be locked: ", cudaGetErrorString(error),
                 free_host_memory()},
                bytes, status.system_error);
  }
  return PinnedMemory(static_cast<std::byte*>(data), bytes);
}

ENGRAM_END_NAMESPACE
