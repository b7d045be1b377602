// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Rows at equal distances, each with its scales behind its codes: how every store that lays its
// rows out itself finds one.

#include <engram/codec/row_bytes.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Row id -> address of rows that lie `stride` bytes apart, scales behind the codes.
struct StridedRows {
  const std::byte* base = nullptr;
  Index stride = 0;
  Index scale_offset = 0;  ///< bytes from a row's codes to its scales; 0: no scales

  ENGRAM_HD constexpr RowBytes operator()(Index row) const noexcept {
    const std::byte* const codes = base + row * stride;
    return {codes, scale_offset == 0 ? nullptr : codes + scale_offset};
  }
};

/// The same, to be written.
struct MutableStridedRows {
  std::byte* base = nullptr;
  Index stride = 0;
  Index scale_offset = 0;

  ENGRAM_HD constexpr MutableRowBytes operator()(Index row) const noexcept {
    std::byte* const codes = base + row * stride;
    return {codes, scale_offset == 0 ? nullptr : codes + scale_offset};
  }
};

ENGRAM_END_NAMESPACE
