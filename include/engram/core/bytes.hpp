// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Bytes as files and digests see them.

#include <engram/core/view.hpp>

#include <string_view>

ENGRAM_BEGIN_NAMESPACE

/// Read-only bytes.
using Bytes = View<const std::byte, 1>;

/// The bytes of a string or of a file read into one.
inline Bytes as_bytes(std::string_view text) noexcept {
  return Bytes(reinterpret_cast<const std::byte*>(text.data()), static_cast<Index>(text.size()));
}

ENGRAM_END_NAMESPACE
