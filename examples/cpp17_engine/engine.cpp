// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An engine in C++17. It reaches engram through the interface in memory.hpp; glue.cpp, the one file
// that is compiled as C++20, is behind it.
#include "memory.hpp"

#include <cstdio>

static_assert(__cplusplus < 202002L, "the engine is compiled as C++17");

int main() {
  const auto memory = make_memory();
  std::string why;
  if (memory->load({0, -1}, &why) || why.empty()) return 1;
  std::printf("a wrong token map is refused: %s\n", why.c_str());
  if (!memory->load({0, 1, 1, 2, 3, 3}, &why)) {  // six tokens, four words
    std::printf("%s\n", why.c_str());
    return 1;
  }

  // A prompt at once, then the same token by token.
  const std::vector<std::int32_t> tokens = {1, 3, 5, 0, 2};
  const auto width = static_cast<std::size_t>(memory->width());
  std::vector<float> prompt(tokens.size() * width, 1.0f), decoded = prompt;
  if (!memory->forward(tokens.data(), 5, prompt.data(), &why)) return 1;
  memory->restart();
  for (std::size_t t = 0; t < tokens.size(); ++t)
    if (!memory->forward(&tokens[t], 1, &decoded[t * width], &why)) return 1;
  std::printf("hidden state of the last token: 1.000 became %.3f\n",
              static_cast<double>(prompt[4 * width]));
  std::printf("the prompt at once and token by token: %s\n",
              prompt == decoded ? "the same bits" : "DIFFERENT");

  const std::int32_t unknown = 6;
  if (memory->forward(&unknown, 1, decoded.data(), &why)) return 1;
  std::printf("an unknown token is refused: %s\n", why.c_str());
  return prompt == decoded && prompt[4 * width] != 1 ? 0 : 1;
}
