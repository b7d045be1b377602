// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// One block: the memory where there is one, attention, experts; each adds to the residual streams.

#include "attention.hpp"
#include "connection.hpp"
#include "experts.hpp"
#include "memory.hpp"
#include "norm.hpp"

namespace engram::lm {

class Block {
 public:
  struct Tape {
    const std::vector<std::int32_t>* rows = nullptr;  ///< [T, H] of the memory
    Memory::Tape* memory = nullptr;
    float* to_rows = nullptr;  ///< [T, H E] where backward leaves the rows' gradients
    Connection::Tape attention_connection, experts_connection;
    Matrix attention_x, attention_normed, experts_x, experts_normed;  ///< [T, D]
    Vector attention_inverse, experts_inverse;
    Attention::Tape attention;
    Experts::Tape experts;
    Matrix y, to_normed, to_x;  ///< scratch
  };

  /// memory: this block's, or null; it outlives the block.
  Block(WeightList& list, const ModelConfig& config, Index number, const Memory* memory)
      : memory_(memory),
        attention_connection_(list, config.branches, config.width, 2 * number),
        experts_connection_(list, config.branches, config.width, 2 * number + 1),
        attention_norm_(list, config.width),
        experts_norm_(list, config.width),
        attention_(list, config),
        experts_(list, config) {}

  Status forward(const float* weights, const Vector& bias, Tape& t, Matrix& streams) const {
    if (memory_ != nullptr)
      if (Status s = memory_->forward(weights, *t.rows, *t.memory, streams); !s.ok()) return s;

    attention_connection_.read(weights, streams, t.attention_connection, t.attention_x);
    attention_norm_.forward(weights, t.attention_x, t.attention_inverse, t.attention_normed);
    attention_.forward(weights, t.attention_normed, t.attention, t.y);
    attention_connection_.write(weights, t.y, t.attention_connection, streams);

    experts_connection_.read(weights, streams, t.experts_connection, t.experts_x);
    experts_norm_.forward(weights, t.experts_x, t.experts_inverse, t.experts_normed);
    experts_.forward(weights, bias, t.experts_normed, t.experts, t.y);
    experts_connection_.write(weights, t.y, t.experts_connection, streams);
    return {};
  }

  Status backward(const float* weights, Tape& t, Matrix& to_streams, float* gradients) const {
    experts_connection_.backward_write(weights, to_streams, t.y);
    experts_.backward(weights, t.experts_normed, t.experts, t.y, t.to_normed, gradients);
    experts_norm_.backward(weights, t.experts_x, t.experts_inverse, t.to_normed, t.to_x, gradients);
    experts_connection_.backward_read(weights, t.experts_connection, t.to_x, to_streams, gradients);

    attention_connection_.backward_write(weights, to_streams, t.y);
    attention_.backward(weights, t.attention_normed, t.attention, t.y, t.to_normed, gradients);
    attention_norm_.backward(weights, t.attention_x, t.attention_inverse, t.to_normed, t.to_x,
                             gradients);
    attention_connection_.backward_read(weights, t.attention_connection, t.to_x, to_streams,
                                        gradients);

    if (memory_ == nullptr) return {};
    return memory_->backward(weights, *t.memory, to_streams, gradients, t.to_rows);
  }

 private:
  const Memory* memory_;
  Connection attention_connection_, experts_connection_;
  Norm attention_norm_, experts_norm_;
  Attention attention_;
  Experts experts_;
};

}  // namespace engram::lm
