// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any page as the header of packed rows, its checksum made right: refused with a sentence, or rows
// that lie in a file of a size that can be computed, and the same page when it is written again.

#include <engram/io/packed_rows.hpp>
#include <engram/unicode/utf8.hpp>

#include <cstddef>
#include <cstdint>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace format = engram::packed_format;
  std::vector<std::byte> page(static_cast<std::size_t>(format::page_bytes));
  std::memcpy(page.data(), data, std::min(size, page.size()));
  for (const bool sealed : {false, true}) {
    if (sealed) format::seal(page.data(), 0);
    const auto info = format::parse_header(page.data(), true, "input");
    if (!info.ok()) {
      require(info.message().size() > 7 && info.message().size() < 1000);
      require(engram::find_invalid_utf8(info.message()) == info.message().size());
      continue;
    }
    require(format::check(info.value()).ok());
    require(info.value().rows() > 0 && format::pages(info.value()) > 0);
    require(format::file_bytes(info.value()) >= 2 * format::page_bytes);
    const std::vector<std::byte> again = format::header(info.value(), true);
    const auto reread = format::parse_header(again.data(), true, "again");
    require(reread.ok() && reread.value() == info.value());
  }
  return 0;
}
