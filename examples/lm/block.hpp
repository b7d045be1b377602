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
    Memory::Tape* memory = nullptr;
    float* to_rows = nullptr;  ///< [T, H E] where backward leaves the rows' gradients
    Connection::Tape attention_connection, experts_connection;
    Norm::Tape attention_norm, experts_norm;
    Attention::Tape attention;
    Experts::Tape experts;
    Matrix x, normed, y;  ///< scratch
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
      if (Status s = memory_->forward(weights, *t.memory, streams); !s.ok()) return s;

    attention_connection_.read(weights, streams, t.attention_connection, t.x);
    attention_norm_.forward(weights, t.x, t.attention_norm, t.normed);
    attention_.forward(weights, t.normed, t.attention, t.y);
    attention_connection_.write(weights, t.y, t.attention_connection, streams);

    experts_connection_.read(weights, streams, t.experts_connection, t.x);
    experts_norm_.forward(weights, t.x, t.experts_norm, t.normed);
    experts_.forward(weights, bias, t.normed, t.experts, t.y);
    experts_connection_.write(weights, t.y, t.experts_connection, streams);
    return {};
  }

  Status backward(const float* weights, Tape& t, Matrix& to_streams, float* gradients) const {
    experts_connection_.backward_write(weights, to_streams, t.y);
    experts_.backward(weights, t.experts, t.y, t.normed, gradients);
    experts_norm_.backward(weights, t.experts_norm, t.normed, t.x, gradients);
    experts_connection_.backward_read(weights, t.experts_connection, t.x, to_streams, gradients);

    attention_connection_.backward_write(weights, to_streams, t.y);
    attention_.backward(weights, t.attention, t.y, t.normed, gradients);
    attention_norm_.backward(weights, t.attention_norm, t.normed, t.x, gradients);
    attention_connection_.backward_read(weights, t.attention_connection, t.x, to_streams,
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
