// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads through io_uring: one thread has as many on the way as the disk takes at once, and one
// system call hands over and collects many of them.

#include <engram/storage/disk/disk_reads.hpp>

#include <liburing.h>
#include <sched.h>
#include <cstring>
#include <memory>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// A ring for each queue.
class UringReads {
 public:
  class Queue;

  /// Fails with io (system_error: errno) where the system has no rings, or forbids them.
  static Result<UringReads> make();

  Queue queue(Index depth) const;
  std::string_view name() const noexcept { return "io_uring"; }

 private:
  UringReads() = default;
};

/// See DiskQueue.
class UringReads::Queue {
 public:
  explicit Queue(Index depth) : ring_(new (std::nothrow) Ring) {
    if (ring_ == nullptr) {
      status_ = {Code::out_of_memory, ENOMEM};
      return;
    }
    const auto entries = static_cast<unsigned>(depth);
    unsigned flags = 0;
#if defined(IORING_SETUP_COOP_TASKRUN)
    // Completions wait for this thread's next call, and a look at the ring tells when there are
    // any.
    flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
#endif
    int error = ::io_uring_queue_init(entries, &ring_->ring, flags);
    if (error == -EINVAL) error = ::io_uring_queue_init(entries, &ring_->ring, 0);
    ring_->is_open = error == 0;
    if (error != 0) status_ = {Code::io, -error};
    started_.reserve(entries);
    refused_.reserve(entries);
  }
  Queue(Queue&&) = default;
  ~Queue() {
    while (open_ > 0) {
      DiskDone done;
      (void)reap(View<DiskDone, 1>(&done, 1), true);
    }
  }

  Status status() const noexcept { return status_; }

  void start(const DiskRead& read) noexcept {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_->ring);
    ++open_;
    if (entry == nullptr) {  // refused requests still lie in it
      refuse(read.slot, EBUSY);
      return;
    }
    ::io_uring_prep_read(entry, read.descriptor, read.to, static_cast<unsigned>(read.bytes),
                         static_cast<__u64>(read.offset));
    entry->user_data = static_cast<__u64>(read.slot);
    started_.push_back(entry);
  }

  Index reap(View<DiskDone, 1> done, bool wait) noexcept {
    hand_over(wait && refused_.empty() && open_ > 0);
    for (;;) {
      Index count = 0;
      for (; count < done.size() && !refused_.empty(); refused_.pop_back())
        done(count++) = refused_.back();
      io_uring_cqe* entry = nullptr;
      while (count < done.size() && ::io_uring_peek_cqe(&ring_->ring, &entry) == 0) {
        if (entry->user_data != nobody)
          done(count++) = {static_cast<Index>(entry->user_data), Index{entry->res}};
        ::io_uring_cqe_seen(&ring_->ring, entry);
      }
      if (count > 0 || !wait || open_ == 0) {
        open_ -= count;
        return count;
      }
      // A wait that was interrupted, or refused: the reads still end.
      if (::io_uring_wait_cqe(&ring_->ring, &entry) != 0) ::sched_yield();
    }
  }

 private:
  static constexpr __u64 nobody = ~__u64{0};

  struct Ring {
    io_uring ring{};
    bool is_open = false;
    ~Ring() {
      if (is_open) ::io_uring_queue_exit(&ring);
    }
  };

  void refuse(Index slot, int error) { refused_.push_back({slot, -Index{error}}); }

  /// Gives the system what was started. What it does not take comes back with its error, and what
  /// lies in the ring of that becomes a request that does nothing; until the system takes it, it
  /// lies in front of what is started next.
  void hand_over(bool wait) noexcept {
    if (started_.empty() && idle_ == 0) return;
    int taken = 0;
    for (int tries = 0; tries < 16; ++tries) {
      taken = ::io_uring_submit_and_wait(&ring_->ring, wait ? 1U : 0U);
      if (taken != -EINTR && taken != -EAGAIN && taken != -EBUSY) break;
    }
    const auto gone = static_cast<std::size_t>(taken > 0 ? taken : 0);
    const std::size_t in_ring = idle_ + started_.size();
    for (std::size_t i = gone > idle_ ? gone - idle_ : 0; i < started_.size(); ++i) {
      refuse(static_cast<Index>(started_[i]->user_data), taken < 0 ? -taken : EAGAIN);
      ::io_uring_prep_nop(started_[i]);
      started_[i]->user_data = nobody;
    }
    started_.clear();
    idle_ = in_ring - gone;
  }

  std::unique_ptr<Ring> ring_;
  std::vector<io_uring_sqe*> started_;
  std::size_t idle_ = 0;  // requests that do nothing and that the system has not taken yet
  std::vector<DiskDone> refused_;
  Index open_ = 0;
  Status status_;
};

inline Result<UringReads> UringReads::make() {
  const Queue probe(1);
  if (const Status status = probe.status(); !status.ok())
    return fail(status.code, {"io_uring: ", std::strerror(status.system_error)}, -1,
                status.system_error);
  return UringReads();
}
inline UringReads::Queue UringReads::queue(Index depth) const { return Queue(depth); }

static_assert(check_disk_reads<UringReads>());

ENGRAM_END_NAMESPACE
