// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a GGUF with Engram keys: refused with a sentence, or a valid layout with a table in
// the file for each of its layers.

#include <engram/models/gguf_engram.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace engram;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file_size = static_cast<Index>(size);
  const auto file = GgufFile::parse(as_bytes(bytes), file_size, "input");
  if (!file.ok()) return 0;
  const auto read = read_gguf_engram(std::span(&file.value(), 1));
  if (!read.ok()) {
    require(read.message().size() > 7 && read.message().size() < 2000);
    require(find_invalid_utf8(read.message()) == read.message().size());
    return 0;
  }
  const GgufEngram& model = read.value();
  require(validate(model.layout).ok());
  require(model.token_map.canonical_size() == model.layout.canonical_size);
  require(model.tables.size() == model.layout.layers.size() && model.row_width > 0);
  for (std::size_t l = 0; l < model.tables.size(); ++l) {
    const GgufEngramTable& table = model.tables[l];
    const auto shape = check_segments(View<const TableSegment, 1>(&table.segment, 1));
    require(shape.ok() && shape.value().num_rows == model.layout.layers[l].rows);
    const RowExtent& codes = table.segment.codes;
    require(codes.offset + span_of(codes) <= file_size);
    require(!table.segment.has_scales() ||
            table.segment.scales.offset + span_of(table.segment.scales) <= file_size);
  }
  return 0;
}
