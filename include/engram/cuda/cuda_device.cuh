// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The GPU as a device: a body's items are shared among warps, on the caller's stream. Nothing is
// allocated, nothing is waited for, and nothing is global, so that every call can be captured in a
// graph.

#if !defined(__CUDACC__)
#error "engram: headers that end in .cuh need a CUDA compiler (nvcc, or clang++ -x cuda)"
#endif

#include <engram/core/device.hpp>
#include <engram/cuda/device_errors.hpp>
#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/warp_lanes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The warp that the calling thread is in.
struct HardwareWarp {
  __device__ static int lane() noexcept { return static_cast<int>(threadIdx.x % 32); }
  __device__ static float from_lane_xor(float x, int mask) noexcept {
    return __shfl_xor_sync(0xFFFFFFFFU, x, mask);
  }
  __device__ static std::uint64_t from_lane(std::uint64_t x, int lane) noexcept {
    return __shfl_sync(0xFFFFFFFFU, x, lane);
  }
  /// Shuffles are no barriers of memory; this is one.
  __device__ static void sync() noexcept { __syncwarp(); }
  __device__ static bool all(bool yes) noexcept { return __all_sync(0xFFFFFFFFU, yes) != 0; }
};

/// The block that the calling thread is in.
struct HardwareBlock {
  static constexpr int threads = threads_of_a_block;
  __device__ static int thread() noexcept { return static_cast<int>(threadIdx.x); }
  __device__ static void sync() noexcept { __syncthreads(); }
  __device__ static float from_lane_xor(float x, int mask) noexcept {
    return HardwareWarp::from_lane_xor(x, mask);
  }
};

/// All threads of a launch, as the calling one sees them.
struct HardwareGrid {
  static constexpr int threads = threads_of_a_block;
  static constexpr int warps = threads / 32;
  __device__ static int thread() noexcept { return static_cast<int>(threadIdx.x); }
  __device__ static Index block() noexcept { return Index{blockIdx.x}; }
  __device__ static Index blocks() noexcept { return Index{gridDim.x}; }
  __device__ static void sync_block() noexcept { __syncthreads(); }
};

/// Each warp takes an item, then the one as many items further as there are warps.
template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block)
    run_on_warps(Index items, Body body) {
  const Index warps = Index{gridDim.x} * (threads_of_a_block / 32);
  const Index first = Index{blockIdx.x} * (threads_of_a_block / 32) + threadIdx.x / 32;
  for (Index item = first; item < items; item += warps) body(WarpLanes<HardwareWarp>(), item);
}

/// The same for as many items as a number in the GPU's memory says.
template <class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block)
    run_on_warps_up_to(const Index* items, Body body) {
  const Index warps = Index{gridDim.x} * (threads_of_a_block / 32);
  const Index first = Index{blockIdx.x} * (threads_of_a_block / 32) + threadIdx.x / 32;
  for (Index item = first; item < *items; item += warps) body(WarpLanes<HardwareWarp>(), item);
}

/// Each block takes an item, then the one as many items further as there are blocks.
template <class Shared, class Body>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block)
    run_on_blocks(Index items, Body body) {
  __shared__ Shared shared;
  for (Index item = blockIdx.x; item < items; item += gridDim.x)
    body(HardwareBlock(), shared, item);
}

/// A GPU. Bodies must be trivially copyable and reach memory of the GPU only. Calls are made while
/// the stream's GPU is the current one.
struct CudaDevice {
  using space_type = DeviceSpace;

  cudaStream_t stream;   ///< the caller's
  DeviceErrors* errors;  ///< where kernels and launches report to
  /// Blocks of threads_of_a_block that a call may use at the same time. 0: as many as there are
  /// items. It limits how much runs, not on how many multiprocessors, and does not reach CUB.
  int most_blocks;

  CudaDevice(cudaStream_t own_stream, DeviceErrors& reports, int blocks = 0) noexcept
      : stream(own_stream), errors(&reports), most_blocks(blocks) {}

  template <class Body>
  ENGRAM_HIDDEN void for_items(Index n, const Body& body) const noexcept {
    launch(n, threads_of_a_block / 32, run_on_warps<Body>, n, body);
  }
  /// for_items() for a number of items that only the GPU knows: `*n` in its memory, at most `most`.
  /// No more blocks than can run at once, because those without an item would cost more than their
  /// launch.
  template <class Body>
  ENGRAM_HIDDEN void for_items_up_to(Index most, const Index* n, const Body& body) const noexcept {
    int gpu = 0, multiprocessors = 0, threads = 0;
    note(cudaGetDevice(&gpu));
    note(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, gpu));
    note(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, gpu));
    CudaDevice some = *this;
    const int at_once = multiprocessors * (threads / threads_of_a_block);
    if (some.most_blocks == 0 || some.most_blocks > at_once) some.most_blocks = at_once;
    some.launch(most, threads_of_a_block / 32, run_on_warps_up_to<Body>, n, body);
  }
  /// body(block, shared, item) by the threads of a block together, which share a `Shared`.
  template <class Shared, class Body>
  ENGRAM_HIDDEN void for_blocks(Index n, const Body& body) const noexcept {
    launch(n, 1, run_on_blocks<Shared, Body>, n, body);
  }
  bool agree(bool yes) const noexcept { return yes; }
  /// What became of the calls since the last wait, see DeviceErrors::take(). Waits for the stream.
  Status wait() const noexcept { return errors->take(stream); }

  /// Launches a kernel, each block for `each` of the items. No items, no launch.
  template <class... Parameters>
  ENGRAM_HIDDEN void launch(Index items, Index each, void (*kernel)(Parameters...),
                            const std::type_identity_t<Parameters>&... with) const noexcept {
    static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                  "engram: what a kernel takes travels to the GPU by its bytes");
    if (items <= 0) return;
    const Index most = most_blocks > 0 ? most_blocks : Index{INT32_MAX};
    const Index wanted = (items - 1) / each + 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(static_cast<unsigned>(wanted < most ? wanted : most));
    config.blockDim = dim3(threads_of_a_block);
    config.stream = stream;
    // Its own answer: what the runtime remembers may be of another call, and of the caller's.
    note(cudaLaunchKernelEx(&config, kernel, with...));
  }
  /// What a call of the runtime said, for wait() to tell.
  void note(cudaError_t error) const noexcept { errors->note(error); }
  ErrorWord error_word() const noexcept { return errors->word(); }
};
static_assert(check_device<CudaDevice>() && KernelDevice<CudaDevice>);

ENGRAM_END_NAMESPACE
