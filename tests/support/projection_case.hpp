// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Random weights of a projection by cuBLAS, fused or split, wherever their copies lie.

#include <elements.hpp>
#include <engram/cublas/projection_shapes.hpp>

#include <vector>

namespace projection_case {

using namespace engram;

struct Weights {
  Index inputs, width, branches, stride;
  std::vector<Bf16> matrix, bias;

  /// Rows `padding` elements apart.
  Weights(Index m, Index d, Index g, Index padding, Random& random)
      : inputs(m),
        width(d),
        branches(g),
        stride(m + padding),
        matrix(elements::random_elements<Bf16>((g + 1) * d * stride, random)),
        bias(elements::random_elements<Bf16>((g + 1) * d, random)) {}

  /// Of copies of `matrix` and `bias`; bias_copy null: without bias.
  std::vector<BlasMatrix> matrices(const Bf16* copy, const Bf16* bias_copy, bool is_split) const {
    const auto rows = [&](Index begin, Index count) {
      BlasMatrix part;
      part.weight =
          DeviceView<const Bf16, 2>(copy + begin * stride, count, inputs).with_stride<0>(stride);
      if (bias_copy != nullptr) part.bias = DeviceView<const Bf16, 1>(bias_copy + begin, count);
      return part;
    };
    const Index keys = branches * width;
    if (is_split) return {rows(0, keys), rows(keys, width)};
    return {rows(0, keys + width)};
  }
};

}  // namespace projection_case
