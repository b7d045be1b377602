// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a sublayer is connected to the residual streams. With one stream: x = h, then h += y. With G
// (hyper-connections, arXiv 2409.19606, the static form): x = sum of pre_g h_g, then
// h_g = sum over j of mix(g, j) h_j + post_g y.

#include "matrix.hpp"

namespace engram::lm {

class Connection {
  auto stream(const Matrix& streams, Index g) const {
    return streams.middleCols(g * width_, width_);
  }
  auto stream(Matrix& streams, Index g) const { return streams.middleCols(g * width_, width_); }

 public:
  struct Tape {
    Matrix before, after;  ///< [T, G D] the streams in front of the sublayer; scratch
    Matrix y;              ///< [T, D]
  };

  Connection() = default;
  /// number: of the sublayer in the model; decides which stream it reads at first.
  Connection(WeightList& list, Index branches, Index width, Index number)
      : branches_(branches), width_(width) {
    if (branches == 1) return;
    std::vector<float> pre(static_cast<std::size_t>(branches)), mix(pre.size() * pre.size());
    pre[static_cast<std::size_t>(number % branches)] = 1;
    for (std::size_t g = 0; g < pre.size(); ++g) mix[g * pre.size() + g] = 1;
    pre_ = list.given(pre);
    post_ = list.constants(branches, 1);
    mix_ = list.given(mix);
  }

  /// x [T, D] of the streams [T, G D].
  void read(const float* weights, const Matrix& streams, Tape& tape, Matrix& x) const {
    if (branches_ == 1) {
      x = streams;
      return;
    }
    tape.before = streams;
    x.setZero(streams.rows(), width_);
    for (Index g = 0; g < branches_; ++g) x += weights[pre_.offset + g] * stream(streams, g);
  }

  void write(const float* weights, const Matrix& y, Tape& tape, Matrix& streams) const {
    if (branches_ == 1) {
      streams += y;
      return;
    }
    tape.y = y;
    for (Index g = 0; g < branches_; ++g) {
      stream(streams, g) = weights[post_.offset + g] * y;
      for (Index j = 0; j < branches_; ++j)
        stream(streams, g) += weights[mix_.offset + g * branches_ + j] * stream(tape.before, j);
    }
  }

  /// The gradient of y, from that of the streams.
  void backward_write(const float* weights, const Matrix& to_streams, Matrix& to_y) const {
    if (branches_ == 1) {
      to_y = to_streams;
      return;
    }
    to_y.setZero(to_streams.rows(), width_);
    for (Index g = 0; g < branches_; ++g) to_y += weights[post_.offset + g] * stream(to_streams, g);
  }

  /// Moves the streams' gradient in front of the sublayer, given that of x.
  void backward_read(const float* weights, Tape& tape, const Matrix& to_x, Matrix& to_streams,
                     float* gradients) const {
    if (branches_ == 1) {
      to_streams += to_x;
      return;
    }
    tape.after = to_streams;
    for (Index j = 0; j < branches_; ++j) {
      gradients[pre_.offset + j] = to_x.cwiseProduct(stream(tape.before, j)).sum();
      gradients[post_.offset + j] = stream(tape.after, j).cwiseProduct(tape.y).sum();
      stream(to_streams, j) = weights[pre_.offset + j] * to_x;
      for (Index g = 0; g < branches_; ++g) {
        const Index at = mix_.offset + g * branches_ + j;
        gradients[at] = stream(tape.after, g).cwiseProduct(stream(tape.before, j)).sum();
        stream(to_streams, j) += weights[at] * stream(tape.after, g);
      }
    }
  }

 private:
  Index branches_ = 1, width_ = 0;
  Weight pre_, post_, mix_;
};

}  // namespace engram::lm
