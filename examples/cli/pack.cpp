// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command pack: the tables of safetensors and GGUF files as one packed file, in which a row is
// one read.

#include "commands.hpp"
#include "geometry.hpp"
#include "numbers.hpp"
#include "tables.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <engram/models/gguf_engram.hpp>

#include <chrono>
#include <deque>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

/// A table of a safetensors file.
struct Found {
  TensorPlace codes;
  std::optional<TensorPlace> scales;
};

/// Where a layer's rows are.
struct Table {
  std::string codes, scales;  // element types
  TableSegment segment;
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
    if (kind.value() == FileKind::gguf) {
      Result<GgufFile> file = GgufFile::open(path);
      if (!file.ok()) return file.failure();
      ggufs_.push_back(std::move(file).value());
      return {};
    }
    Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file.ok()) return file.failure();
    files_.push_back(std::move(file).value());
    return {};
  }

  /// Once all are added: the scales of one file may lie in another. The keys of a GGUF say which
  /// addresses its rows are for, and those must be the layout's.
  Result<void> find_tables(const Layout& layout) {
    for (const SafetensorsFile& file : files_)
      add_tables(file, [&](std::string_view name) -> std::optional<TensorPlace> {
        if (const TensorInfo* tensor = file.find(name)) return TensorPlace{&file, tensor};
        for (const SafetensorsFile& other : files_)
          if (const TensorInfo* tensor = other.find(name)) return TensorPlace{&other, tensor};
        return std::nullopt;
      });
    if (ggufs_.empty()) return {};
    Result<GgufEngram> engram = read_gguf_engram(ggufs_);
    if (!engram.ok()) return engram.failure();
    for (const std::string& note : engram.value().notes)
      std::fprintf(stderr, "pack: %s\n", note.c_str());
    Layout& found = engram.value().layout;
    found.token_map = layout.token_map;  // the geometry's ids are canonical
    if (const std::string difference = first_difference(layout, found); !difference.empty())
      return fail(Code::mismatch,
                  {ggufs_.front().path(), ": its keys give the layout ", layout_digest(found),
                   ", expected ", layout_digest(layout), ": ", difference});
    gguf_tables_ = std::move(engram.value().tables);
    return {};
  }

  /// The one table of a layer; of a layout of one layer also the one table that names none.
  Result<Table> table(const LayerLayout& layer, bool is_only) const {
    std::vector<const Found*> found;
    for (const Found& table : tables_) {
      const auto id = layer_of(*table.codes.tensor);
      if (id == layer.layer_id || (!id && is_only)) found.push_back(&table);
    }
    const GgufEngramTable* in_gguf = nullptr;
    for (const GgufEngramTable& table : gguf_tables_)
      if (table.layer_id == layer.layer_id) in_gguf = &table;
    if (const std::size_t count = found.size() + (in_gguf != nullptr); count != 1)
      return fail(Code::mismatch, {"layer ", layer.layer_id, ": ", count,
                                   " tables in the files named, expected one"});
    if (in_gguf != nullptr) return Table{in_gguf->codes, in_gguf->scales, in_gguf->segment};
    return in_safetensors(*found[0], layer);
  }

 private:
  static Result<Table> in_safetensors(const Found& found, const LayerLayout& layer) {
    const TensorInfo& tensor = *found.codes.tensor;
    if (tensor.shape[0] != layer.rows)
      return fail(Code::mismatch,
                  {found.codes.file->path(), ": tensor ", quote_name(tensor.name), " has ",
                   tensor.shape[0], " rows, expected ", layer.rows, " for layer ", layer.layer_id});
    if (found.scales && found.scales->tensor->shape[0] != layer.rows)
      return fail(Code::mismatch,
                  {found.scales->file->path(), ": tensor ", quote_name(found.scales->tensor->name),
                   " has ", found.scales->tensor->shape[0], " rows, expected ", layer.rows});
    Table table;
    const Result<RowExtent> codes = extent_of(found.codes);
    if (!codes.ok()) return codes.failure();
    table.codes = to_string(tensor.dtype);
    table.segment.codes = codes.value();
    if (!found.scales) return table;
    const Result<RowExtent> scales = extent_of(*found.scales);
    if (!scales.ok()) return scales.failure();
    table.scales = to_string(found.scales->tensor->dtype);
    table.segment.scales = scales.value();
    return table;
  }

  static Result<RowExtent> extent_of(const TensorPlace& place) {
    const Result<Index> bytes = row_bytes(place);
    if (!bytes.ok()) return bytes.failure();
    return RowExtent{
        place.file->path(), -1,           place.tensor->file_offset, place.tensor->shape[0],
        bytes.value(),      bytes.value()};
  }

  void add_tables(const SafetensorsFile& file, const FindTensor& find) {
    for (const TensorInfo& tensor : file.tensors()) {
      if (!is_table(tensor)) continue;
      if (const auto place = find(tensor.name); place && place->file == &file)
        tables_.push_back({*place, scale_of(tensor, find)});
    }
  }

  std::deque<SafetensorsFile> files_;  // where they are, they stay
  std::deque<SafetensorsIndex> indices_;
  std::vector<GgufFile> ggufs_;
  std::vector<Found> tables_;
  std::vector<GgufEngramTable> gguf_tables_;
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

/// Reads rows, `stride` apart as they are in the file.
Result<void> read_rows(SeekableFile& file, const RowExtent& rows, Index first, Index count,
                       std::vector<std::byte>& to) {
  const Index bytes = (count - 1) * rows.stride + rows.bytes;
  to.resize(static_cast<std::size_t>(bytes));
  const Result<Index> got = file.read(rows.offset + first * rows.stride, to.data(), bytes);
  if (!got.ok()) return got.failure();
  if (got.value() < bytes) return fail(Code::corrupt, {rows.path, ": cut off while it was read"});
  return {};
}

Result<void> append_table(PackedWriter& writer, const TableSegment& table, Index first,
                          Progress& progress) {
  constexpr Index at_once = 8192;
  const auto& [codes, scales] = table;
  const bool has_scales = table.has_scales();
  const Index each = codes.bytes + scales.bytes;
  Result<SeekableFile> code_file = SeekableFile::open(codes.path);
  if (!code_file.ok()) return code_file.failure();
  Result<SeekableFile> scale_file = SeekableFile::open((has_scales ? scales : codes).path);
  if (!scale_file.ok()) return scale_file.failure();
  std::vector<std::byte> code_rows, scale_rows, packed;
  for (Index count = 0; first < codes.rows; first += count) {
    count = std::min(at_once, codes.rows - first);
    if (Result<void> read = read_rows(code_file.value(), codes, first, count, code_rows);
        !read.ok())
      return read;
    packed.resize(static_cast<std::size_t>(count * each));
    if (has_scales)
      if (Result<void> read = read_rows(scale_file.value(), scales, first, count, scale_rows);
          !read.ok())
        return read;
    for (Index r = 0; r < count; ++r) {
      std::byte* const to = packed.data() + r * each;
      std::memcpy(to, code_rows.data() + r * codes.stride, static_cast<std::size_t>(codes.bytes));
      if (has_scales)
        std::memcpy(to + codes.bytes, scale_rows.data() + r * scales.stride,
                    static_cast<std::size_t>(scales.bytes));
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
  if (Result<void> found = sources.find_tables(layout); !found.ok()) return found;
  PackedInfo info;
  info.layout_digest = layout_digest(layout);
  std::vector<TableSegment> tables;
  for (const LayerLayout& layer : layout.layers) {
    const Result<Table> table = sources.table(layer, layout.layers.size() == 1);
    if (!table.ok()) return table.failure();
    const auto& [codes, scales, segment] = table.value();
    if (tables.empty()) {
      info.row_bytes = segment.codes.bytes;
      info.scale_bytes = segment.scales.bytes;
      info.codes = codes;
      info.scales = scales;
    } else if (segment.codes.bytes != info.row_bytes || segment.scales.bytes != info.scale_bytes ||
               codes != info.codes || scales != info.scales) {
      return fail(Code::mismatch,
                  {segment.codes.path, ": rows of layer ", layer.layer_id,
                   " are of another type or size than those of layer ", layout.layers[0].layer_id});
    }
    info.layers.push_back({layer.layer_id, layer.rows});
    tables.push_back(segment);
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
      if (Result<void> added = append_table(writer, tables[l], first, packing); !added.ok())
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
      "pack",
      "write the tables of safetensors or GGUF files as one packed file; goes on after a kill");
  const auto from = std::make_shared<std::vector<std::string>>();
  const auto out = std::make_shared<std::string>();
  app->add_option("--from", *from, "safetensors and GGUF files, model directories")
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
