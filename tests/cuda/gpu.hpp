// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the tests on a GPU share: whether there is one, arrays in its memory, and a device.

#include <catch.hpp>
#include <elements.hpp>
#include <engram/core/view.hpp>
#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/device_memory.hpp>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace gpu {

using namespace engram;

inline void say_skipped(const std::string& why) { std::cout << "[skipped] " << why << '\n'; }

/// Whether there is a GPU; else the case says why not and is skipped.
inline bool is_here() {
  const Result<int> found = cuda_device_count();
  if (!found.ok()) say_skipped(found.message());
  return found.ok();
}

/// Whether a PinnedStore could be made. Where a GPU cannot read the host's memory, that is skipped.
template <class Store>
bool could_pin(const Result<Store>& made) {
  if (made.status().code == Code::unsupported) {
    say_skipped(made.message());
    return false;
  }
  INFO(made.message());
  REQUIRE(made.ok());
  return true;
}

using elements::at;
using elements::same_bits;

/// Elements in the GPU's memory.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& elements)
      : memory_(DeviceMemory::make(bytes_of(elements) + 64).value()), count_(elements.size()) {
    set(elements);
  }
  void set(const std::vector<T>& elements) {
    REQUIRE(elements.size() == count_);
    REQUIRE(cudaMemcpy(memory_.data(), elements.data(), elements.size() * sizeof(T),
                       cudaMemcpyHostToDevice) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  std::vector<T> get() const {
    std::vector<T> elements(count_);
    REQUIRE(cudaMemcpy(static_cast<void*>(elements.data()), memory_.data(), count_ * sizeof(T),
                       cudaMemcpyDeviceToHost) == cudaSuccess);
    return elements;
  }
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  DeviceView<T, 1> view(Index a) const { return DeviceView<T, 1>(data(), a); }
  DeviceView<T, 2> view(Index a, Index b) const { return DeviceView<T, 2>(data(), a, b); }
  DeviceView<T, 3> view(Index a, Index b, Index c) const {
    return DeviceView<T, 3>(data(), a, b, c);
  }
  DeviceView<const T, 1> read(Index a) const { return view(a); }
  DeviceView<const T, 2> read(Index a, Index b) const { return view(a, b); }
  DeviceView<const T, 3> read(Index a, Index b, Index c) const { return view(a, b, c); }

 private:
  static Index bytes_of(const std::vector<T>& elements) {
    return static_cast<Index>(elements.size() * sizeof(T));
  }

  DeviceMemory memory_;
  std::size_t count_;
};

/// Arrays of several types in the GPU's memory.
class Arrays {
 public:
  template <class E>
  E* put(const std::vector<E>& elements) {
    auto array = std::make_shared<Array<E>>(elements);
    arrays_.push_back(array);
    return array->data();
  }
  template <class E>
  void set(E* to, const std::vector<E>& elements) const {
    REQUIRE(cudaMemcpy(to, elements.data(), elements.size() * sizeof(E), cudaMemcpyHostToDevice) ==
            cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  template <class E>
  void get(const E* from, std::vector<E>& elements) const {
    REQUIRE(cudaMemcpy(static_cast<void*>(elements.data()), from, elements.size() * sizeof(E),
                       cudaMemcpyDeviceToHost) == cudaSuccess);
  }

 private:
  std::vector<std::shared_ptr<void>> arrays_;
};

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const { (void)cudaGraphExecDestroy(graph); }
};
/// What was captured, for replays.
using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, DestroyGraph>;

/// A stream of its own, which waits for no other, and what is reported on it.
class OwnStream {
 public:
  OwnStream() {
    REQUIRE(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess);
  }
  OwnStream(const OwnStream&) = delete;
  ~OwnStream() { (void)cudaStreamDestroy(stream_); }

  CudaDevice device(int most_blocks = 0) { return {stream_, errors_, most_blocks}; }

  /// What `calls` launches, as a graph that has not run yet.
  template <class Calls>
  Graph captured(const Calls& calls) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    REQUIRE(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal) == cudaSuccess);
    calls(device());
    REQUIRE(cudaStreamEndCapture(stream_, &graph) == cudaSuccess);
    REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    (void)cudaGraphDestroy(graph);
    return Graph(exec);
  }
  void replay(const Graph& graph) { REQUIRE(cudaGraphLaunch(graph.get(), stream_) == cudaSuccess); }

 private:
  cudaStream_t stream_ = nullptr;
  DeviceErrors errors_ = DeviceErrors::make().value();
};

}  // namespace gpu
