// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What calls of this wing ask of the device that they launch on, so that they run without a GPU as
// well: a device whose lanes are threads apart, and whose errors somebody reads later.

#include <engram/core/device.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Threads of each block that this wing launches.
inline constexpr int threads_of_a_block = 128;

/// A body for blocks that only proves that a type launches them.
struct EmptyBlockBody {
  struct Shared {};
  template <class Block>
  ENGRAM_HD void operator()(const Block&, Shared&, Index) const noexcept {}
};

/// A device that also runs bodies for a number of items that only it knows, and bodies of a block's
/// threads together; `error_word()` is where bodies report to. CudaDevice, and in tests the CPU's
/// threads.
template <class D>
concept KernelDevice = Device<D> && requires(const D d, Index n, const Index* count) {
  { d.for_items_up_to(n, count, EmptyBody{}) } -> std::same_as<void>;
  { d.template for_blocks<EmptyBlockBody::Shared>(n, EmptyBlockBody{}) } -> std::same_as<void>;
  d.error_word().report(Code::ok, n);
};

ENGRAM_END_NAMESPACE
