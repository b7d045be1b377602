// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Memory spaces as types: a view of device memory handed to a CPU call does not compile.

#include <engram/config.hpp>

#include <concepts>

ENGRAM_BEGIN_NAMESPACE

/// Ordinary memory that the CPU reads and writes.
struct HostSpace {
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = false;
};

/// Memory of a GPU.
struct DeviceSpace {
  static constexpr bool host_accessible = false;
  static constexpr bool device_accessible = true;
};

/// Page-locked host memory that a GPU reads directly.
struct PinnedSpace {
  static constexpr bool host_accessible = true;
  static constexpr bool device_accessible = true;
};

template <class S>
concept MemorySpace = requires {
  { S::host_accessible } -> std::convertible_to<bool>;
  { S::device_accessible } -> std::convertible_to<bool>;
};

/// A view of `From` may stand where a view of `To` is asked for: whoever can reach To reaches
/// From.
template <class From, class To>
concept SpaceConvertible = MemorySpace<From> && MemorySpace<To> &&
                           (From::host_accessible || !To::host_accessible) &&
                           (From::device_accessible || !To::device_accessible);

ENGRAM_END_NAMESPACE
