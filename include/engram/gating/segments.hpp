// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What one matrix product for keys and value leaves, [T, G + 1, D], as fuse() takes it.

#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Keys of the branches in what a projection wrote: [T, G, D] of [T, G + 1, D].
template <class T, class Space>
constexpr View<T, 3, Space> keys_of(View<T, 3, Space> segments) noexcept {
  return View<T, 3, Space>(segments.data(), segments.extent(0), segments.extent(1) - 1,
                           segments.extent(2))
      .template with_stride<1>(segments.stride(1))
      .template with_stride<0>(segments.stride(0));
}

/// The value that the branches share: [T, D] of [T, G + 1, D].
template <class T, class Space>
constexpr View<T, 2, Space> value_of(View<T, 3, Space> segments) noexcept {
  return segments.template at<1>(segments.extent(1) - 1);
}

ENGRAM_END_NAMESPACE
