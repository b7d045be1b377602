// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// GGUF files and the gguf package: what the tests' own writer writes, the package reads as we do;
// what the package writes, we read as it does.

#include "catch.hpp"
#include "gguf_writer.hpp"
#include "json_values.hpp"
#include "scratch.hpp"

#include <engram/io/gguf.hpp>

using namespace engram;

namespace {

std::string vector_path(const std::string& name) {
  return std::string(ENGRAM_TEST_DIR) + "/golden/vectors/" + name;
}

GgufWriter ours() {
  GgufWriter w;
  w.text("general.architecture", "deepseek41");
  w.number<std::uint8_t>("n.u8", 255);
  w.number<std::int8_t>("n.i8", -128);
  w.number<std::uint16_t>("n.u16", 65535);
  w.number<std::int16_t>("n.i16", -32768);
  w.number<std::uint32_t>("n.u32", 4294967295U);
  w.number<std::int32_t>("n.i32", -2147483647);
  w.number<float>("n.f32", 0.1F);
  w.number<bool>("n.bool", true);
  w.number<std::uint64_t>("n.u64", ~std::uint64_t{0});
  w.number<std::int64_t>("n.i64", -9000000000000000000);
  w.number<double>("n.f64", -1e300);
  w.text("n.empty", "");
  w.numbers<std::uint64_t>("a.u64", {1, ~std::uint64_t{0}, 3});
  w.numbers<std::int32_t>("a.i32", {-1, 2});
  w.numbers<float>("a.f32", {0.5F, -2});
  w.texts("a.text", {"one", "", "three \xC3\xA4"});
  w.tensors.push_back({"f32.weight", {3, 2}, 0, std::string(24, 'b')});
  w.tensors.push_back({"q8.weight", {64, 2}, 8, std::string(136, 'a')});
  w.tensors.push_back({"q4_k.weight", {256, 3}, 12, std::string(432, 'q')});
  w.tensors.push_back({"bytes.weight", {264, 2}, 24, std::string(528, 'e')});
  return w;
}

void check_element(const GgufValue& value, Index i, const Value& expected) {
  if (const auto n = value.integer(i))
    CHECK(*n == expected.integer());
  else if (const auto large = value.natural(i))
    CHECK(*large == expected.natural());
  else if (const auto x = value.real(i))
    CHECK(*x == expected.real());
  else if (const auto flag = value.boolean(i))
    CHECK((*flag ? "true" : "false") == expected.text);
  else
    CHECK(std::string(value.text(i).value()) == expected.text);
}

void check_file(const std::string& path, const Value& expected) {
  const auto opened = GgufFile::open(path);
  INFO(opened.message());
  REQUIRE(opened.ok());
  const GgufFile& file = opened.value();
  const Value& keys = expected["keys"];
  REQUIRE(file.keys().size() == keys.keys.size());
  for (std::size_t k = 0; k < keys.keys.size(); ++k) {
    INFO(keys.keys[k]);
    CHECK(file.keys()[k].first == keys.keys[k]);
    const GgufValue& value = file.keys()[k].second;
    if (!value.is_array()) {
      check_element(value, 0, keys[k]);
      continue;
    }
    REQUIRE(value.size() == static_cast<Index>(keys[k].items.size()));
    for (Index i = 0; i < value.size(); ++i)
      check_element(value, i, keys[k][static_cast<std::size_t>(i)]);
  }
  const Value& tensors = expected["tensors"];
  REQUIRE(file.tensors().size() == tensors.items.size());
  for (const Value& tensor : tensors.items) {
    INFO(tensor["name"].text);
    const GgufTensor* found = file.find(tensor["name"].text);
    REQUIRE(found != nullptr);
    CHECK(to_string(found->type) == tensor["type"].text);
    CHECK(found->shape == tensor["shape"].numbers());
    CHECK(found->file_offset == tensor["offset"].integer());
    CHECK(found->bytes == tensor["bytes"].integer());
  }
}

}  // namespace

TEST_CASE("gguf files as the gguf package reads and writes them") {
  const std::string written = ours().file();
  const std::string copy = scratch_path("gguf_ours.gguf");  // to replace the golden file by
  write_file(copy, as_bytes(written)).value();
  CHECK(read_file(vector_path("gguf_ours.gguf")).value() == written);
  const Value golden = read_values(vector_path("gguf_sample.json"));
  check_file(vector_path("gguf_ours.gguf"), golden["ours"]);
  check_file(vector_path("gguf_theirs.gguf"), golden["theirs"]);
}
