// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A warp without a GPU: 32 threads that run a body together, each as one lane, and hand each other
// numbers where a GPU's lanes do.

#include <engram/core/space.hpp>
#include <engram/core/status.hpp>
#include <engram/cuda/warp_lanes.hpp>

#include <barrier>
#include <mutex>
#include <thread>
#include <vector>

struct ThreadedWarp {
  static inline thread_local int own_lane = 0;
  static inline float given[2][32];
  static inline thread_local int turn = 0;
  static inline std::barrier<>* all_here = nullptr;

  static int lane() { return own_lane; }
  static float from_lane_xor(float x, int mask) {
    float* const numbers = given[turn ^= 1];  // the other is read until all are here again
    numbers[own_lane] = x;
    all_here->arrive_and_wait();
    return numbers[own_lane ^ mask];
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
    std::barrier<> barrier(32);
    all_here = &barrier;
    std::vector<std::thread> lanes;
    for (int lane = 0; lane < 32; ++lane)
      lanes.emplace_back([&, lane] {
        own_lane = lane;
        turn = 0;
        for (engram::Index item = 0; item < items; ++item) {
          body(engram::WarpLanes<ThreadedWarp>(), item);
          barrier.arrive_and_wait();
        }
      });
    for (std::thread& thread : lanes) thread.join();
  }
};

/// A block of threads without a GPU.
struct ThreadedBlock {
  static constexpr int threads = 128;
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
    std::vector<std::thread> all;
    for (int thread = 0; thread < threads; ++thread)
      all.emplace_back([&, thread] { f(ThreadedBlock{thread, &barrier}); });
    for (std::thread& thread : all) thread.join();
  }
};

/// One lane that does the work of all: for bodies that ask nothing else of their lanes.
struct SerialLanes {
  template <class F>
  static void each(engram::Index count, const F& f) {
    for (engram::Index i = 0; i < count; ++i) f(i);
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
  void wait() const {}
  Reports error_word() const { return errors; }
};
