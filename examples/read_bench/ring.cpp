// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "raw_loop.hpp"
#include "row_ids.hpp"

#include <engram/uring/uring_reads.hpp>

namespace engram::read_bench {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// A ring for as long as it is needed.
struct Ring {
  explicit Ring(Index depth) {
    unsigned flags = 0;
#if defined(IORING_SETUP_COOP_TASKRUN)
    flags = IORING_SETUP_COOP_TASKRUN;
#endif
    error = ::io_uring_queue_init(static_cast<unsigned>(depth), &ring, flags);
    if (error == -EINVAL) error = ::io_uring_queue_init(static_cast<unsigned>(depth), &ring, 0);
  }
  ~Ring() {
    if (error == 0) ::io_uring_queue_exit(&ring);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  void start(int descriptor, std::byte* to, Index offset, Index slot) {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring);
    ::io_uring_prep_read(entry, descriptor, to, static_cast<unsigned>(disk_page_bytes),
                         static_cast<__u64>(offset));
    entry->user_data = static_cast<__u64>(slot);
  }
  /// Submits and waits for one; an interrupted wait is no failure.
  int wait() {
    const int got = ::io_uring_submit_and_wait(&ring, 1);
    return got == -EINTR || got == -EAGAIN || got == -EBUSY ? 0 : got;
  }

  io_uring ring{};
  int error = 0;
};

class RingLoop final : public RawLoop {
 public:
  Result<RawRun> sustain(const RawRange& range, Index depth, double seconds) override {
    PageMemory memory(depth);
    Ring ring(depth);  // goes before the memory
    if (ring.error != 0) return raw_failure(ring.error);
    std::vector<Clock::time_point> started(static_cast<std::size_t>(depth));
    RawRun run;
    run.latencies.reserve(static_cast<std::size_t>(seconds * 2e5) + 1024);
    Index failed = 1, open = 0;
    const auto start = [&](Index slot) {
      const Index page = random_.number(range.pages);
      ring.start(range.descriptor, memory.page(slot), range.offset + page * disk_page_bytes, slot);
      started[static_cast<std::size_t>(slot)] = Clock::now();
      ++open;
    };
    const auto begin = Clock::now();
    auto now = begin;
    for (Index slot = 0; slot < depth; ++slot) start(slot);
    while (open > 0) {
      if (const int got = ring.wait(); got < 0) return raw_failure(got);
      now = Clock::now();
      const bool goes_on = failed > 0 && seconds_between(begin, now) < seconds;
      io_uring_cqe* entry = nullptr;
      while (::io_uring_peek_cqe(&ring.ring, &entry) == 0) {
        const auto slot = static_cast<Index>(entry->user_data);
        if (entry->res <= 0) failed = entry->res;
        ::io_uring_cqe_seen(&ring.ring, entry);
        run.latencies.push_back(seconds_between(started[static_cast<std::size_t>(slot)], now));
        --open;
        if (goes_on) start(slot);
      }
    }
    if (failed <= 0) return raw_failure(failed);
    run.reads = static_cast<Index>(run.latencies.size());
    run.seconds = seconds_between(begin, now);
    return run;
  }

  Result<double> batch(int descriptor, const std::vector<Index>& offsets) override {
    const auto count = static_cast<Index>(offsets.size());
    if (kept_ == nullptr || room_ < count) {
      kept_ = std::make_unique<Ring>(count);
      memory_ = std::make_unique<PageMemory>(count);
      room_ = count;
    }
    if (kept_->error != 0) return raw_failure(kept_->error);
    Index failed = 1, open = count;
    const auto begin = Clock::now();
    for (Index i = 0; i < count; ++i)
      kept_->start(descriptor, memory_->page(i), offsets[static_cast<std::size_t>(i)], i);
    while (open > 0) {
      if (const int got = kept_->wait(); got < 0) return raw_failure(got);
      io_uring_cqe* entry = nullptr;
      while (::io_uring_peek_cqe(&kept_->ring, &entry) == 0) {
        if (entry->res <= 0) failed = entry->res;
        ::io_uring_cqe_seen(&kept_->ring, entry);
        --open;
      }
    }
    const auto end = Clock::now();
    if (failed <= 0) return raw_failure(failed);
    return seconds_between(begin, end);
  }

 private:
  Randomness random_{2};
  std::unique_ptr<PageMemory> memory_;
  std::unique_ptr<Ring> kept_;  // goes before the memory
  Index room_ = 0;
};

}  // namespace

Carrier ring_carrier() {
  const Result<UringReads> reads = UringReads::make();
  return {"io_uring", reads.ok() ? std::string() : reads.message()};
}

std::unique_ptr<RawLoop> make_ring_loop() { return std::make_unique<RingLoop>(); }

Result<Backends> open_ring_backends(const std::vector<TableSegment>& segments) {
  const Result<UringReads> reads = UringReads::make();
  if (!reads.ok()) return reads.failure();
  return open_backends(segments, reads.value());
}

}  // namespace engram::read_bench
