// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "engine.hpp"

#include <cstdio>

static_assert(__cplusplus < 202002L, "the engine is compiled as C++17");

int main() {
  const auto memory = make_token_memory();
  std::string why;
  if (memory->load({0, -1}, &why) || why.empty()) return 1;
  std::printf("refused as it should be: %s\n", why.c_str());
  if (!memory->load({0, 1, 1, 2}, &why)) return 1;
  return memory->canonical(2) == 1 ? 0 : 1;
}
