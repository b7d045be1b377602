// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes safetensors files. The data goes from the caller's memory to the file as it is, so a table
// may be as large as memory allows.

#include <engram/io/safetensors.hpp>

#include <array>
#include <span>

ENGRAM_BEGIN_NAMESPACE

/// A tensor to write. Does not own the bytes.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::u8;
  std::vector<Index> shape;  ///< empty: one element
  Bytes bytes;               ///< row-major, little-endian, dense
};

/// Writes the tensors in the order given, as canonical bytes: the same call writes the same file.
/// The header is padded with blanks to a multiple of 8 bytes; a tensor starts where the one before
/// ends, so put wide types first when readers want them aligned. Metadata keeps its order.
///
/// Written as write_file() writes, without a copy of the data: under a temporary name, then
/// renamed.
///
/// Fails, before anything is written, with invalid_config for what no reader would take: bytes
/// that are not those of shape and type, a name that occurs twice or is not UTF-8, a negative size,
/// a header beyond SafetensorsFile::max_header_bytes; then with io.
inline Result<void> write_safetensors(const std::string& path,
                                      std::span<const TensorToWrite> tensors,
                                      const SafetensorsFile::Metadata& metadata = {});

/// Appends a text as a JSON string. What is not UTF-8 stays so.
inline void append_json_string(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (code < 0x20) {
      to += "\\u00";
      to += "0123456789abcdef"[code >> 4];
      to += "0123456789abcdef"[code & 15];
    } else {
      to += c;
    }
  }
  to += '"';
}

/// The header that write_safetensors() writes, without the eight bytes before it.
inline std::string safetensors_header(std::span<const TensorToWrite> tensors,
                                      const SafetensorsFile::Metadata& metadata) {
  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":";
    for (std::size_t i = 0; i < metadata.size(); ++i) {
      header += i == 0 ? '{' : ',';
      append_json_string(header, metadata[i].first);
      header += ':';
      append_json_string(header, metadata[i].second);
    }
    header += '}';
  }
  Index begin = 0;
  for (const TensorToWrite& tensor : tensors) {
    if (header.size() > 1) header += ',';
    append_json_string(header, tensor.name);
    header += sentence({":{\"dtype\":\"", to_string(tensor.dtype), "\",\"shape\":["});
    for (std::size_t d = 0; d < tensor.shape.size(); ++d)
      header += sentence({d == 0 ? "" : ",", tensor.shape[d]});
    const Index end = begin + tensor.bytes.size();
    header += sentence({"],\"data_offsets\":[", begin, ",", end, "]}"});
    begin = end;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

inline Result<void> write_safetensors(const std::string& path,
                                      std::span<const TensorToWrite> tensors,
                                      const SafetensorsFile::Metadata& metadata) {
  const std::string header = safetensors_header(tensors, metadata);
  std::array<std::byte, 8> length;
  for (std::size_t i = 0; i < 8; ++i)
    length[i] = static_cast<std::byte>(std::uint64_t{header.size()} >> (8 * i) & 0xFF);
  std::vector<Bytes> parts = {Bytes(length), as_bytes(header)};
  auto file_size = static_cast<Index>(8 + header.size());
  for (const TensorToWrite& tensor : tensors) {
    parts.push_back(tensor.bytes);
    file_size += tensor.bytes.size();
  }
  // What the reader refuses is never written.
  const Result<SafetensorsFile> readable = SafetensorsFile::parse(header, file_size, path);
  if (!readable.ok()) return fail(Code::invalid_config, readable.message());
  return write_file(path, std::span<const Bytes>(parts));
}

ENGRAM_END_NAMESPACE
