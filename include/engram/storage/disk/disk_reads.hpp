// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that carries reads to the system: threads that each wait for one
// (thread_reads.hpp), or a ring that has many on the way at once (uring/uring_reads.hpp). A queue
// of them belongs to one reader and knows nothing of rows.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One read of a file.
struct DiskRead {
  int descriptor = -1;
  Index offset = 0;
  std::byte* to = nullptr;
  Index bytes = 0;
  Index slot = 0;  ///< the caller's number for it
};

/// A read that is over.
struct DiskDone {
  Index slot = 0;
  Index result = 0;  ///< the bytes read, 0 at the file's end, or -errno
};

/// Reads on the way, at most as many as the queue was made for.
///
/// Semantics: start() takes a read, which may wait until the next reap() before the system hears of
/// it; `to` is written until reap() has given the read back. reap() hands over what was started and
/// gives reads that are over, in any order; with `wait` at least one when any is on the way. It
/// does not fail: a read that the system refuses comes back with its errno. status() says whether
/// the queue works at all; if not, nothing may be started. One thread at a time. When a queue is
/// destroyed nothing is on the way.
template <class Q>
concept DiskQueue = requires(Q q, const Q c, const DiskRead& read, View<DiskDone, 1> done) {
  { c.status() } -> std::same_as<Status>;
  { q.start(read) } -> std::same_as<void>;
  { q.reap(done, true) } -> std::same_as<Index>;
};

/// Makes queues; what several readers share (threads) belongs to it.
///
/// Semantics: queue(depth) may be called by any thread and gives a queue for `depth` reads at the
/// same time, at least 1; name() is for people.
template <class R>
concept DiskReads = std::move_constructible<R> && requires(const R reads, Index depth) {
  { reads.queue(depth) } -> DiskQueue;
  { reads.name() } -> std::convertible_to<std::string_view>;
};

/// One sentence for each operation that R lacks; true when R models DiskReads.
template <class R>
constexpr bool check_disk_reads() {
  static_assert(
      requires(const R r) { r.queue(Index{1}); },
      "engram: DiskReads need 'queue(Index depth) const', one queue for a reader");
  static_assert(
      requires(const R r) {
        { r.name() } -> std::convertible_to<std::string_view>;
      },
      "engram: DiskReads need 'name() const'");
  using Queue = decltype(std::declval<const R&>().queue(Index{1}));
  static_assert(
      requires(const Queue q) {
        { q.status() } -> std::same_as<Status>;
      },
      "engram: a queue of DiskReads needs 'Status status() const'");
  static_assert(
      requires(Queue q, const DiskRead& read) {
        { q.start(read) } -> std::same_as<void>;
      },
      "engram: a queue of DiskReads needs 'void start(const DiskRead&)'");
  static_assert(
      requires(Queue q, View<DiskDone, 1> done) {
        { q.reap(done, true) } -> std::same_as<Index>;
      },
      "engram: a queue of DiskReads needs 'Index reap(View<DiskDone, 1>, bool wait)'");
  return DiskReads<R>;
}

ENGRAM_END_NAMESPACE
