// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "raw_loop.hpp"
#include "row_ids.hpp"

#include <atomic>
#include <barrier>
#include <thread>

namespace engram::read_bench {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ssize_t read_page(int descriptor, std::byte* to, Index offset) {
  ssize_t got = -1;
  do {
    got = ::pread(descriptor, to, static_cast<std::size_t>(disk_page_bytes),
                  static_cast<off_t>(offset));
  } while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got;
}

class ThreadLoop final : public RawLoop {
 public:
  Result<RawRun> sustain(const RawRange& range, Index depth, double seconds) override {
    PageMemory memory(depth);
    std::vector<RawRun> runs(static_cast<std::size_t>(depth));
    std::atomic<Index> failed{1};
    std::vector<std::thread> threads;
    const auto start = Clock::now();
    for (Index t = 0; t < depth; ++t)
      threads.emplace_back([&, t] {
        RawRun& run = runs[static_cast<std::size_t>(t)];
        Randomness random(static_cast<std::uint64_t>(t) + random_.bits());
        for (auto last = Clock::now(); since(start) < seconds && failed > 0;) {
          const Index page = random.number(range.pages);
          const ssize_t got =
              read_page(range.descriptor, memory.page(t), range.offset + page * disk_page_bytes);
          if (got <= 0) failed = got;
          const auto now = Clock::now();
          run.latencies.push_back(std::chrono::duration<double>(now - last).count());
          last = now;
        }
      });
    for (std::thread& thread : threads) thread.join();
    RawRun sum;
    sum.seconds = since(start);
    for (const RawRun& run : runs)
      sum.latencies.insert(sum.latencies.end(), run.latencies.begin(), run.latencies.end());
    sum.reads = static_cast<Index>(sum.latencies.size());
    if (failed <= 0) return raw_failure(failed);
    return sum;
  }

  Result<double> batch(int descriptor, const std::vector<Index>& offsets) override {
    const auto count = static_cast<Index>(offsets.size());
    PageMemory memory(count);
    std::atomic<Index> failed{1};
    std::barrier start(count + 1), end(count + 1);
    std::vector<std::thread> threads;
    for (Index t = 0; t < count; ++t)
      threads.emplace_back([&, t] {
        start.arrive_and_wait();
        const ssize_t got =
            read_page(descriptor, memory.page(t), offsets[static_cast<std::size_t>(t)]);
        if (got <= 0) failed = got;
        end.arrive_and_wait();
      });
    const auto begin = Clock::now();
    start.arrive_and_wait();
    end.arrive_and_wait();
    const double seconds = since(begin);
    for (std::thread& thread : threads) thread.join();
    if (failed <= 0) return raw_failure(failed);
    return seconds;
  }

 private:
  Randomness random_{1};
};

}  // namespace

std::unique_ptr<RawLoop> make_thread_loop() { return std::make_unique<ThreadLoop>(); }

}  // namespace engram::read_bench
