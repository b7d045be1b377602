// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one file of the engine that sees engram and is compiled as C++20.
#include "engine.hpp"

#include <engram/engram.hpp>

#include <optional>

namespace {
class EngramTokenMemory final : public TokenMemory {
 public:
  bool load(const std::vector<std::int32_t>& map, std::string* why) override {
    auto made = engram::TokenMap::make(map);
    if (!made.ok()) {
      *why = made.message();
      return false;
    }
    map_ = std::move(made).value();
    return true;
  }
  std::int32_t canonical(std::int32_t token) const override {
    return engram::to_integer((*map_)(token));
  }

 private:
  std::optional<engram::TokenMap> map_;
};
}  // namespace

std::unique_ptr<TokenMemory> make_token_memory() { return std::make_unique<EngramTokenMemory>(); }
