// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads through io_uring where the system lets the process have it, by threads where it does not:
// containers often forbid rings, and a program should still find its rows.

#include <engram/storage/disk/thread_reads.hpp>
#include <engram/uring/uring_reads.hpp>

#include <algorithm>
#include <string>
#include <variant>

ENGRAM_BEGIN_NAMESPACE

/// One or the other, found out when made.
class BestReads {
 public:
  class Queue {
   public:
    Status status() const noexcept {
      return std::visit([](const auto& queue) { return queue.status(); }, queue_);
    }
    void start(const DiskRead& read) {
      std::visit([&](auto& queue) { queue.start(read); }, queue_);
    }
    Index reap(View<DiskDone, 1> done, bool wait) {
      return std::visit([&](auto& queue) { return queue.reap(done, wait); }, queue_);
    }

   private:
    friend class BestReads;
    template <class Q>
    explicit Queue(Q queue) : queue_(std::move(queue)) {}

    std::variant<UringReads::Queue, ThreadReads::Queue> queue_;
  };

  /// Fails as ThreadReads::make(), where there is no ring.
  static Result<BestReads> make() {
    Result<UringReads> ring = UringReads::make();
    if (ring.ok()) return BestReads(std::move(ring).value(), {});
    return without_ring(ring.message());
  }

  /// Threads, for the reason given.
  static Result<BestReads> without_ring(std::string why, Index threads = own_threads) {
    Result<ThreadReads> reads = ThreadReads::make(threads);
    if (!reads.ok()) return reads.failure();
    return BestReads(std::move(reads).value(), std::move(why));
  }

  /// Threads of its own for a queue whose ring is refused, as more than a few may be.
  Queue queue(Index depth) const {
    Queue made = std::visit([&](const auto& reads) { return Queue(reads.queue(depth)); }, reads_);
    if (made.status().ok()) return made;
    const Result<ThreadReads> instead = ThreadReads::make(std::min<Index>(depth, own_threads));
    return instead.ok() ? Queue(instead.value().queue(depth)) : std::move(made);
  }
  std::string_view name() const noexcept {
    return std::visit([](const auto& reads) { return reads.name(); }, reads_);
  }
  /// Empty: there is a ring.
  const std::string& why_no_ring() const noexcept { return why_; }

 private:
  static constexpr Index own_threads = 32;

  BestReads(std::variant<UringReads, ThreadReads> reads, std::string why)
      : reads_(std::move(reads)), why_(std::move(why)) {}

  std::variant<UringReads, ThreadReads> reads_;
  std::string why_;
};

static_assert(check_disk_reads<BestReads>());

ENGRAM_END_NAMESPACE
