// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"
#include "contains.hpp"

#include <engram/io/safetensors_index.hpp>
#include <engram/io/safetensors_writer.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#if defined(__unix__)
#include <sys/resource.h>
#include <sys/stat.h>
#include <csignal>
#endif

namespace fs = std::filesystem;
using engram::Code;
using engram::DType;
using engram::Index;
using engram::SafetensorsFile;
using engram::SafetensorsIndex;
using engram::TensorToWrite;
using engram::write_safetensors;

namespace {

struct Scratch {
  fs::path folder;
  explicit Scratch(const std::string& name)
      : folder(fs::path(ENGRAM_SCRATCH_DIR) / ("safetensors_test_" + name)) {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~Scratch() { fs::remove_all(folder); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return (folder / name).string(); }
  long entries() const {
    return static_cast<long>(
        std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
};

// The eight bytes of a header's length.
std::string length_of(std::uint64_t size) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(size >> (8 * i) & 0xFF);
  return bytes;
}

std::string file_bytes(const std::string& header, std::size_t data) {
  return length_of(header.size()) + header + std::string(data, 'd');
}

void put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// The failure of a header in front of so many bytes of data.
engram::Failure refused(const std::string& header, Index data, Code code,
                        const std::string& words) {
  INFO(header.substr(0, 300));
  const auto file =
      SafetensorsFile::parse(header, 8 + static_cast<Index>(header.size()) + data, "x.safetensors");
  REQUIRE_FALSE(file.ok());
  INFO(file.message());
  CHECK(file.status().code == code);
  CHECK(file.message().rfind("x.safetensors: ", 0) == 0);
  CHECK(contains(file.message(), words));
  CHECK(file.message().size() < 400);
  return file.failure();
}
engram::Failure corrupt(const std::string& header, Index data, const std::string& words) {
  return refused(header, data, Code::corrupt, words);
}

// An entry of a header, and a header of entries.
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + entry("t", dtype, shape, offsets) + "}";
}

std::vector<std::byte> counted(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 1);
  return bytes;
}

engram::Failure open_refused(const std::string& path, Code code, const std::string& words) {
  const auto file = SafetensorsFile::open(path);
  REQUIRE_FALSE(file.ok());
  INFO(file.message());
  CHECK(file.status().code == code);
  CHECK(contains(file.message(), path));
  CHECK(contains(file.message(), words));
  return file.failure();
}

}  // namespace

TEST_CASE("safetensors: rows of any stride are written dense") {
  const Scratch scratch("rows");
  const std::vector<std::byte> bytes = counted(64);
  const engram::View<const std::byte, 2> rows(bytes.data() + 1, 3, 4);
  std::vector<std::byte> dense;
  for (Index r = 0; r < 3; ++r)
    dense.insert(dense.end(), bytes.begin() + 1 + 20 * r, bytes.begin() + 5 + 20 * r);
  const TensorToWrite tensors[] = {
      {"rows", DType::u8, {3, 4}, {}, rows.with_stride<0>(20)},
      {"same", DType::u8, {12}, dense},
      {"packed", DType::u8, {2, 6}, {}, engram::View<const std::byte, 2>(dense.data(), 2, 6)},
      {"none", DType::u8, {0, 4}, {}, rows.with_stride<0>(20).slice(0, 0)}};
  REQUIRE(write_safetensors(scratch / "f", tensors, {}, engram::Sync::disk).ok());
  const auto file = SafetensorsFile::open(scratch / "f");
  REQUIRE(file.ok());
  for (const char* name : {"rows", "same", "packed"})
    CHECK(read_tensor(file.value(), *file.value().find(name)).value() == dense);
  CHECK(file.value().find("none")->bytes == 0);

  const TensorToWrite both{"t", DType::u8, {24}, dense, rows};
  const auto written = write_safetensors(scratch / "g", std::span(&both, 1));
  CHECK(written.status().code == Code::invalid_config);
  CHECK(contains(written.message(), "\"t\" has both bytes and rows"));
  CHECK(scratch.entries() == 1);
}

TEST_CASE("safetensors: a file that ends before its header does is refused") {
  const Scratch scratch("short");
  const std::string whole = file_bytes(one("U8", "[4]", "[0,4]"), 4);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    INFO(n << " bytes");
    put(scratch / "f", whole.substr(0, n));
    open_refused(scratch / "f", Code::corrupt, n < 8 ? "expected at least the 8" : "");
  }
  put(scratch / "f", whole);
  CHECK(SafetensorsFile::open(scratch / "f").ok());
}

TEST_CASE("safetensors: a header's length that cannot be is refused") {
  const Scratch scratch("length");
  put(scratch / "f", length_of(100) + "{}");
  open_refused(scratch / "f", Code::corrupt, "length is 100, and the file has only 2 bytes");
  for (const std::uint64_t size : {std::uint64_t{100000001}, std::uint64_t{1} << 63, UINT64_MAX}) {
    put(scratch / "f", length_of(size) + "{}");
    open_refused(scratch / "f", Code::corrupt,
                 "length is " + std::to_string(size) + ", expected at most 100000000");
  }
  put(scratch / "f", length_of(0));
  open_refused(scratch / "f", Code::corrupt, "empty");
  for (const Index size : {Index{9}, Index{0}}) {
    const auto file = SafetensorsFile::parse("{}", size, "x");
    CHECK(file.status().code == Code::corrupt);
    CHECK(contains(file.message(), "2 bytes, the file has " + std::to_string(size)));
  }
}

TEST_CASE("safetensors: what is no regular file is refused") {
  const Scratch scratch("irregular");
  open_refused(scratch / "none", Code::io, "No such file");
  fs::create_directory(scratch / "d");
  open_refused(scratch / "d", Code::io, "s a directory");
}

TEST_CASE("safetensors: a header that is not an object of JSON is refused") {
  corrupt("", 0, "expected an object");
  corrupt(" {}", 0, "does not begin with '{'");
  corrupt("[]", 0, "does not begin with '{'");
  corrupt("{", 0, "not JSON at byte 1");
  corrupt("{}x", 0, "not JSON at byte 2");
  corrupt(std::string("{}\0", 3), 0, "zero byte");
  corrupt("{\"\xFF\":1}", 0, "not JSON");
  corrupt("{\"a\":" + std::string(100, '[') + "}", 0, "deeper than 64");
  corrupt("{\"t\":1}", 0, "tensor \"t\": its entry is an integer");
  CHECK(SafetensorsFile::parse("{}", 10, "x").ok());
  CHECK(SafetensorsFile::parse("{}  \n", 13, "x").ok());
}

TEST_CASE("safetensors: names that occur twice are refused") {
  const std::string a = entry("a", "U8", "[1]", "[0,1]");
  corrupt("{" + a + "," + a + "}", 1, "the name \"a\" occurs twice");
  corrupt("{" + a + "," + entry("\\u0061", "U8", "[1]", "[1,2]") + "}", 2, "\"a\" occurs twice");
  corrupt(R"({"__metadata__":{},"__metadata__":{}})", 0, "\"__metadata__\" occurs twice");
  corrupt(R"({"t":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1,
          "tensor \"t\": the key \"dtype\" occurs twice");
  corrupt(R"({"t":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1,
          "the key \"shape\" occurs twice");
  corrupt(R"({"__metadata__":{"k":"1","k":"2"}})", 0, "the key \"k\" occurs twice");
}

TEST_CASE("safetensors: metadata maps strings to strings") {
  corrupt(R"({"__metadata__":[]})", 0, "__metadata__ is an array, expected an object");
  corrupt(R"({"__metadata__":null})", 0, "__metadata__ is null");
  corrupt(R"({"__metadata__":{"k":1}})", 0, "\"k\" is an integer, expected a string");
  corrupt(R"({"__metadata__":{"k":{"x":"y"}}})", 0, "\"k\" is an object, expected a string");
}

TEST_CASE("safetensors: a type that the format does not have is refused by name") {
  const auto failure = refused(one("Q4_K", "[1]", "[0,1]"), 1, Code::unsupported,
                               "tensor \"t\": the dtype is \"Q4_K\"");
  CHECK(failure.status.index == 0);
  refused(one("u8", "[1]", "[0,1]"), 1, Code::unsupported, "\"u8\"");
  refused(one("", "[1]", "[0,1]"), 1, Code::unsupported, "\"\"");
  refused(one(std::string(5000, 'F'), "[1]", "[0,1]"), 1, Code::unsupported, "FFF...\"");
  corrupt(R"({"t":{"dtype":1,"shape":[1],"data_offsets":[0,1]}})", 1, "the dtype is an integer");
  corrupt(R"({"t":{"shape":[1],"data_offsets":[0,1]}})", 1, "there is no dtype");
}

TEST_CASE("safetensors: a shape is a list of sizes, and its product fits") {
  corrupt(R"({"t":{"dtype":"U8","data_offsets":[0,1]}})", 1, "the shape is missing");
  corrupt(one("U8", "4", "[0,4]"), 4, "the shape is an integer, expected a list");
  corrupt(one("U8", "{}", "[0,4]"), 4, "the shape is an object");
  corrupt(one("U8", "[2,-2]", "[0,4]"), 4, "shape[1] is negative");
  corrupt(one("U8", "[4.0]", "[0,4]"), 4, "shape[0] is a number with fraction");
  corrupt(one("U8", "[\"4\"]", "[0,4]"), 4, "shape[0] is a string");
  corrupt(one("U8", "[null]", "[0,4]"), 4, "shape[0] is null");
  corrupt(one("U8", "[1e1]", "[0,10]"), 10, "shape[0] is a number");
  const std::string big = "4294967296";
  corrupt(one("U8", "[" + big + "," + big + "]", "[0,0]"), 0, "beyond 64 bits at shape[1]");
  corrupt(one("U8", "[" + big + "," + big + "," + big + "]", "[0,0]"), 0, "beyond 64 bits");
  corrupt(one("F64", "[2305843009213693952]", "[0,0]"), 0, "beyond 64 bits");
  corrupt(one("U8", "[18446744073709551615]", "[0,0]"), 0, "beyond 64 bits");
  corrupt(one("U8", "[18446744073709551616]", "[0,0]"), 0, "shape[0] is a number");
  corrupt(one("U8", "[0," + big + "," + big + "]", "[0,0]"), 0, "beyond 64 bits");
}

TEST_CASE("safetensors: shape times type is the number of bytes") {
  corrupt(one("F32", "[2,3]", "[0,23]"), 23, "give it 23 bytes, shape and dtype F32 ask for 24");
  corrupt(one("F32", "[2,3]", "[0,25]"), 25, "give it 25 bytes");
  corrupt(one("F32", "[]", "[0,0]"), 0, "ask for 4");
  corrupt(one("F32", "[0,3]", "[0,4]"), 4, "ask for 0");
  corrupt(one("F4", "[3]", "[0,2]"), 2, "12 bits of F4, which end inside a byte");
  corrupt(one("F4", "[3,0]", "[0,2]"), 2, "ask for 0");
}

TEST_CASE("safetensors: data_offsets are two integers that do not fall and lie in the file") {
  corrupt(R"({"t":{"dtype":"U8","shape":[1]}})", 1, "data_offsets are missing");
  for (const char* bad : {"[]", "[0]", "[0,1,1]", "1", "[0,\"1\"]", "[0,1.0]", "[-1,0]", "null"})
    corrupt(one("U8", "[1]", bad), 1, "data_offsets are not two integers");
  corrupt(one("U8", "[1]", "[1,0]"), 1, "data_offsets fall, from 1 to 0");
  corrupt(one("U8", "[4]", "[0,4]"), 3, "its data ends at byte 4 of 3");
  corrupt(one("U8", "[4]", "[4,8]"), 4, "its data ends at byte 8 of 4");
  corrupt(one("U8", "[1]", "[18446744073709551614,18446744073709551615]"), 1, "of 1");
}

TEST_CASE("safetensors: tensors neither overlap nor leave bytes out") {
  const std::string a = entry("a", "U8", "[4]", "[0,4]");
  corrupt("{" + a + "," + entry("b", "U8", "[4]", "[2,6]") + "}", 6,
          "tensor \"b\" begins at byte 2 of the data, inside tensor \"a\", which ends at byte 4");
  corrupt("{" + a + "," + entry("b", "U8", "[4]", "[0,4]") + "}", 4, "inside tensor");
  corrupt("{" + a + "," + entry("b", "U8", "[0]", "[2,2]") + "}", 4, "inside tensor \"a\"");
  corrupt("{" + a + "," + entry("b", "U8", "[2]", "[6,8]") + "}", 8,
          "bytes 4 to 6 of the data belong to no tensor; the next is \"b\"");
  corrupt(one("U8", "[4]", "[1,5]"), 5, "bytes 0 to 1 of the data belong to no tensor");
  corrupt("{" + a + "}", 6, "the tensors end at byte 4 of the data, which has 6");
  corrupt("{}", 1, "the tensors end at byte 0 of the data, which has 1");
}

TEST_CASE("safetensors: a tensor without bytes lies between others, in any order") {
  const std::string header =
      "{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("none", "U8", "[0]", "[0,0]") + "}";
  const auto file = SafetensorsFile::parse(header, 8 + static_cast<Index>(header.size()) + 4, "x");
  INFO(file.message());
  REQUIRE(file.ok());
  CHECK(file.value().tensors()[0].name == "none");
}

TEST_CASE("safetensors: a name cannot spoil the sentence") {
  const std::string name = "a\\n\\u001b[31m" + std::string(5000, 'x');
  const auto failure = corrupt("{" + entry(name, "U8", "[1]", "[0,2]") + "}", 2, "a??[31mxxx");
  CHECK_FALSE(contains(failure.message, "\n"));
}

TEST_CASE("safetensors: every type has its name and size") {
  CHECK(std::string(to_string(DType::boolean)) == "BOOL");
  CHECK(std::string(to_string(DType::f8_e8m0)) == "F8_E8M0");
  CHECK(std::string(to_string(DType::u64)) == "U64");
  CHECK(bytes_of(DType::f8_e4m3) == 1);
  CHECK(bytes_of(DType::bf16) == 2);
  CHECK(bytes_of(DType::c64) == 8);
  CHECK(bits_of(DType::f4) == 4);
  CHECK(bits_of(DType::f6_e3m2) == 6);
  for (std::size_t i = 0; i < engram::dtype_facts.size(); ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string end = std::to_string(bits_of(dtype));
    const std::string header = one(to_string(dtype), "[8]", "[0," + end + "]");
    const auto file =
        SafetensorsFile::parse(header, 8 + static_cast<Index>(header.size()) + bits_of(dtype), "x");
    INFO(header << file.message());
    REQUIRE(file.ok());
    CHECK(file.value().find("t")->dtype == dtype);
  }
}

TEST_CASE("safetensors: tensors come in the order of their data, whatever the header's") {
  const std::string header =
      "{" + entry("z", "F32", "[]", "[2,6]") + "," + entry("a", "U8", "[0,5]", "[6,6]") +
      ",\"__metadata__\":{\"k\":\"v\"}," + entry("m", "U8", "[2]", "[0,2]") + "}";
  const auto size = static_cast<Index>(header.size());
  const auto read = SafetensorsFile::parse(header, 8 + size + 6, "x");
  INFO(read.message());
  REQUIRE(read.ok());
  const SafetensorsFile& file = read.value();
  REQUIRE(file.tensors().size() == 3);
  CHECK(file.tensors()[0].name == "m");
  CHECK(file.tensors()[1].name == "z");
  CHECK(file.tensors()[2].name == "a");
  CHECK(file.find("m")->file_offset == 8 + size);
  CHECK(file.find("z")->file_offset == 8 + size + 2);
  CHECK(file.find("z")->bytes == 4);
  CHECK(file.find("a")->shape == std::vector<Index>{0, 5});
  CHECK(file.find("q") == nullptr);
  CHECK(file.find("") == nullptr);
  CHECK(*file.metadata("k") == "v");
  CHECK(file.metadata("K") == nullptr);
  CHECK(file.path() == "x");
}

TEST_CASE("safetensors: what is written reads back") {
  const Scratch scratch("round_trip");
  const auto bytes = counted(48);
  const engram::Bytes all(bytes);
  const std::vector<TensorToWrite> tensors = {
      {"model.layers.1.engram.embed.weight", DType::bf16, {3, 4}, all.slice(0, 24)},
      {"none", DType::f64, {0}, all.slice(0, 0)},
      {"\"\\\n\u00e9", DType::u8, {5}, all.slice(24, 5)},
      {"scalar", DType::i32, {}, all.slice(29, 4)}};
  const SafetensorsFile::Metadata metadata = {{"z", "1"}, {"a", "\"\x01\t\u20ac"}, {"", ""}};
  REQUIRE(write_safetensors(scratch / "f", tensors, metadata).ok());
  CHECK(scratch.entries() == 1);
  const auto file = SafetensorsFile::open(scratch / "f");
  INFO(file.message());
  REQUIRE(file.ok());
  CHECK(file.value().metadata() == metadata);
  REQUIRE(file.value().tensors().size() == tensors.size());
  CHECK(file.value().tensors()[0].file_offset % 8 == 0);
  for (const TensorToWrite& written : tensors) {
    const engram::TensorInfo* tensor = file.value().find(written.name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->dtype == written.dtype);
    CHECK(tensor->shape == written.shape);
    const auto back = read_tensor(file.value(), *tensor);
    REQUIRE(back.ok());
    REQUIRE(static_cast<Index>(back.value().size()) == written.bytes.size());
    CHECK(std::equal(back.value().begin(), back.value().end(), written.bytes.data()));
  }
}

TEST_CASE("safetensors: the bytes of a file are these") {
  const Scratch scratch("canonical");
  const auto bytes = engram::as_bytes("abcd");
  const TensorToWrite tensors[] = {{"t", DType::u8, {2, 2}, bytes}};
  REQUIRE(write_safetensors(scratch / "f", tensors, {{"k", "v"}}).ok());
  const std::string header =
      R"({"__metadata__":{"k":"v"},"t":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  CHECK(engram::read_file(scratch / "f").value() == length_of(padded.size()) + padded + "abcd");
  REQUIRE(write_safetensors(scratch / "f", {}).ok());
  CHECK(engram::read_file(scratch / "f").value() == length_of(8) + "{}      ");
}

TEST_CASE("safetensors: what no reader would take is not written") {
  const Scratch scratch("not_written");
  put(scratch / "f", "old");
  const auto bytes = counted(8);
  const engram::Bytes four = engram::Bytes(bytes).slice(0, 4);
  const auto check = [&](const std::vector<TensorToWrite>& tensors, const std::string& words,
                         const SafetensorsFile::Metadata& metadata = {}) {
    const auto written = write_safetensors(scratch / "f", tensors, metadata);
    REQUIRE_FALSE(written.ok());
    INFO(written.message());
    CHECK(written.status().code == Code::invalid_config);
    CHECK(contains(written.message(), words));
    CHECK(contains(written.message(), scratch / "f"));
    CHECK(engram::read_file(scratch / "f").value() == "old");
    CHECK(scratch.entries() == 1);
  };
  check({{"a", DType::f32, {1}, four}, {"a", DType::f32, {1}, four}}, "\"a\" occurs twice");
  check({{"a", DType::f32, {2}, four}}, "give it 4 bytes, shape and dtype F32 ask for 8");
  check({{"a", DType::u8, {-4}, four}}, "shape[0] is negative");
  check({{"a", DType::u8, {INT64_MAX, 2}, four}}, "beyond 64 bits");
  check({{"\xFF", DType::u8, {4}, four}}, "not JSON");
  check({{"__metadata__", DType::u8, {4}, four}}, "__metadata__");
  check({{"__metadata__", DType::u8, {4}, four}}, "occurs twice", {{"k", "v"}});
  check({}, "occurs twice", {{"k", "v"}, {"k", "w"}});
}

TEST_CASE("safetensors: reading a tensor into memory of another size is refused") {
  const Scratch scratch("room");
  put(scratch / "f", file_bytes(one("U8", "[4]", "[0,4]"), 4));
  const auto file = SafetensorsFile::open(scratch / "f");
  REQUIRE(file.ok());
  std::vector<std::byte> room(5);
  const auto read = read_tensor(file.value(), file.value().tensors()[0], room);
  REQUIRE_FALSE(read.ok());
  CHECK(read.status().code == Code::shape_mismatch);
  CHECK(read.status().index == 4);
  CHECK(contains(read.message(), "tensor \"t\" has 4 bytes, there is room for 5"));
  room.resize(4);
  REQUIRE(read_tensor(file.value(), file.value().tensors()[0], room).ok());
  CHECK(std::memcmp(room.data(), "dddd", 4) == 0);
}

TEST_CASE("safetensors: a file that has become shorter is noticed") {
  const Scratch scratch("shrunk");
  const std::string whole = file_bytes(one("U8", "[4]", "[0,4]"), 4);
  put(scratch / "f", whole);
  const auto file = SafetensorsFile::open(scratch / "f");
  REQUIRE(file.ok());
  fs::resize_file(scratch / "f", whole.size() - 3);
  const auto read = read_tensor(file.value(), file.value().tensors()[0]);
  REQUIRE_FALSE(read.ok());
  CHECK(read.status().code == Code::corrupt);
  CHECK(contains(read.message(), "the file ends after 1 of its 4 bytes"));
  fs::remove(scratch / "f");
  CHECK(read_tensor(file.value(), file.value().tensors()[0]).status().code == Code::io);
}

TEST_CASE("safetensors: offsets beyond 4 GiB") {
  const Scratch scratch("large");
  const Index gap = (Index{5} << 30) + 3;
  const std::string end = std::to_string(gap);
  const std::string header =
      "{" + entry("gap", "U8", "[" + end + "]", "[0," + end + "]") + "," +
      entry("t", "U8", "[4]", "[" + end + "," + std::to_string(gap + 4) + "]") + "}";
  put(scratch / "f", file_bytes(header, 0));
  std::error_code error;
  fs::resize_file(scratch / "f", 8 + header.size() + static_cast<std::uintmax_t>(gap), error);
  if (error) {
    WARN("[skipped] the file system has no sparse files: " << error.message());
    return;
  }
  std::ofstream(scratch / "f", std::ios::binary | std::ios::app) << "tail";
  const auto file = SafetensorsFile::open(scratch / "f");
  INFO(file.message());
  REQUIRE(file.ok());
  const engram::TensorInfo* tensor = file.value().find("t");
  REQUIRE(tensor != nullptr);
  CHECK(tensor->file_offset == 8 + static_cast<Index>(header.size()) + gap);
  const auto bytes = read_tensor(file.value(), *tensor);
  REQUIRE(bytes.ok());
  CHECK(std::memcmp(bytes.value().data(), "tail", 4) == 0);
}

TEST_CASE("safetensors: many tensors are looked up, not searched") {
  std::string header = "{";
  for (int i = 0; i < 20000; ++i)
    header += (i ? "," : "") + entry("t" + std::to_string(i), "U8", "[0]", "[0,0]");
  header += "}";
  const auto file = SafetensorsFile::parse(header, 8 + static_cast<Index>(header.size()), "x");
  REQUIRE(file.ok());
  CHECK(file.value().tensors().size() == 20000);
  CHECK(file.value().tensors()[17777].name == "t17777");
  CHECK(file.value().find("t19999") == &file.value().tensors()[19999]);
}

TEST_CASE("safetensors: the writer leaves what is no regular file, and links, alone") {
  const Scratch scratch("writer_names");
  fs::create_directory(scratch / "d");
  CHECK(write_safetensors(scratch / "d", {}).status().system_error == EISDIR);
  CHECK(write_safetensors(scratch / "no/f", {}).status().system_error == ENOENT);
  put(scratch / "f.tmp0", "mine");
  REQUIRE(write_safetensors(scratch / "f", {}).ok());
  CHECK(engram::read_file(scratch / "f.tmp0").value() == "mine");
#if defined(__unix__)
  fs::create_symlink("f", scratch / "link");
  REQUIRE(write_safetensors(scratch / "link", {}, {{"k", "v"}}).ok());
  CHECK(fs::is_symlink(scratch / "link"));
  CHECK(*SafetensorsFile::open(scratch / "f").value().metadata("k") == "v");
  fs::create_symlink("nowhere", scratch / "dangling");
  CHECK(write_safetensors(scratch / "dangling", {}).ok());  // writes what the link names
  CHECK(fs::is_regular_file(scratch / "nowhere"));
#endif
}

#if defined(__unix__)
TEST_CASE("safetensors: a write that stops half-way leaves the old file and no other") {
  const Scratch scratch("half");
  put(scratch / "f", "old");
  const auto bytes = counted(300000);
  const TensorToWrite tensors[] = {{"t", DType::u8, {300000}, engram::Bytes(bytes)}};
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100000;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto written = write_safetensors(scratch / "f", tensors);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(written.ok());
  CHECK(written.status().system_error == EFBIG);
  CHECK(engram::read_file(scratch / "f").value() == "old");
  CHECK(scratch.entries() == 1);
}
#endif

namespace {

void put_tensor(const std::string& path, const std::string& name) {
  const TensorToWrite tensors[] = {{name, DType::u8, {4}, engram::as_bytes("abcd")}};
  REQUIRE(write_safetensors(path, tensors).ok());
}

engram::Failure index_refused(const Scratch& scratch, Code code,
                              std::initializer_list<std::string> words) {
  const auto index = SafetensorsIndex::open(scratch.folder.string());
  REQUIRE_FALSE(index.ok());
  INFO(index.message());
  CHECK(index.status().code == code);
  for (const std::string& word : words) {
    INFO(word);
    CHECK(contains(index.message(), word));
  }
  return index.failure();
}

const char* const list_name = "model.safetensors.index.json";

}  // namespace

TEST_CASE("safetensors index: a folder without tensors, or no folder") {
  const Scratch scratch("index_none");
  index_refused(scratch, Code::io, {"no model.safetensors.index.json and no *.safetensors"});
  CHECK(SafetensorsIndex::open(scratch / "no").status().system_error == ENOENT);
  put(scratch / "f", "");
  CHECK(SafetensorsIndex::open(scratch / "f").status().system_error == ENOTDIR);
}

TEST_CASE("safetensors index: a list that is no map of names is refused") {
  const Scratch scratch("index_bad");
  const std::pair<const char*, const char*> cases[] = {
      {"", "not JSON"},
      {"[]", "an array, expected an object"},
      {"{}", "weight_map is missing"},
      {R"({"weight_map":[]})", "weight_map is an array"},
      {R"({"weight_map":{},"weight_map":{}})", "weight_map occurs twice"},
      {R"({"weight_map":{"a":"x","a":"y"}})", "tensor \"a\" occurs twice"},
      {R"({"weight_map":{"a":1}})", "tensor \"a\" is in an integer"}};
  for (const auto& [text, words] : cases) {
    put(scratch / list_name, text);
    index_refused(scratch, Code::corrupt, {list_name, words});
  }
}

TEST_CASE("safetensors index: a file outside of the folder is refused by name") {
  const Scratch scratch("index_escape");
  put_tensor(scratch / "a.safetensors", "a");
  fs::create_directory(scratch / "sub");
  put_tensor(scratch / "sub/a.safetensors", "a");
  for (const char* file : {"../a.safetensors", "sub/a.safetensors", "/etc/passwd", "..", ".", "",
                           "sub\\\\a.safetensors", "c:a.safetensors", "a.safetensors\\u0000"}) {
    put(scratch / list_name, std::string(R"({"weight_map":{"t.x":")") + file + "\"}}");
    const auto failure = index_refused(
        scratch, Code::corrupt, {list_name, "tensor \"t.x\"", "expected a file of this directory"});
    CHECK(failure.status.index == 0);
  }
}

TEST_CASE("safetensors index: a missing file, and a tensor that its file lacks, are named") {
  const Scratch scratch("index_lacks");
  put_tensor(scratch / "1.safetensors", "a");
  put(scratch / list_name, R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  const auto missing = index_refused(
      scratch, Code::io, {list_name, "tensor \"b\"", "\"2.safetensors\"", "No such file"});
  CHECK(missing.status.system_error == ENOENT);
  put_tensor(scratch / "2.safetensors", "c");
  index_refused(scratch, Code::corrupt,
                {list_name, "tensor \"b\" should be in", "2.safetensors", "which lacks it"});
  put(scratch / "2.safetensors", "short");
  index_refused(scratch, Code::corrupt, {"tensor \"b\"", "2.safetensors", "5 bytes"});
}

TEST_CASE("safetensors index: tensors are found in their files") {
  const Scratch scratch("index_finds");
  put_tensor(scratch / "2.safetensors", "a");
  put_tensor(scratch / "1.safetensors", "b");
  put_tensor(scratch / "3.safetensors", "c");
  put(scratch / list_name,
      R"({"metadata":{"total_size":8},"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})");
  auto read = SafetensorsIndex::open(scratch.folder.string());
  INFO(read.message());
  REQUIRE(read.ok());
  const SafetensorsIndex index = std::move(read).value();
  REQUIRE(index.files().size() == 2);
  CHECK(index.files()[0].path() == scratch / "1.safetensors");
  const auto a = index.find("a");
  REQUIRE(a.has_value());
  CHECK(a->file == &index.files()[1]);
  CHECK(a->tensor->name == "a");
  CHECK(read_tensor(*a->file, *a->tensor).value().size() == 4);
  CHECK_FALSE(index.find("c").has_value());
}

TEST_CASE("safetensors index: without a list, model.safetensors, else every file") {
  const Scratch scratch("index_all");
  put_tensor(scratch / "b.safetensors", "b");
  put_tensor(scratch / "a.safetensors", "a");
  put(scratch / "notes.txt", "x");
  {
    const auto index = SafetensorsIndex::open(scratch.folder.string());
    REQUIRE(index.ok());
    REQUIRE(index.value().files().size() == 2);
    CHECK(index.value().files()[0].path() == scratch / "a.safetensors");
    CHECK(index.value().find("b").has_value());
  }
  put_tensor(scratch / "c.safetensors", "a");
  index_refused(scratch, Code::corrupt,
                {"tensor \"a\" is in", "a.safetensors and in", "c.safetensors"});
  put_tensor(scratch / "model.safetensors", "m");
  const auto index = SafetensorsIndex::open(scratch.folder.string());
  REQUIRE(index.ok());
  CHECK(index.value().files().size() == 1);
  CHECK(index.value().find("m").has_value());
  CHECK_FALSE(index.value().find("a").has_value());
}
