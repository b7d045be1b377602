// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a C++17 engine sees of its memory: an interface of its own, no header of engram.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

class Memory {
 public:
  virtual ~Memory() = default;
  /// The canonical id of every token. False, and why, when they are none.
  virtual bool load(const std::vector<std::int32_t>& token_map, std::string* why) = 0;
  /// Adds what the memory knows of the next `count` tokens of the sequence to their hidden states
  /// [count, width()]. False, and why, when a token is none; then nothing has changed.
  virtual bool forward(const std::int32_t* tokens, int count, float* hidden, std::string* why) = 0;
  /// The next token begins a sequence.
  virtual void restart() = 0;
  virtual int width() const = 0;
};

std::unique_ptr<Memory> make_memory();
