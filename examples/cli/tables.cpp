// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "tables.hpp"

#include "numbers.hpp"

#include <engram/io/packed_rows.hpp>

namespace engram::cli {

namespace {

std::vector<std::string_view> parts_of(std::string_view name) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t dot = name.find('.');
    parts.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) return parts;
    name.remove_prefix(dot + 1);
  }
}

std::optional<std::int32_t> number(std::string_view digits) {
  const auto numbers = parse_numbers<std::int32_t>(digits);
  const bool plain = digits.find_first_not_of("0123456789") == std::string_view::npos;
  return numbers && plain && numbers->size() == 1 ? std::optional(numbers->front()) : std::nullopt;
}

/// layers.L.engram.embed.weight, with anything in front.
bool is_embedding(const std::vector<std::string_view>& parts) {
  const std::size_t n = parts.size();
  return n >= 5 && parts[n - 5] == "layers" && number(parts[n - 4]) && parts[n - 3] == "engram" &&
         parts[n - 2] == "embed" && parts[n - 1] == "weight";
}

}  // namespace

FindTensor tensors_of(const SafetensorsFile& file) {
  return [&file](std::string_view name) -> std::optional<TensorPlace> {
    const TensorInfo* tensor = file.find(name);
    return tensor ? std::optional(TensorPlace{&file, tensor}) : std::nullopt;
  };
}
FindTensor tensors_of(const SafetensorsIndex& index) {
  return [&index](std::string_view name) { return index.find(name); };
}

bool is_table(const TensorInfo& tensor) {
  const std::vector<std::string_view> parts = parts_of(tensor.name);
  return tensor.shape.size() == 2 && (parts.back() == "table" || is_embedding(parts));
}

std::optional<std::int32_t> layer_of(const TensorInfo& tensor) {
  const std::vector<std::string_view> parts = parts_of(tensor.name);
  for (std::size_t i = 0; i + 1 < parts.size(); ++i)
    if (const auto layer = number(parts[i + 1]); parts[i] == "layers" && layer) return layer;
  return std::nullopt;
}

std::optional<TensorPlace> scale_of(const TensorInfo& table, const FindTensor& find) {
  if (!is_embedding(parts_of(table.name))) return std::nullopt;
  return find(table.name.substr(0, table.name.size() - 6) + "scale");  // 6: "weight"
}

Result<Index> row_bytes(const TensorPlace& place) {
  const TensorInfo& tensor = *place.tensor;
  Index bits = bits_of(tensor.dtype);  // the header's reader has checked that the product fits
  for (std::size_t d = 1; d < tensor.shape.size(); ++d) bits *= tensor.shape[d];
  if (bits % 8 == 0) return bits / 8;
  return fail(Code::unsupported, {place.file->path(), ": tensor ", quote_name(tensor.name),
                                  ": a row of ", to_string(tensor.dtype), " ends inside a byte"});
}

std::optional<std::int32_t> table_layer(const GgufTensor& tensor) {
  const std::vector<std::string_view> parts = parts_of(tensor.name);
  const bool table = parts.size() == 4 && parts[0] == "blk" && parts[2] == "engram_embd" &&
                     parts[3] == "weight" && tensor.shape.size() == 2;
  return table ? number(parts[1]) : std::nullopt;
}

Result<FileKind> kind_of(const std::string& path) {
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  char first[8];
  const Result<Index> got = file.value().read(0, first, sizeof first);
  if (!got.ok()) return got.failure();
  const std::string_view magic(first, static_cast<std::size_t>(got.value()));
  if (magic.starts_with("GGUF")) return FileKind::gguf;
  for (const auto& known : {packed_format::magic, packed_format::unfinished_magic})
    if (magic == std::string_view(known, sizeof known)) return FileKind::packed;
  return FileKind::safetensors;
}

}  // namespace engram::cli
