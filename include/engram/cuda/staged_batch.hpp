// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows from a disk to a GPU: a batch is asked for on the host, and the GPU waits for it itself, so
// that a whole step, captured in a graph, is launched before its rows have arrived.
//
//   host                                     stream, perhaps a graph that is replayed
//   batch.plan(rows, first_rows);
//   batch.submit();                          batch.take(device, tokens, layers, columns, timeout);
//                                            batch.decode(device, 0, out);  // first memory
//                                            ...
//
// take() may be launched before plan(). Each take() ends one turn: with the batch that was
// submitted for it, or without. Rows stay in the GPU's memory while there is room, and are not read
// again. Two StagedBatches, one for this step and one for the next, are a ring of two; each keeps
// its own rows.

#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/resident_rows.hpp>
#include <engram/cuda/shared_word.hpp>
#include <engram/layer/fetch_batch.hpp>
#include <engram/storage/store_view.hpp>

#include <algorithm>

ENGRAM_BEGIN_NAMESPACE

/// What host and GPU tell each other; in page-locked memory. Numbers of turns are modulo 2^32.
struct StagingControl {
  std::uint32_t arrived = 0;   ///< of the batch that was submitted last: 1 rows are there, 2 failed
  std::uint32_t turn = 0;      ///< which take() it is for; written after `arrived` became 0
  std::uint32_t finished = 0;  ///< turns that are over; the GPU's
  std::uint32_t batch = 0;     ///< number of the batch that was submitted last
  std::uint32_t taken = 0;     ///< number of the last batch that the GPU got; the GPU's
  Index tokens = 0, layers = 0, columns = 0;
  Index rows = 0;  ///< distinct ones that were not in the GPU's memory
};

/// What the last take() found; in the GPU's memory.
struct StagedState {
  Index rows = 0;           ///< that came with the batch
  std::uint32_t batch = 0;  ///< its number
  bool is_there = false;    ///< false: it was late, failed or of another size
};

/// Distinct rows of the batches that were planned.
struct StagedCounts {
  std::uint64_t hits = 0;    ///< in the GPU's memory already
  std::uint64_t misses = 0;  ///< asked of the store
};

/// Waits for the batch of this turn. What is not there in time, failed or of another size is
/// reported and leaves no rows. A batch of an earlier turn came too late, and is none.
template <class Report>
struct AwaitBatchBody {
  const StagingControl* control;
  StagedState* state;
  Index tokens, layers, columns;
  std::uint64_t most_nanoseconds;
  Report errors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) {
      const std::uint32_t turn = load_shared(&control->finished) + 1;
      const std::uint64_t begin = clock_nanoseconds();
      std::uint32_t arrived = 0;
      for (;;) {
        // The turn first: who sees this one's sees no `arrived` of a batch before.
        if (peek_shared(&control->turn) == turn && load_shared(&control->turn) == turn)
          arrived = load_shared(&control->arrived);
        if (arrived != 0 || clock_nanoseconds() - begin >= most_nanoseconds) break;
        pause_a_microsecond();
      }
      const bool fits = arrived == 1 && control->tokens == tokens && control->layers == layers &&
                        control->columns == columns;
      state->rows = fits ? control->rows : 0;
      state->batch = control->batch;
      state->is_there = fits;
      if (arrived == 0)
        errors.report(Code::busy, 0);
      else if (arrived != 1)
        errors.report(Code::io, 0);
      else if (!fits)
        errors.report(Code::shape_mismatch, control->tokens * control->layers * control->columns);
    });
  }
};

/// A row from page-locked memory to its slot.
struct TakeRowBody {
  const std::byte* from;
  Index bytes;
  const std::int64_t* slots;
  MutableStridedRows to;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index row) const noexcept {
    lanes.copy(to(slots[row]).codes, from + row * bytes, bytes);
  }
};

/// The slot of the row that each of 32 ids asks for; -1 where the batch is not there.
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
               [&](Index l) { to[first + l] = state->is_there ? from[first + l] : -1; });
  }
};

/// Ends the turn: the host may use the page-locked memory again.
struct FinishTurnBody {
  StagingControl* control;
  const StagedState* state;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.each(1, [&](Index) {
      const std::uint32_t turn = load_shared(&control->finished) + 1;
      if (state->is_there) store_shared(&control->taken, state->batch);
      store_shared(&control->finished, turn);
    });
  }
};

/// One batch of rows at a time, over a FetchStore whose readers go on by themselves
/// (BackgroundStore); with another the host calls poll() until the rows are there, or the GPU waits
/// until the timeout. Refers to the store and to the caller's memory; does not move; stays until
/// what take() and decode() launched is done. One thread at a time, but for calls on the GPU.
template <class Store, class Codec>
class StagedBatch {
  /// What a batch has on the GPU.
  struct GpuMemory {
    StagedState* state;
    std::int32_t* places;  ///< [most_ids] slots of the batch that was taken
    StoreView<DeviceSpace, std::byte> slots;
  };

 public:
  /// Page-locked bytes for batches of at most `ids` row ids, of all tokens, layers and columns.
  static Index pinned_bytes(const Store& store, Index ids) noexcept {
    const Index batch = FetchBatch<Store, Codec>::memory_bytes(store, ids);
    return static_cast<Index>(Workspace::bytes_for<StagingControl>(1) +
                              Workspace::bytes_for<std::byte>(batch));
  }
  /// Bytes of the GPU for them, with room for `rows` rows that stay there, or for `ids` if that is
  /// more.
  static Index device_bytes(const Store& store, Index ids, Index rows = 0) noexcept {
    return static_cast<Index>(
        Workspace::bytes_for<StagedState>(1) + Workspace::bytes_for<std::int32_t>(ids) +
        Workspace::bytes_for<std::byte>(std::max(ids, rows) *
                                        device_stride(store.row_bytes() + store.scale_bytes())));
  }

  /// pinned  [>= pinned_bytes(store, most_ids)], at the same address for host and GPU.
  /// gpu     [>= device_bytes(store, most_ids)]: as many rows stay there as have room.
  ///
  /// Fails as FetchBatch::make(), and as ResidentRows::make().
  ENGRAM_ALWAYS_INLINE static Result<std::unique_ptr<StagedBatch>> make(
      const Store& store, Codec codec, Index row_width, Index most_ids,
      View<std::byte, 1, PinnedSpace> pinned, DeviceView<std::byte, 1> gpu) {
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
    auto batch =
        FetchBatch<Store, Codec>::make(store, codec, row_width, most_ids,
                                       View<std::byte, 1>(memory.take<std::byte>(bytes), bytes));
    if (!batch.ok()) return batch.failure();
    const Index stride = device_stride(store.row_bytes() + store.scale_bytes());
    const Index slots = std::min({most_ids + (gpu.size() - least) / stride,
                                  std::max(most_ids, store.num_rows()), Index{INT32_MAX} - 1});
    auto resident = ResidentRows::make(store.num_rows(), slots);
    if (!resident.ok()) return resident.failure();
    Workspace on_gpu(gpu.for_body());
    auto* const state = on_gpu.take<StagedState>(1);
    auto* const places = on_gpu.take<std::int32_t>(most_ids);
    const auto rows = StoreView<DeviceSpace, std::byte>::make(
        on_gpu.take<std::byte>(slots * stride), {slots, store.row_bytes(), store.scale_bytes()},
        stride);
    if (!rows.ok()) return fail(rows.status().code, {"staged batch: ", rows.message()});
    return std::unique_ptr<StagedBatch>(
        new StagedBatch(std::move(batch.value()), std::move(resident.value()), store, codec,
                        row_width, most_ids, control, GpuMemory{state, places, rows.value()}));
  }

  StagedBatch(const StagedBatch&) = delete;

  /// As FetchBatch::plan(), and busy until the take() of the batch before is over. Where that batch
  /// was late, waits until its rows have been read. mismatch, from then on, once the store was
  /// opened again (its generation() is another): its rows need a new StagedBatch.
  template <class Row>
  ENGRAM_ALWAYS_INLINE Status plan(View<Row, 3> rows, View<const Index, 1> first_rows) noexcept {
    if (!is_taken()) return {Code::busy, 0, 1};
    (void)batch_.wait();
    settle();
    is_planned_ = false;
    if (is_reopened()) return {Code::mismatch};
    if (const Status s = batch_.plan(rows, first_rows); !s.ok()) return s;
    is_planned_ = true;
    tokens_ = rows.extent(0);
    layers_ = rows.extent(1);
    columns_ = rows.extent(2);
    const Index all = batch_.unique_rows();
    batch_.relocate(resident_);
    const Index missing = batch_.unique_rows();
    counts_.hits += static_cast<std::uint64_t>(all - missing);
    counts_.misses += static_cast<std::uint64_t>(missing);
    is_settled_ = false;
    return {};
  }
  /// Forgets the rows in the GPU's memory, and a batch that was planned and not submitted: after
  /// the store's rows were changed in place. Call it when nothing is submitted whose take() is not
  /// over: that batch may have old rows beside new ones.
  void clear() noexcept {
    is_planned_ = false;
    is_settled_ = true;
    resident_.clear();
  }
  /// Rows that the GPU's memory has room for.
  Index num_slots() const noexcept { return resident_.num_slots(); }
  /// Of all plans since make().
  const StagedCounts& counts() const noexcept { return counts_; }
  /// As FetchBatch::submit(), for the first take() that has not ended. Busy, and nothing happens,
  /// unless plan() was ok since the last submit(). A batch that the store refuses has failed:
  /// take() says io; so has one of a store that was opened again since plan() (mismatch).
  ENGRAM_ALWAYS_INLINE Status submit() noexcept {
    if (!is_planned_) return {Code::busy, 0, 1};
    is_planned_ = false;
    store_shared(&control_->arrived, 0);
    control_->batch = ++number_;
    control_->tokens = tokens_;
    control_->layers = layers_;
    control_->columns = columns_;
    control_->rows = batch_.unique_rows();
    turn_ = load_shared(&control_->finished) + 1;
    store_shared(&control_->turn, turn_);
    if (is_reopened()) {
      store_shared(&control_->arrived, 2);
      return {Code::mismatch};
    }
    return batch_.submit(&control_->arrived);
  }
  /// Whether the rows are in host memory, or cannot come.
  bool poll() noexcept { return batch_.poll(); }
  /// The status of the batch, once it is in host memory: why it failed, where take() says io.
  Status wait() noexcept { return batch_.wait(); }
  /// Whether the take() that the last batch was for is over, so that plan() may be called.
  bool is_taken() const noexcept {
    return static_cast<std::int32_t>(load_shared(&control_->finished) - turn_) >= 0;
  }
  /// Gives up a batch for which no take() was launched, nor a graph with one.
  void discard() noexcept {
    settle();
    batch_.discard();
    is_planned_ = false;
    turn_ = load_shared(&control_->finished);
    store_shared(&control_->turn, turn_);
  }

  /// Waits on the GPU until the batch has arrived, and copies it there. Then the page-locked memory
  /// is free for the next plan(). One take() at a time. Order them by streams and events: take(),
  /// its decode(), the next take(), which gives away slots that decode() reads.
  ///
  /// tokens, layers, columns  of the batch.
  /// timeout  microseconds. What waits for the GPU between this call and submit() (allocating,
  ///          freeing or locking memory, a copy on the legacy stream, the first launch of a kernel,
  ///          which loads it) takes as long, and then the batch is late.
  /// Status   shape_mismatch (index: most ids), invalid_config (a negative number): nothing was
  ///          launched. device.wait() says busy (the batch was not there in time; it is dropped),
  ///          io (it failed, see wait()), shape_mismatch (it has other extents; index: its ids).
  ///          Then decode() gives zeros.
  /// Cost     four launches, and each distinct row that is not there once over the link. Waiting
  ///          occupies one warp.
  template <KernelDevice Dev>
  ENGRAM_HIDDEN Status take(const Dev& device, Index tokens, Index layers, Index columns,
                            Index timeout) noexcept {
    if (tokens < 0 || layers < 0 || columns < 0 || timeout < 0) return {Code::invalid_config};
    if (columns > most_ids_ || layers > most_ids_ || layers * columns > most_ids_ ||
        (layers * columns > 0 && tokens > most_ids_ / (layers * columns)))
      return {Code::shape_mismatch, 0, most_ids_};
    const Index ids = tokens * layers * columns;
    taken_ = DeviceView<const std::int32_t, 3>(gpu_.places, tokens, layers, columns);
    const std::uint64_t most_nanoseconds =
        timeout > INT64_MAX / 1000 ? UINT64_MAX : static_cast<std::uint64_t>(timeout) * 1000;
    device.for_items(1, AwaitBatchBody<decltype(device.error_word())>{
                            control_, gpu_.state, tokens, layers, columns, most_nanoseconds,
                            device.error_word()});
    const Index bytes = gpu_.slots.row_bytes() + gpu_.slots.scale_bytes();
    device.for_items_up_to(ids, &gpu_.state->rows,
                           TakeRowBody{batch_memory_, bytes, arrivals_, gpu_.slots.mutable_ref()});
    device.for_items((ids + 31) / 32, TakePlacesBody{gpu_.state, places_memory_, gpu_.places, ids});
    device.for_items(1, FinishTurnBody{control_, gpu_.state});
    return {};
  }

  /// For kernels behind take(), of the same graph too.
  DeviceView<const StagedState, 1> state() const noexcept {
    return DeviceView<const StagedState, 1>(gpu_.state, 1);
  }

  /// Rows of one layer of the batch that was taken, decoded by gather(): with CudaDevice, include
  /// cuda/gather.cuh.
  ///
  /// out     [T, H * row_width] float, Bf16 or F16, memory of the GPU, token stride free; zeros for
  ///         no row.
  /// Status  shape_mismatch (index: the extent expected, or L); then nothing was launched.
  template <KernelDevice Dev, class Out>
  ENGRAM_HIDDEN Status decode(const Dev& device, Index layer,
                              DeviceView<Out, 2> out) const noexcept {
    if (layer < 0 || layer >= taken_.extent(1)) return {Code::shape_mismatch, 0, taken_.extent(1)};
    return gather(device, gpu_.slots, codec_, row_width_, taken_.template at<1>(layer), out);
  }

 private:
  ENGRAM_ALWAYS_INLINE StagedBatch(FetchBatch<Store, Codec> batch, ResidentRows resident,
                                   const Store& store, Codec codec, Index row_width, Index most_ids,
                                   StagingControl* control, const GpuMemory& gpu)
      : store_(&store),
        batch_(std::move(batch)),
        resident_(std::move(resident)),
        codec_(codec),
        row_width_(row_width),
        most_ids_(most_ids),
        control_(control),
        gpu_(gpu),
        batch_memory_(batch_.row_bytes().data()),
        arrivals_(batch_.arrivals().data()),
        places_memory_(batch_.places().data()) {
    *control_ = {};
    if constexpr (HasGeneration<Store>) generation_ = store.generation();
  }

  bool is_reopened() const noexcept {
    if constexpr (HasGeneration<Store>)
      return generation_ != store_->generation();
    else
      return false;
  }
  /// Frees the slots of rows that were planned and never reached the GPU.
  void settle() noexcept {
    if (is_settled_) return;
    is_settled_ = true;
    if (!is_planned_ && load_shared(&control_->taken) == number_) return;
    for (Index i = 0; i < batch_.arrivals().size(); ++i) resident_.remove(batch_.arrivals()(i));
  }

  const Store* store_;
  FetchBatch<Store, Codec> batch_;
  ResidentRows resident_;
  Codec codec_;
  Index row_width_, most_ids_;
  StagingControl* control_;
  GpuMemory gpu_;
  const std::byte* batch_memory_;
  const std::int64_t* arrivals_;
  const std::int32_t* places_memory_;
  Index tokens_ = 0, layers_ = 0, columns_ = 0;  // of the last plan
  std::uint32_t number_ = 0;                     // of the last batch
  std::uint32_t turn_ = 0;                       // that it was for
  bool is_planned_ = false;
  bool is_settled_ = true;  // the GPU's answer about the last plan's rows has been looked at
  std::uint64_t generation_ = 0;
  StagedCounts counts_;
  DeviceView<const std::int32_t, 3> taken_;
};

ENGRAM_END_NAMESPACE
