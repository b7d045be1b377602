// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How kernels report: a word of the GPU's memory that keeps the smallest place at which something
// was wrong. Kernels cannot return a status, and nobody waits for them after each.

#include <engram/cuda/device_memory.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What a kernel holds: where to report to. Trivially copyable.
struct ErrorWord {
  static constexpr unsigned long long none = ~0ULL;

  unsigned long long* word;

  /// Notes what is wrong at `index`; the smallest index is kept, whichever thread comes first.
  ENGRAM_HD void report(Code code, Index index) const noexcept {
    const auto found =
        static_cast<unsigned long long>(index) << 8 | static_cast<unsigned long long>(code);
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

  DeviceErrors(DeviceErrors&&) noexcept = default;
  DeviceErrors& operator=(DeviceErrors&&) = delete;

  ErrorWord word() const noexcept { return {reinterpret_cast<unsigned long long*>(word_.data())}; }

  /// A launch or copy that the runtime refused; the first is kept.
  void note(cudaError_t error) noexcept {
    if (const Status status = cuda_status(error); launch_.ok()) launch_ = status;
  }

  /// Waits for the stream and takes what went wrong since the last call: a refused launch, what
  /// became of the GPU's work, or what kernels noted, of all their calls the smallest place. busy
  /// while the stream is captured, which goes on as it was. Streams that report here too are joined
  /// into this one before: what they report meanwhile may be lost.
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
        cudaMemcpyAsync(copy_.data(), word_.data(), word_bytes, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess) error = cudaMemsetAsync(word_.data(), 0xFF, word_bytes, stream);
    const cudaError_t waited = cudaStreamSynchronize(stream);
    if (error == cudaSuccess) error = waited;
    if (error != cudaSuccess) return cuda_status(error);
    return ErrorWord::status_of(*reinterpret_cast<const unsigned long long*>(copy_.data()));
  }

 private:
  static constexpr Index word_bytes = sizeof(unsigned long long);

  DeviceErrors(DeviceMemory word, PinnedMemory copy)
      : word_(std::move(word)), copy_(std::move(copy)) {}

  DeviceMemory word_;
  PinnedMemory copy_;
  Status launch_;
};

ENGRAM_ALWAYS_INLINE Result<DeviceErrors> DeviceErrors::make() {
  Result<DeviceMemory> word = DeviceMemory::make(word_bytes);
  if (!word.ok()) return word.failure();
  Result<PinnedMemory> copy = PinnedMemory::make(word_bytes);
  if (!copy.ok()) return copy.failure();
  const cudaError_t error =
      finish_on_legacy_stream(cudaMemset(word.value().data(), 0xFF, word_bytes));
  if (error != cudaSuccess) return cuda_failure("device errors", error);
  return DeviceErrors(std::move(word.value()), std::move(copy.value()));
}

ENGRAM_END_NAMESPACE
