// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Which tensors of files are tables, by their names, and what kind a file is.

#include <engram/io/gguf.hpp>
#include <engram/io/safetensors_index.hpp>

#include <functional>
#include <optional>

namespace engram::cli {

/// The tensor of a name, in whichever file it lies.
using FindTensor = std::function<std::optional<TensorPlace>(std::string_view)>;
FindTensor tensors_of(const SafetensorsFile& file);
FindTensor tensors_of(const SafetensorsIndex& index);

/// Whether a tensor has two dimensions and is called layers.L.engram.embed.weight, with anything in
/// front, or table, or ends in .table.
bool is_table(const TensorInfo& tensor);
/// The L of "layers.L." in its name.
std::optional<std::int32_t> layer_of(const TensorInfo& tensor);
/// The tensor with "scale" in the place of an embedding's "weight".
std::optional<TensorPlace> scale_of(const TensorInfo& table, const FindTensor& find);
/// The bytes of a row. Fails with unsupported for one that ends inside a byte.
Result<Index> row_bytes(const TensorPlace& place);

/// The L of blk.L.engram_embd.weight, which is what a GGUF calls a table.
std::optional<std::int32_t> table_layer(const GgufTensor& tensor);

enum class FileKind { safetensors, packed, gguf };
/// By the file's first bytes; what is no other kind is taken for safetensors. Fails with io.
Result<FileKind> kind_of(const std::string& path);

}  // namespace engram::cli
