// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command inspect: which tables files hold, and where.

#include "commands.hpp"
#include "numbers.hpp"
#include "tables.hpp"

#include <engram/io/packed_rows.hpp>
#include <engram/models/gguf_engram.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

namespace engram::cli {

namespace {

using Printed = nlohmann::ordered_json;

Result<Printed> describe_scale(const TensorPlace& table, const FindTensor& find) {
  const std::optional<TensorPlace> scale = scale_of(*table.tensor, find);
  if (!scale) return Printed();
  const Result<Index> bytes = row_bytes(*scale);
  if (!bytes.ok()) return bytes.failure();
  Printed printed = {{"name", scale->tensor->name},
                     {"dtype", to_string(scale->tensor->dtype)},
                     {"row_bytes", bytes.value()},
                     {"offset", scale->tensor->file_offset}};
  if (scale->file != table.file) printed["path"] = scale->file->path();
  return printed;
}

Result<Printed> describe_table(const TensorPlace& table, const FindTensor& find) {
  const TensorInfo& tensor = *table.tensor;
  const Result<Index> bytes = row_bytes(table);
  if (!bytes.ok()) return bytes.failure();
  const Result<Printed> scale = describe_scale(table, find);
  if (!scale.ok()) return scale.failure();
  const std::optional<std::int32_t> layer = layer_of(tensor);
  return Printed{{"name", tensor.name},
                 {"layer_id", layer ? Printed(*layer) : Printed()},
                 {"dtype", to_string(tensor.dtype)},
                 {"rows", tensor.shape[0]},
                 {"row_bytes", bytes.value()},
                 {"offset", tensor.file_offset},
                 {"scale", scale.value()}};
}

Printed describe(const std::string& path, const char* format, Printed tables, Printed keys,
                 Printed digest) {
  return {{"path", path},
          {"format", format},
          {"tables", std::move(tables)},
          {"keys", std::move(keys)},
          {"digest", std::move(digest)}};
}

/// One file. Of a tensor that another file has too, `find` says which counts.
Result<Printed> describe_file(const SafetensorsFile& file, const FindTensor& find) {
  Printed tables = Printed::array();
  for (const TensorInfo& tensor : file.tensors()) {
    if (!is_table(tensor)) continue;
    const std::optional<TensorPlace> place = find(tensor.name);
    if (!place || place->file != &file) continue;
    Result<Printed> table = describe_table(*place, find);
    if (!table.ok()) return table.failure();
    tables.push_back(std::move(table).value());
  }
  Printed::object_t keys;
  for (const auto& [key, text] : file.metadata()) keys.emplace_back(key, text);
  const std::string* digest = file.metadata("engram.layout_digest");
  return describe(file.path(), "safetensors", std::move(tables), std::move(keys),
                  digest ? Printed(*digest) : Printed());
}

Result<void> add_packed(const std::string& path, Printed& files) {
  const Result<PackedRows> packed = PackedRows::open(path);
  if (!packed.ok()) return packed.failure();
  const PackedInfo& info = packed.value().info();
  Printed tables = Printed::array();
  for (const TableSegment& segment : packed.value().segments()) {
    Printed scale;
    if (info.scale_bytes > 0)
      scale = {{"name", nullptr},
               {"dtype", info.scales},
               {"row_bytes", info.scale_bytes},
               {"offset", segment.scales.offset}};
    tables.push_back({{"name", nullptr},
                      {"layer_id", info.layers[tables.size()].layer_id},
                      {"dtype", info.codes},
                      {"rows", segment.codes.rows},
                      {"row_bytes", info.row_bytes},
                      {"offset", segment.codes.offset},
                      {"scale", scale}});
  }
  files.push_back(describe(path, "packed", std::move(tables), Printed::object(),
                           info.layout_digest.empty() ? Printed() : Printed(info.layout_digest)));
  return {};
}

Printed printed_element(const GgufValue& value, Index i, bool as_text) {
  if (const auto n = value.integer(i)) return as_text ? Printed(std::to_string(*n)) : Printed(*n);
  if (const auto n = value.natural(i)) return as_text ? Printed(std::to_string(*n)) : Printed(*n);
  if (const auto x = value.real(i)) return Printed(*x);
  if (const auto flag = value.boolean(i)) return Printed(*flag);
  return Printed(value.text(i).value_or(""));
}

/// The keys that say something about the memory; of long arrays, what they are.
Printed printed_keys(const GgufFile& file) {
  constexpr Index longest = 64;
  Printed::object_t keys;
  for (const auto& [name, value] : file.keys()) {
    if (name.find("engram") == std::string::npos && name != "general.architecture" &&
        !name.starts_with("split."))
      continue;
    const bool as_text = name.ends_with(".multipliers");
    if (!value.is_array()) {
      keys.emplace_back(name, printed_element(value, 0, as_text));
    } else if (value.size() > longest) {
      keys.emplace_back(name, value.describe());
    } else {
      Printed list = Printed::array();
      for (Index i = 0; i < value.size(); ++i) list.push_back(printed_element(value, i, as_text));
      keys.emplace_back(name, std::move(list));
    }
  }
  return Printed(std::move(keys));
}

/// The tables of a file whose keys are not understood: by name, as they are.
Printed named_tables(const GgufFile& file) {
  Printed tables = Printed::array();
  for (const GgufTensor& tensor : file.tensors()) {
    const std::optional<std::int32_t> layer = table_layer(tensor);
    if (!layer) continue;
    const bool known = tensor.bytes >= 0 && tensor.shape[1] > 0;
    tables.push_back({{"name", tensor.name},
                      {"layer_id", *layer},
                      {"dtype", to_string(tensor.type)},
                      {"rows", tensor.shape[1]},
                      {"row_bytes", known ? Printed(tensor.bytes / tensor.shape[1]) : Printed()},
                      {"offset", tensor.file_offset},
                      {"scale", nullptr}});
  }
  return tables;
}

Result<void> add_gguf(const std::string& path, Printed& files) {
  const Result<GgufFile> file = GgufFile::open(path);
  if (!file.ok()) return file.failure();
  Result<GgufEngram> engram = read_gguf_engram(std::span(&file.value(), 1));
  Printed tables, digest;
  if (engram.ok()) {
    tables = Printed::array();
    for (const GgufEngramTable& table : engram.value().tables) {
      const auto& [codes, scales] = table.segment;
      Printed scale;
      if (table.segment.has_scales())
        scale = {{"name", nullptr},
                 {"dtype", table.scales},
                 {"row_bytes", scales.bytes},
                 {"offset", scales.offset}};
      tables.push_back({{"name", table.name},
                        {"layer_id", table.layer_id},
                        {"dtype", table.codes},
                        {"rows", codes.rows},
                        {"row_bytes", codes.bytes},
                        {"offset", codes.offset},
                        {"scale", scale}});
    }
    engram.value().layout.token_map = "none";  // as the layout of a geometry
    digest = layout_digest(engram.value().layout);
    for (const std::string& note : engram.value().notes)
      std::fprintf(stderr, "inspect: %s: %s\n", path.c_str(), note.c_str());
  } else {
    tables = named_tables(file.value());
    std::fprintf(stderr, "inspect: no digest: %s\n", engram.message().c_str());
  }
  files.push_back(
      describe(path, "gguf", std::move(tables), printed_keys(file.value()), std::move(digest)));
  return {};
}

Result<void> add_file(const std::string& path, Printed& files) {
  const Result<FileKind> kind = kind_of(path);
  if (!kind.ok()) return kind.failure();
  if (kind.value() == FileKind::packed) return add_packed(path, files);
  if (kind.value() == FileKind::gguf) return add_gguf(path, files);
  const Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok()) return file.failure();
  Result<Printed> entry = describe_file(file.value(), tensors_of(file.value()));
  if (!entry.ok()) return entry.failure();
  files.push_back(std::move(entry).value());
  return {};
}

/// A JSON value as it was read. Keys that occur twice are refused.
Result<Printed> printed(const Json& value, const std::string& path) {
  if (const auto flag = value.as_boolean()) return Printed(*flag);
  if (const auto integer = value.as_integer()) return Printed(*integer);
  if (const auto large = value.as_unsigned()) return Printed(*large);
  if (const auto real = value.as_number()) return Printed(*real);
  if (const std::string* text = value.as_string()) return Printed(*text);
  Printed::array_t list;
  if (const Json::Array* array = value.as_array()) {
    for (const Json& item : *array) {
      Result<Printed> part = printed(item, path);
      if (!part.ok()) return part.failure();
      list.push_back(std::move(part).value());
    }
    return Printed(std::move(list));
  }
  const Json::Object* object = value.as_object();
  if (object == nullptr) return Printed();
  if (const std::string* key = repeated_key(*object))
    return fail(Code::corrupt, {path, ": the key ", quote_name(*key), " occurs twice"});
  Printed::object_t members;
  for (const auto& [key, item] : *object) {
    Result<Printed> part = printed(item, path);
    if (!part.ok()) return part.failure();
    members.emplace_back(key, std::move(part).value());
  }
  return Printed(std::move(members));
}

/// Whether a key of config.json says something about the memory.
bool is_engram_key(std::string_view key) {
  static const std::set<std::string_view> others = {"hidden_size",  "dim",      "hc_mult",
                                                    "rms_norm_eps", "norm_eps", "vocab_size"};
  return key.substr(0, 7) == "engram_" || others.contains(key);
}

/// Adds the object's Engram keys, except those that are there.
Result<void> add_keys(const Json& object, const std::string& path, Printed::object_t& keys) {
  if (const std::string* key = repeated_key(*object.as_object()))
    return fail(Code::corrupt, {path, ": the key ", quote_name(*key), " occurs twice"});
  std::set<std::string> there;
  for (const auto& [key, value] : keys) there.insert(key);
  for (const auto& [key, value] : *object.as_object()) {
    if (!is_engram_key(key) || there.contains(key)) continue;
    Result<Printed> part = printed(value, path);
    if (!part.ok()) return part.failure();
    keys.emplace_back(key, std::move(part).value());
  }
  return {};
}

/// The Engram keys of a model's config.json; none without the file. Models that also see or hear
/// have those of the text part in text_config.
Result<Printed> read_config(const std::string& directory) {
  const std::filesystem::path path = std::filesystem::path(directory) / "config.json";
  Printed::object_t keys;
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error)))
    return Printed(std::move(keys));
  const std::string name = path.string();
  const Result<std::string> text = read_file(name);
  if (!text.ok()) return text.failure();
  const Result<Json> root = parse_json(text.value(), name);
  if (!root.ok()) return root.failure();
  if (root.value().as_object() == nullptr)
    return fail(Code::corrupt,
                {name, ": ", to_string(root.value().kind()), ", expected an object"});
  if (const Json* nested = root.value().find("text_config"); nested && nested->as_object())
    if (auto added = add_keys(*nested, name, keys); !added.ok()) return added.failure();
  if (auto added = add_keys(root.value(), name, keys); !added.ok()) return added.failure();
  return Printed(std::move(keys));
}

Result<void> add_directory(const std::string& path, Printed& files) {
  Result<Printed> keys = read_config(path);
  if (!keys.ok()) return keys.failure();
  const Result<SafetensorsIndex> index = SafetensorsIndex::open(path);
  if (!index.ok()) return index.failure();
  files.push_back(
      describe(path, "directory", Printed::array(), std::move(keys).value(), Printed()));
  const FindTensor find = tensors_of(index.value());
  for (const SafetensorsFile& file : index.value().files()) {
    Result<Printed> entry = describe_file(file, find);
    if (!entry.ok()) return entry.failure();
    files.push_back(std::move(entry).value());
  }
  return {};
}

Result<void> inspect(const std::vector<std::string>& paths) {
  Printed files = Printed::array();
  for (const std::string& path : paths) {
    std::error_code error;
    const bool directory = std::filesystem::is_directory(path, error);
    const Result<void> added = directory ? add_directory(path, files) : add_file(path, files);
    if (!added.ok()) return added;
  }
  // A path may be no UTF-8.
  std::cout << Printed{{"files", std::move(files)}}.dump(-1, ' ', false,
                                                         Printed::error_handler_t::replace)
            << '\n';
  return {};
}

}  // namespace

Command add_inspect(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("inspect", "print which tables files and model directories hold");
  const auto paths = std::make_shared<std::vector<std::string>>();
  app->add_option("paths", *paths, "safetensors, packed and GGUF files, model directories")
      ->required()
      ->check(file_name());
  return {app, [paths] { return inspect(*paths); }};
}

}  // namespace engram::cli
