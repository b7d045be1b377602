// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The reader of a DirectStore: batches of rows on their way from files. Everything that changes is
// here, one object for each thread.

#include <engram/storage/disk/disk_reads.hpp>
#include <engram/storage/disk/read_plan.hpp>
#include <engram/storage/host_memory.hpp>
#include <engram/storage/read_counters.hpp>
#include <engram/storage/store.hpp>

#include <chrono>
#include <memory>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// Whether a page of a file is what was written; `number` is the page's in its file.
using PageCheck = bool (*)(const std::byte* page, Index number) noexcept;

/// How many of the pages that are read are compared with their checksums.
enum class Verify : std::int32_t {
  off = 0,
  sample = 1,  ///< every 64th
  strict = 2,  ///< all
};

/// What a store tells its readers.
struct DirectSource {
  std::vector<DiskFile> files;
  std::vector<DiskSegment> segments;
  RowShape shape;
  Index depth = 0;         ///< reads at the same time, of one reader
  Index most_batches = 0;  ///< batches on the way, of one reader
  Index read_bytes = 0;    ///< of the longest read
  Verify verify = Verify::off;
  PageCheck page_check = nullptr;

  int descriptor(std::int32_t file) const noexcept {
    return files[static_cast<std::size_t>(file)].descriptor();
  }
};

/// See StoreReader. Rows and bytes of a batch stay in place until it is done.
///
/// submit()  plans the batch and has its first reads on the way: as many as the store's depth. The
///           rest follow when poll() or wait() find some of them done. busy when as many batches
///           are on the way as the store allows, or the ticket's is, bad_row (index: the place) for
///           a row that is none, shape_mismatch (index: the bytes expected); io or out_of_memory
///           where the system had no ring or no memory for this reader. Then nothing was read, and
///           the ticket is as it was.
/// wait()    io (system_error: errno), corrupt (a file became shorter, a page is damaged); index:
///           the place in the batch of a row that it hit. By then nothing of the batch is on the
///           way.
/// Memory    made with the reader, touched as it is used: depth reads, and 64 bytes for each of
///           32,768 rows of each batch. A batch of more rows is planned in parts of as many.
/// Destroyed while batches are on the way: waits for what the system has of them; their tickets are
/// not written.
template <class Reads>
class DirectReader {
 public:
  DirectReader(std::shared_ptr<const DirectSource> source, const Reads& reads)
      : state_(std::make_unique<State>(std::move(source), reads)) {}

  Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes, Ticket& ticket) noexcept {
    if (const Index expected = rows.size() * state_->row_bytes(); bytes.size() != expected)
      return {Code::shape_mismatch, 0, expected};
    return state_->submit(rows, {}, bytes, ticket);
  }
  /// The same with gaps: row i arrives as row places(i) of `bytes`. As many places as rows, which
  /// stay in place as well.
  Status submit(View<const RowId, 1> rows, View<const std::int32_t, 1> places,
                View<std::byte, 1> bytes, Ticket& ticket) noexcept {
    if (places.size() != rows.size()) return {Code::shape_mismatch, 0, rows.size()};
    const Index room = bytes.size() / state_->row_bytes();
    for (Index i = 0; i < places.size(); ++i)
      if (places(i) < 0 || places(i) >= room) return {Code::shape_mismatch, 0, places(i)};
    return state_->submit(rows, places, bytes, ticket);
  }
  /// Gives a batch up at once: nothing more of it is started, and nothing writes to its bytes any
  /// more, since what is on the way arrives elsewhere. Its status is io with ECANCELED; a ticket
  /// that is done stays as it is.
  void cancel(Ticket& ticket) noexcept { state_->cancel(ticket); }

  bool poll(Ticket& ticket) noexcept {
    if (!state_->is_open(ticket)) return true;
    state_->advance(false);
    return !state_->is_open(ticket);
  }
  Status wait(Ticket& ticket) noexcept { return state_->wait(ticket); }
  const ReadCounters& counters() const noexcept { return state_->counters; }

 private:
  static constexpr Index planned_rows = 32768;
  static constexpr int most_retries = 64;

  struct Batch {
    Ticket* ticket = nullptr;  ///< null: free, or given up and not at rest yet
    View<const RowId, 1> rows;
    View<const std::int32_t, 1> places;  ///< empty: in order
    View<std::byte, 1> bytes;
    Index number = 0;    ///< the ticket's
    Index next_row = 0;  ///< of those not planned yet
    ReadPiece* pieces = nullptr;
    PlannedRead* reads = nullptr;
    Index num_reads = 0, next_read = 0, open_reads = 0;
    Status status;

    bool is_done() const noexcept {
      return open_reads == 0 &&
             (!status.ok() || (next_read == num_reads && next_row == rows.size()));
    }
  };

  struct Slot {
    Batch* batch = nullptr;
    const PlannedRead* read = nullptr;
    Index filled = 0;
    int retries = 0;
  };

  struct State {
    State(std::shared_ptr<const DirectSource> shared, const Reads& reads)
        : shares(std::move(shared)), source(*shares), queue(reads.queue(source.depth)) {
      status = queue.status();
      const auto depth = static_cast<std::size_t>(source.depth);
      slots.resize(depth);
      done.resize(depth);
      free_slots.reserve(depth);
      for (Index i = source.depth; i > 0; --i) free_slots.push_back(i - 1);
      batches.resize(static_cast<std::size_t>(source.most_batches));
      const Index of_reads = source.depth * source.read_bytes;
      const Index of_pieces = 2 * planned_rows * Index{sizeof(ReadPiece)};
      const Index of_plans = 2 * planned_rows * Index{sizeof(PlannedRead)};
      Result<HostMemory> made = HostMemory::make(
          of_reads + source.most_batches * (of_pieces + of_plans), {.pages = Pages::ordinary});
      if (!made.ok()) {
        status = made.status();
        return;
      }
      memory = std::make_unique<HostMemory>(std::move(made).value());
      std::byte* at = memory->data() + of_reads;
      for (Batch& batch : batches) {
        batch.pieces = reinterpret_cast<ReadPiece*>(at);
        batch.reads = reinterpret_cast<PlannedRead*>(at + of_pieces);
        at += of_pieces + of_plans;
      }
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
      for (Batch& batch : batches) batch.status = {Code::io, ECANCELED};
      while (static_cast<Index>(free_slots.size()) < source.depth) collect(true);
    }

    Index row_bytes() const noexcept { return source.shape.row_bytes + source.shape.scale_bytes; }

    Status submit(View<const RowId, 1> rows, View<const std::int32_t, 1> places,
                  View<std::byte, 1> bytes, Ticket& ticket) noexcept {
      if (!status.ok()) return status;
      if (is_open(ticket)) return {Code::busy, 0, source.most_batches};
      if (Status s = check_batch_rows(rows, source.shape.num_rows); !s.ok()) return s;
      collect(false);  // what was given up may be at rest by now
      Batch* free = nullptr;
      for (Batch& batch : batches)
        if (batch.ticket == nullptr && batch.open_reads == 0) free = &batch;
      if (free == nullptr) return {Code::busy, 0, source.most_batches};
      free->ticket = &ticket;
      free->rows = rows;
      free->places = places;
      free->bytes = bytes;
      free->number = ticket.id = counters.batches++;
      free->next_row = free->num_reads = free->next_read = free->open_reads = 0;
      free->status = {};
      counters.rows += rows.size();
      advance(false);
      return {};
    }

    bool is_open(const Ticket& ticket) const noexcept {
      if (ticket.id < 0) return false;
      for (const Batch& batch : batches)
        if (batch.ticket == &ticket && batch.number == ticket.id) return true;
      return false;
    }

    Status wait(Ticket& ticket) noexcept {
      if (is_open(ticket)) {
        const auto start = std::chrono::steady_clock::now();
        while (is_open(ticket)) advance(true);
        hand_over();
        counters.wait_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(
                                std::chrono::steady_clock::now() - start)
                                .count();
      }
      return ticket.status;
    }

    void cancel(Ticket& ticket) noexcept {
      for (Batch& batch : batches)
        if (batch.ticket == &ticket && batch.number == ticket.id)
          end(batch, {Code::io, ECANCELED, -1});
    }

    void end(Batch& batch, Status why) noexcept {
      if (!why.ok()) ++counters.failed_batches;
      batch.status = why;
      finish_ticket(*batch.ticket, why);
      batch.ticket = nullptr;
    }

    /// Takes what is done, with `waits` at least one read, and starts what there is room for.
    void advance(bool waits) noexcept {
      collect(waits);
      start_reads();
      if (!waits) hand_over();
      for (Batch& batch : batches)
        if (batch.ticket != nullptr && batch.is_done()) end(batch, batch.status);
    }

    /// Hands what was started to the system, and takes what is done.
    void collect(bool waits) noexcept {
      has_started = false;
      const Index count = queue.reap(View<DiskDone, 1>(done.data(), source.depth), waits);
      for (Index i = 0; i < count; ++i) take(done[static_cast<std::size_t>(i)]);
    }

    /// Before the caller goes: what was started should not wait for its next call.
    void hand_over() noexcept {
      if (has_started) collect(false);
    }

    /// Of the batches in the order of their tickets.
    void start_reads() noexcept {
      while (!free_slots.empty()) {
        Batch* first = nullptr;
        for (Batch& batch : batches)
          if (batch.ticket != nullptr && batch.status.ok() && has_reads(batch) &&
              (first == nullptr || batch.number < first->number))
            first = &batch;
        if (first == nullptr) return;
        for (; !free_slots.empty() && first->next_read < first->num_reads; ++first->next_read) {
          Slot& slot = slots[static_cast<std::size_t>(free_slots.back())];
          slot = {first, first->reads + first->next_read, 0, 0};
          start(free_slots.back(), slot);
          free_slots.pop_back();
          ++first->open_reads;
        }
        counters.most_in_flight =
            std::max(counters.most_in_flight, source.depth - static_cast<Index>(free_slots.size()));
      }
    }

    /// Plans the next part of a batch when the last one is through.
    bool has_reads(Batch& batch) noexcept {
      if (batch.next_read == batch.num_reads && batch.open_reads == 0 &&
          batch.next_row < batch.rows.size())
        plan(batch);
      return batch.next_read < batch.num_reads;
    }

    void plan(Batch& batch) noexcept {
      const auto num_segments = static_cast<Index>(source.segments.size());
      const Index end = std::min(batch.rows.size(), batch.next_row + planned_rows);
      Index pieces = 0;
      for (; batch.next_row < end; ++batch.next_row) {
        const Index row = to_integer(batch.rows(batch.next_row));
        const Index place =
            batch.places.size() > 0 ? Index{batch.places(batch.next_row)} : batch.next_row;
        append_pieces(segment_of(source.segments.data(), num_segments, row), row,
                      place * row_bytes(), batch.pieces, pieces);
      }
      batch.num_reads = plan_reads(batch.pieces, pieces, batch.reads);
      batch.next_read = 0;
      const ReadPiece* last = nullptr;  // of the codes of a row
      for (const ReadPiece* piece = batch.pieces; piece != batch.pieces + pieces; ++piece) {
        if (piece->to % row_bytes() != 0) continue;
        if (last == nullptr || last->offset != piece->offset || last->file != piece->file)
          ++counters.unique_rows;
        last = piece;
      }
    }

    void start(Index number, const Slot& slot) noexcept {
      const PlannedRead& read = *slot.read;
      queue.start({source.descriptor(read.file), read.offset + slot.filled,
                   memory_of(number) + slot.filled, read.bytes - slot.filled, number});
      ++counters.reads;
      has_started = true;
    }

    std::byte* memory_of(Index slot) const noexcept {
      return memory->data() + slot * source.read_bytes;
    }

    /// The bytes without which a read is not over: a checksum is of a whole page.
    Index needed_of(const PlannedRead& read) const noexcept {
      return source.verify == Verify::off ? read.needed : page_up(read.needed);
    }

    /// One read is over: its rows are copied, or the rest of it is asked for, or its batch fails.
    void take(const DiskDone& over) noexcept {
      Slot& slot = slots[static_cast<std::size_t>(over.slot)];
      Batch& batch = *slot.batch;
      const PlannedRead& read = *slot.read;
      if (over.result > 0) {
        counters.bytes += over.result;
        slot.filled += over.result;
      }
      if (batch.status.ok() && slot.filled < needed_of(read)) {
        const Status again = may_go_on(over.result, slot);
        if (again.ok()) {
          // What is read past the cache begins at a page.
          slot.filled = page_down(slot.filled);
          ++counters.retries;
          start(over.slot, slot);
          return;
        }
        fail_batch(batch, read, again, slot.filled);
      }
      if (batch.status.ok()) copy_rows(batch, read, memory_of(over.slot));
      --batch.open_reads;
      slot.batch = nullptr;
      free_slots.push_back(over.slot);
    }

    /// Whether a read that brought less than it should is worth another try.
    Status may_go_on(Index result, Slot& slot) const noexcept {
      const bool passes = result == -EINTR || result == -EAGAIN || result == -EBUSY;
      if (result < 0 && !passes) return {Code::io, static_cast<std::int32_t>(-result)};
      if (result >= 0) {  // less than was asked for: does the file end here?
        struct stat file {};
        if (::fstat(source.descriptor(slot.read->file), &file) != 0) return {Code::io, errno};
        if (file.st_size < slot.read->offset + needed_of(*slot.read)) return {Code::corrupt};
      }
      if (++slot.retries > most_retries)
        return {Code::io, result < 0 ? static_cast<std::int32_t>(-result) : EIO};
      return {};
    }

    /// `at`: how far into the read it went wrong; the row that lies there, or next behind it.
    void fail_batch(Batch& batch, const PlannedRead& read, Status why, Index at) noexcept {
      const ReadPiece* hit = batch.pieces + read.first_piece;
      const ReadPiece* const last = hit + read.pieces - 1;
      while (hit != last && hit->offset + hit->bytes <= read.offset + at) ++hit;
      why.index = hit->to / row_bytes();
      batch.status = why;
    }

    void copy_rows(Batch& batch, const PlannedRead& read, const std::byte* pages) noexcept {
      counters.pages += read.bytes / disk_page_bytes;
      Index checked = 0;  // pages up to here, those without an asked row left out
      for (Index p = read.first_piece; p < read.first_piece + read.pieces; ++p) {
        const ReadPiece& piece = batch.pieces[p];
        if (source.verify != Verify::off) {
          const Index end = piece.offset - read.offset + piece.bytes;
          checked = std::max(checked, page_down(piece.offset - read.offset));
          for (; checked < end; checked += disk_page_bytes)
            if (!page_is_good(read.offset + checked, pages + checked))
              return fail_batch(batch, read, {Code::corrupt}, checked);
        }
        std::memcpy(batch.bytes.data() + piece.to, pages + (piece.offset - read.offset),
                    static_cast<std::size_t>(piece.bytes));
      }
    }

    bool page_is_good(Index offset, const std::byte* page) noexcept {
      if (source.verify == Verify::sample && ++seen_pages % 64 != 0) return true;
      ++counters.checked_pages;
      return source.page_check(page, offset / disk_page_bytes);
    }

    const std::shared_ptr<const DirectSource> shares;  // the store may go first
    const DirectSource& source;
    std::unique_ptr<HostMemory> memory;  // outlives the queue, which writes to it
    std::vector<Slot> slots;
    std::vector<Index> free_slots;
    std::vector<DiskDone> done;
    std::vector<Batch> batches;
    decltype(std::declval<const Reads&>().queue(Index{1})) queue;
    Status status;
    ReadCounters counters;
    Index seen_pages = 0;
    bool has_started = false;  // reads that the queue may not have handed over yet
  };

  std::unique_ptr<State> state_;
};

ENGRAM_END_NAMESPACE
