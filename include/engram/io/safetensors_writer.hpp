// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes safetensors files. The data goes from the caller's memory to the file as it is, so a table
// may be as large as memory allows.

#include <engram/io/safetensors.hpp>

#include <cstring>
#include <span>

ENGRAM_BEGIN_NAMESPACE

/// A tensor to write. Does not own the bytes.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::u8;
  std::vector<Index> shape;            ///< empty: one element
  Bytes bytes;                         ///< row-major, little-endian, dense
  View<const std::byte, 2> rows = {};  ///< or these instead: [n, bytes of a row] of any stride
};

/// The bytes that a tensor takes in the file.
inline Index payload_bytes(const TensorToWrite& tensor) noexcept {
  return tensor.bytes.size() + tensor.rows.size();
}

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
                                      const SafetensorsFile::Metadata& metadata = {},
                                      Sync sync = Sync::none);

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
    const Index end = begin + payload_bytes(tensor);
    header += sentence({"],\"data_offsets\":[", begin, ",", end, "]}"});
    begin = end;
  }
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

/// Everything in front of the data: the header's length and the header. Fails with invalid_config
/// as write_safetensors() does.
inline Result<std::string> safetensors_front(const std::string& path,
                                             std::span<const TensorToWrite> tensors,
                                             const SafetensorsFile::Metadata& metadata) {
  const std::string header = safetensors_header(tensors, metadata);
  auto file_size = static_cast<Index>(8 + header.size());
  for (const TensorToWrite& tensor : tensors) {
    if (tensor.bytes.size() != 0 && tensor.rows.size() != 0)
      return fail(Code::invalid_config,
                  {path, ": tensor ", quote_name(tensor.name), " has both bytes and rows"});
    file_size += payload_bytes(tensor);
  }
  // What the reader refuses is never written.
  const Result<SafetensorsFile> readable = SafetensorsFile::parse(header, file_size, path);
  if (!readable.ok()) return fail(Code::invalid_config, readable.message());
  std::string front(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    front[i] = static_cast<char>(std::uint64_t{header.size()} >> (8 * i) & 0xFF);
  return front + header;
}

/// Hands a tensor's data to `take(Bytes)`, in the order of the file and in pieces of about 1 MiB,
/// so that what is done to a piece finds it in the cache.
template <class Take>
void for_each_piece(const TensorToWrite& tensor, const Take& take) {
  static constexpr Index piece = Index{1} << 20;
  const auto cut = [&take](Bytes bytes) {
    for (Index at = 0; at < bytes.size(); at += piece)
      take(bytes.slice(at, std::min(piece, bytes.size() - at)));
  };
  const View<const std::byte, 2>& rows = tensor.rows;
  const Index row_bytes = rows.extent(1);
  cut(tensor.bytes);
  if (rows.size() == 0) return;
  if (rows.stride(0) == row_bytes) return cut(Bytes(rows.data(), rows.size()));
  const Index most = std::max<Index>(1, piece / row_bytes);
  std::vector<std::byte> dense(static_cast<std::size_t>(most * row_bytes));
  for (Index first = 0; first < rows.extent(0); first += most) {
    const Index count = std::min(most, rows.extent(0) - first);
    for (Index i = 0; i < count; ++i)
      std::memcpy(dense.data() + i * row_bytes, &rows(first + i, 0),
                  static_cast<std::size_t>(row_bytes));
    take(Bytes(dense.data(), count * row_bytes));
  }
}

inline Result<void> write_safetensors(const std::string& path,
                                      std::span<const TensorToWrite> tensors,
                                      const SafetensorsFile::Metadata& metadata, Sync sync) {
  const Result<std::string> front = safetensors_front(path, tensors, metadata);
  if (!front.ok()) return front.failure();
  return write_file_with(path, sync, [&](OutputFile& file) {
    file.write(as_bytes(front.value()));
    for (const TensorToWrite& tensor : tensors)
      for_each_piece(tensor, [&file](Bytes piece) { file.write(piece); });
  });
}

ENGRAM_END_NAMESPACE
