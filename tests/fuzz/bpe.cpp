// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A tokenizer.json and a text from anywhere, split at the first zero byte: whatever the encoder
// accepts, it encodes to ids of the tokenizer or refuses in a sentence.

#include "encoder.hpp"

#include <engram/io/tokenizer_json.hpp>

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace engram;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\0');
  Result<TokenizerJson> json = parse_tokenizer_json(input.substr(0, cut), "fuzz");
  if (!json.ok()) return 0;
  const Result<bpe::Encoder> encoder = bpe::Encoder::make(std::move(json).value());
  if (!encoder.ok()) {
    if (encoder.message().empty()) std::abort();
    return 0;
  }
  const std::string_view text = cut == input.npos ? "Hello, world 123" : input.substr(cut + 1);
  const Result<std::vector<std::int32_t>> ids = encoder.value().encode(text);
  if (!ids.ok()) {
    if (ids.message().empty()) std::abort();
    return 0;
  }
  for (const std::int32_t id : ids.value())
    if (id < 0 || id >= encoder.value().vocab_size()) std::abort();
  return 0;
}
