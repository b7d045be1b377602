// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a row manifest, as they are and with their checksum made right: refused with a
// sentence, or rows that are in range and stand in the tables of their layers.

#include <engram/io/row_manifest.hpp>
#include <engram/unicode/utf8.hpp>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace engram;
  const auto* first = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(first, first + size);
  for (const bool sealed : {false, true}) {
    if (sealed && size >= 8) {
      const std::uint64_t sum = XXH3_64bits(bytes.data(), size - 8);
      for (std::size_t b = 0; b < 8; ++b)
        bytes[size - 8 + b] = static_cast<std::byte>(sum >> (8 * b));
    }
    const auto manifest =
        parse_row_manifest(Bytes(bytes.data(), static_cast<Index>(bytes.size())), "input");
    if (!manifest.ok()) {
      require(manifest.message().size() > 7 && manifest.message().size() < 1000);
      require(find_invalid_utf8(manifest.message()) == manifest.message().size());
      continue;
    }
    require(manifest.value().expect(manifest.value().layout_digest).ok());
    std::size_t found = 0;
    for (const PackedLayer& layer : manifest.value().layers) {
      const auto rows = manifest.value().rows_of(layer.layer_id);
      require(rows.ok());
      for (const RowId row : rows.value())
        require(to_integer(row) >= 0 && to_integer(row) < layer.rows);
      found += rows.value().size();
    }
    require(found == manifest.value().rows.size());
  }
  return 0;
}
