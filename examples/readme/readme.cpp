// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The program in README.md, line for line.
#include <engram/engram.hpp>

#include <cstdio>

int main() {
  using namespace engram;
  const EngramConfig model = deepseek_v41_preset().config;          // numbers; no download
  const IdentityCompressor canonical(model.compressed_vocab_size);  // the ids below are canonical
  const Layout layout = make_layout(model, canonical).value();
  const auto front = make_front_end(layout, canonical).value();

  const std::vector<int> ids = {0, 3, 99};
  std::vector<int> rows(ids.size() * 2 * 24);  // 3 tokens, 2 layers, 3 orders * 8 heads
  const View<int, 3> view(rows.data(), ids.size(), 2, 24);
  NgramState state = front.initial_state();  // 32 bytes, one for each sequence
  if (!front.address(ids, state, view).ok()) return 1;
  for (int t = 0; t < 3; ++t)
    std::printf("id %2d: layer 1 reads rows %9d ... %9d, layer 14 reads %9d ... %9d\n",
                ids[static_cast<std::size_t>(t)], view(t, 0, 0), view(t, 0, 23), view(t, 1, 0),
                view(t, 1, 23));
}
