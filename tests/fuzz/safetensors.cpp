// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Any bytes as a safetensors file: refused with a sentence, or tensors that lie in the file, one
// behind the other, and that a file of our own writing names the same way.

#include <engram/io/safetensors_writer.hpp>
#include <engram/unicode/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

void check_failure(const engram::Failure& failure) {
  require(failure.message.size() > 7 && failure.message.size() < 1000);
  require(engram::find_invalid_utf8(failure.message) == failure.message.size());
}

engram::Result<engram::SafetensorsFile> parse(std::string_view bytes) {
  const auto size = static_cast<engram::Index>(bytes.size());
  const auto length =
      engram::SafetensorsFile::header_bytes(engram::as_bytes(bytes.substr(0, 8)), size, "input");
  if (!length.ok()) return length.failure();
  require(length.value() >= 0 && length.value() <= size - 8);
  return engram::SafetensorsFile::parse(bytes.substr(8, static_cast<std::size_t>(length.value())),
                                        size, "input");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto read = parse(bytes);
  if (!read.ok()) {
    check_failure(read.failure());
    return 0;
  }
  const engram::SafetensorsFile& file = read.value();
  std::vector<engram::TensorToWrite> again;
  const auto file_size = static_cast<engram::Index>(size);
  engram::Index at = file.tensors().empty() ? file_size : file.tensors()[0].file_offset;
  for (const engram::TensorInfo& tensor : file.tensors()) {
    require(file.find(tensor.name) == &tensor);
    require(tensor.file_offset == at && tensor.bytes >= 0 && tensor.bytes <= file_size - at);
    at += tensor.bytes;
    const engram::Bytes part = engram::as_bytes(bytes.substr(
        static_cast<std::size_t>(tensor.file_offset), static_cast<std::size_t>(tensor.bytes)));
    again.push_back({tensor.name, tensor.dtype, tensor.shape, part});
  }
  require(at == file_size);
  const std::string header = engram::safetensors_header(again, file.metadata());
  const engram::Index data_bytes =
      file.tensors().empty() ? 0 : file_size - file.tensors()[0].file_offset;
  const auto second = engram::SafetensorsFile::parse(
      header, 8 + static_cast<engram::Index>(header.size()) + data_bytes, "again");
  require(second.ok());
  require(second.value().metadata() == file.metadata());
  require(second.value().tensors().size() == file.tensors().size());
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const engram::TensorInfo& a = file.tensors()[i];
    const engram::TensorInfo& b = second.value().tensors()[i];
    require(a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes);
  }
  return 0;
}
