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
/// Written under a temporary name and renamed, as write_file() does; after a failure the old file,
/// if any, is as it was. What is there and is no regular file is refused, and so is a link that
/// leads nowhere.
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

/// Writes the parts one after another into a new file; `created` says whether it could be made.
inline Result<void> write_parts(const std::string& path, std::span<const Bytes> parts,
                                bool& created) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "wbx");
  created = file != nullptr;
  if (!created) return file_failure("create", path, errno);
  int error = 0;
  for (const Bytes& part : parts) {
    const auto size = static_cast<std::size_t>(part.size());
    if (error == 0 && size != 0 && std::fwrite(part.data(), 1, size, file) != size)
      error = errno != 0 ? errno : EIO;
  }
  if (std::fclose(file) != 0 && error == 0) error = errno != 0 ? errno : EIO;
  if (error != 0) return file_failure("write", path, error);
  return {};
}

/// write_parts() under a temporary name of write_file(), then renamed.
inline Result<void> replace_with_parts(const std::string& path, std::span<const Bytes> parts) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path target(path);
  if (fs::is_symlink(fs::symlink_status(target, error))) {
    target = fs::canonical(target, error);
    if (error) return file_failure("write", path, error.value());
  }
  const fs::file_status there = fs::status(target, error);
  if (fs::is_directory(there)) return file_failure("write", path, EISDIR);
  if (fs::exists(there) && !fs::is_regular_file(there))
    return fail(Code::unsupported, {path, ": a device or a pipe, expected a regular file"});
  bool created = false;
  std::string partial;
  for (int number = 0; number < 100 && !created; ++number) {
    partial = target.string() + ".tmp" + std::to_string(number);
    const Result<void> written = write_parts(partial, parts, created);
    if (written.ok()) break;
    if (created) std::remove(partial.c_str());
    if (created || written.status().system_error != EEXIST)
      return file_failure("write", path, written.status().system_error);
  }
  if (!created) return file_failure("write", path, EEXIST);
  fs::rename(partial, target, error);
  if (!error) return {};
  std::remove(partial.c_str());
  return file_failure("rename to", target.string(), error.value());
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
  return replace_with_parts(path, parts);
}

ENGRAM_END_NAMESPACE
