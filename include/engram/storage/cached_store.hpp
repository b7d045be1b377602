// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows of a slow store kept in memory, within a budget of bytes. Rows and not pages, because hashed
// rows that are needed often lie far apart. Readers find rows without a lock; what they have to
// fetch enters the cache for all of them.

#include <engram/storage/cache_batches.hpp>

ENGRAM_BEGIN_NAMESPACE

struct CacheOptions {
  /// All that the cache and its readers ever allocate, at most; what the base's readers allocate is
  /// the base's. Rounded down to what fits, and to what lets every row of the table stay.
  Index bytes = 0;
  Index max_readers = 1;   ///< at the same time, 1 to 4096; each has memory for miss_rows rows
  Index miss_rows = 1024;  ///< most rows of one batch to the base, 1 to 2^20
  /// Orders of the rows and which of them enter; copied. Empty: all enter. See make_row_ranges().
  View<const RowRange, 1> ranges;
};

/// What a cache got and holds.
struct CacheReport {
  Index capacity_rows = 0;
  Index sets = 0;
  Index bytes = 0;          ///< all that it allocated, in whole pages
  Index payload_bytes = 0;  ///< of these, for rows
  Index tag_bytes = 0;      ///< of these, for tags and what else belongs to the sets
  Index reader_bytes = 0;   ///< of these, for max_readers readers
  Index rows = 0;           ///< in the cache now, pinned ones too
  Index pinned_rows = 0;
  Index readers = 0;  ///< that exist now
  CacheChanges changes;
  Index passed_by = 0;      ///< rows that did not enter, as another thread was changing the cache
  HostMemoryReport memory;  ///< the pages obtained
};

/// Rows over any FetchStore, kept in memory: 16-way sets, second-chance replacement, lock-free
/// reads. docs/design-notes.md says why.
///
/// Refers to the base, which stays where it is. When the base has a `generation()` and is assigned
/// a store opened anew while no call runs, no old row is given any more: the cache empties itself,
/// pinned rows too, at the next call, and `generation()` follows. A base with rows of another size
/// or number then fails every call with mismatch.
///
/// Moves, is not copied, and outlives its readers, which stay valid when it moves. Calls of
/// different readers, pin(), reader() and report() may run at the same time.
template <class Base>
class CachedStore {
  static_assert(check_fetch_store<Base>());

 public:
  /// One thread's view of the cache, with a reader of the base. Moves, is not copied; one that goes
  /// waits for the base first.
  class Reader {
   public:
    ENGRAM_ALWAYS_INLINE Reader(Reader&& other) noexcept
        : cache_(other.cache_), state_(other.state_) {
      other.state_ = nullptr;
    }
    Reader& operator=(Reader&&) = delete;
    ENGRAM_ALWAYS_INLINE ~Reader() {
      if (state_ == nullptr) return;
      if (state_->busy) (void)state_->reader->wait(state_->base_ticket);
      state_->busy = false;
      clear_misses(state_->misses);  // the next reader in this place begins with none
      close_reader(*state_);
      __atomic_store_n(&state_->taken, 0U, __ATOMIC_RELEASE);
    }

    /// As the concept says. `rows` and `bytes` stay the reader's until the batch is done. A batch
    /// whose rows are all there is done at once; the others are fetched from the base, those that
    /// occur more than once only once, miss_rows at a time.
    ///
    /// Status  busy (index: 1) while a batch of this reader is on its way, unsupported (index:
    ///         max_readers) when the cache had no place for this reader; then the ticket is as it
    ///         was. Else the ticket has the same status when it is not ok: shape_mismatch (index:
    ///         the bytes expected), bad_row (index: its place), mismatch, or what the base says
    ///         (io, corrupt: index is the row's place in this batch).
    ENGRAM_ALWAYS_INLINE Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                                       Ticket& ticket) noexcept {
      if (state_ == nullptr) return {Code::unsupported, 0, cache_->max_readers};
      if (state_->busy) return {Code::busy, 0, 1};
      return start_batch(*cache_, *state_, rows, bytes, ticket);
    }

    /// Looks whether the base is done; then copies what it fetched, and asks for what is left.
    ENGRAM_ALWAYS_INLINE bool poll(Ticket& ticket) noexcept {
      if (!is_pending(ticket)) return true;
      if (!state_->reader->poll(state_->base_ticket)) return false;
      wait_for_base(*cache_, *state_, ticket, false);
      return !state_->busy;
    }

    /// Also mismatch: the base was opened again while the batch was on its way.
    ENGRAM_ALWAYS_INLINE Status wait(Ticket& ticket) noexcept {
      if (is_pending(ticket)) wait_for_base(*cache_, *state_, ticket, true);
      return ticket.status;
    }

    /// Hits and misses by order, each place of a batch counted; unique_rows are the hits and the
    /// rows fetched. Between two calls of this reader.
    ENGRAM_ALWAYS_INLINE ReadCounters counters() const noexcept {
      return state_ == nullptr ? ReadCounters() : state_->counters;
    }

   private:
    friend CachedStore;
    ENGRAM_ALWAYS_INLINE Reader(CacheState<Base>* cache, CacheReaderState<Base>* state) noexcept
        : cache_(cache), state_(state) {}

    bool is_pending(const Ticket& ticket) const noexcept {
      return state_ != nullptr && state_->busy && ticket.id == state_->number;
    }

    CacheState<Base>* cache_;
    CacheReaderState<Base>* state_;  // null: no place
  };

  /// Fails with invalid_config (a count that cannot work; too small a budget, index: the least),
  /// as make_row_ranges(), or with out_of_memory. No page of the rows is touched.
  ENGRAM_ALWAYS_INLINE static Result<CachedStore> make(const Base& base, CacheOptions options);

  Index num_rows() const noexcept { return cache_->num_rows; }
  Index row_bytes() const noexcept { return cache_->codes; }
  Index scale_bytes() const noexcept { return cache_->scales; }

  /// The base's: whose rows the next call gives.
  std::uint64_t generation() const noexcept requires HasGeneration<Base> {
    return cache_->base->generation();
  }

  /// A reader; one beyond max_readers exists, but its submit() fails. Throws what the base's does.
  ENGRAM_ALWAYS_INLINE Reader reader() const {
    for (Index r = 0; r < cache_->max_readers; ++r) {
      CacheReaderState<Base>& state = cache_->readers[r];
      if (__atomic_exchange_n(&state.taken, 1U, __ATOMIC_ACQUIRE) != 0) continue;
      state.counters = ReadCounters();
      Reader made(cache_, &state);  // gives the place back when the next line throws
      open_reader(*cache_, state);
      return made;
    }
    return Reader(cache_, nullptr);
  }

  /// Loads rows that are not there and keeps all of these for good, whatever their order: until the
  /// base is opened again. Gives how many could not be pinned, because all 16 rows of their set
  /// are; those are read from the base when they are asked for.
  ///
  /// Takes the place of a reader while it runs. Fails with unsupported (no place), bad_row (index:
  /// its position), mismatch, or as the base (io, corrupt: index is the row's position); rows
  /// before the failing batch of miss_rows are pinned then.
  ENGRAM_ALWAYS_INLINE Result<Index> pin(View<const RowId, 1> rows);

  /// Cost  as HostMemory::report().
  ENGRAM_ALWAYS_INLINE CacheReport report() const;

 private:
  ENGRAM_ALWAYS_INLINE CachedStore(HostMemory memory, const CachePlan& plan,
                                   CacheState<Base>* cache)
      : memory_(std::move(memory)), plan_(plan), cache_(cache) {}

  HostMemory memory_;
  CachePlan plan_;
  CacheState<Base>* cache_;
};

template <class Base>
ENGRAM_ALWAYS_INLINE Result<CachedStore<Base>> CachedStore<Base>::make(const Base& base,
                                                                       CacheOptions options) {
  const Index codes = base.row_bytes();
  const Index scales = base.scale_bytes();
  if (base.num_rows() < 1 || base.num_rows() > Index{1} << 62 || codes < 0 || scales < 0 ||
      codes > INT64_MAX - scales || codes + scales < 1)
    return fail(Code::invalid_config, {"cached store: a base of ", base.num_rows(), " rows of ",
                                       codes, " and ", scales, " bytes"});
  if (options.max_readers < 1 || options.max_readers > 4096)
    return fail(Code::invalid_config,
                {"cached store: ", options.max_readers, " readers, expected 1 to 4096"});
  if (options.miss_rows < 1 || options.miss_rows > Index{1} << 20)
    return fail(Code::invalid_config,
                {"cached store: ", options.miss_rows,
                 " rows in a batch to the base, expected 1 to ", Index{1} << 20});
  const Result<RowRanges> ranges = make_row_ranges(options.ranges, base.num_rows());
  if (!ranges.ok()) return ranges.failure();

  const CacheNeeds needs{base.num_rows(),
                         codes + scales,
                         options.max_readers,
                         options.miss_rows,
                         Index{sizeof(CacheState<Base>)},
                         Index{sizeof(CacheReaderState<Base>)}};
  const CachePlan plan = fit_cache(needs, options.bytes);
  if (plan.bytes > options.bytes)
    return fail(Code::invalid_config,
                {"cached store: a budget of ", options.bytes, " bytes, expected at least ",
                 plan.bytes, " for 16 rows of ", codes + scales, " bytes and ", options.max_readers,
                 " readers that fetch ", options.miss_rows, " rows at a time"},
                plan.bytes);
  Result<HostMemory> memory = HostMemory::make(plan.bytes);
  if (!memory.ok()) return memory.failure();
  std::byte* const at = memory.value().data();
  return CachedStore(std::move(memory.value()), plan,
                     lay_out_cache(base, needs, plan, ranges.value(), at));
}

template <class Base>
ENGRAM_ALWAYS_INLINE Result<Index> CachedStore<Base>::pin(View<const RowId, 1> rows) {
  const Reader place = reader();
  if (place.state_ == nullptr)
    return fail(Code::unsupported,
                {"cached store: pinning needs the place of a reader, and all ", cache_->max_readers,
                 " are taken"},
                cache_->max_readers);
  for (Index i = 0; i < rows.size(); ++i)
    if (to_integer(rows(i)) < 0 || to_integer(rows(i)) >= num_rows())
      return fail(Code::bad_row,
                  {"cached store: row ", to_integer(rows(i)), " at position ", i,
                   " to be pinned, of a table of ", num_rows()},
                  i);
  Index refused = 0;
  Status status = follow_base(*cache_, *place.state_);
  for (Index at = 0; status.ok() && at < rows.size(); at += place.state_->misses.capacity)
    status = pin_rows(*cache_, *place.state_, rows, at, refused);
  if (!status.ok()) return Failure{status, describe(status, "cached store: pin")};
  return refused;
}

template <class Base>
ENGRAM_ALWAYS_INLINE CacheReport CachedStore<Base>::report() const {
  CacheReport report;
  report.sets = plan_.sets;
  report.capacity_rows = plan_.sets * cache_ways;
  report.bytes = plan_.bytes;
  report.payload_bytes = report.capacity_rows * plan_.stride;
  report.tag_bytes = plan_.payload - plan_.tags;
  report.reader_bytes = plan_.tags - plan_.readers;
  for (Index r = 0; r < cache_->max_readers; ++r)
    report.readers += __atomic_load_n(&cache_->readers[r].taken, __ATOMIC_RELAXED) != 0 ? 1 : 0;
  wait_to_change(cache_->changing);
  report.rows = cache_->rows;
  report.changes = cache_->changes;
  end_change(cache_->changing);
  report.pinned_rows = report.changes.pinned;
  report.passed_by = __atomic_load_n(&cache_->passed_by, __ATOMIC_RELAXED);
  report.memory = memory_.report();
  return report;
}

ENGRAM_END_NAMESPACE
