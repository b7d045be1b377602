// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// RMSNorm: y = x / sqrt(mean(x^2) + eps) * gain, row by row.

#include "matrix.hpp"

namespace engram::lm {

class Norm {
 public:
  static constexpr float eps = 1e-6f;

  Norm() = default;
  Norm(WeightList& list, Index width) : gain_(list.constants(width, 1)) {}

  /// inverse [T]: 1 / root mean square of each row, which backward needs.
  void forward(const float* weights, const Matrix& x, Vector& inverse, Matrix& y) const {
    const auto width = static_cast<float>(x.cols());
    inverse = (x.rowwise().squaredNorm().array() / width + eps).rsqrt();
    y.noalias() = inverse.asDiagonal() * x * gain_.vector_in(weights).asDiagonal();
  }

  /// x, inverse: forward's. to_x and the gain's gradient are written.
  void backward(const float* weights, const Matrix& x, const Vector& inverse, const Matrix& to_y,
                Matrix& to_x, float* gradients) const {
    const auto width = static_cast<float>(to_y.cols());
    gain_.vector_in(gradients) =
        (inverse.asDiagonal() * to_y.cwiseProduct(x)).colwise().sum().transpose();
    to_x.noalias() = to_y * gain_.vector_in(weights).asDiagonal();
    const Vector along =
        (to_x.cwiseProduct(x).rowwise().sum().array() * inverse.array().cube() / width);
    to_x = inverse.asDiagonal() * to_x;
    to_x -= along.asDiagonal() * x;
  }

 private:
  Weight gain_;
};

}  // namespace engram::lm
