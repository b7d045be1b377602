// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a GGUF file: refused with a sentence, or keys and tensors that lie in the file, each
// found by its name.

#include <engram/io/gguf.hpp>
#include <engram/unicode/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

void check_failure(const engram::Failure& failure) {
  require(failure.message.size() > 7 && failure.message.size() < 1000);
  require(engram::find_invalid_utf8(failure.message) == failure.message.size());
}

void check_value(const engram::GgufValue& value, engram::Index file_size) {
  require(value.size() >= 0 && value.size() <= file_size &&
          (value.is_array() || value.size() == 1));
  require(value.type() != engram::GgufType::array && !value.describe().empty());
  engram::Index bytes = 0;
  for (engram::Index i = 0; i < value.size(); ++i) {
    const auto text = value.text(i);
    if (text) bytes += static_cast<engram::Index>(text->size());
    require(value.integer(i) || value.natural(i) || value.real(i) || value.boolean(i) || text);
  }
  require(bytes <= file_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto file_size = static_cast<engram::Index>(size);
  const auto read = engram::GgufFile::parse(engram::as_bytes(bytes), file_size, "input");
  if (!read.ok()) {
    check_failure(read.failure());
    return 0;
  }
  const engram::GgufFile& file = read.value();
  for (const auto& [name, value] : file.keys()) {
    require(file.key(name) == &value);
    check_value(value, file_size);
  }
  engram::Index end = 24;
  for (const engram::GgufTensor& tensor : file.tensors()) {
    require(file.find(tensor.name) == &tensor);
    require(tensor.file_offset >= end && tensor.file_offset <= file_size);
    require(tensor.bytes >= -1 && tensor.bytes <= file_size - tensor.file_offset);
    if (tensor.bytes > 0) end = tensor.file_offset + tensor.bytes;
  }
  return 0;
}
