// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// From the files of a checkpoint to the new hidden state: a miniature with the real names of
// DeepSeek-V4.1, opened in one call, gives the outputs of module_vectors.json to the bit.

#include "catch.hpp"
#include "json_values.hpp"
#include "miniature_checkpoint.hpp"

#include <engram/models/deepseek_v41.hpp>

using namespace engram;

namespace {

std::vector<std::uint16_t> bits_of(const Value& list) {
  std::vector<std::uint16_t> bits;
  for (const std::int64_t b : list.numbers()) bits.push_back(static_cast<std::uint16_t>(b));
  return bits;
}

std::vector<std::uint16_t> bits_of(const std::vector<Bf16>& values) {
  std::vector<std::uint16_t> bits;
  for (const Bf16 v : values) bits.push_back(v.bits);
  return bits;
}

}  // namespace

TEST_CASE("a checkpoint directory gives the published outputs, nested and flat") {
  const Value file =
      read_values(std::string(ENGRAM_TEST_DIR) + "/golden/vectors/module_vectors.json");
  const bool nested = GENERATE(true, false);
  const std::string folder = MiniatureCheckpoint(file["tag"].text, nested)
                                 .write(ENGRAM_SCRATCH_DIR, nested ? "v41_nested" : "v41_flat");
  const SigbusGuard guard;
  auto opened = open_deepseek_v41(folder);
  INFO(opened.message());
  REQUIRE(opened.ok());
  const DeepseekV41 model = std::move(opened).value();
  REQUIRE(model.layers.size() == 2);
  CHECK(model.layers[0].table().layout_digest() == layout_digest(model.layout));

  const std::vector<std::int64_t> ids = file["compressed_ids"].numbers();
  const auto tokens = static_cast<Index>(ids.size());
  std::vector<Mark> marks;
  for (const std::int64_t id : ids) marks.push_back(id < 0 ? Mark::dead : Mark::token);
  std::vector<int> rows(static_cast<std::size_t>(tokens * 2 * 4));
  const View<int, 3> view(rows.data(), tokens, 2, 4);
  NgramState state = model.front_end.initial_state();
  REQUIRE(model.front_end.address(ids, state, view, marks).ok());

  std::vector<Bf16> stream;
  for (const std::uint16_t bits : bits_of(file["x_bf16_bits"])) stream.push_back({bits});
  const View<Bf16, 3> x(stream.data(), tokens, 4, 64);
  const auto layer = model.layers[0].layer();
  INFO(layer.check().message());
  REQUIRE(layer.check().ok());
  std::vector<std::byte> workspace(static_cast<std::size_t>(layer.workspace_bytes(tokens)));
  FusionOptions options;
  options.marks = marks;
  REQUIRE(layer.forward(view.at<1>(0), x, x, workspace, options).ok());

  std::vector<std::uint16_t> expected;
  for (const Value& token : file["tokens"].items)
    for (const std::uint16_t bits : bits_of(token["out_bf16_bits"])) expected.push_back(bits);
  CHECK(bits_of(stream) == expected);
}
