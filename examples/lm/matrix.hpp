// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The model's numbers: matrices of activations, and all weights in one array, so that gradients are
// an array of the same shape and the optimizer a loop.

#include <engram/core/ids.hpp>

#include <Eigen/Core>

#include <vector>

namespace engram::lm {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXf;
/// An array that begins where Eigen's own do: where an array begins decides in which order Eigen
/// adds its elements.
using Floats = std::vector<float, Eigen::aligned_allocator<float>>;
using Strided = Eigen::Map<Matrix, 0, Eigen::OuterStride<>>;
using ConstStrided = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;

/// Where a weight lies in the array of all.
struct Weight {
  Index offset = 0, rows = 0, columns = 0;

  Index size() const { return rows * columns; }
  Eigen::Map<const Matrix> in(const float* all) const { return {all + offset, rows, columns}; }
  Eigen::Map<Matrix> in(float* all) const { return {all + offset, rows, columns}; }
  /// As a column: of norms' gains.
  Eigen::Map<const Vector> vector_in(const float* all) const { return {all + offset, size()}; }
  Eigen::Map<Vector> vector_in(float* all) const { return {all + offset, size()}; }
};

/// Lays out weights one behind the other, and says how each starts.
class WeightList {
 public:
  struct Start {
    Weight weight;
    float deviation;            ///< of normal numbers; 0: the values
    std::vector<float> values;  ///< one for all, or one for each
  };

  /// [rows, columns], normal numbers of that deviation.
  Weight matrix(Index rows, Index columns, float deviation) {
    return add(rows, columns, {{}, deviation, {}});
  }
  /// [1, columns], all `value`; as matrices of several rows decay and these do not.
  Weight constants(Index columns, float value) { return add(1, columns, {{}, 0, {value}}); }
  Weight given(const std::vector<float>& values) {
    return add(1, static_cast<Index>(values.size()), {{}, 0, values});
  }

  Index size() const { return size_; }
  const std::vector<Start>& starts() const { return starts_; }

 private:
  Weight add(Index rows, Index columns, Start start) {
    start.weight = {size_, rows, columns};
    size_ += start.weight.size();
    starts_.push_back(start);
    return start.weight;
  }

  Index size_ = 0;
  std::vector<Start> starts_;
};

}  // namespace engram::lm
