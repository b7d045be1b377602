// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Layout bytes from anywhere: refused in a sentence, or a layout that addresses within its tables
// and serialises to the same bytes.

#include <engram/engram.hpp>

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace engram;
  const Bytes bytes(reinterpret_cast<const std::byte*>(data), static_cast<Index>(size));
  const Result<Layout> layout = parse_layout(bytes);
  if (!layout.ok()) {
    if (layout.message().empty()) std::abort();
    return 0;
  }
  const std::string again = serialize(layout.value());
  if (again != std::string_view(reinterpret_cast<const char*>(data), size)) std::abort();
  const Result<MultiplicativeXor> hash = MultiplicativeXor::make(layout.value());
  if (!hash.ok()) return 0;
  NgramWindow windows[2] = {{{0, -1, -1, -1, -1, -1, -1, -1}}, {}};
  for (std::int32_t& id : windows[1].ids)
    id = static_cast<std::int32_t>(layout.value().canonical_size - 1);
  const Index layers = hash.value().num_layers();
  const Index columns = hash.value().num_columns();
  std::vector<Index> rows(static_cast<std::size_t>(2 * layers * columns));
  const View<Index, 3> view(rows.data(), 2, layers, columns);
  address_windows(hash.value(), windows, 2, view);
  for (Index t = 0; t < 2; ++t)
    for (Index l = 0; l < layers; ++l)
      for (Index c = 0; c < columns; ++c)
        if (view(t, l, c) < 0 || view(t, l, c) >= hash.value().num_rows(static_cast<int>(l)))
          std::abort();
  return 0;
}
