// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads safetensors files: what they hold without touching the data, and single tensors.
//
//   const auto file = SafetensorsFile::open("model.safetensors");
//   const TensorInfo* tensor = file.value().find("model.layers.1.engram.embed.weight");
//   const auto bytes = read_tensor(file.value(), *tensor);

#include <engram/io/safetensors_header.hpp>
#include <engram/io/seekable_file.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The bytes of a tensor. `tensor` is one of `file.tensors()`.
///
/// Fails with io; with corrupt (index: the byte of the file) when the file has become shorter.
inline Result<std::vector<std::byte>> read_tensor(const SafetensorsFile& file,
                                                  const TensorInfo& tensor);

/// The same into the caller's memory, [tensor.bytes]. Fails also with shape_mismatch (index: the
/// bytes expected). After a failure a part may be written.
inline Result<void> read_tensor(const SafetensorsFile& file, const TensorInfo& tensor,
                                const View<std::byte, 1>& to);

inline Result<SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  const Result<Index> size = file.value().size();
  if (!size.ok()) return size.failure();
  std::byte first[8];
  const Result<Index> got = file.value().read(0, first, 8);
  if (!got.ok()) return got.failure();
  const Result<Index> length = header_bytes(Bytes(first, got.value()), size.value(), path);
  if (!length.ok()) return length.failure();
  std::string header(static_cast<std::size_t>(length.value()), '\0');
  const Result<Index> read = file.value().read(8, header.data(), length.value());
  if (!read.ok()) return read.failure();
  header.resize(static_cast<std::size_t>(read.value()));  // shorter when the file shrinks meanwhile
  return parse(header, size.value(), path);
}

inline Result<void> read_tensor(const SafetensorsFile& file, const TensorInfo& tensor,
                                const View<std::byte, 1>& to) {
  if (to.size() != tensor.bytes)
    return fail(Code::shape_mismatch,
                {file.path(), ": tensor ", quote_name(tensor.name), " has ", tensor.bytes,
                 " bytes, there is room for ", to.size()},
                tensor.bytes);
  Result<SeekableFile> input = SeekableFile::open(file.path());
  if (!input.ok()) return input.failure();
  const Result<Index> got = input.value().read(tensor.file_offset, to.data(), tensor.bytes);
  if (!got.ok()) return got.failure();
  if (got.value() != tensor.bytes)
    return fail(Code::corrupt,
                {file.path(), ": tensor ", quote_name(tensor.name), ": the file ends after ",
                 got.value(), " of its ", tensor.bytes, " bytes"},
                tensor.file_offset + got.value());
  return {};
}

inline Result<std::vector<std::byte>> read_tensor(const SafetensorsFile& file,
                                                  const TensorInfo& tensor) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
  const Result<void> read = read_tensor(file, tensor, bytes);
  if (!read.ok()) return read.failure();
  return bytes;
}

ENGRAM_END_NAMESPACE
