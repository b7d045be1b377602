// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where one stored row is. Rows with scales of their own may keep codes and scales in different
// arrays, as DeepSeek-V4.1's checkpoint does.

#include <engram/core/ids.hpp>

#include <cstddef>

ENGRAM_BEGIN_NAMESPACE

/// The bytes of one row, not owned. `scales` is null when the format has none.
struct RowBytes {
  const std::byte* codes = nullptr;
  const std::byte* scales = nullptr;
};

/// The same, to be written.
struct MutableRowBytes {
  std::byte* codes = nullptr;
  std::byte* scales = nullptr;
};

ENGRAM_END_NAMESPACE
