// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// RMSNorm: y = x / sqrt(mean(x^2) + eps) * gain, row by row.

#include "matrix.hpp"

namespace engram::lm {

class Norm {
 public:
  static constexpr float eps = 1e-6f;

  /// What backward needs.
  struct Tape {
    Matrix x;        ///< [T, D]
    Vector inverse;  ///< [T] 1 / root mean square
  };

  Norm() = default;
  Norm(WeightList& list, Index width) : gain_(list.constants(width, 1)) {}

  void forward(const float* weights, const Matrix& x, Tape& tape, Matrix& y) const {
    tape.x = x;
    const auto width = static_cast<float>(x.cols());
    tape.inverse = (x.rowwise().squaredNorm().array() / width + eps).rsqrt();
    y.noalias() = tape.inverse.asDiagonal() * x * gain_.vector_in(weights).asDiagonal();
  }

  /// to_x is written; the gain's gradient is added to.
  void backward(const float* weights, const Tape& tape, const Matrix& to_y, Matrix& to_x,
                float* gradients) const {
    const auto width = static_cast<float>(to_y.cols());
    gain_.vector_in(gradients) +=
        (tape.inverse.asDiagonal() * to_y.cwiseProduct(tape.x)).colwise().sum().transpose();
    to_x.noalias() = to_y * gain_.vector_in(weights).asDiagonal();
    const Vector along =
        (to_x.cwiseProduct(tape.x).rowwise().sum().array() * tape.inverse.array().cube() / width);
    to_x = tape.inverse.asDiagonal() * to_x;
    to_x -= along.asDiagonal() * tape.x;
  }

 private:
  Weight gain_;
};

}  // namespace engram::lm
