// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows from a disk to a GPU: a batch is asked for on the host, and the GPU waits for it itself, so
// that a whole step, captured in a graph, is launched before its rows have arrived.
//
//   host                                     stream, perhaps a graph that is replayed
//   batch.plan(rows, first_rows);
//   batch.submit();                          batch.take(device, ids, timeout);
//                                            batch.decode(device, 0, layers, out); // first memory
//                                            ...
//
// take() may be launched before plan(). Two batches, one for this step and one for the next, are a
// ring of two.

#include <engram/cuda/shared_word.hpp>
#include <engram/layer/fetch_batch.hpp>
#include <engram/storage/strided_rows.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What host and GPU tell each other; in page-locked memory.
struct StagingControl {
  std::uint32_t arrived =
      0;                    ///< by the reader: 1 rows are there, 2 the batch failed; by the GPU: 0
  std::uint32_t taken = 0;  ///< batches that the GPU has taken, modulo 2^32
  Index ids = 0;            ///< of the batch, T * L * H
  Index rows = 0;           ///< distinct ones
};

/// What the GPU knows of the batch it has taken; in its own memory.
struct StagedState {
  Index rows = 0;  ///< 0: none could be taken
  bool is_taken = false;
};

/// Waits for a batch. What is not there in time, failed or of another size is reported and leaves
/// no rows.
template <class Report>
struct AwaitBatchBody {
  const StagingControl* control;
  StagedState* state;
  Index ids;
  std::uint64_t most_nanoseconds;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) {
      const std::uint64_t begin = nanoseconds();
      std::uint32_t arrived = load_shared(&control->arrived);
      while (arrived == 0 && nanoseconds() - begin < most_nanoseconds) {
        rest();
        arrived = load_shared(&control->arrived);
      }
      const bool fits = arrived == 1 && control->ids == ids;
      *state = {fits ? control->rows : 0, arrived != 0};
      if (arrived == 0)
        errors.report(Code::busy, 0);
      else if (arrived != 1)
        errors.report(Code::io, 0);
      else if (!fits)
        errors.report(Code::shape_mismatch, control->ids);
    });
  }
};

/// A row from page-locked memory to where kernels read it best.
struct TakeRowBody {
  const std::byte* from;
  Index bytes;
  std::byte* to;
  Index stride;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index row) const noexcept {
    lanes.copy(to + row * stride, from + row * bytes, bytes);
  }
};

/// Which row each of 32 ids asks for; -1 where no row could be taken.
struct TakePlacesBody {
  const StagedState* state;
  const std::int32_t* from;
  std::int32_t* to;
  Index count;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index first = item * 32, left = count - first;
    lanes.each(left < 32 ? left : 32,
               [&](Index l) { to[first + l] = state->rows > 0 ? from[first + l] : -1; });
  }
};

/// Tells the host that it may use the page-locked memory again.
struct ReleaseBatchBody {
  StagingControl* control;
  const StagedState* state;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) {
      if (!state->is_taken) return;
      store_shared(&control->arrived, 0);
      store_shared(&control->taken, control->taken + 1);
    });
  }
};

/// One batch of rows at a time, over a FetchStore whose readers go on by themselves
/// (BackgroundStore), else with poll(). Refers to the store and to the caller's memory; does not
/// move; stays until what take() and decode() launched is done. plan(), submit(), wait(), poll()
/// and discard(): one thread at a time.
template <class Store, class Codec>
class StagedBatch {
  /// The rows that were taken, as gather() reads them.
  struct TakenRows {
    using space_type = DeviceSpace;

    StridedRows rows;
    Index count;
    RowShape shape;

    Index num_rows() const noexcept { return count; }
    Index row_bytes() const noexcept { return shape.row_bytes; }
    Index scale_bytes() const noexcept { return shape.scale_bytes; }
    StridedRows ref() const noexcept { return rows; }
  };

 public:
  /// Page-locked bytes for batches of at most `ids` row ids, of all tokens, layers and heads.
  static Index pinned_bytes(const Store& store, Index ids) noexcept {
    const Index batch = FetchBatch<Store, Codec>::memory_bytes(store, ids);
    return static_cast<Index>(Workspace::bytes_for<StagingControl>(1) +
                              Workspace::bytes_for<std::byte>(batch));
  }
  /// Bytes of the GPU for them.
  static Index device_bytes(const Store& store, Index ids) noexcept {
    return static_cast<Index>(Workspace::bytes_for<StagedState>(1) +
                              Workspace::bytes_for<std::int32_t>(ids) +
                              Workspace::bytes_for<std::byte>(ids * stride_of(store)));
  }

  /// pinned  [>= pinned_bytes(store, most_ids)], at the same address for host and GPU.
  /// gpu     [>= device_bytes(store, most_ids)].
  ///
  /// Fails as FetchBatch::make().
  static Result<std::unique_ptr<StagedBatch>> make(const Store& store, Codec codec, Index row_width,
                                                   Index most_ids,
                                                   View<std::byte, 1, PinnedSpace> pinned,
                                                   View<std::byte, 1, DeviceSpace> gpu) {
    const Index least = device_bytes(store, most_ids);
    if (gpu.size() < least)
      return fail(Code::workspace_small,
                  {"staged batch: ", gpu.size(), " bytes of the GPU, expected at least ", least},
                  least);
    if (pinned.size() < pinned_bytes(store, most_ids))
      return fail(Code::workspace_small,
                  {"staged batch: ", pinned.size(), " page-locked bytes, expected at least ",
                   pinned_bytes(store, most_ids)},
                  pinned_bytes(store, most_ids));
    Workspace memory{View<std::byte, 1>(pinned)};
    auto* const control = memory.take<StagingControl>(1);
    const Index bytes = FetchBatch<Store, Codec>::memory_bytes(store, most_ids);
    auto batch = FetchBatch<Store, Codec>::make(
        store, codec, row_width, most_ids, View<std::byte, 1>(memory.take<std::byte>(0), bytes));
    if (!batch.ok()) return batch.failure();
    return std::unique_ptr<StagedBatch>(
        new StagedBatch(std::move(batch.value()), store, codec, row_width, most_ids, control, gpu));
  }

  StagedBatch(const StagedBatch&) = delete;

  /// As FetchBatch::plan(), and busy while the GPU has not taken the batch before.
  template <class Row>
  Status plan(View<Row, 3> rows, View<const Index, 1> first_rows) noexcept {
    if (!is_taken()) return {Code::busy, 0, 1};
    (void)batch_.wait();  // what the GPU has taken is there
    return batch_.plan(rows, first_rows);
  }
  /// As FetchBatch::submit(); the GPU sees when the rows are there. Once for each plan(). A batch
  /// that the store refuses has failed: take() says io, unless it is discarded.
  Status submit() noexcept {
    if (!is_taken()) return {Code::busy, 0, 1};
    control_->ids = batch_.places().size();
    control_->rows = batch_.unique_rows();
    ++submitted_;
    return batch_.submit(&control_->arrived);
  }
  /// Whether the rows are in host memory, or cannot come.
  bool poll() noexcept { return batch_.poll(); }
  /// The status of the batch, once it is in host memory: why it failed, where take() says io.
  Status wait() noexcept { return batch_.wait(); }
  /// Whether the GPU has taken what was submitted last, so that plan() may be called.
  bool is_taken() const noexcept { return load_shared(&control_->taken) == submitted_; }
  /// Gives up a batch that the GPU has not taken, and will not: no take() of it is on a stream, or
  /// it has said busy.
  void discard() noexcept {
    batch_.discard();
    store_shared(&control_->arrived, 0);
    submitted_ = load_shared(&control_->taken);
  }

  /// Waits on the GPU until the batch has arrived, and copies it there. Then the page-locked memory
  /// is free for the next plan().
  ///
  /// device   CudaDevice, or what does its work.
  /// ids      T * L * H of the batch.
  /// timeout  microseconds.
  /// Status   shape_mismatch (index: most ids): nothing was launched. device.wait() says busy (the
  ///          batch was not there in time; it stays submitted: discard() it, or take() it later),
  ///          io (it failed, see wait()), shape_mismatch (it has another number of ids; index: that
  ///          number). Then decode() gives zeros.
  /// Cost     four launches, and each distinct row once over the link. The waiting occupies one
  /// warp.
  template <class Dev>
  ENGRAM_HIDDEN Status take(const Dev& device, Index ids, Index timeout) const noexcept {
    if (ids < 0 || ids > most_ids_) return {Code::shape_mismatch, 0, most_ids_};
    device.for_items(1, AwaitBatchBody<decltype(device.error_word())>{
                            control_, state_, ids, static_cast<std::uint64_t>(timeout) * 1000,
                            device.error_word()});
    device.for_items_up_to(ids, &state_->rows,
                           TakeRowBody{batch_memory_, row_bytes_, rows_, stride_});
    device.for_items((ids + 31) / 32, TakePlacesBody{state_, places_memory_, places_, ids});
    device.for_items(1, ReleaseBatchBody{control_, state_});
    return {};
  }

  /// Rows of one layer of the batch that was taken, decoded.
  ///
  /// layers  L of the batch.
  /// out     [T, H * row_width] float, Bf16 or F16, memory of the GPU, token stride free; zeros
  /// where
  ///         there is no row.
  /// Status  shape_mismatch, as gather(); then nothing was launched.
  template <class Dev, class Out>
  ENGRAM_HIDDEN Status decode(const Dev& device, Index layer, Index layers,
                              View<Out, 2, DeviceSpace> out) const noexcept {
    const Index heads = out.extent(1) / row_width_, tokens = out.extent(0);
    if (layer < 0 || layer >= layers) return {Code::shape_mismatch, 0, layers};
    if (tokens * layers * heads > most_ids_) return {Code::shape_mismatch, 0, most_ids_};
    const View<const std::int32_t, 3, DeviceSpace> places(places_, tokens, layers, heads);
    return gather(
        device,
        TakenRows{
            {rows_, stride_, shape_.scale_bytes > 0 ? shape_.row_bytes : 0}, most_ids_, shape_},
        codec_, row_width_, places.template at<1>(layer), out);
  }

 private:
  static Index stride_of(const Store& store) noexcept {
    return (store.row_bytes() + store.scale_bytes() + 15) / 16 * 16;
  }

  StagedBatch(FetchBatch<Store, Codec> batch, const Store& store, Codec codec, Index row_width,
              Index most_ids, StagingControl* control, View<std::byte, 1, DeviceSpace> gpu)
      : batch_(std::move(batch)),
        codec_(codec),
        row_width_(row_width),
        most_ids_(most_ids),
        row_bytes_(store.row_bytes() + store.scale_bytes()),
        stride_(stride_of(store)),
        shape_{most_ids, store.row_bytes(), store.scale_bytes()},
        control_(control),
        batch_memory_(batch_.row_bytes().data()),
        places_memory_(batch_.places().data()) {
    *control_ = {};
    Workspace memory(gpu.for_body());
    state_ = memory.take<StagedState>(1);
    places_ = memory.take<std::int32_t>(most_ids);
    rows_ = memory.take<std::byte>(most_ids * stride_);
  }

  FetchBatch<Store, Codec> batch_;
  Codec codec_;
  Index row_width_, most_ids_, row_bytes_, stride_;
  RowShape shape_;
  StagingControl* control_;
  const std::byte* batch_memory_;
  const std::int32_t* places_memory_;
  std::uint32_t submitted_ = 0;
  StagedState* state_ = nullptr;
  std::int32_t* places_ = nullptr;
  std::byte* rows_ = nullptr;
};

ENGRAM_END_NAMESPACE
