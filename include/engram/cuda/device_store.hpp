// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table in the GPU's memory: the fastest place for rows, and the smallest. Rows come from any
// store whose rows the host can read, in pieces, so that the table need not be in host memory
// twice.

#include <engram/cuda/device_memory.hpp>
#include <engram/cuda/pack_rows.hpp>
#include <engram/cuda/progress.hpp>
#include <engram/storage/row_shape.hpp>
#include <engram/storage/sigbus_guard.hpp>
#include <engram/storage/store.hpp>
#include <engram/storage/strided_rows.hpp>

#include <algorithm>
#include <optional>

ENGRAM_BEGIN_NAMESPACE

/// Rows in the memory of one GPU. Moves, is not copied; refs stay valid when it moves.
class DeviceStore {
 public:
  using space_type = DeviceSpace;

  /// Room for rows, with nothing in them, on the current GPU.
  ///
  /// num_rows     at least 1.
  /// row_bytes    bytes of a row's codes, at least 1.
  /// scale_bytes  bytes of its scales, 0 for a format without; they follow the codes.
  /// stride       bytes from one row to the next; 0: device_stride().
  ///
  /// Fails as HostStore::make() and DeviceMemory::make().
  static Result<DeviceStore> make(Index num_rows, Index row_bytes, Index scale_bytes = 0,
                                  Index stride = 0);

  /// The rows of another store, which the host can read. Waits until they are there; whether they
  /// arrived as they were sent is for verify_upload() to say.
  ///
  /// progress  called with the rows that are done, now and then, on the calling thread; false ends
  ///           the upload with io, ECANCELED.
  ///
  /// Fails as make(), and with what the GPU or the reading of the rows says.
  /// Cost  one thread packs the rows and takes their digest, at 3 GB/s for rows of 264 bytes and 4
  ///       for 2560 (measured without a GPU, an AMD EPYC with AVX2, g++ -O2).
  template <AddressableStore From, class Progress = Unwatched>
  static Result<DeviceStore> copy_of(const From& from, const Progress& progress = {},
                                     Index stride = 0);

  Index num_rows() const noexcept { return shape_.num_rows; }
  Index row_bytes() const noexcept { return shape_.row_bytes; }
  Index scale_bytes() const noexcept { return shape_.scale_bytes; }
  Index stride() const noexcept { return stride_; }
  /// The digest of the rows that copy_of() sent (RowDigestBody); none of a store from make(). It
  /// does not follow what is written through mutable_ref().
  std::optional<std::uint64_t> sent_digest() const noexcept { return sent_digest_; }
  StridedRows ref() const noexcept { return {memory_.data(), stride_, shape_.scale_offset()}; }
  MutableStridedRows mutable_ref() noexcept {
    return {memory_.data(), stride_, shape_.scale_offset()};
  }

 private:
  DeviceStore(DeviceMemory memory, RowShape shape, Index stride)
      : memory_(std::move(memory)), shape_(shape), stride_(stride) {}

  DeviceMemory memory_;
  RowShape shape_;
  Index stride_;
  std::optional<std::uint64_t> sent_digest_;
};
static_assert(check_mutable_store<DeviceStore>());

ENGRAM_ALWAYS_INLINE Result<DeviceStore> DeviceStore::make(Index num_rows, Index row_bytes,
                                                           Index scale_bytes, Index stride) {
  const RowShape shape{num_rows, row_bytes, scale_bytes};
  const Result<Index> step = row_stride("device store", shape, stride, device_stride);
  if (!step.ok()) return step.failure();
  Result<DeviceMemory> memory = DeviceMemory::make(num_rows * step.value());
  if (!memory.ok()) return memory.failure();
  return DeviceStore(std::move(memory.value()), shape, step.value());
}

ENGRAM_BEGIN_LOOPS

/// Packs rows of `from` and copies them to `to` on the GPU, piece after piece: while one is on its
/// way the next is packed. Bytes between rows become 0. Gives the digest of what was sent. See
/// DeviceStore::copy_of().
template <class Ref, class Progress>
Result<std::uint64_t> upload_rows(const Ref& from, const RowShape& shape, std::byte* to,
                                  Index stride, const Progress& progress) {
  constexpr Index most_bytes = Index{8} << 20;
  const Index piece = std::max<Index>(1, most_bytes / stride);
  Result<PinnedMemory> staging = PinnedMemory::make(2 * piece * stride);
  if (!staging.ok()) return staging.failure();
  struct Lane {
    cudaStream_t stream = nullptr;
    cudaEvent_t free[2] = {};
    ~Lane() {
      if (stream != nullptr) (void)cuda_status(cudaStreamSynchronize(stream));
      for (cudaEvent_t event : free)
        if (event != nullptr) (void)cuda_status(cudaEventDestroy(event));
      if (stream != nullptr) (void)cuda_status(cudaStreamDestroy(stream));
    }
  } lane;
  cudaError_t error = cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking);
  for (cudaEvent_t& event : lane.free)
    if (error == cudaSuccess) error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  std::uint64_t digest = 0;
  for (Index row = 0, turn = 0; row < shape.num_rows && error == cudaSuccess; ++turn) {
    const Index count = std::min(piece, shape.num_rows - row);
    std::byte* const packed = staging.value().data() + turn % 2 * piece * stride;
    if (turn >= 2) error = cudaEventSynchronize(lane.free[turn % 2]);
    if (error != cudaSuccess) break;
    const Status read = guarded_read([&] {
      digest += pack_rows(from, shape, {row, row + count}, stride, packed);
      return Status{};
    });
    if (!read.ok()) return Failure{read, describe(read, "upload: cannot read the rows")};
    error = cudaMemcpyAsync(to + row * stride, packed, static_cast<std::size_t>(count * stride),
                            cudaMemcpyHostToDevice, lane.stream);
    if (error == cudaSuccess) error = cudaEventRecord(lane.free[turn % 2], lane.stream);
    row += count;
    if (!progress(row)) return fail(Code::io, "upload: given up", -1, ECANCELED);
  }
  if (error == cudaSuccess) error = cudaStreamSynchronize(lane.stream);
  if (error != cudaSuccess) return cuda_failure("upload", error);
  return digest;
}

ENGRAM_END_LOOPS

template <AddressableStore From, class Progress>
ENGRAM_ALWAYS_INLINE Result<DeviceStore> DeviceStore::copy_of(const From& from,
                                                              const Progress& progress,
                                                              Index stride) {
  static_assert(From::space_type::host_accessible,
                "engram: rows are uploaded from memory that the host reads");
  Result<DeviceStore> store = make(from.num_rows(), from.row_bytes(), from.scale_bytes(), stride);
  if (!store.ok()) return store.failure();
  DeviceStore& made = store.value();
  const Result<std::uint64_t> sent =
      upload_rows(from.ref(), made.shape_, made.memory_.data(), made.stride_, progress);
  if (!sent.ok()) return sent.failure();
  made.sent_digest_ = sent.value();
  return DeviceStore(std::move(store.value()));
}

ENGRAM_END_NAMESPACE
