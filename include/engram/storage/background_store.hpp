// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Any FetchStore, driven by a thread of its own: batches go on while the caller computes and calls
// nothing, and a flag says when they are done. Without it a reader goes on in poll() and wait().

#include <engram/storage/store.hpp>

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// What a reader's thread does, under a name of its own for each instruction set.
template <class State>
void run_in_background(State* state) noexcept {
  state->run();
}

ENGRAM_END_LOOPS

/// See StoreReader; starts its thread when it is made and ends it when it goes, once what is on the
/// way is done: tickets, rows and bytes live until then. Batches that were submitted while another
/// is on the way begin at the latest when that one is done.
template <class Store>
class BackgroundReader {
 public:
  /// `store` must outlive the reader.
  ENGRAM_ALWAYS_INLINE explicit BackgroundReader(const Store& store)
      : state_(std::make_unique<State>(store)) {}

  /// busy when the ticket's batch is on the way, out_of_memory.
  ENGRAM_ALWAYS_INLINE Status submit(View<const RowId, 1> rows, View<std::byte, 1> bytes,
                                     Ticket& ticket) noexcept {
    std::list<Batch> next;
#if ENGRAM_EXCEPTIONS
    try {
      next.push_back({rows, bytes, &ticket, {}});
    } catch (const std::bad_alloc&) {
      return {Code::out_of_memory};
    }
#else
    next.push_back({rows, bytes, &ticket, {}});
#endif
    {
      const std::lock_guard lock(state_->mutex);
      if (ticket.id >= 0) return {Code::busy, 0, 1};
      ticket.id = ++state_->last_id;
      state_->asked.splice(state_->asked.end(), next);
    }
    state_->arrived.notify_one();
    return {};
  }
  /// A batch that could not even begin is done too, with the status that says why.
  bool poll(Ticket& ticket) noexcept {
    const std::lock_guard lock(state_->mutex);
    return ticket.id < 0;
  }
  Status wait(Ticket& ticket) noexcept {
    std::unique_lock lock(state_->mutex);
    state_->done.wait(lock, [&] { return ticket.id < 0; });
    return ticket.status;
  }

 private:
  using Reader = decltype(std::declval<const Store&>().reader());

  struct Batch {
    View<const RowId, 1> rows;
    View<std::byte, 1> bytes;
    Ticket* ticket;  ///< the caller's
    Ticket own;      ///< for the store's reader
  };

  struct State {
    ENGRAM_ALWAYS_INLINE explicit State(const Store& store)
        : reader(store.reader()), thread(run_in_background<State>, this) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
      {
        const std::lock_guard lock(mutex);
        ends = true;
      }
      arrived.notify_one();
      thread.join();
    }

    // Batches go from list to list and stay where they are: nothing here allocates.
    ENGRAM_ALWAYS_INLINE void run() noexcept {
      std::list<Batch> taken, open;
      for (;;) {
        {
          std::unique_lock lock(mutex);
          if (open.empty() && taken.empty())
            arrived.wait(lock, [this] { return ends || !asked.empty(); });
          if (open.empty() && taken.empty() && asked.empty()) return;
          taken.splice(taken.end(), asked);
        }
        while (!taken.empty()) {
          Batch& next = taken.front();
          const Status status = reader.submit(next.rows, next.bytes, next.own);
          if (status.code == Code::busy && !open.empty()) break;
          open.splice(open.end(), taken, taken.begin());
          if (status.ok()) continue;
          finish(*next.ticket, status);
          open.pop_back();
        }
        if (open.empty()) continue;
        finish(*open.front().ticket, reader.wait(open.front().own));
        open.pop_front();
      }
    }

    ENGRAM_ALWAYS_INLINE void finish(Ticket& ticket, Status status) {
      {
        const std::lock_guard lock(mutex);
        finish_ticket(ticket, status);
      }
      done.notify_all();
    }

    std::mutex mutex;
    std::condition_variable arrived, done;
    std::list<Batch> asked;
    Index last_id = 0;
    bool ends = false;
    Reader reader;
    std::thread thread;  // the last to begin
  };

  std::unique_ptr<State> state_;
};

/// A FetchStore whose readers have a thread each. Refers to `store`.
template <class Store>
class BackgroundStore {
  static_assert(check_fetch_store<Store>());

 public:
  /// `store` must outlive this and its readers.
  explicit BackgroundStore(const Store& store) : store_(&store) {}

  Index num_rows() const noexcept { return store_->num_rows(); }
  Index row_bytes() const noexcept { return store_->row_bytes(); }
  Index scale_bytes() const noexcept { return store_->scale_bytes(); }
  std::uint64_t generation() const noexcept requires HasGeneration<Store> {
    return store_->generation();
  }
  BackgroundReader<Store> reader() const { return BackgroundReader<Store>(*store_); }

 private:
  const Store* store_;
};

ENGRAM_END_NAMESPACE
