// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The stored rows of the golden files through gather() on a device: fp8 with its quantisation, and
// the block formats of GGUF.

#include "../golden/ggml_cases.hpp"

#include <catch.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/codec/ggml_blocks.hpp>
#include <engram/core/sha256.hpp>
#include <engram/cuda/fp8_operands.hpp>
#include <engram/storage/store_view.hpp>

namespace golden_rows {

using namespace engram;

/// One row of `width` elements, gathered.
template <class Out, class Dev, class Memory, class Codec>
std::vector<Out> decoded(const Dev& device, Memory& memory, const Codec& codec,
                         const std::vector<std::byte>& row, Index width) {
  const Index codes = codec.code_bytes(width), scales = codec.scale_bytes(width);
  const auto store = StoreView<DeviceSpace>::make(memory.put(row), {1, codes, scales}).value();
  std::vector<Out> elements(static_cast<std::size_t>(width));
  const DeviceView<int, 2> id(memory.put(std::vector<int>{0}), 1, 1);
  const DeviceView<Out, 2> out(memory.put(elements), 1, width);
  REQUIRE(gather(device, store, codec, width, id, out).ok());
  REQUIRE(device.wait().ok());
  memory.get(out.data(), elements);
  return elements;
}

template <class Codec, class Dev, class Memory>
void check_format(const Dev& device, Memory& memory, const Value& golden, const char* name) {
  INFO(name);
  const Value& format = golden["formats"][name];
  const Index elements = format["elements"].integer();
  const auto bits = [](float x) { return is_nan(x) ? float_bits::nan : to_bits(x); };
  for (const Value& block : format["blocks"].items) {
    const auto found =
        decoded<float>(device, memory, Codec(), from_hex(block["bytes"].text), elements);
    for (std::size_t d = 0; d < found.size(); ++d)
      REQUIRE(bits(found[d]) ==
              std::strtoul(block["values"].text.substr(8 * d, 8).c_str(), nullptr, 16));
  }
  const Index width = format["random"].integer() * elements;
  std::vector<std::uint32_t> all;
  for (const float x :
       decoded<float>(device, memory, Codec(), random_blocks(golden, format), width))
    all.push_back(bits(x));
  CHECK(sha256_hex(Bytes(reinterpret_cast<const std::byte*>(all.data()), 4 * width)) ==
        format["sha256"].text);
}

template <class Dev, class Memory>
void check_fp8(const Dev& device, Memory& memory, const Value& golden) {
  for (const Value& row : golden["rows"].items) {
    std::vector<std::byte> bytes;
    for (const char* part : {"e4m3", "e8m0"})
      for (const std::int64_t code : row[part].numbers())
        bytes.push_back(static_cast<std::byte>(code));
    const auto found = decoded<Bf16>(device, memory, Fp8Codec(), bytes, 256);
    const std::vector<std::int64_t> expected = row["bf16_bits"].numbers();
    for (std::size_t i = 0; i < found.size(); ++i) REQUIRE(found[i].bits == expected[i]);
  }
  for (const Value& block : golden["act_quant_blocks"].items) {
    INFO(block["name"].text);
    std::vector<Bf16> e;
    for (const std::int64_t bits : block["input_bf16_bits"].numbers())
      e.push_back({static_cast<std::uint16_t>(bits)});
    const DeviceView<Bf16, 2> row(memory.put(e), 1, 32);
    REQUIRE(quantise_rows(device, row).ok());
    REQUIRE(device.wait().ok());
    memory.get(row.data(), e);
    const E8m0 scale{static_cast<std::uint8_t>(block["scale_e8m0"].integer())};
    for (std::size_t i = 0; i < e.size(); ++i)
      CHECK(e[i] ==
            to_bf16(scaled(E4m3{static_cast<std::uint8_t>(block["q_e4m3"][i].integer())}, scale)));
  }
}

/// All rows of the golden files.
template <class Dev, class Memory>
void check_all(const Dev& device, Memory& memory) {
  const std::string folder = std::string(ENGRAM_TEST_DIR) + "/golden/vectors/";
  check_fp8(device, memory, read_values(folder + "fp8_vectors.json"));
  const Value golden = read_values(folder + "ggml_blocks.json");
  check_format<Q8_0Codec>(device, memory, golden, "Q8_0");
  check_format<Q2_KCodec>(device, memory, golden, "Q2_K");
  check_format<Q3_KCodec>(device, memory, golden, "Q3_K");
  check_format<Q4_KCodec>(device, memory, golden, "Q4_K");
  check_format<Q6_KCodec>(device, memory, golden, "Q6_K");
}

}  // namespace golden_rows
