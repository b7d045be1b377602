// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How kernels report: a word of the GPU's memory that keeps the smallest place at which something
// was wrong. Kernels cannot return a status, and nobody waits for them after each.

#include <engram/cuda/runtime.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What a kernel holds: where to report to. Trivially copyable.
struct ErrorWord {
  static constexpr unsigned long long none = ~0ULL;

  unsigned long long* word = nullptr;  ///< null: nobody wants to know

  /// Notes what is wrong at `index`; the smallest index is kept, whichever thread comes first.
  ENGRAM_HD void report(Code code, Index index) const noexcept {
    const auto found =
        static_cast<unsigned long long>(index) << 8 | static_cast<unsigned long long>(code);
    if (word == nullptr) return;
#if defined(__CUDA_ARCH__)
    atomicMin(word, found);
#else
    if (found < *word) *word = found;
#endif
  }

  /// A word that was read from the GPU.
  static Status status_of(unsigned long long word) noexcept {
    if (word == none) return {};
    return {static_cast<Code>(word & 0xFF), 0, static_cast<Index>(word >> 8)};
  }
};

/// The word and what waiting for it needs: 8 bytes on the GPU, 8 of page-locked memory. One for
/// each stream whose calls should not share a status; one host thread at a time.
///
/// Moves, is not copied; but not while a CudaDevice or a captured graph refers to it. A graph
/// reports to the one it was captured with, whatever stream it is replayed on.
class DeviceErrors {
 public:
  /// On the current GPU. Fails with unsupported (no GPU, an old driver), out_of_memory or device.
  static Result<DeviceErrors> make();

  DeviceErrors(DeviceErrors&& other) noexcept
      : word_(other.word_), copy_(other.copy_), launch_(other.launch_) {
    other.word_ = nullptr;
    other.copy_ = nullptr;
  }
  DeviceErrors& operator=(DeviceErrors&&) = delete;
  ~DeviceErrors() {
    if (word_ != nullptr) (void)cuda_status(cudaFree(word_));
    if (copy_ != nullptr) (void)cuda_status(cudaFreeHost(copy_));
  }

  ErrorWord word() const noexcept { return {word_}; }

  /// A launch or copy that the runtime refused; the first is kept.
  void note(cudaError_t error) noexcept {
    if (const Status status = cuda_status(error); launch_.ok()) launch_ = status;
  }

  /// Waits for the stream and takes what went wrong since the last call: a refused launch, what
  /// became of the GPU's work, or what kernels noted, of all their calls the smallest place. busy
  /// while the stream is captured, which goes on as it was.
  Status take(cudaStream_t stream) noexcept {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (Status s = cuda_status(cudaStreamIsCapturing(stream, &capture)); !s.ok()) return s;
    if (capture != cudaStreamCaptureStatusNone) return {Code::busy, 0, 1};
    if (!launch_.ok()) {  // what kernels noted stays for the next call
      const Status refused = launch_;
      launch_ = {};
      (void)cuda_status(cudaStreamSynchronize(stream));
      return refused;
    }
    cudaError_t error =
        cudaMemcpyAsync(copy_, word_, sizeof *word_, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess) error = cudaMemsetAsync(word_, 0xFF, sizeof *word_, stream);
    const cudaError_t waited = cudaStreamSynchronize(stream);
    if (error == cudaSuccess) error = waited;
    if (error != cudaSuccess) return cuda_status(error);
    return ErrorWord::status_of(*copy_);
  }

 private:
  DeviceErrors() = default;

  unsigned long long* word_ = nullptr;  // on the GPU
  unsigned long long* copy_ = nullptr;  // page-locked
  Status launch_;
};

inline Result<DeviceErrors> DeviceErrors::make() {
  if (const Result<int> found = cuda_device_count(); !found.ok()) return found.failure();
  DeviceErrors errors;
  void* word = nullptr;
  void* copy = nullptr;
  if (const cudaError_t e = cudaMalloc(&word, sizeof *errors.word_); e != cudaSuccess)
    return cuda_failure("device errors", e);
  errors.word_ = static_cast<unsigned long long*>(word);
  if (const cudaError_t e = cudaMallocHost(&copy, sizeof *errors.copy_); e != cudaSuccess)
    return cuda_failure("device errors", e);
  errors.copy_ = static_cast<unsigned long long*>(copy);
  // Streams that do not wait for the legacy one would else overtake it.
  cudaError_t error = cudaMemset(errors.word_, 0xFF, sizeof *errors.word_);
  if (error == cudaSuccess) error = cudaStreamSynchronize(nullptr);
  if (error != cudaSuccess) return cuda_failure("device errors", error);
  return DeviceErrors(std::move(errors));
}

ENGRAM_END_NAMESPACE
