// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command pack: the tables of safetensors files as one packed file, in which a row is one read.

#include "commands.hpp"
#include "geometry.hpp"
#include "numbers.hpp"
#include "tables.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/packed_rows_writer.hpp>

#include <chrono>
#include <deque>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

struct Table {
  TensorPlace codes;
  std::optional<TensorPlace> scales;
};

/// Files and directories as they were named, and the tables in them.
class Sources {
 public:
  Result<void> add(const std::string& path) {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) {
      Result<SafetensorsIndex> index = SafetensorsIndex::open(path);
      if (!index.ok()) return index.failure();
      const SafetensorsIndex& kept = indices_.emplace_back(std::move(index).value());
      for (const SafetensorsFile& file : kept.files()) add_tables(file, tensors_of(kept));
      return {};
    }
    const Result<FileKind> kind = kind_of(path);
    if (!kind.ok()) return kind.failure();
    if (kind.value() == FileKind::packed)
      return fail(Code::unsupported, {path, ": a packed file already"});
    Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file.ok()) return file.failure();
    files_.push_back(std::move(file).value());
    return {};
  }

  /// Once all are added: the scales of one file may lie in another.
  void find_tables() {
    for (const SafetensorsFile& file : files_)
      add_tables(file, [&](std::string_view name) -> std::optional<TensorPlace> {
        if (const TensorInfo* tensor = file.find(name)) return TensorPlace{&file, tensor};
        for (const SafetensorsFile& other : files_)
          if (const TensorInfo* tensor = other.find(name)) return TensorPlace{&other, tensor};
        return std::nullopt;
      });
  }

  /// The one table of a layer; of a layout of one layer also the one table that names none.
  Result<Table> table(const LayerLayout& layer, bool is_only) const {
    std::vector<const Table*> found;
    for (const Table& table : tables_) {
      const auto id = layer_of(*table.codes.tensor);
      if (id == layer.layer_id || (!id && is_only)) found.push_back(&table);
    }
    if (found.size() != 1)
      return fail(Code::mismatch, {"layer ", layer.layer_id, ": ", found.size(),
                                   " tables in the files named, expected one"});
    const TensorInfo& tensor = *found[0]->codes.tensor;
    if (tensor.shape[0] != layer.rows)
      return fail(Code::mismatch,
                  {found[0]->codes.file->path(), ": tensor ", quote_name(tensor.name), " has ",
                   tensor.shape[0], " rows, expected ", layer.rows, " for layer ", layer.layer_id});
    if (found[0]->scales && found[0]->scales->tensor->shape[0] != layer.rows)
      return fail(
          Code::mismatch,
          {found[0]->scales->file->path(), ": tensor ", quote_name(found[0]->scales->tensor->name),
           " has ", found[0]->scales->tensor->shape[0], " rows, expected ", layer.rows});
    return *found[0];
  }

 private:
  void add_tables(const SafetensorsFile& file, const FindTensor& find) {
    for (const TensorInfo& tensor : file.tensors()) {
      if (!is_table(tensor)) continue;
      if (const auto place = find(tensor.name); place && place->file == &file)
        tables_.push_back({*place, scale_of(tensor, find)});
    }
  }

  std::deque<SafetensorsFile> files_;  // where they are, they stay
  std::deque<SafetensorsIndex> indices_;
  std::vector<Table> tables_;
};

/// A line on stderr now and then: what is done, how fast, how long still.
class Progress {
 public:
  explicit Progress(const char* action, Index all, Index done)
      : action_(action), all_(all), first_(done) {}

  void operator()(Index done) {
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    if (elapsed < next_) return;
    next_ = elapsed + 2;
    const double rate = static_cast<double>(done - first_) / elapsed;
    std::fprintf(stderr, "%s: %.1f of %.1f GB, %.0f MB/s, %.0f s left\n", action_,
                 static_cast<double>(done) / 1e9, static_cast<double>(all_) / 1e9, rate / 1e6,
                 static_cast<double>(all_ - done) / rate);
  }

 private:
  const char* action_;
  Index all_, first_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double next_ = 2;
};

/// Reads rows of a tensor, one behind the other.
Result<void> read_rows(SeekableFile& file, const TensorPlace& place, Index first, Index count,
                       Index bytes, std::vector<std::byte>& to) {
  to.resize(static_cast<std::size_t>(count * bytes));
  const Result<Index> got =
      file.read(place.tensor->file_offset + first * bytes, to.data(), count * bytes);
  if (!got.ok()) return got.failure();
  if (got.value() < count * bytes)
    return fail(Code::corrupt, {place.file->path(), ": cut off while it was read"});
  return {};
}

Result<void> append_table(PackedWriter& writer, const Table& table, const PackedInfo& info,
                          Index first, Index rows, Progress& progress) {
  constexpr Index at_once = 8192;
  const Index each = info.row_bytes + info.scale_bytes;
  Result<SeekableFile> codes = SeekableFile::open(table.codes.file->path());
  if (!codes.ok()) return codes.failure();
  Result<SeekableFile> scales =
      SeekableFile::open((table.scales ? table.scales : table.codes)->file->path());
  if (!scales.ok()) return scales.failure();
  std::vector<std::byte> code_rows, scale_rows, packed;
  for (Index count = 0; first < rows; first += count) {
    count = std::min(at_once, rows - first);
    if (Result<void> read =
            read_rows(codes.value(), table.codes, first, count, info.row_bytes, code_rows);
        !read.ok())
      return read;
    packed.resize(static_cast<std::size_t>(count * each));
    if (table.scales)
      if (Result<void> read =
              read_rows(scales.value(), *table.scales, first, count, info.scale_bytes, scale_rows);
          !read.ok())
        return read;
    for (Index r = 0; r < count; ++r) {
      std::byte* const to = packed.data() + r * each;
      std::memcpy(to, code_rows.data() + r * info.row_bytes,
                  static_cast<std::size_t>(info.row_bytes));
      if (table.scales)
        std::memcpy(to + info.row_bytes, scale_rows.data() + r * info.scale_bytes,
                    static_cast<std::size_t>(info.scale_bytes));
    }
    if (Result<void> added = writer.append(Bytes(packed.data(), count * each)); !added.ok())
      return added;
    progress(writer.rows_done() * each);
  }
  return {};
}

Result<void> pack(const std::vector<std::string>& from, const std::string& out,
                  const Layout& layout) {
  Sources sources;
  for (const std::string& path : from)
    if (Result<void> added = sources.add(path); !added.ok()) return added;
  sources.find_tables();
  PackedInfo info;
  info.layout_digest = layout_digest(layout);
  std::vector<Table> tables;
  for (const LayerLayout& layer : layout.layers) {
    const Result<Table> table = sources.table(layer, layout.layers.size() == 1);
    if (!table.ok()) return table.failure();
    const Result<Index> code_bytes = row_bytes(table.value().codes);
    if (!code_bytes.ok()) return code_bytes.failure();
    const Result<Index> scale_bytes =
        table.value().scales ? row_bytes(*table.value().scales) : Result<Index>(0);
    if (!scale_bytes.ok()) return scale_bytes.failure();
    const std::string codes = to_string(table.value().codes.tensor->dtype),
                      scales = table.value().scales ? to_string(table.value().scales->tensor->dtype)
                                                    : "";
    if (tables.empty()) {
      info.row_bytes = code_bytes.value();
      info.scale_bytes = scale_bytes.value();
      info.codes = codes;
      info.scales = scales;
    } else if (code_bytes.value() != info.row_bytes || scale_bytes.value() != info.scale_bytes ||
               codes != info.codes || scales != info.scales) {
      return fail(Code::mismatch,
                  {table.value().codes.file->path(), ": rows of layer ", layer.layer_id,
                   " are of another type or size than those of layer ", layout.layers[0].layer_id});
    }
    info.layers.push_back({layer.layer_id, layer.rows});
    tables.push_back(table.value());
  }

  Result<PackedWriter> opened = PackedWriter::open(out, info);
  if (!opened.ok()) return opened.failure();
  PackedWriter& writer = opened.value();
  const Index each = info.row_bytes + info.scale_bytes;
  if (writer.rows_done() > 0)
    std::fprintf(stderr, "pack: %s.part has %lld of %lld rows, going on from there\n", out.c_str(),
                 static_cast<long long>(writer.rows_done()), static_cast<long long>(writer.rows()));
  Progress packing("pack", writer.rows() * each, writer.rows_done() * each);
  Index before = 0;
  for (std::size_t l = 0; l < tables.size(); ++l) {
    const Index rows = info.layers[l].rows;
    if (const Index first = writer.rows_done() - before; first < rows)
      if (Result<void> added = append_table(writer, tables[l], info, first, rows, packing);
          !added.ok())
        return added;
    before += rows;
  }
  Progress verifying("verify", packed_format::file_bytes(info), 0);
  if (Result<void> finished =
          writer.finish([&](Index pages) { verifying(pages * packed_format::page_bytes); });
      !finished.ok())
    return finished;
  std::cout << nlohmann::ordered_json{{"rows", info.rows()},
                                      {"row_bytes", each},
                                      {"pages", packed_format::pages(info)},
                                      {"digest", info.layout_digest}}
            << '\n';
  return {};
}

}  // namespace

Command add_pack(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "pack", "write the tables of safetensors files as one packed file; goes on after a kill");
  const auto from = std::make_shared<std::vector<std::string>>();
  const auto out = std::make_shared<std::string>();
  app->add_option("--from", *from, "safetensors files, model directories")
      ->required()
      ->check(file_name());
  app->add_option("--out", *out, "the packed file")->required()->check(file_name());
  const auto options = std::make_shared<GeometryOptions>(*app);
  return {app, [=]() -> Result<void> {
            const Result<Geometry> geometry = options->resolve(std::nullopt);
            if (!geometry.ok()) return geometry.failure();
            return pack(*from, *out, geometry.value().layout);
          }};
}

}  // namespace engram::cli
