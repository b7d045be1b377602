// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command inspect: which tables files hold, and where.

#include "commands.hpp"
#include "numbers.hpp"

#include <engram/io/safetensors_index.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

namespace engram::cli {

namespace {

using Printed = nlohmann::ordered_json;

/// The tensor of a name, in whichever file it lies.
using FindTensor = std::function<std::optional<TensorPlace>(std::string_view)>;

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

/// The L of "layers.L." in a tensor's name.
std::optional<std::int32_t> layer_of(const std::vector<std::string_view>& parts) {
  for (std::size_t i = 0; i + 1 < parts.size(); ++i)
    if (const auto layer = number(parts[i + 1]); parts[i] == "layers" && layer) return layer;
  return std::nullopt;
}

/// layers.L.engram.embed.weight, with anything in front.
bool is_embedding(const std::vector<std::string_view>& parts) {
  const std::size_t n = parts.size();
  return n >= 5 && parts[n - 5] == "layers" && number(parts[n - 4]) && parts[n - 3] == "engram" &&
         parts[n - 2] == "embed" && parts[n - 1] == "weight";
}

bool is_table(const TensorInfo& tensor) {
  const std::vector<std::string_view> parts = parts_of(tensor.name);
  return tensor.shape.size() == 2 && (parts.back() == "table" || is_embedding(parts));
}

/// The bytes of all but the first dimension.
Result<Index> row_bytes(const TensorPlace& place) {
  const TensorInfo& tensor = *place.tensor;
  Index bits = bits_of(tensor.dtype);  // the header's reader has checked that the product fits
  for (std::size_t d = 1; d < tensor.shape.size(); ++d) bits *= tensor.shape[d];
  if (bits % 8 == 0) return bits / 8;
  return fail(Code::unsupported, {place.file->path(), ": tensor ", quote_name(tensor.name),
                                  ": a row of ", to_string(tensor.dtype), " ends inside a byte"});
}

Result<Printed> describe_scale(const TensorPlace& table, const FindTensor& find) {
  if (!is_embedding(parts_of(table.tensor->name))) return Printed();
  const std::string& name = table.tensor->name;
  const std::string scale_name = name.substr(0, name.size() - 6) + "scale";  // 6: "weight"
  const std::optional<TensorPlace> scale = find(scale_name);
  if (!scale) return Printed();
  const Result<Index> bytes = row_bytes(*scale);
  if (!bytes.ok()) return bytes.failure();
  Printed printed = {{"name", scale_name},
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
  const std::optional<std::int32_t> layer = layer_of(parts_of(tensor.name));
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

/// Kinds of files that are known, and not read yet.
Result<void> refuse_other_formats(const std::string& path) {
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  char first[4];
  const Result<Index> got = file.value().read(0, first, 4);
  if (!got.ok()) return got.failure();
  const std::string_view magic(first, static_cast<std::size_t>(got.value()));
  if (magic == "GGUF")
    return fail(Code::unsupported, {path, ": a GGUF file; this version does not read them yet"});
  if (magic == "ENGR")
    return fail(Code::unsupported,
                {path, ": a packed file; this version does not read them yet, only safetensors"});
  return {};
}

Result<void> add_file(const std::string& path, Printed& files) {
  if (auto readable = refuse_other_formats(path); !readable.ok()) return readable;
  const Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok()) return file.failure();
  const FindTensor find = [&](std::string_view name) -> std::optional<TensorPlace> {
    const TensorInfo* tensor = file.value().find(name);
    return tensor ? std::optional(TensorPlace{&file.value(), tensor}) : std::nullopt;
  };
  Result<Printed> entry = describe_file(file.value(), find);
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
  const FindTensor find = [&](std::string_view name) { return index.value().find(name); };
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
  app->add_option("paths", *paths, "safetensors files, model directories")
      ->required()
      ->check(file_name());
  return {app, [paths] { return inspect(*paths); }};
}

}  // namespace engram::cli
