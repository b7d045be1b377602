// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a table that is larger than the GPU's memory, kept there once they were read: a few rows
// of a text's n-grams are most of what it asks for. cached_gather.cuh reads through it.

#include <engram/cuda/device_memory.hpp>
#include <engram/cuda/row_slots.hpp>
#include <engram/storage/row_shape.hpp>

#include <algorithm>

ENGRAM_BEGIN_NAMESPACE

/// Room for rows of one base, in the memory of one GPU: sets of 16 slots, any number of them.
/// Moves, is not copied; refs stay valid when it moves. Nothing that uses it may be on the way when
/// it goes.
///
/// Which rows it holds depends on which warps came first, and differs from run to run. What calls
/// give never does.
class RowCache {
 public:
  /// An empty cache on the current GPU.
  ///
  /// shape  of the base; num_rows below 2^40.
  /// bytes  of the GPU's memory, at most; rounded down to whole sets, and to what lets every row
  ///        stay. A row takes device_stride() bytes and 8.
  ///
  /// Fails with invalid_config (a shape that cannot be; too few bytes, index: the least) and as
  /// DeviceMemory::make().
  static Result<RowCache> make(const RowShape& shape, Index bytes);

  RowCache(RowCache&&) = default;
  RowCache& operator=(RowCache&&) = delete;

  const RowShape& shape() const noexcept { return shape_; }
  Index num_slots() const noexcept { return static_cast<Index>(slots_.places.sets) * slots_.ways; }
  Index bytes() const noexcept { return memory_.size(); }

  /// Empties it, on the stream: after the base's rows were changed. No call may be on the way on
  /// another stream. Can be captured.
  ///
  /// Status  device.   Cost  8 bytes written for each slot.
  Status clear(cudaStream_t stream) noexcept {
    return cuda_status(cudaMemsetAsync(slots_.words, 0, word_bytes(num_slots()), stream));
  }

  /// Sums of all calls since make(); clear() leaves them. Behind what is on the stream, for which
  /// it waits; not while it is captured.
  ///
  /// Fails with device.
  Result<RowCacheCounts> counts(cudaStream_t stream) const {
    RowCacheCounts found;
    cudaError_t error =
        cudaMemcpyAsync(&found, slots_.counts, sizeof found, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    if (error != cudaSuccess) return cuda_failure("row cache", error);
    return found;
  }
  RowSlots ref() noexcept { return slots_; }

 private:
  /// Clock and counts, before the words.
  static constexpr Index head_bytes = 256;

  RowCache(DeviceMemory memory, const RowShape& shape, const RowSlots& slots)
      : memory_(std::move(memory)), shape_(shape), slots_(slots) {}

  static std::size_t word_bytes(Index slots) noexcept {
    return static_cast<std::size_t>(slots) * sizeof(SlotWord);
  }

  DeviceMemory memory_;
  RowShape shape_;
  RowSlots slots_;
};

ENGRAM_ALWAYS_INLINE Result<RowCache> RowCache::make(const RowShape& shape, Index bytes) {
  const Index codes = shape.row_bytes, scales = shape.scale_bytes;
  const Result<Index> step = row_stride("row cache", shape, 0, device_stride);
  if (!step.ok()) return step.failure();
  if (shape.num_rows > SlotWord::most_rows)
    return fail(Code::invalid_config,
                {"row cache: ", shape.num_rows, " rows, expected at most ", SlotWord::most_rows});
  constexpr Index ways = RowSlots::ways;
  const Index stride = step.value();
  const Index each = stride + Index{sizeof(SlotWord)};
  if (each > (INT64_MAX - head_bytes) / ways)
    return fail(Code::invalid_config,
                {"row cache: no GPU has room for 16 rows of ", stride, " bytes"});
  if (bytes < head_bytes + ways * each)
    return fail(Code::invalid_config,
                {"row cache: ", bytes, " bytes, expected at least ", head_bytes + ways * each,
                 ", a set of 16 rows"},
                head_bytes + ways * each);
  RowSlots slots;
  Index sets = std::min((bytes - head_bytes) / (ways * each), Index{1} << 31);
  slots.places = cache_places(shape.num_rows, sets);
  const auto all = static_cast<Index>((slots.places.mask + ways) / ways);  // no set has more rows
  if (sets > all) slots.places = cache_places(shape.num_rows, sets = all);

  Result<DeviceMemory> memory = DeviceMemory::make(head_bytes + sets * ways * each);
  if (!memory.ok()) return memory.failure();
  std::byte* const base = memory.value().data();
  slots.clock = reinterpret_cast<std::uint64_t*>(base);
  slots.counts = reinterpret_cast<RowCacheCounts*>(base + 128);
  slots.words = reinterpret_cast<std::uint64_t*>(base + head_bytes);
  slots.payload = base + head_bytes + word_bytes(sets * ways);
  slots.stride = stride;
  slots.row_bytes = codes;
  slots.scale_bytes = scales;
  const cudaError_t error =
      finish_on_legacy_stream(cudaMemset(base, 0, head_bytes + word_bytes(sets * ways)));
  if (error != cudaSuccess) return cuda_failure("row cache", error);
  return RowCache(std::move(memory.value()), shape, slots);
}

ENGRAM_END_NAMESPACE
