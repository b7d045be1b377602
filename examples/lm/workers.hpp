// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Threads that wait for work. Which thread does an item is left open, so items must not depend on
// it.

#include <engram/core/ids.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace engram::lm {

class Workers {
 public:
  /// The calling thread counts as one.
  explicit Workers(Index threads) {
    for (Index i = 1; i < threads; ++i) threads_.emplace_back([this] { wait_for_work(); });
  }
  Workers(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    begun_.notify_all();
    for (std::thread& t : threads_) t.join();
  }

  /// work(item) for the items 0 to count - 1; returns when all are done. work must not throw.
  void run(Index count, const std::function<void(Index)>& work) {
    {
      const std::lock_guard lock(mutex_);
      work_ = &work;
      count_ = count;
      next_ = 0;
      busy_ = threads_.size();
      ++round_;
    }
    begun_.notify_all();
    take_items();
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void take_items() {
    for (Index item = next_++; item < count_; item = next_++) (*work_)(item);
  }
  void wait_for_work() {
    for (Index seen = 0;;) {
      {
        std::unique_lock lock(mutex_);
        begun_.wait(lock, [&] { return stopping_ || round_ != seen; });
        if (stopping_) return;
        seen = round_;
      }
      take_items();
      const std::lock_guard lock(mutex_);
      if (--busy_ == 0) ended_.notify_one();
    }
  }

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable begun_, ended_;
  const std::function<void(Index)>* work_ = nullptr;
  std::atomic<Index> next_{0};
  Index count_ = 0, round_ = 0;
  std::size_t busy_ = 0;
  bool stopping_ = false;
};

}  // namespace engram::lm
