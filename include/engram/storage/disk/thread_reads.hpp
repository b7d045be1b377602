// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads by threads that each wait for one: works on every POSIX system, also where rings are
// missing or forbidden. Costs two hand-overs between threads for each read.

#include <engram/storage/disk/disk_file.hpp>
#include <engram/storage/disk/disk_reads.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// Threads that read, shared by all queues made from it and by its copies; they end with the last.
class ThreadReads {
 public:
  class Queue;

  /// threads  at the same time, 1 to 256. More than the disk takes at once only cost.
  ///
  /// Fails with invalid_config, and with io when the system refuses the first thread; with fewer
  /// than asked for it goes on.
  static Result<ThreadReads> make(Index threads = 32);

  Queue queue(Index depth) const;
  std::string_view name() const noexcept { return "threads"; }
  Index threads() const noexcept;

 private:
  struct Work;
  /// What belongs to a queue, and threads write to.
  struct Done {
    std::mutex mutex;
    std::condition_variable arrived;
    Work* reads = nullptr;  ///< that are over, a list
  };
  struct Work {
    DiskRead read;
    Index result = 0;
    Done* done = nullptr;
    Work* next = nullptr;
  };
  struct Pool {
    std::mutex mutex;
    std::condition_variable arrived;
    Work* first = nullptr;  ///< to be read next
    Work* last = nullptr;
    bool ends = false;
    std::vector<std::thread> threads;

    ~Pool();
    void run();
  };

  explicit ThreadReads(std::shared_ptr<Pool> pool) : pool_(std::move(pool)) {}

  std::shared_ptr<Pool> pool_;
};

/// See DiskQueue. Allocates when it is made, and not afterwards.
class ThreadReads::Queue {
 public:
  Queue(Queue&&) = default;
  ~Queue() {
    while (open_ > 0) {
      DiskDone done;
      (void)reap(View<DiskDone, 1>(&done, 1), true);
    }
  }

  Status status() const noexcept { return {}; }

  void start(const DiskRead& read) noexcept {
    Work* const work = free_;
    free_ = work->next;
    *work = {read, 0, done_.get(), nullptr};
    {
      const std::lock_guard lock(pool_->mutex);
      (pool_->first == nullptr ? pool_->first : pool_->last->next) = work;
      pool_->last = work;
    }
    pool_->arrived.notify_one();
    ++open_;
  }

  Index reap(View<DiskDone, 1> done, bool wait) noexcept {
    std::unique_lock lock(done_->mutex);
    if (wait && open_ > 0) done_->arrived.wait(lock, [this] { return done_->reads != nullptr; });
    Index count = 0;
    for (; count < done.size() && done_->reads != nullptr; ++count) {
      Work* const over = done_->reads;
      done_->reads = over->next;
      done(count) = {over->read.slot, over->result};
      over->next = free_;
      free_ = over;
    }
    open_ -= count;
    return count;
  }

 private:
  friend class ThreadReads;
  Queue(std::shared_ptr<Pool> pool, Index depth)
      : pool_(std::move(pool)),
        done_(std::make_unique<Done>()),
        works_(static_cast<std::size_t>(depth)) {
    for (Work& work : works_) {
      work.next = free_;
      free_ = &work;
    }
  }

  std::shared_ptr<Pool> pool_;
  std::unique_ptr<Done> done_;
  std::vector<Work> works_;
  Work* free_ = nullptr;
  Index open_ = 0;
};

inline ThreadReads::Queue ThreadReads::queue(Index depth) const { return Queue(pool_, depth); }
inline Index ThreadReads::threads() const noexcept {
  return static_cast<Index>(pool_->threads.size());
}

inline void ThreadReads::Pool::run() {
  for (;;) {
    Work* work = nullptr;
    {
      std::unique_lock lock(mutex);
      arrived.wait(lock, [this] { return ends || first != nullptr; });
      if (first == nullptr) return;
      work = first;
      first = work->next;
    }
    const DiskRead& read = work->read;
    const ssize_t got = ::pread(read.descriptor, read.to, static_cast<std::size_t>(read.bytes),
                                static_cast<off_t>(read.offset));
    work->result = got < 0 ? -Index{errno} : static_cast<Index>(got);
    Done& done = *work->done;
    const std::lock_guard lock(done.mutex);
    work->next = done.reads;
    done.reads = work;
    done.arrived.notify_one();  // with the lock: its owner may go once it has the read
  }
}

inline ThreadReads::Pool::~Pool() {
  {
    const std::lock_guard lock(mutex);
    ends = true;
  }
  arrived.notify_all();
  for (std::thread& thread : threads) thread.join();
}

inline Result<ThreadReads> ThreadReads::make(Index threads) {
  if (threads < 1 || threads > 256)
    return fail(Code::invalid_config, {"disk reads: ", threads, " threads, expected 1 to 256"});
  auto pool = std::make_shared<Pool>();
  for (Index i = 0; i < threads; ++i) {
#if ENGRAM_EXCEPTIONS
    try {
      pool->threads.emplace_back([p = pool.get()] { p->run(); });
    } catch (const std::system_error& error) {
      if (i > 0) break;
      return fail(Code::io, {"disk reads: no thread: ", error.code().message()}, -1,
                  error.code().value());
    }
#else
    pool->threads.emplace_back([p = pool.get()] { p->run(); });
#endif
  }
  return ThreadReads(std::move(pool));
}

static_assert(check_disk_reads<ThreadReads>());

ENGRAM_END_NAMESPACE
