// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a config.json: refused with a sentence, or consistent and good for a layout.

#include <engram/models/deepseek_v41_config.hpp>
#include <engram/tokenizer/identity.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = engram::parse_deepseek_v41_config(text, "input");
  if (!read.ok()) {
    require(read.status().code == engram::Code::corrupt);
    require(read.message().size() > 7 && read.message().size() < 1000);
    return 0;
  }
  const engram::DeepseekV41Config& found = read.value();
  require(found.columns() >= 1 && found.head_dim % 32 == 0 && found.head_dim > 0);
  require(found.num_embeddings.size() == found.config.layer_ids.size());
  require(found.config.hc_mult >= 1 && found.config.hidden_size > 0 && found.config.norm_eps >= 0);
  // Small ones become layouts, or are refused; large prime searches would only cost time.
  if (found.columns() * static_cast<engram::Index>(found.config.layer_ids.size()) > 64 ||
      found.config.engram_vocab_size[0] > 1 << 20)
    return 0;
  const auto layout = engram::make_layout(
      found.config, engram::IdentityCompressor(found.config.compressed_vocab_size));
  require(layout.ok() || !layout.message().empty());
  return 0;
}
