// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a projection on a GPU takes and gives, and whether it fits together: apart from cuBLAS, so
// that it is checked where neither it nor a GPU is.

#include <engram/cuda/device_projection.hpp>
#include <engram/gating/segments.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A matrix of weights, not owned: row n makes output n.
struct BlasMatrix {
  DeviceView<const Bf16, 2> weight;  ///< [N, M], row stride free
  /// [N] or empty, at a multiple of 16 bytes, which kernels of cuBLAS count on without being told;
  /// bf16, as cuBLAS adds to bf16 outputs.
  DeviceView<const Bf16, 1> bias;
};

ENGRAM_BEGIN_LOOPS

/// The shape of one fused matrix [(G + 1) D, M], or of the keys' [G D, M] and the value's [D, M].
/// Fails with shape_mismatch, or unsupported (index 16: where a bias begins).
inline Result<ProjectionShape> projection_shape(View<const BlasMatrix, 1> matrices,
                                                Index branches) {
  const auto refuse = [](std::initializer_list<Piece> why) {
    return fail(Code::shape_mismatch, {"projection: ", sentence(why)});
  };
  const Index count = matrices.extent(0);
  if (count != 1 && count != 2)
    return refuse({count, " matrices, expected one, or the keys' and the value's"});
  if (branches < 1) return refuse({branches, " branches, expected at least 1"});
  const Index inputs = matrices(0).weight.extent(1);
  for (Index i = 0; i < count; ++i) {
    const BlasMatrix& matrix = matrices(i);
    const Index outputs = matrix.weight.extent(0);
    if (outputs < 1 || inputs < 1 || matrix.weight.extent(1) != inputs)
      return refuse({"matrix ", i, " is [", outputs, ", ", matrix.weight.extent(1), "], expected ",
                     inputs < 1 ? 1 : inputs, " inputs and at least 1 output"});
    if (matrix.weight.stride(0) < inputs)
      return refuse({"rows of matrix ", i, " are ", matrix.weight.stride(0),
                     " elements apart, expected at least ", inputs});
    if (matrix.bias.size() != 0 && matrix.bias.extent(0) != outputs)
      return refuse(
          {"the bias of matrix ", i, " has ", matrix.bias.extent(0), " elements, not ", outputs});
    if (matrix.bias.size() != 0 && reinterpret_cast<std::uintptr_t>(matrix.bias.data()) % 16 != 0)
      return fail(
          Code::unsupported,
          {"projection: the bias of matrix ", i, " does not begin at a multiple of 16 bytes"}, 16);
  }
  const Index outputs = matrices(0).weight.extent(0);
  const Index parts = count == 1 ? branches + 1 : branches;
  const Index width = outputs / parts;
  if (outputs % parts != 0)
    return refuse({"matrix 0 has ", outputs, " outputs, expected a multiple of ", parts});
  if (count == 2 && matrices(1).weight.extent(0) != width)
    return refuse({"the value's matrix has ", matrices(1).weight.extent(0), " outputs, not the ",
                   width, " of a key"});
  return ProjectionShape{inputs, width, branches};
}

/// check_projection_call(); and shape_mismatch (index: M) where rows are not dense, unsupported
/// (index: 16) where an array does not begin at a multiple of 16 bytes.
inline Status check_blas_call(const ProjectionShape& shape, DeviceView<const Bf16, 2> e,
                              DeviceView<Bf16, 3> segments) noexcept {
  if (const Status s = check_projection_call(shape, e, segments); !s.ok()) return s;
  if (e.stride(0) != shape.inputs) return {Code::shape_mismatch, 0, shape.inputs};
  const auto places = reinterpret_cast<std::uintptr_t>(e.data()) |
                      reinterpret_cast<std::uintptr_t>(segments.data());
  return places % 16 == 0 ? Status{} : Status{Code::unsupported, 0, 16};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
