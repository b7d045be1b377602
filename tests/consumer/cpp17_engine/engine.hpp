// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// A C++17 engine that sees its memory through an interface of its own.
class TokenMemory {
 public:
  virtual ~TokenMemory() = default;
  virtual bool load(const std::vector<std::int32_t>& map, std::string* why) = 0;
  virtual std::int32_t canonical(std::int32_t token) const = 0;
};

std::unique_ptr<TokenMemory> make_token_memory();
