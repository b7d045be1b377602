// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the benchmarks on a GPU share: arrays there, what is in them, and row ids as texts ask for
// them.

#include <engram/core/splitmix.hpp>
#include <engram/cuda/device_memory.hpp>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/pinned_store.hpp>
#include <engram/storage/strided_rows.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace cuda_bench {

using namespace engram;

[[noreturn]] inline void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}
inline void need(cudaError_t error, const char* what) {
  if (error != cudaSuccess) give_up(cuda_failure(what, error).message);
}
inline void need(Status status, const char* what) {
  if (!status.ok()) give_up(describe(status, what));
}

inline std::uint64_t random_bits() {
  static std::uint64_t state = 1;
  return state = splitmix64(state);
}

template <class T>
struct Array {
  DeviceMemory memory;
  Index count;
  explicit Array(Index n) : memory(DeviceMemory::make(n * Index{sizeof(T)}).value()), count(n) {}
  explicit Array(const std::vector<T>& from) : Array(static_cast<Index>(from.size())) {
    need(cudaMemcpy(memory.data(), from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice),
         "upload");
  }
  T* data() const { return reinterpret_cast<T*>(memory.data()); }
};

/// `count` ids below `rows`: distinct, numbers in order through a bijection of the power of two at
/// hand, or Zipf's.
inline std::vector<int> some_ids(Index count, Index rows, bool zipf) {
  std::vector<int> ids;
  if (zipf) {
    const double log_rows = std::log(static_cast<double>(rows));
    while (static_cast<Index>(ids.size()) < count) {
      const double u = static_cast<double>(random_bits() >> 11) * 0x1p-53;
      const auto rank = static_cast<std::uint64_t>(std::exp(u * log_rows)) - 1;
      ids.push_back(static_cast<int>(rank * 0x9E3779B1U % static_cast<std::uint64_t>(rows)));
    }
    return ids;
  }
  int bits = 1;
  while (std::uint64_t{1} << bits < static_cast<std::uint64_t>(rows)) ++bits;
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  const std::uint64_t factors[3] = {random_bits() | 1, random_bits() | 1, random_bits() | 1};
  for (std::uint64_t i = 0; static_cast<Index>(ids.size()) < count && i <= mask; ++i) {
    std::uint64_t id = i;
    for (const std::uint64_t factor : factors) id = ((id ^ id >> (bits + 1) / 2) * factor) & mask;
    if (id < static_cast<std::uint64_t>(rows)) ids.push_back(static_cast<int>(id));
  }
  return ids;
}

/// Random bytes in all of a store's rows: numbers of both signs below 2 and no NaN, whether they
/// are bf16, float or e4m3 codes, and scales near 1, as a model has. copy(to, from, bytes).
template <class Copy>
void fill(MutableStridedRows to, Index num_rows, const Copy& copy) {
  static const std::vector<std::byte> noise = [] {
    std::vector<std::byte> bytes(std::size_t{64} << 20);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_bits() & 0xBF);
    return bytes;
  }();
  const Index piece = std::max<Index>(1, static_cast<Index>(noise.size()) / to.stride);
  std::vector<std::byte> scaled;
  if (to.scale_offset > 0) {
    scaled = noise;
    for (Index row = 0; row < piece; ++row)
      for (Index b = row * to.stride + to.scale_offset; b < (row + 1) * to.stride; ++b)
        scaled[static_cast<std::size_t>(b)] = static_cast<std::byte>(120 + random_bits() % 16);
  }
  const std::byte* const from = (to.scale_offset > 0 ? scaled : noise).data();
  for (Index at = 0; at < num_rows; at += piece)
    copy(to.base + at * to.stride, from,
         static_cast<std::size_t>(std::min(piece, num_rows - at) * to.stride));
}
inline void copy_to_gpu(void* to, const void* from, std::size_t bytes) {
  need(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "fill");
}
inline void fill(DeviceStore& store) { fill(store.mutable_ref(), store.num_rows(), copy_to_gpu); }
inline void fill(PinnedStore& store) { fill(store.mutable_ref(), store.num_rows(), std::memcpy); }
template <class T>
void fill(const Array<T>& array) {
  fill({array.memory.data(), 64, 0}, array.memory.size() / 64, copy_to_gpu);
}

}  // namespace cuda_bench
