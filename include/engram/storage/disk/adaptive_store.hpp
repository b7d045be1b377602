// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A table in files that are partly in memory: rows that are come straight from a mapping, without a
// system call; rows that are not come from the disk, all of a batch at once. Which is which is
// learned from how long rows take and from samples, because asking for each would cost more than
// copying it.

#include <engram/storage/copy_rows.hpp>
#include <engram/storage/disk/direct_store.hpp>
#include <engram/storage/disk/residency.hpp>
#include <engram/storage/mmap_store.hpp>
#include <engram/storage/page_advice.hpp>
#include <engram/storage/sigbus_guard.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What an adaptive reader reads from.
template <class Reads>
struct AdaptiveSource {
  MmapStore mapped;
  DirectStore<Reads> direct;
  RowShape shape;
  bool residency_is_told = false;  ///< of all files
};

/// See StoreReader, and DirectReader for what submit() and wait() say; wait() also io with EFAULT,
/// where a mapped file failed under a SigbusGuard, and submit() also unsupported (index: the rows)
/// for more than 2^31 - 1 of them.
///
/// How it decides: while rows are thought to be in memory they are copied, and the clock is read
/// once for some rows; a group that took as long as a fault is a sign that they are not. Then, and
/// from then on at the start of each batch, a sample of the batch is looked up: all of it in
/// memory, rows are copied again; none, all are read from the disk; some, each is looked up. A
/// batch that was thought warm and is cold so costs a few faults, the next one none.
template <class Reads>
class AdaptiveReader {
 public:
  explicit AdaptiveReader(std::shared_ptr<const AdaptiveSource<Reads>> source)
      : source_(std::move(source)),
        direct_(source_->direct.reader()),
        pending_(static_cast<std::size_t>(most_batches)) {}

  Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket& ticket) noexcept {
    const Index each = row_bytes();
    if (bytes.size() != rows.size() * each) return {Code::shape_mismatch, 0, rows.size() * each};
    if (rows.size() > INT32_MAX) return {Code::unsupported, 0, rows.size()};
    if (Status s = check_batch_rows(rows, source_->shape.num_rows); !s.ok()) return s;
    Pending* free = nullptr;
    for (Pending& pending : pending_)
      if (pending.ticket == nullptr) free = &pending;
    if (find(ticket) != nullptr) free = nullptr;
    if (free == nullptr) return {Code::busy, 0, most_batches};
    ++counters_.batches;
    counters_.rows += rows.size();

    Status status;
    Index copied = 0;
    if (is_warm_) status = copy_while_warm(rows, bytes, copied);
    free->is_open = false;
    if (status.ok() && copied < rows.size()) status = read_rest(rows, bytes, copied, *free);
    if (status.code == Code::busy) {  // batches that were given up are still on the way
      --counters_.batches;
      counters_.rows -= rows.size();
      return status;
    }
    if (!status.ok() && free->is_open) direct_.cancel(free->direct);
    free->is_open = free->is_open && status.ok();
    if (free->is_open) {
      ticket.id = counters_.batches;
      free->ticket = &ticket;
    } else {
      counters_.failed_batches += status.ok() ? 0 : 1;
      finish_ticket(ticket, status);
    }
    return {};
  }

  bool poll(Ticket& ticket) noexcept {
    Pending* pending = find(ticket);
    if (pending == nullptr) return true;
    if (!direct_.poll(pending->direct)) return false;
    end(*pending, pending->direct.status);
    return true;
  }
  Status wait(Ticket& ticket) noexcept {
    if (Pending* pending = find(ticket); pending != nullptr)
      end(*pending, direct_.wait(pending->direct));
    return ticket.status;
  }
  /// See DirectReader::cancel().
  void cancel(Ticket& ticket) noexcept {
    if (Pending* pending = find(ticket); pending != nullptr) {
      direct_.cancel(pending->direct);
      end(*pending, pending->direct.status);
    }
  }

  ReadCounters counters() const noexcept {
    ReadCounters sum = direct_.counters();
    sum.batches = counters_.batches;
    sum.failed_batches = counters_.failed_batches;
    sum.rows = counters_.rows;
    sum.unique_rows += counters_.mapped_rows;
    sum.mapped_rows = counters_.mapped_rows;
    sum.wrong_guesses = counters_.wrong_guesses;
    return sum;
  }

 private:
  static constexpr Index most_batches = 4;
  static constexpr Index sampled_rows = 16;  ///< at most; of small batches a quarter
  static constexpr Index doubtful_rows = 256;
  static constexpr Index batches_between_touches = 8;

  struct Pending {
    Ticket* ticket = nullptr;  ///< null: free
    Ticket direct;
    bool is_open = false;  ///< `direct` is on the way
    std::unique_ptr<HostMemory> memory;
    Index room = 0;
    RowId* rows = nullptr;
    std::int32_t* places = nullptr;

    /// Room for the rows of a batch that are not in memory; kept for later ones.
    Status reserve(Index count) noexcept {
      if (count <= room) return {};
      const Index wanted = std::max(count, 2 * room);
      Result<HostMemory> made = HostMemory::make(
          wanted * Index{sizeof(RowId) + sizeof(std::int32_t)}, {.pages = Pages::ordinary});
      if (!made.ok()) return made.status();
      memory.reset(new (std::nothrow) HostMemory(std::move(made).value()));
      if (memory == nullptr) return {Code::out_of_memory};
      room = wanted;
      rows = reinterpret_cast<RowId*>(memory->data());
      places = reinterpret_cast<std::int32_t*>(rows + room);
      return {};
    }
  };

  Index row_bytes() const noexcept { return source_->shape.row_bytes + source_->shape.scale_bytes; }

  Pending* find(const Ticket& ticket) noexcept {
    for (Pending& pending : pending_)
      if (pending.ticket == &ticket) return &pending;
    return nullptr;
  }
  void end(Pending& pending, Status status) noexcept {
    counters_.failed_batches += status.ok() ? 0 : 1;
    finish_ticket(*pending.ticket, status);
    pending.ticket = nullptr;
    pending.is_open = false;
  }

  /// Copies rows [begin, end) from the mapping.
  Status copy(View<const RowId, 1> rows, View<std::byte, 1> bytes, Index begin,
              Index end) noexcept {
    counters_.mapped_rows += end - begin;
    return guarded_read([&] {
      copy_rows(source_->mapped.ref(), rows, {begin, end}, source_->shape, bytes.data());
      return Status{};
    });
  }

  /// Copies rows until a group of them took as long as a fault does and a look shows why; `copied`:
  /// how many.
  Status copy_while_warm(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                         Index& copied) noexcept {
    using Clock = std::chrono::steady_clock;
    Index group = 4;
    auto last = Clock::now();
    while (copied < rows.size()) {
      const Index end = std::min(rows.size(), copied + group);
      if (Status s = copy(rows, bytes, copied, end); !s.ok()) return s;
      const auto now = Clock::now();
      // 20 us are less than any disk's fault and more than 4 rows from memory, each of them behind
      // a fault that needs no disk. A row takes 30 ns where memory is idle and ten times that where
      // it is busy; and one fault among hundreds of rows is cheaper than looking each of them up.
      // Long rows: 2 GB/s.
      const Index most = 20000 + (end - copied) * (500 + row_bytes() / 2);
      copied = end;
      if (now - last <= std::chrono::nanoseconds(most)) {
        group = std::min<Index>(2 * group, 256);
        slow_groups_ = 0;
        last = now;
        continue;
      }
      if (++slow_groups_ == 1 && calm_groups_ > 0) {
        --calm_groups_;
        last = now;
        continue;
      }
      slow_groups_ = 0;
      const Index looked_at = std::min(doubtful_rows, rows.size() - copied);
      if (looked_at == 0 || !source_->residency_is_told ||
          resident_of(rows, copied, looked_at) < looked_at) {
        counters_.wrong_guesses += looked_at > 0 ? 1 : 0;
        is_warm_ = false;
        calm_after_noise_ = 1;
        return {};
      }
      // Somebody else had the processor. The more often, the longer until the next look.
      calm_groups_ = calm_after_noise_;
      calm_after_noise_ = std::min<Index>(2 * calm_after_noise_, 64);
      last = Clock::now();
    }
    return {};
  }

  /// How many of `looked_at` rows, spread over those from `begin` on, are in memory.
  Index resident_of(View<const RowId, 1> rows, Index begin, Index looked_at) const noexcept {
    const Index left = rows.size() - begin;
    Index found = 0;
    for (Index i = 0; i < looked_at; ++i)
      found += row_is_resident(rows(begin + i * left / looked_at)) ? 1 : 0;
    return found;
  }

  bool row_is_resident(RowId row) const noexcept {
    const RowShape& shape = source_->shape;
    const RowBytes at = source_->mapped.ref()(to_integer(row));
    return is_in_memory(at.codes, shape.row_bytes, page_bytes_) &&
           (shape.scale_bytes == 0 || is_in_memory(at.scales, shape.scale_bytes, page_bytes_));
  }

  /// Touches a row and looks how long that took: where the system does not say what is in memory.
  bool row_comes_at_once(RowId row) const noexcept {
    const auto start = std::chrono::steady_clock::now();
    const RowBytes at = source_->mapped.ref()(to_integer(row));
    const Status read = guarded_read([&] {
      (void)*static_cast<const volatile std::byte*>(at.codes);
      return Status{};
    });
    return read.ok() && std::chrono::steady_clock::now() - start < std::chrono::microseconds(20);
  }

  /// The rows of a batch from `begin` on, of which it is not known where they are.
  Status read_rest(View<const RowId, 1> rows, View<std::byte, 1> bytes, Index begin,
                   Pending& pending) noexcept {
    const Index left = rows.size() - begin;
    if (!source_->residency_is_told) {
      if (counters_.batches % batches_between_touches != 0 || !row_comes_at_once(rows(begin)))
        return read(rows, bytes, begin, pending, false);
      is_warm_ = true;
      return copy(rows, bytes, begin, rows.size());
    }
    const Index looked_at = std::min(sampled_rows, (left + 3) / 4);
    const Index found = resident_of(rows, begin, looked_at);
    if (found == 0) return read(rows, bytes, begin, pending, false);
    if (found < looked_at) return read(rows, bytes, begin, pending, true);
    counters_.wrong_guesses += begin == 0 ? 1 : 0;
    is_warm_ = true;
    Index copied = begin;
    if (Status s = copy_from(rows, bytes, copied); !s.ok()) return s;
    return copied < rows.size() ? read(rows, bytes, copied, pending, true) : Status{};
  }

  /// copy_while_warm() from `copied` on.
  Status copy_from(View<const RowId, 1> rows, View<std::byte, 1> bytes, Index& copied) noexcept {
    const Index begin = copied;
    Index more = 0;
    const Status status = copy_while_warm(
        rows.slice(begin, rows.size() - begin),
        bytes.slice(begin * row_bytes(), (rows.size() - begin) * row_bytes()), more);
    copied = begin + more;
    return status;
  }

  /// Has rows from `begin` on read from the disk, with `looks` those that are not in memory, and
  /// copies the others meanwhile.
  Status read(View<const RowId, 1> rows, View<std::byte, 1> bytes, Index begin, Pending& pending,
              bool looks) noexcept {
    if (Status s = pending.reserve(rows.size() - begin); !s.ok()) return s;
    Index missing = 0;
    for (Index i = begin; i < rows.size(); ++i) {
      if (looks && row_is_resident(rows(i))) continue;
      pending.rows[missing] = rows(i);
      pending.places[missing++] = static_cast<std::int32_t>(i);
    }
    if (missing > 0) {
      if (Status s = direct_.submit(View<const RowId, 1>(pending.rows, missing),
                                    View<const std::int32_t, 1>(pending.places, missing), bytes,
                                    pending.direct);
          !s.ok())
        return s;
      pending.is_open = true;
    }
    if (missing == rows.size() - begin) return {};
    counters_.mapped_rows += rows.size() - begin - missing;
    return guarded_read([&] {
      for (Index i = begin, m = 0; i < rows.size(); ++i) {
        if (m < missing && pending.places[m] == i)
          ++m;
        else
          copy_row(source_->mapped.ref()(to_integer(rows(i))), source_->shape,
                   bytes.data() + i * row_bytes());
      }
      return Status{};
    });
  }

  std::shared_ptr<const AdaptiveSource<Reads>> source_;  // the store may go first
  DirectReader<Reads> direct_;
  std::vector<Pending> pending_;
  ReadCounters counters_;
  Index page_bytes_ = system_page_bytes();
  bool is_warm_ = true;
  Index slow_groups_ = 0;  ///< one after the other
  Index calm_groups_ = 0;  ///< slow groups still to be taken for noise, each alone
  Index calm_after_noise_ = 1;
};

/// Rows of segments as in MmapStore and DirectStore. A FetchStore.
///
/// What is read from the disk is not kept in memory, what the mapping touches is: whoever wants
/// rows to stay puts a CachedStore on top. The files must keep their length, see sigbus_guard.hpp.
/// Readers keep the files, also when the store goes.
template <class Reads>
class AdaptiveStore {
 public:
  /// Fails as MmapStore::open() and DirectStore::open(). Checksums are not compared: that would
  /// have to read whole pages where a row is enough.
  static Result<AdaptiveStore> open(std::vector<TableSegment> segments, Reads reads,
                                    Index depth = 0) {
    DirectOptions options;
    options.depth = depth;
    Result<DirectStore<Reads>> direct =
        DirectStore<Reads>::open(segments, std::move(reads), options);
    if (!direct.ok()) return direct.failure();
    // The same files, even if others have their names by now.
    const DirectSource& source = direct.value().source();
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const DiskSegment& opened = source.segments[s];
      segments[s].codes.descriptor = source.descriptor(opened.code_file);
      if (segments[s].has_scales())
        segments[s].scales.descriptor = source.descriptor(opened.scale_file);
    }
    Result<MmapStore> mapped = MmapStore::open(std::move(segments));
    if (!mapped.ok()) return mapped.failure();
    const RowShape shape{mapped.value().num_rows(), mapped.value().row_bytes(),
                         mapped.value().scale_bytes()};
    bool told = true;
    for (const DiskFile& file : direct.value().source().files)
      told = told && engram::residency_is_told(file.descriptor());
    return AdaptiveStore(std::shared_ptr<AdaptiveSource<Reads>>(new AdaptiveSource<Reads>{
        std::move(mapped).value(), std::move(direct).value(), shape, told}));
  }

  Index num_rows() const noexcept { return source_->shape.num_rows; }
  Index row_bytes() const noexcept { return source_->shape.row_bytes; }
  Index scale_bytes() const noexcept { return source_->shape.scale_bytes; }
  std::uint64_t generation() const noexcept { return source_->direct.generation(); }

  AdaptiveReader<Reads> reader() const { return AdaptiveReader<Reads>(source_); }

  /// Of the half that reads from the disk.
  const DirectReport& report() const noexcept { return source_->direct.report(); }
  /// Whether the system says what is in memory; if not, rows are touched now and then to find out.
  bool residency_is_told() const noexcept { return source_->residency_is_told; }

 private:
  explicit AdaptiveStore(std::shared_ptr<AdaptiveSource<Reads>> source)
      : source_(std::move(source)) {}

  std::shared_ptr<const AdaptiveSource<Reads>> source_;
};

ENGRAM_END_NAMESPACE
