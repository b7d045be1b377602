// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// GGUF headers: what is written is read back, and whatever contradicts itself or the file's size is
// refused with a sentence that names the key or tensor.

#include "catch.hpp"
#include "contains.hpp"
#include "gguf_writer.hpp"
#include "random.hpp"
#include "scratch.hpp"

#include <engram/io/gguf.hpp>

#include <limits>

using namespace engram;

namespace {

/// Every type of value, and tensors of three types.
GgufWriter sample() {
  GgufWriter w;
  w.text("general.architecture", "test");
  w.number<std::uint8_t>("n.u8", 255);
  w.number<std::int8_t>("n.i8", -128);
  w.number<std::uint16_t>("n.u16", 65535);
  w.number<std::int16_t>("n.i16", -32768);
  w.number<std::uint32_t>("n.u32", 4294967295U);
  w.number<std::int32_t>("n.i32", std::numeric_limits<std::int32_t>::min());
  w.number<float>("n.f32", 0.1F);
  w.number<bool>("n.bool", true);
  w.number<std::uint64_t>("n.u64", ~std::uint64_t{0});
  w.number<std::int64_t>("n.i64", std::numeric_limits<std::int64_t>::min());
  w.number<double>("n.f64", -1e300);
  w.text("n.empty", "");
  w.numbers<std::uint64_t>("a.u64", {1, ~std::uint64_t{0}, 3});
  w.numbers<std::int32_t>("a.i32", {-1, 2});
  w.numbers<float>("a.f32", {0.5F, -2});
  w.texts("a.text", {"one", "", "three \xC3\xA4"});
  w.numbers<std::int32_t>("a.none", {});
  w.tensors.push_back({"b.weight", {2, 3}, 0, std::string(24, 'b')});
  w.tensors.push_back({"a.weight", {32, 2}, 8, std::string(68, 'a')});
  w.tensors.push_back({"odd", {7}, 99, std::string(5, 'o')});
  return w;
}

Result<GgufFile> parsed(const std::string& bytes) {
  return GgufFile::parse(as_bytes(bytes), static_cast<Index>(bytes.size()), "x.gguf");
}

void check_refused(const std::string& bytes, Code code, std::initializer_list<const char*> words) {
  const auto read = parsed(bytes);
  INFO(read.message());
  CHECK(read.status().code == code);
  CHECK(contains(read.message(), "x.gguf: "));
  for (const char* word : words) {
    INFO(word);
    CHECK(contains(read.message(), word));
  }
  // Read from a file it is refused for the same reason.
  const std::string path = scratch_path("refused.gguf");
  write_file(path, as_bytes(bytes)).value();
  CHECK(GgufFile::open(path).status() == read.status());
}

void check_key_refused(const std::string& type_and_value, std::initializer_list<const char*> words,
                       Code code = Code::corrupt) {
  GgufWriter w;
  w.raw("k", type_and_value);
  check_refused(w.file(), code, words);
}

void check_tensor_refused(const GgufWriter::Tensor& tensor,
                          std::initializer_list<const char*> words) {
  GgufWriter w;
  w.tensors.push_back(tensor);
  check_refused(w.file(), Code::corrupt, words);
}

/// The file with another offset for the last tensor than the one that was written.
std::string with_offset(const GgufWriter& w, std::uint64_t offset) {
  std::string bytes = w.file();
  return bytes.replace(w.header().size() - 8, 8, gguf_bytes(offset));
}

}  // namespace

TEST_CASE("gguf: what is written is read back") {
  for (const std::uint32_t version : {2U, 3U}) {
    GgufWriter w = sample();
    w.version = version;
    const auto read = parsed(w.file());
    INFO(read.message());
    REQUIRE(read.ok());
    const GgufFile& file = read.value();
    CHECK(file.version() == version);
    REQUIRE(file.keys().size() == w.keys.size());
    for (std::size_t i = 0; i < w.keys.size(); ++i) CHECK(file.keys()[i].first == w.keys[i].first);
    CHECK(file.key("n.u8")->integer() == 255);
    CHECK(file.key("n.i8")->integer() == -128);
    CHECK_FALSE(file.key("n.i8")->natural());
    CHECK(file.key("n.u16")->natural() == 65535U);
    CHECK(file.key("n.i16")->integer() == -32768);
    CHECK(file.key("n.u32")->integer() == 4294967295);
    CHECK(file.key("n.i32")->integer() == -2147483648LL);
    CHECK(file.key("n.f32")->real() == static_cast<double>(0.1F));
    CHECK_FALSE(file.key("n.f32")->integer());
    CHECK(file.key("n.bool")->boolean() == true);
    CHECK_FALSE(file.key("n.bool")->integer());
    CHECK(file.key("n.u64")->natural() == ~std::uint64_t{0});
    CHECK_FALSE(file.key("n.u64")->integer());
    CHECK(file.key("n.i64")->integer() == std::numeric_limits<std::int64_t>::min());
    CHECK(file.key("n.f64")->real() == -1e300);
    CHECK(file.key("n.empty")->text() == "");
    CHECK(file.key("a.u64")->natural(1) == ~std::uint64_t{0});
    CHECK(file.key("a.u64")->integer(2) == 3);
    CHECK(file.key("a.i32")->integer(0) == -1);
    CHECK(file.key("a.f32")->real(1) == -2.0);
    CHECK(file.key("a.text")->size() == 3);
    CHECK(file.key("a.text")->text(0) == "one");
    CHECK(file.key("a.text")->text(1) == "");
    CHECK(file.key("a.text")->text(2) == "three \xC3\xA4");
    CHECK(file.key("a.none")->is_array());
    CHECK(file.key("a.none")->size() == 0);
    CHECK(file.key("a.text")->describe() == "an array of 3 string");
    CHECK(file.key("missing") == nullptr);
    CHECK_FALSE(file.key("n.u8")->text());

    REQUIRE(file.tensors().size() == 3);
    const std::string bytes = w.file();
    const GgufTensor* a = file.find("a.weight");
    REQUIRE(a != nullptr);
    CHECK(a->type == GgmlType::q8_0);
    CHECK(a->shape == std::vector<Index>{32, 2});
    CHECK(a->bytes == 68);
    CHECK(bytes.substr(static_cast<std::size_t>(a->file_offset), 68) == std::string(68, 'a'));
    CHECK(file.find("b.weight")->bytes == 24);
    CHECK(file.find("odd")->bytes == -1);
    CHECK(to_string(file.find("odd")->type) == "#99");
    CHECK(file.find("b") == nullptr);
    CHECK(file.tensors()[0].name == "b.weight");
  }
}

TEST_CASE("gguf: a file is read as its bytes are - in pieces - also where values are large") {
  GgufWriter w = sample();
  std::vector<std::string> tokens;
  std::vector<std::int32_t> map;
  for (int i = 0; i < 40000; ++i) {
    tokens.push_back("token" + std::to_string(i));
    map.push_back(i * 7 % 1000);
  }
  w.texts("tokens", tokens);
  w.text("long", std::string(200001, 'x'));
  w.numbers("map", map);
  const std::string path = scratch_path("large.gguf");
  write_file(path, as_bytes(w.file())).value();
  const auto opened = GgufFile::open(path);
  INFO(opened.message());
  REQUIRE(opened.ok());
  const GgufFile& file = opened.value();
  CHECK(file.path() == path);
  CHECK(file.key("tokens")->text(39999) == "token39999");
  CHECK(file.key("long")->text()->size() == 200001);
  CHECK(file.key("map")->integer(39999) == map[39999]);
  const auto same = parsed(w.file());
  REQUIRE(same.ok());
  for (std::size_t t = 0; t < file.tensors().size(); ++t) {
    CHECK(file.tensors()[t].name == same.value().tensors()[t].name);
    CHECK(file.tensors()[t].file_offset == same.value().tensors()[t].file_offset);
  }
}

TEST_CASE("gguf: every cut and every wrong byte is refused or read and nothing else") {
  const std::string bytes = sample().file();
  const std::size_t header = sample().header().size();
  for (std::size_t cut = 0; cut < header; ++cut) {
    const auto read = parsed(bytes.substr(0, cut));
    CHECK((read.status().code == Code::corrupt && !read.message().empty()));
  }
  // The file is whole, but not what there is of it.
  const auto part = GgufFile::parse(as_bytes(std::string_view(bytes).substr(0, 100)),
                                    static_cast<Index>(bytes.size()), "x");
  CHECK(contains(part.message(), "is cut off"));
  Random random(1);
  for (std::size_t at = 0; at < header; ++at)
    for (const int with : {0, 1, 0x7F, 0x80, 0xFF, static_cast<int>(random.below(256))}) {
      std::string wrong = bytes;
      wrong[at] = static_cast<char>(with);
      const auto read = parsed(wrong);
      CHECK((read.ok() || read.message().size() > 8));
    }
}

TEST_CASE("gguf: other kinds - byte orders - and versions are named") {
  check_refused("ggml" + std::string(60, '\0'), Code::unsupported,
                {"does not begin with \"GGUF\""});
  check_refused("GG", Code::corrupt, {"the magic of 4 bytes at byte 0, the file has 2"});
  check_refused("", Code::corrupt, {"the file has 0"});
  GgufWriter w;
  w.version = 0x03000000;
  check_refused(w.file(), Code::unsupported, {"big-endian"});
  for (const std::uint32_t version : {0U, 1U, 4U}) {
    w.version = version;
    check_refused(w.file(), Code::unsupported,
                  {("GGUF version " + std::to_string(version)).c_str(), "2 and 3 are read"});
  }
  w.version = 3;
  CHECK(parsed(w.file()).ok());
  CHECK(parsed(w.header()).ok());  // nothing follows, nothing is missing
  const std::string folder = scratch_path("folder");
  std::filesystem::create_directories(folder);
  CHECK(GgufFile::open(folder).status().code == Code::io);
  CHECK(GgufFile::open(scratch_path("missing.gguf")).status().code == Code::io);
}

TEST_CASE("gguf: counts and lengths beyond the file are refused before memory is taken") {
  const auto start = [](std::uint64_t tensors, std::uint64_t keys) {
    return "GGUF" + gguf_bytes<std::uint32_t>(3) + gguf_bytes(tensors) + gguf_bytes(keys) +
           std::string(64, '\0');
  };
  check_refused(start(~std::uint64_t{0}, 0), Code::corrupt,
                {"the number of tensors is 18446744073709551615, too many for the 72 bytes"});
  check_refused(start(4, 0), Code::corrupt, {"the number of tensors is 4"});
  check_refused(start(0, std::uint64_t{1} << 62), Code::corrupt, {"the number of keys is"});
  const std::string huge = gguf_bytes(std::uint64_t{1} << 63);
  check_key_refused(gguf_bytes<std::uint32_t>(8) + huge,
                    {"key \"k\"", "the length of a string is"});
  for (const std::uint32_t type : {0U, 4U, 8U, 12U})
    check_key_refused(gguf_bytes<std::uint32_t>(9) + gguf_bytes(type) + huge,
                      {"the number of its array's elements is 9223372036854775808"});
  check_key_refused(gguf_bytes<std::uint32_t>(9) + gguf_bytes<std::uint32_t>(10) +
                        gguf_bytes<std::uint64_t>(9) + std::string(16, '\0'),
                    {"the number of its array's elements is 9, too many for the"});
  GgufWriter named;
  named.number<std::uint32_t>(std::string(70000, 'k'), 1);
  check_refused(named.file(), Code::corrupt, {"the length of its name is 70000, expected at most"});
  check_tensor_refused({std::string(65, 't'), {1}, 0, "1234"}, {"name is 65, expected at most 64"});

  // The length is in a sparse file's size, and still no reason to take that much memory.
  const std::string path = scratch_path("sparse.gguf");
  GgufWriter w;
  w.raw("k", gguf_bytes<std::uint32_t>(8) + gguf_bytes(std::uint64_t{1} << 40));
  write_file(path, as_bytes(w.header())).value();
  std::filesystem::resize_file(path, std::uintmax_t{1} << 41);
  const auto sparse = GgufFile::open(path);
  CHECK(sparse.status().code == Code::corrupt);
  CHECK(contains(sparse.message(), "expected at most 268435456"));
  std::filesystem::remove(path);
}

TEST_CASE("gguf: values that are not what their type says") {
  check_key_refused(gguf_bytes<std::uint32_t>(13) + "12345678",
                    {"the type of its value is 13, expected 0 to 12"});
  check_key_refused(gguf_bytes<std::uint32_t>(9) + gguf_bytes<std::uint32_t>(77) + "12345678",
                    {"the type of its array's elements is 77"});
  check_key_refused(gguf_bytes<std::uint32_t>(9) + gguf_bytes<std::uint32_t>(9) + "12345678",
                    {"an array of arrays"}, Code::unsupported);
  check_key_refused(gguf_bytes<std::uint32_t>(7) + "\2", {"a bool is 2, expected 0 or 1"});
  check_key_refused(gguf_bytes<std::uint32_t>(9) + gguf_bytes<std::uint32_t>(7) +
                        gguf_bytes<std::uint64_t>(3) + std::string("\1\0\3", 3),
                    {"a bool is 3"});
  GgufWriter twice;
  twice.number<std::uint32_t>("k", 1);
  twice.number<std::uint32_t>("j", 1);
  twice.text("k", "x");
  check_refused(twice.file(), Code::corrupt, {"the key \"k\" occurs twice"});
  GgufWriter unnamed;
  unnamed.number<std::uint32_t>("", 1);
  check_refused(unnamed.file(), Code::corrupt, {"its name is empty"});
  GgufWriter bytes;  // a name that is no text is still named
  bytes.raw("\xFF\n", gguf_bytes<std::uint32_t>(99) + "12345678");
  check_refused(bytes.file(), Code::corrupt, {"key \"??\""});
}

TEST_CASE("gguf: alignment") {
  const auto refused = [](const GgufWriter& w, const char* words) {
    check_refused(w.file(), Code::corrupt, {"general.alignment is ", words});
  };
  for (const std::uint32_t wrong : {0U, 1U, 4U, 24U, 33U, 4294967295U}) {
    GgufWriter w = sample();
    w.number<std::uint32_t>("general.alignment", wrong);
    refused(w, (std::to_string(wrong) + ", expected a power of two").c_str());
  }
  GgufWriter typed = sample();
  typed.number<std::uint64_t>("general.alignment", 32);
  refused(typed, "u64, expected u32");
  GgufWriter many = sample();
  many.numbers<std::uint32_t>("general.alignment", {32});
  refused(many, "an array of 1 u32, expected u32");
  GgufWriter none = sample();
  none.numbers<std::uint32_t>("general.alignment", {});
  refused(none, "an array of 0 u32, expected u32");
  for (const std::uint32_t right : {8U, 64U, 4096U}) {
    GgufWriter w = sample();
    w.alignment = right;
    w.number<std::uint32_t>("general.alignment", right);
    const auto read = parsed(w.file());
    INFO(read.message());
    REQUIRE(read.ok());
    const Index at = read.value().find("a.weight")->file_offset;
    CHECK(w.file()[static_cast<std::size_t>(at)] == 'a');
    CHECK(w.file()[static_cast<std::size_t>(at) - 1] != 'a');
  }
}

TEST_CASE("gguf: tensors that cannot be there") {
  check_tensor_refused({"t", {1, 1, 1, 1, 1}, 0, "1234"}, {"tensor \"t\": 5 dimensions"});
  check_tensor_refused({"t", {std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0, "1234"},
                       {"beyond 64 bits at size 1"});
  check_tensor_refused({"t", {0, std::uint64_t{1} << 63}, 0, "1234"}, {"beyond 64 bits"});
  check_tensor_refused({"t", {std::uint64_t{1} << 62}, 0, "1234"}, {"its bytes go beyond 64 bits"});
  check_tensor_refused({"t", {33}, 8, std::string(68, 'x')},
                       {"rows of 33 elements, expected a multiple of the 32 of a block of Q8_0"});
  check_tensor_refused({"t", {}, 12, std::string(144, 'x')}, {"rows of 1 elements"});
  check_tensor_refused({"t", {2, 1000}, 0, std::string(32, 'x')},
                       {"8000 bytes at byte 0 of the data, which has 32"});
  GgufWriter twice = sample();
  twice.tensors[1].name = "odd";
  check_refused(twice.file(), Code::corrupt, {"the tensor \"odd\" occurs twice"});

  GgufWriter w;
  w.tensors.push_back({"a", {16}, 0, std::string(64, 'a')});
  w.tensors.push_back({"b", {8}, 0, std::string(32, 'b')});
  CHECK(parsed(with_offset(w, 64)).ok());
  check_refused(with_offset(w, 65), Code::corrupt, {"\"b\"", "a multiple of the alignment, 32"});
  check_refused(with_offset(w, 96), Code::corrupt,
                {"32 bytes at byte 96 of the data, which has 96"});
  check_refused(with_offset(w, ~std::uint64_t{31}), Code::corrupt,
                {"its offset is 18446744073709551584"});
  check_refused(with_offset(w, 32), Code::corrupt, {"\"b\" begins inside tensor \"a\""});
  check_refused(with_offset(w, 0), Code::corrupt, {"\"a\" begins inside tensor \"b\""});
  check_refused(w.file().substr(0, w.header().size()), Code::corrupt, {"the data begins at byte"});
  GgufWriter none;
  none.tensors.push_back({"none", {256, 0}, 12, ""});
  CHECK(parsed(none.file()).ok());
}

TEST_CASE("gguf: the last tensor need not be padded and may not be cut") {
  GgufWriter w;
  w.tensors.push_back({"a", {5}, 24, "12345"});
  const std::string bytes = w.file();
  const std::size_t end = bytes.size() - 32 + 5;
  CHECK(parsed(bytes.substr(0, end)).ok());
  check_refused(bytes.substr(0, end - 1), Code::corrupt, {"5 bytes at byte 0 of the data"});
}

TEST_CASE("gguf: names of types") {
  CHECK(to_string(GgmlType::q4_k) == "Q4_K");
  CHECK(find_facts(static_cast<GgmlType>(17))->name == std::string("IQ2_XS"));
  CHECK(find_facts(static_cast<GgmlType>(4)) == nullptr);
  for (const GgmlTypeFacts& a : ggml_type_facts) {
    CHECK((a.elements > 0 && a.bytes > 0));
    for (const GgmlTypeFacts& b : ggml_type_facts)
      CHECK((&a == &b || (a.number != b.number && std::string(a.name) != b.name)));
  }
}
