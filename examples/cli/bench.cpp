// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command bench: what a table's own file and disk give, by every way to read rows.

#include "commands.hpp"
#include "numbers.hpp"
#include "tables.hpp"

#include "read_bench/made_table.hpp"
#include "read_bench/measure.hpp"

#include <engram/io/packed_rows.hpp>
#include <engram/models/gguf_engram.hpp>
#include <engram/storage/sigbus_guard.hpp>

#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

using Printed = nlohmann::ordered_json;

// As typed, see GeometryOptions.
struct BenchOptions {
  std::string file, layer, rows_per_token = "48", seconds = "2", ids = "zipf", format = "json";
  std::string make, in;
};

Result<std::vector<TableSegment>> packed_segments(const std::string& path,
                                                  std::optional<std::int32_t> layer) {
  const Result<PackedRows> packed = PackedRows::open(path);
  if (!packed.ok()) return packed.failure();
  if (!layer) return packed.value().segments();
  const Result<TableSegment> segment = packed.value().segment(*layer);
  if (!segment.ok()) return segment.failure();
  return std::vector<TableSegment>{segment.value()};
}

Result<RowExtent> extent_of(const TensorPlace& place) {
  const Result<Index> bytes = row_bytes(place);
  if (!bytes.ok()) return bytes.failure();
  RowExtent extent;
  extent.path = place.file->path();
  extent.offset = place.tensor->file_offset;
  extent.rows = place.tensor->shape[0];
  extent.bytes = extent.stride = bytes.value();
  return extent;
}

Failure not_one(const std::string& path, Index tables, std::optional<std::int32_t> layer) {
  return fail(Code::mismatch,
              {path, ": ", tables, layer ? " tables of that layer" : " tables", ", expected one",
               layer || tables == 0 ? "" : "; name it by --layer"});
}

/// The one table of a safetensors file, or the one of a layer.
Result<std::vector<TableSegment>> safetensors_segments(const std::string& path,
                                                       std::optional<std::int32_t> layer) {
  const Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.ok()) return file.failure();
  std::vector<const TensorInfo*> tables;
  for (const TensorInfo& tensor : file.value().tensors())
    if (is_table(tensor) && (!layer || layer_of(tensor) == layer)) tables.push_back(&tensor);
  if (tables.size() != 1) return not_one(path, static_cast<Index>(tables.size()), layer);
  TableSegment segment;
  const Result<RowExtent> codes = extent_of({&file.value(), tables[0]});
  if (!codes.ok()) return codes.failure();
  segment.codes = codes.value();
  if (const auto scale = scale_of(*tables[0], tensors_of(file.value()))) {
    const Result<RowExtent> scales = extent_of(*scale);
    if (!scales.ok()) return scales.failure();
    segment.scales = scales.value();
  }
  return std::vector<TableSegment>{segment};
}

/// The one table of a GGUF, or the one of a layer.
Result<std::vector<TableSegment>> gguf_segments(const std::string& path,
                                                std::optional<std::int32_t> layer) {
  const Result<GgufFile> file = GgufFile::open(path);
  if (!file.ok()) return file.failure();
  const Result<GgufEngram> engram = read_gguf_engram(std::span(&file.value(), 1));
  if (!engram.ok()) return engram.failure();
  std::vector<TableSegment> tables;
  for (const GgufEngramTable& table : engram.value().tables)
    if (!layer || table.layer_id == layer) tables.push_back(table.segment);
  if (tables.size() != 1) return not_one(path, static_cast<Index>(tables.size()), layer);
  return tables;
}

Result<std::vector<TableSegment>> segments_of(const std::string& path,
                                              std::optional<std::int32_t> layer) {
  const Result<FileKind> kind = kind_of(path);
  if (!kind.ok()) return kind.failure();
  switch (kind.value()) {
    case FileKind::packed:
      return packed_segments(path, layer);
    case FileKind::gguf:
      return gguf_segments(path, layer);
    case FileKind::safetensors:
      break;
  }
  return safetensors_segments(path, layer);
}

/// A number with a fraction, between two limits.
Result<double> seconds_of(const std::string& text) {
  double seconds = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || rest != text.data() + text.size())
    throw CLI::ValidationError("--seconds", sentence({"'", text, "' is no number"}));
  if (seconds >= 0.05 && seconds <= 600) return seconds;
  return fail(Code::invalid_config, {"--seconds is ", text, ", expected 0.05 to 600"});
}

/// Four digits are all that a measurement is worth.
Printed rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return std::strtod(text, nullptr);
}

Printed describe(const ReadCounters& c) {
  return {{"batches", c.batches},
          {"failed_batches", c.failed_batches},
          {"rows", c.rows},
          {"unique_rows", c.unique_rows},
          {"mapped_rows", c.mapped_rows},
          {"reads", c.reads},
          {"pages", c.pages},
          {"bytes", c.bytes},
          {"retries", c.retries},
          {"checked_pages", c.checked_pages},
          {"wrong_guesses", c.wrong_guesses},
          {"wait_ns", c.wait_ns},
          {"most_in_flight", c.most_in_flight}};
}

Printed describe(const read_bench::Figure& f) {
  Printed printed = {{"reader", f.reader}, {"state", f.state}};
  if (f.rows > 0) printed["rows"] = f.rows;
  if (f.batches > 0) printed["batches"] = f.batches;
  if (f.depth > 0) printed["depth"] = f.depth;
  if (f.per_second) printed["per_second"] = rounded(*f.per_second);
  if (f.p50_us) printed["p50_us"] = rounded(*f.p50_us);
  if (f.p99_us) printed["p99_us"] = rounded(*f.p99_us);
  if (f.ratio) printed["ratio"] = rounded(*f.ratio);
  if (!f.to.empty()) printed["to"] = f.to;
  if (f.settled_at) printed["settled_at"] = *f.settled_at;
  if (f.saved) printed["saved"] = rounded(*f.saved);
  if (f.counters) printed["counters"] = describe(*f.counters);
  if (!f.missing.empty()) printed["missing"] = f.missing;
  return printed;
}

Printed describe(const read_bench::Placement& placement) {
  if (!placement.missing.empty())
    return {{"reads", placement.carrier}, {"missing", placement.missing}};
  const DirectReport& report = placement.report;
  Printed measured = Printed::array();
  for (const DepthRate& rate : report.measured)
    measured.push_back({{"depth", rate.depth}, {"reads_per_second", rate.reads_per_second}});
  return {{"reads", placement.carrier},
          {"files", report.files},
          {"direct_files", report.direct_files},
          {"depth", report.depth},
          {"measured", measured}};
}

Printed describe(const BenchOptions& o, const read_bench::Report& report) {
  Printed placements = Printed::array(), sections = Printed::object();
  for (const read_bench::Placement& placement : report.placements)
    placements.push_back(describe(placement));
  for (const read_bench::Section& section : report.sections) {
    Printed figures = Printed::array();
    for (const read_bench::Figure& figure : section.figures) figures.push_back(describe(figure));
    sections[section.name] = {{"unit", section.unit}, {"figures", std::move(figures)}};
    if (!section.ratio_of.empty()) sections[section.name]["ratio_of"] = section.ratio_of;
    if (!section.note.empty()) sections[section.name]["note"] = section.note;
  }
  return {{"path", o.make.empty() ? Printed(o.file) : Printed()},
          {"made_bytes", o.make.empty() ? Printed() : Printed(report.bytes)},
          {"rows", report.rows},
          {"row_bytes", report.row_bytes},
          {"scale_bytes", report.scale_bytes},
          {"bytes", report.bytes},
          {"ids", o.ids},
          {"free_memory", report.free_memory},
          {"load", rounded(report.load)},
          {"placement", std::move(placements)},
          {"compared_rows", report.compared_rows},
          {"sections", std::move(sections)},
          {"recommended", report.recommended}};
}

void print_text(const BenchOptions& o, const read_bench::Report& report) {
  std::printf("%lld rows of %lld bytes, %.2f GB; %s ids; %.1f GB of memory free; load %.1f\n",
              static_cast<long long>(report.rows),
              static_cast<long long>(report.row_bytes + report.scale_bytes),
              static_cast<double>(report.bytes) / 1e9, o.ids.c_str(),
              static_cast<double>(report.free_memory) / 1e9, report.load);
  for (const read_bench::Placement& placement : report.placements)
    if (placement.missing.empty())
      std::printf("%s: %lld of %lld files read past the cache, %lld reads at the same time\n",
                  placement.carrier.c_str(), static_cast<long long>(placement.report.direct_files),
                  static_cast<long long>(placement.report.files),
                  static_cast<long long>(placement.report.depth));
    else
      std::printf("%s: %s\n", placement.carrier.c_str(), placement.missing.c_str());
  for (const read_bench::Section& section : report.sections) {
    std::printf("\n%s%s%s\n", section.name.c_str(), section.note.empty() ? "" : ": ",
                section.note.c_str());
    if (section.figures.empty()) continue;
    std::printf("%-22s %-24s %6s %3s %5s %10s %10s %10s %6s  %s\n", "reader", "state", "rows", "on",
                "depth", (section.unit + "/s").c_str(), "p50 us", "p99 us", "ratio", "to");
    for (const read_bench::Figure& f : section.figures) {
      const auto number = [](const auto& value, int digits) {
        char text[32] = "";
        if (value) std::snprintf(text, sizeof text, "%.*f", digits, static_cast<double>(*value));
        return std::string(text);
      };
      const auto count = [](Index value) { return value > 0 ? std::to_string(value) : ""; };
      std::printf("%-22s %-24s %6s %3s %5s %10s %10s %10s %6s  %s", f.reader.c_str(),
                  f.state.c_str(), count(f.rows).c_str(), count(f.batches).c_str(),
                  count(f.depth).c_str(), number(f.per_second, 0).c_str(),
                  number(f.p50_us, 2).c_str(), number(f.p99_us, 1).c_str(),
                  number(f.ratio, 2).c_str(), f.missing.empty() ? f.to.c_str() : f.missing.c_str());
      if (f.settled_at)
        std::printf("; settled from batch %lld on", static_cast<long long>(*f.settled_at));
      if (f.saved) std::printf("; saves %.0f %% of the fetch", 100 * *f.saved);
      std::printf("\n");
    }
  }
  std::printf("\n%lld rows were the same from every reader.\n\nRecommended\n",
              static_cast<long long>(report.compared_rows));
  for (const std::string& text : report.recommended) std::printf("* %s\n", text.c_str());
}

Result<void> bench_read(const BenchOptions& o) {
  read_bench::Options options;
  std::optional<std::int32_t> layer;
  if (!o.layer.empty()) layer = number_of<std::int32_t>("--layer", o.layer);
  options.rows_per_token = number_of<Index>("--rows-per-token", o.rows_per_token);
  if (options.rows_per_token < 1 || options.rows_per_token > 32768)
    return fail(Code::invalid_config,
                {"--rows-per-token is ", options.rows_per_token, ", expected 1 to 32768"});
  const Result<double> seconds = seconds_of(o.seconds);
  if (!seconds.ok()) return seconds.failure();
  options.seconds = seconds.value();
  options.ids = o.ids == "zipf" ? read_bench::IdKind::zipf : read_bench::IdKind::uniform;
  options.say = [start = std::chrono::steady_clock::now()](const std::string& what) {
    const std::chrono::duration<double> since = std::chrono::steady_clock::now() - start;
    std::fprintf(stderr, "bench: %3.0f s: %s\n", since.count(), what.c_str());
  };
  const SigbusGuard guard;
  std::optional<read_bench::MadeTable> made;
  std::string path = o.file;
  if (!o.make.empty()) {
    const auto bytes = number_of<Index>("--make", o.make);
    double next = 0;
    Result<read_bench::MadeTable> table =
        read_bench::MadeTable::make(o.in, bytes, [&](Index written) {
          if (static_cast<double>(written) < next) return;
          next += 1e9;
          std::fprintf(stderr, "bench: writing a table, %.1f of %.1f GB\n",
                       static_cast<double>(written) / 1e9, static_cast<double>(bytes) / 1e9);
        });
    if (!table.ok()) return table.failure();
    made.emplace(std::move(table).value());
    path = made->path();
  }
  Result<std::vector<TableSegment>> segments = segments_of(path, layer);
  if (!segments.ok()) return segments.failure();
  options.segments = std::move(segments).value();
  const Result<read_bench::Report> report = read_bench::measure(options);
  if (!report.ok()) return report.failure();
  if (o.format == "text")
    print_text(o, report.value());
  else
    std::cout << describe(o, report.value()).dump(-1, ' ', false, Printed::error_handler_t::replace)
              << '\n';
  return {};
}

}  // namespace

Command add_bench_read(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "measure this machine");
  bench->require_subcommand(1);
  CLI::App* app = bench->add_subcommand(
      "read",
      "read rows of a table's file, cold and warm, by every backend, and recommend settings");
  const auto o = std::make_shared<BenchOptions>();
  CLI::Option* const file =
      app->add_option("file", o->file, "a packed file, or a safetensors or GGUF file with a table");
  CLI::Option* const make = app->add_option(
      "--make", o->make, "instead of a file: a temporary table of so many bytes, of random rows");
  CLI::Option* const in = app->add_option("--in", o->in, "the directory for it");
  file->check(file_name())->excludes(make);
  in->check(file_name())->needs(make);
  make->needs(in);
  app->add_option("--layer", o->layer, "the layer whose rows are read (all of a packed file)");
  app->add_option("--rows-per-token", o->rows_per_token, "rows of the small batches (48)");
  app->add_option("--seconds", o->seconds, "for each of the eight parts, about (2)");
  app->add_option("--ids", o->ids, "which rows: zipf, as in text, or uniform (zipf)")
      ->check(CLI::IsMember({"zipf", "uniform"}));
  app->add_option("--format", o->format, "json, or text for a terminal")
      ->check(CLI::IsMember({"json", "text"}));
  return {app, [app, o] {
            if (app->count("file") + app->count("--make") == 0)
              throw CLI::RequiredError("a file, or --make with --in,");
            return bench_read(*o);
          }};
}

}  // namespace engram::cli
