// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The tensors of a model directory, whichever of its safetensors files they lie in. Large models
// are split into files, and model.safetensors.index.json says which holds what; it may come from
// anywhere, so it names files of its own directory and nothing else.

#include <engram/io/safetensors.hpp>

#include <map>

ENGRAM_BEGIN_NAMESPACE

/// A tensor and the file that it lies in. Valid as long as its SafetensorsIndex.
struct TensorPlace {
  const SafetensorsFile* file;
  const TensorInfo* tensor;
};

/// Every tensor of a directory, by name. Const calls may run concurrently.
class SafetensorsIndex {
 public:
  /// Reads the headers of the directory's files: those that model.safetensors.index.json names;
  /// without it, model.safetensors; without that too, every *.safetensors.
  ///
  /// Fails as SafetensorsFile::open() does; with corrupt also when the index is not what it should
  /// be, names a file outside of the directory, or a tensor that the file named lacks, and when
  /// without an index two files have a tensor of one name; with io when a file is missing or there
  /// is none at all.
  static Result<SafetensorsIndex> open(const std::string& directory);

  const std::string& path() const noexcept { return path_; }
  /// In the order of their names.
  const std::vector<SafetensorsFile>& files() const noexcept { return files_; }
  /// Nothing when there is none of that name. With an index, only what it names is found.
  std::optional<TensorPlace> find(std::string_view name) const noexcept;

 private:
  struct Place {
    std::size_t file, tensor;
  };
  Result<void> open_listed(const std::string& list);
  Result<void> open_all();
  Result<void> add_file(const std::string& path);
  Result<void> add_tensor(const std::string& name, std::size_t file, std::size_t tensor);

  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place, std::less<>> places_;
};

/// Tensor names and the file that each lies in.
using WeightMap = std::vector<std::pair<std::string, std::string>>;

/// The weight_map of a model.safetensors.index.json, in its order. `name` is the file's name.
///
/// Fails with corrupt for what is no JSON, has no map of names to names, has a name twice, or names
/// something else than a file of its own directory (index: the entry).
inline Result<WeightMap> parse_weight_map(std::string_view text, const std::string& name) {
  const Result<Json> root = parse_json(text, name);
  if (!root.ok()) return root.failure();
  if (root.value().as_object() == nullptr)
    return fail(Code::corrupt,
                {name, ": ", to_string(root.value().kind()), ", expected an object"});
  if (root.value().count("weight_map") > 1)
    return fail(Code::corrupt, {name, ": weight_map occurs twice"});
  const Json* map = root.value().find("weight_map");
  if (map == nullptr || map->as_object() == nullptr)
    return fail(Code::corrupt, {name, ": weight_map is ", map ? to_string(map->kind()) : "missing",
                                ", expected an object"});
  if (const std::string* key = repeated_key(*map->as_object()))
    return fail(Code::corrupt, {name, ": weight_map: tensor ", quote_name(*key), " occurs twice"});
  WeightMap out;
  for (const auto& [tensor, value] : *map->as_object()) {
    const auto at = static_cast<Index>(out.size());
    const std::string* file = value.as_string();
    if (file == nullptr)
      return fail(Code::corrupt,
                  {name, ": weight_map: tensor ", quote_name(tensor), " is in ",
                   to_string(value.kind()), ", expected a file's name"},
                  at);
    constexpr std::string_view elsewhere("/\\:\0", 4);
    if (file->empty() || *file == "." || *file == ".." ||
        file->find_first_of(elsewhere) != std::string::npos)
      return fail(Code::corrupt,
                  {name, ": weight_map: tensor ", quote_name(tensor), " is in ", quote_name(*file),
                   ", expected a file of this directory"},
                  at);
    out.emplace_back(tensor, *file);
  }
  return out;
}

inline Result<void> SafetensorsIndex::add_file(const std::string& path) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok()) return file.failure();
  files_.push_back(std::move(file).value());
  return {};
}

inline Result<void> SafetensorsIndex::add_tensor(const std::string& name, std::size_t file,
                                                 std::size_t tensor) {
  const auto [at, fresh] = places_.try_emplace(name, Place{file, tensor});
  if (fresh) return {};
  return fail(Code::corrupt, {"tensor ", quote_name(name), " is in ",
                              files_[at->second.file].path(), " and in ", files_[file].path()});
}

inline Result<void> SafetensorsIndex::open_listed(const std::string& list) {
  const Result<std::string> text = read_regular_file(list);
  if (!text.ok()) return text.failure();
  const Result<WeightMap> map = parse_weight_map(text.value(), list);
  if (!map.ok()) return map.failure();
  std::map<std::string_view, std::size_t> files;  // name, then place in files_
  std::map<std::string_view, std::string_view> wanted_for;
  for (const auto& [tensor, file] : map.value()) wanted_for.try_emplace(file, tensor);
  for (const auto& [file, tensor] : wanted_for) {
    const std::string path = (std::filesystem::path(path_) / file).string();
    if (auto added = add_file(path); !added.ok())
      return fail(added.status().code,
                  {list, ": tensor ", quote_name(tensor), " is in ", quote_name(file), ": ",
                   added.message()},
                  added.status().index, added.status().system_error);
    files.emplace(file, files_.size() - 1);
  }
  for (const auto& [tensor, file] : map.value()) {
    const std::size_t place = files.at(file);
    const SafetensorsFile& shard = files_[place];
    const TensorInfo* found = shard.find(tensor);
    if (found == nullptr)
      return fail(Code::corrupt, {list, ": tensor ", quote_name(tensor), " should be in ",
                                  shard.path(), ", which lacks it"});
    const auto at = static_cast<std::size_t>(found - shard.tensors().data());
    if (auto added = add_tensor(tensor, place, at); !added.ok()) return added;
  }
  return {};
}

inline Result<void> SafetensorsIndex::open_all() {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> paths;
  fs::directory_iterator entry(path_, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    if (entry->path().extension() == ".safetensors") paths.push_back(entry->path().string());
  if (error) return file_failure("read", path_, error.value());
  const std::string lone = (fs::path(path_) / "model.safetensors").string();
  const fs::file_status there = fs::symlink_status(lone, error);
  if (!fs::status_known(there)) return file_failure("read", lone, error.value());
  if (fs::exists(there)) paths = {lone};
  if (paths.empty())
    return fail(Code::io,
                {path_, ": no model.safetensors.index.json and no *.safetensors is there"}, -1,
                ENOENT);
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths)
    if (auto added = add_file(path); !added.ok()) return added;
  for (std::size_t f = 0; f < files_.size(); ++f)
    for (std::size_t t = 0; t < files_[f].tensors().size(); ++t)
      if (auto added = add_tensor(files_[f].tensors()[t].name, f, t); !added.ok()) return added;
  return {};
}

inline Result<SafetensorsIndex> SafetensorsIndex::open(const std::string& directory) {
  SafetensorsIndex index;
  index.path_ = directory;
  const std::string list =
      (std::filesystem::path(directory) / "model.safetensors.index.json").string();
  std::error_code error;
  // Also a link that leads nowhere is an index, one that cannot be read.
  const std::filesystem::file_status there = std::filesystem::symlink_status(list, error);
  if (!std::filesystem::status_known(there)) return file_failure("read", list, error.value());
  const Result<void> opened =
      std::filesystem::exists(there) ? index.open_listed(list) : index.open_all();
  if (!opened.ok()) return opened.failure();
  return index;
}

inline std::optional<TensorPlace> SafetensorsIndex::find(std::string_view name) const noexcept {
  const auto at = places_.find(name);
  if (at == places_.end()) return std::nullopt;
  const SafetensorsFile& file = files_[at->second.file];
  return TensorPlace{&file, &file.tensors()[at->second.tensor]};
}

ENGRAM_END_NAMESPACE
