// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A warp without a GPU: 32 threads that run a body together, each as one lane, and hand each other
// numbers where a GPU's lanes do. Several warps may run at the same time.

#include <engram/core/status.hpp>
#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/warp_lanes.hpp>

#include <barrier>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

/// Runs f(0), f(1), ..., each in a thread, all at the same time.
template <class F>
void run_threads(int count, const F& f) {
  std::vector<std::thread> threads;
  for (int thread = 0; thread < count; ++thread) threads.emplace_back([&f, thread] { f(thread); });
  for (std::thread& thread : threads) thread.join();
}

struct ThreadedWarp {
  /// What the threads of a warp share.
  struct Shared {
    std::barrier<> all_here{32};
    std::uint64_t given[2][32];
  };
  static inline thread_local Shared* own_warp = nullptr;
  static inline thread_local int own_lane = 0;
  static inline thread_local int turn = 0;

  static int lane() { return own_lane; }
  static void sync() { own_warp->all_here.arrive_and_wait(); }
  static std::uint64_t from_lane(std::uint64_t x, int lane) {
    std::uint64_t* const numbers = own_warp->given[turn ^= 1];  // the other is still being read
    numbers[own_lane] = x;
    sync();
    return numbers[lane];
  }
  static float from_lane_xor(float x, int mask) {
    return engram::from_bits(
        static_cast<std::uint32_t>(from_lane(engram::to_bits(x), own_lane ^ mask)));
  }
  static bool all(bool yes) {
    float whole = yes ? 1.0f : 0.0f;
    for (int half = 16; half > 0; half /= 2) {
      const float other = from_lane_xor(whole, half);
      whole = whole * other;
    }
    return whole == 1.0f;
  }

  /// Runs the body for each item. Between items all lanes have done the one before.
  template <class Body>
  static void run(engram::Index items, const Body& body) {
    run_warps(1, [&](int) {
      for (engram::Index item = 0; item < items; ++item) {
        body(engram::WarpLanes<ThreadedWarp>(), item);
        sync();
      }
    });
  }

  /// Runs f(warp) in the 32 threads of each warp, all warps at the same time.
  template <class F>
  static void run_warps(int warps, const F& f) {
    std::deque<Shared> shared(static_cast<std::size_t>(warps));
    run_threads(32 * warps, [&](int thread) {
      own_warp = &shared[static_cast<std::size_t>(thread / 32)];
      own_lane = thread % 32;
      turn = 0;
      f(thread / 32);
    });
  }
};

/// A block of threads without a GPU.
struct ThreadedBlock {
  static constexpr int threads = engram::threads_of_a_block;
  int own;
  std::barrier<>* all_here;

  static inline float given[threads];

  int thread() const { return own; }
  void sync() const { all_here->arrive_and_wait(); }
  float from_lane_xor(float x, int mask) const {
    given[own] = x;
    sync();
    const float other = given[own ^ mask];
    sync();
    return other;
  }

  /// Runs f in each thread of a block.
  template <class F>
  static void run(const F& f) {
    std::barrier<> barrier(threads);
    run_threads(threads, [&](int thread) { f(ThreadedBlock{thread, &barrier}); });
  }
};

/// One lane that does the work of all: for bodies that ask nothing else of their lanes.
struct SerialLanes {
  template <class F>
  static void each(engram::Index count, const F& f) {
    for (engram::Index i = 0; i < count; ++i) f(i);
  }
  static void copy(void* to, const std::byte* from, engram::Index size) {
    std::memcpy(to, from, static_cast<std::size_t>(size));
  }
};

/// Keeps what the bodies report.
struct Reports {
  struct Found {
    engram::Code code = engram::Code::ok;
    engram::Index index = -1;
  };
  Found* first = nullptr;

  void report(engram::Code code, engram::Index index) const {
    static std::mutex one;
    const std::lock_guard lock(one);
    if (first->code == engram::Code::ok || index < first->index) *first = {code, index};
  }
};

/// What CudaDevice does, by the CPU's threads, in memory that only plays the GPU's.
struct ThreadedDevice {
  using space_type = engram::DeviceSpace;

  Reports errors;

  template <class Body>
  void for_items(engram::Index n, const Body& body) const {
    ThreadedWarp::run(n, body);
  }
  template <class Body>
  void for_items_up_to(engram::Index, const engram::Index* n, const Body& body) const {
    ThreadedWarp::run(*n, body);
  }
  template <class Shared, class Body>
  void for_blocks(engram::Index n, const Body& body) const {
    Shared shared;
    ThreadedBlock::run([&](const ThreadedBlock& block) {
      for (engram::Index item = 0; item < n; ++item) body(block, shared, item);
    });
  }
  bool agree(bool yes) const { return yes; }
  engram::Status wait() const { return {}; }
  Reports error_word() const { return errors; }
};
static_assert(engram::KernelDevice<ThreadedDevice>);
