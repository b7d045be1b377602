// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a saved token map: refused, or every entry is in range and the map saves as it was.

#include <engram/tokenizer/token_map.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

void try_size(engram::Bytes bytes, engram::Index canonical_size) {
  const auto read = engram::TokenMap::from_bytes(bytes, canonical_size);
  if (!read.ok()) {
    require(!read.message().empty());
    return;
  }
  const engram::TokenMap& map = read.value();
  require(map.vocab_size() * 4 == bytes.size() && map.vocab_size() > 0);
  require(canonical_size == 0 || map.canonical_size() == canonical_size);
  for (engram::Index t = 0; t < map.vocab_size(); ++t) {
    const engram::Index id = to_integer(map(t));
    require(id >= 0 && id < map.canonical_size());
  }
  const engram::Bytes saved = map.bytes();
  require(saved.size() == bytes.size());
  require(std::equal(saved.data(), saved.data() + saved.size(), bytes.data()));
  require(map.expect(map.vocab_size(), map.canonical_size(), engram::sha256_hex(bytes)).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const auto bytes = static_cast<engram::Index>(size);
  try_size(engram::Bytes(begin, bytes), 0);
  // The first byte as the size that the caller expects.
  if (size > 0) try_size(engram::Bytes(begin + 1, bytes - 1), data[0]);
  return 0;
}
