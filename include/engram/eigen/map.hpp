// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The library's views as Eigen's matrices, without a copy.

#include <engram/core/view.hpp>

#include <Eigen/Core>

#if defined(_OPENMP) && !defined(EIGEN_DONT_PARALLELIZE)
#error \
    "engram: with OpenMP, Eigen starts threads inside of products. Compile with -DEIGEN_DONT_PARALLELIZE (the CMake target engram::eigen does)."
#endif

ENGRAM_BEGIN_NAMESPACE

/// A view [rows, columns] with a free row stride as a row-major Eigen matrix over the same memory.
template <class T>
auto as_matrix(View<T, 2> view) noexcept {
  using Matrix =
      Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Mapped = std::conditional_t<std::is_const_v<T>, const Matrix, Matrix>;
  return Eigen::Map<Mapped, 0, Eigen::OuterStride<>>(view.data(), view.extent(0), view.extent(1),
                                                     Eigen::OuterStride<>(view.stride(0)));
}

/// A view [n] as a column vector over the same memory.
template <class T>
auto as_vector(View<T, 1> view) noexcept {
  using Vector = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
  using Mapped = std::conditional_t<std::is_const_v<T>, const Vector, Vector>;
  return Eigen::Map<Mapped>(view.data(), view.extent(0));
}

ENGRAM_END_NAMESPACE
