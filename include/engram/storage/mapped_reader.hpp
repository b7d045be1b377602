// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Files in place, read in batches: what MmapStore reads one fault after the other, a disk latency
// for each row, is asked for together and copied when it is there. No library and no permission is
// needed, so this is what is left where a system has or allows no better way to its disk.

#include <engram/storage/copy_rows.hpp>
#include <engram/storage/mmap_store.hpp>
#include <engram/storage/page_advice.hpp>
#include <engram/storage/read_counters.hpp>
#include <engram/storage/sigbus_guard.hpp>

#include <chrono>
#include <memory>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// Reads batches of a MappedFetchStore, whose files it keeps. For one thread. Moves, is not copied.
///
/// A batch whose rows seem to be in memory costs no advice: four of its rows are looked up first,
/// and when others of it come from the disk after all, the next batches are asked for unseen, 1, 2,
/// 4, ... 64 of them for guesses that stay wrong.
class MappedReader {
 public:
  /// Batches that may be on their way at the same time.
  static constexpr Index max_batches = 64;

  ENGRAM_ALWAYS_INLINE explicit MappedReader(std::shared_ptr<const MmapStore> store)
      : store_(std::move(store)),
        mapped_(store_->ref()),
        shape_{store_->num_rows(), store_->row_bytes(), store_->scale_bytes()},
        batches_(max_batches) {}
  ENGRAM_ALWAYS_INLINE MappedReader(MappedReader&&) = default;
  MappedReader(const MappedReader&) = delete;
  ENGRAM_ALWAYS_INLINE ~MappedReader() = default;

  /// Asks for rows and returns; of more than 256 rows, the first are asked for now and the others
  /// as wait() and poll() come to them. `rows` and `bytes` stay the caller's and must live until
  /// the batch is done.
  ///
  /// rows    [n] in [0, num_rows()).  bytes  [n * (row_bytes() + scale_bytes())].
  /// Status  bad_row (index: the place in `rows`), shape_mismatch (index: the bytes expected), then
  ///         the ticket's too; busy (the ticket is on its way, or max_batches are; index:
  ///         max_batches), then the ticket is as it was. Nothing of the batch is on its way.
  ENGRAM_ALWAYS_INLINE Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                                     Ticket& ticket) noexcept {
    Batch* const batch = find(ticket) == nullptr ? free_batch() : nullptr;
    if (batch == nullptr) return {Code::busy, 0, max_batches};
    if (Status s = check(rows, bytes); !s.ok()) {
      finish_ticket(ticket, s);
      return s;
    }
    ++counters_.batches;
    counters_.rows += rows.size();
    *batch = Batch();
    batch->id = ticket.id = ++last_id_;
    batch->rows = rows;
    batch->bytes = bytes.data();
    batch->submitted = now();
    batch->advised = !seems_in_memory(rows);
    ticket.status = {};
    if (rows.size() == 0) return finish(*batch, ticket, {});
    ask_until(*batch, piece_rows);
    return {};
  }

  /// Copies the rows that have come; true when that were all. Rows that have not come 100 ms after
  /// the batch was asked for are waited for. One system call a row.
  ENGRAM_ALWAYS_INLINE bool poll(Ticket& ticket) noexcept {
    Batch* const batch = find(ticket);
    if (batch == nullptr) return true;
    const bool is_late = now() - batch->submitted > Index{100'000'000};
    Index ready = batch->rows.size();
    if (batch->advised && !is_late)
      for (ready = batch->copied; ready < batch->rows.size() && is_here(row(*batch, ready));)
        ++ready;
    const Status status = copy_until(*batch, ready);
    if (status.ok() && batch->copied < batch->rows.size()) return false;
    (void)finish(*batch, ticket, status);
    return true;
  }

  /// Copies the rows, waiting for those that have not come. The batch's status: ok, or io (EFAULT)
  /// under a SigbusGuard when a disk failed or a file became shorter; without a guard that ends the
  /// process. Of a ticket that is done, its status again; invalid_config for another reader's.
  ENGRAM_ALWAYS_INLINE Status wait(Ticket& ticket) noexcept {
    Batch* const batch = find(ticket);
    if (batch == nullptr) return ticket.id == -1 ? ticket.status : Status{Code::invalid_config};
    const Index begin = now();
    const Status status = copy_until(*batch, batch->rows.size());
    counters_.wait_ns += now() - begin;
    return finish(*batch, ticket, status);
  }

  /// What was read so far. `wrong_guesses` are faults that waited for a disk in batches that seemed
  /// to be in memory; `mapped_rows` the rows of these batches.
  const ReadCounters& counters() const noexcept { return counters_; }

 private:
  /// Rows that are asked for together, and one such piece ahead of what is copied.
  static constexpr Index piece_rows = 256;

  struct Batch {
    Index id = -1;
    View<const RowId, 1> rows;
    std::byte* bytes = nullptr;
    Index asked = 0;   ///< rows whose pages were asked for
    Index copied = 0;  ///< rows that are in `bytes`
    Index submitted = 0;
    Index requests[2] = {};  ///< on their way for an even and for an odd piece
    bool advised = false;    ///< false: it seemed to be in memory
  };

  ENGRAM_ALWAYS_INLINE static Index now() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  ENGRAM_ALWAYS_INLINE Status check(View<const RowId, 1> rows,
                                    View<std::byte, 1> bytes) const noexcept {
    const Index each = shape_.row_bytes + shape_.scale_bytes;
    if (rows.size() > INT64_MAX / each || bytes.size() != rows.size() * each)
      return {Code::shape_mismatch, 0, rows.size() > INT64_MAX / each ? -1 : rows.size() * each};
    return check_batch_rows(rows, shape_.num_rows);
  }

  ENGRAM_ALWAYS_INLINE Batch* find(const Ticket& ticket) noexcept {
    if (ticket.id == -1) return nullptr;
    for (Batch& batch : batches_)
      if (batch.id == ticket.id) return &batch;
    return nullptr;
  }

  ENGRAM_ALWAYS_INLINE Batch* free_batch() noexcept {
    for (Batch& batch : batches_)
      if (batch.id == -1) return &batch;
    return nullptr;
  }

  ENGRAM_ALWAYS_INLINE Status finish(Batch& batch, Ticket& ticket, Status status) noexcept {
    if (!status.ok()) ++counters_.failed_batches;
    if (!batch.advised) counters_.mapped_rows += batch.copied;
    in_flight_ -= batch.requests[0] + batch.requests[1];
    batch.id = -1;
    finish_ticket(ticket, status);
    return status;
  }

  ENGRAM_ALWAYS_INLINE RowBytes row(const Batch& batch, Index i) const noexcept {
    return mapped_(to_integer(batch.rows(i)));
  }

  ENGRAM_ALWAYS_INLINE bool is_here(RowBytes row) const noexcept {
    return is_in_memory(row.codes, shape_.row_bytes, page_bytes_) &&
           (shape_.scale_bytes == 0 || is_in_memory(row.scales, shape_.scale_bytes, page_bytes_));
  }

  /// Looks at four rows, others each time.
  ENGRAM_ALWAYS_INLINE bool seems_in_memory(View<const RowId, 1> rows) noexcept {
    if (doubtful_ > 0) {
      --doubtful_;
      return false;
    }
    const Index n = rows.size();
    const Index samples = n < 4 ? n : 4;
    turn_ += 7;
    for (Index i = 0; i < samples; ++i)
      if (!is_here(mapped_(to_integer(rows((turn_ + i * n / samples) % n))))) return false;
    return true;
  }

  /// Asks for the pages of rows up to `end`, in whole pieces.
  ENGRAM_ALWAYS_INLINE void ask_until(Batch& batch, Index end) noexcept {
    if (!batch.advised) return;
    const Index rows = batch.rows.size();
    while (batch.asked < end && batch.asked < rows) {
      const Index stop = std::min(batch.asked + piece_rows, rows);
      Index& requests = batch.requests[batch.asked / piece_rows % 2];
      for (; batch.asked < stop; ++batch.asked) {
        const RowBytes at = row(batch, batch.asked);
        advice_.add(at.codes, shape_.row_bytes, counters_);
        if (shape_.scale_bytes > 0) advice_.add(at.scales, shape_.scale_bytes, counters_);
      }
      requests = advice_.ask(counters_);
      in_flight_ += requests;
      counters_.most_in_flight = std::max(counters_.most_in_flight, in_flight_);
    }
  }

  ENGRAM_ALWAYS_INLINE Status copy_until(Batch& batch, Index end) noexcept {
    const Index faults = batch.advised ? -1 : count_disk_faults();
    Status status;
    while (batch.copied < end) {
      const Index piece = batch.copied / piece_rows;
      const Index piece_end = piece * piece_rows + piece_rows;
      const Index stop = std::min(piece_end, end);
      ask_until(batch, piece_end + piece_rows);
      status = guarded_read([&] {
        copy_rows(mapped_, batch.rows.slice(batch.copied, stop - batch.copied), shape_,
                  batch.bytes + batch.copied * (shape_.row_bytes + shape_.scale_bytes));
        return Status{};
      });
      if (!status.ok()) break;
      batch.copied = stop;
      if (stop < piece_end) continue;
      in_flight_ -= batch.requests[piece % 2];
      batch.requests[piece % 2] = 0;
    }
    if (faults >= 0) learn(count_disk_faults() - faults);
    return status;
  }

  /// Of a batch that seemed to be in memory: the disk was needed `faults` times.
  ENGRAM_ALWAYS_INLINE void learn(Index faults) noexcept {
    if (faults > 0) {
      counters_.wrong_guesses += faults;
      doubtful_ = next_doubtful_;
      next_doubtful_ = std::min<Index>(2 * next_doubtful_, 64);
    } else {
      next_doubtful_ = 1;
    }
  }

  std::shared_ptr<const MmapStore> store_;
  MappedRows mapped_;
  RowShape shape_;
  Index page_bytes_ = system_page_bytes();
  std::vector<Batch> batches_;
  PageAdvice advice_;
  ReadCounters counters_;
  Index last_id_ = 0;
  Index in_flight_ = 0;
  Index turn_ = 0;
  Index doubtful_ = 0;       ///< batches to ask for without a look
  Index next_doubtful_ = 1;  ///< after the next wrong guess
};

/// The rows of an MmapStore, to be fetched in batches. Files, segments and errors are MmapStore's.
/// Moves, is not copied; readers keep the files, also when it goes. Const calls may run
/// concurrently.
class MappedFetchStore {
 public:
  /// As MmapStore::open().
  ENGRAM_ALWAYS_INLINE static Result<MappedFetchStore> open(std::vector<TableSegment> segments) {
    Result<MmapStore> store = MmapStore::open(std::move(segments));
    if (!store.ok()) return store.failure();
    return MappedFetchStore(std::move(store.value()));
  }

  Index num_rows() const noexcept { return store_->num_rows(); }
  Index row_bytes() const noexcept { return store_->row_bytes(); }
  Index scale_bytes() const noexcept { return store_->scale_bytes(); }
  /// Another number for each open(), see next_generation().
  std::uint64_t generation() const noexcept { return generation_; }
  /// The same rows in place.
  const MmapStore& in_place() const noexcept { return *store_; }

  /// One for each thread. Allocates 40 KiB.
  ENGRAM_ALWAYS_INLINE MappedReader reader() const { return MappedReader(store_); }

 private:
  ENGRAM_ALWAYS_INLINE explicit MappedFetchStore(MmapStore store)
      : store_(std::make_shared<const MmapStore>(std::move(store))),
        generation_(next_generation()) {}

  std::shared_ptr<const MmapStore> store_;
  std::uint64_t generation_ = 0;
};
static_assert(check_fetch_store<MappedFetchStore>());

ENGRAM_END_NAMESPACE
