// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "bench.hpp"

#include <engram/storage/disk/thread_reads.hpp>

#include <cstdio>

namespace engram::read_bench {

namespace {

Result<Measured> open_carrier(const Options& options, Carrier carrier, bool is_ring) {
  Measured made{std::move(carrier), {}, nullptr, 0};
  if (!made.carrier.missing.empty()) return made;
  if (is_ring) {
    Result<Backends> opened = open_ring_backends(options.segments);
    if (!opened.ok()) return opened.failure();
    made.backends = std::move(opened).value();
    made.loop = make_ring_loop();
  } else {
    const Result<ThreadReads> reads = ThreadReads::make(64);
    if (!reads.ok()) return reads.failure();
    Result<Backends> opened = open_backends(options.segments, reads.value());
    if (!opened.ok()) return opened.failure();
    made.backends = std::move(opened).value();
    made.loop = make_thread_loop();
  }
  made.depth = made.backends.report.depth;
  return made;
}

/// Reads some rows by every reader and compares their bytes; gives how many rows.
Result<Index> compare_rows(Bench& bench) {
  const Index count = std::min<Index>(256, 4 * bench.shape.num_rows);
  const View<const RowId, 1> rows = bench.pool.next(count);
  const Result<MmapStore> mapped = MmapStore::open(bench.options.segments);
  if (!mapped.ok()) return mapped.failure();
  const auto bytes = static_cast<std::size_t>(count * bench.row_bytes());
  std::vector<std::byte> expected(bytes), found(bytes);
  const Result<double> copied = time_copies(mapped.value(), rows, count, true, expected.data());
  if (!copied.ok()) return copied.failure();
  for (const Measured* measured : {&bench.ring, &bench.threads})
    for (Backend* backend : {measured->backends.direct.get(), measured->backends.adaptive.get(),
                             measured->backends.background.get()}) {
      if (backend == nullptr) continue;
      std::fill(found.begin(), found.end(), std::byte{});
      const Result<double> read =
          time_batch(*backend, rows, View<std::byte, 1>(found.data(), static_cast<Index>(bytes)));
      if (!read.ok()) return read.failure();
      for (std::size_t b = 0; b < bytes; ++b)
        if (found[b] != expected[b]) {
          const Index row = to_integer(rows(static_cast<Index>(b) / bench.row_bytes()));
          return fail(Code::corrupt,
                      {"row ", row, " by ", measured->carrier.name,
                       " is not what the mapped file holds; was the file changed meanwhile?"},
                      row);
        }
    }
  return count;
}

double load_average() {
  double load = 0;
  if (::getloadavg(&load, 1) != 1) return 0;
  return load;
}

}  // namespace

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f" : "%.0f", value);
  return text;
}

Result<double> time_batch(Backend& backend, View<const RowId, 1> rows, View<std::byte, 1> bytes) {
  const auto start = Clock::now();
  const Status status = backend.read(rows, bytes);
  const double seconds = since(start);
  if (status.ok()) return seconds;
  return Failure{status, describe(status, "reading rows")};
}

Status copy_batches(const MmapStore& store, View<const RowId, 1> rows, Index each, bool plainly,
                    std::byte* to) {
  const MappedRows ref = store.ref();
  const RowShape shape{store.num_rows(), store.row_bytes(), store.scale_bytes()};
  const Index bytes = shape.row_bytes + shape.scale_bytes;
  const auto codes = static_cast<std::size_t>(shape.row_bytes);
  const auto scales = static_cast<std::size_t>(shape.scale_bytes);
  return guarded_read([&] {
    for (Index begin = 0; begin < rows.size(); begin += each) {
      const View<const RowId, 1> part = rows.slice(begin, each);
      if (!plainly) {
        copy_rows(ref, part, shape, to);
        continue;
      }
      for (Index i = 0; i < each; ++i) {
        const RowBytes row = ref(to_integer(part(i)));
        std::memcpy(to + i * bytes, row.codes, codes);
        if (scales > 0) std::memcpy(to + i * bytes + shape.row_bytes, row.scales, scales);
      }
    }
    return Status{};
  });
}

Result<double> time_copies(const MmapStore& store, View<const RowId, 1> rows, Index each,
                           bool plainly, std::byte* to) {
  const auto start = Clock::now();
  const Status status = copy_batches(store, rows, each, plainly, to);
  if (!status.ok()) return Failure{status, describe(status, "reading mapped rows")};
  return since(start) * static_cast<double>(each) / static_cast<double>(rows.size());
}

ReadCounters counted_since(const Backend& backend, const ReadCounters& before) {
  ReadCounters now = backend.counters();
  for (Index ReadCounters::*counter :
       {&ReadCounters::batches, &ReadCounters::failed_batches, &ReadCounters::rows,
        &ReadCounters::unique_rows, &ReadCounters::mapped_rows, &ReadCounters::reads,
        &ReadCounters::pages, &ReadCounters::bytes, &ReadCounters::retries,
        &ReadCounters::checked_pages, &ReadCounters::wrong_guesses, &ReadCounters::wait_ns})
    now.*counter -= before.*counter;
  return now;
}

const Figure* find_figure(const Report& report, std::string_view section, std::string_view reader,
                          std::string_view state, Index rows) {
  for (const Section& s : report.sections)
    if (s.name == section)
      for (const Figure& f : s.figures)
        if (f.reader == reader && f.state == state && f.rows == rows) return &f;
  return nullptr;
}

Result<Report> measure(const Options& options) {
  Report report;
  report.load = load_average();
  report.free_memory = free_memory();
  options.say("opening the stores, which measures how many reads the disk takes at once");
  Result<TableFiles> files = TableFiles::open(options.segments);
  if (!files.ok()) return files.failure();
  files.value().forget();
  Result<Measured> ring = open_carrier(options, ring_carrier(), true);
  if (!ring.ok()) return ring.failure();
  Result<Measured> threads = open_carrier(options, {"threads", ""}, false);
  if (!threads.ok()) return threads.failure();
  const RowExtent& codes = options.segments.front().codes;
  Result<DiskFile> file = DiskFile::open(codes.path, 0);
  if (!file.ok()) return file.failure();
  const RawRange range{file.value().descriptor(), page_down(codes.offset),
                       std::max<Index>(1, span_of(codes) / disk_page_bytes)};
  const Result<RowShape> shape = check_segments(View<const TableSegment, 1>(
      options.segments.data(), static_cast<Index>(options.segments.size())));
  if (!shape.ok()) return shape.failure();
  const Index each = shape.value().row_bytes + shape.value().scale_bytes;
  Result<HostMemory> memory = HostMemory::make(long_batch * each);
  if (!memory.ok()) return memory.failure();
  Bench bench{options,
              std::move(files).value(),
              std::move(ring).value(),
              std::move(threads).value(),
              range,
              std::move(file).value(),
              shape.value(),
              IdPool(RowIds(0, shape.value().num_rows, options.ids, 7).list(Index{1} << 20)),
              std::move(memory).value()};
  report.rows = shape.value().num_rows;
  report.row_bytes = shape.value().row_bytes;
  report.scale_bytes = shape.value().scale_bytes;
  report.bytes = bench.files.bytes();
  for (const Measured* measured : {&bench.ring, &bench.threads}) {
    Placement placement{measured->carrier.name, measured->carrier.missing, {}};
    if (placement.missing.empty()) placement.report = measured->backends.report;
    report.placements.push_back(std::move(placement));
  }
  const Result<Index> compared = compare_rows(bench);
  if (!compared.ok()) return compared.failure();
  report.compared_rows = compared.value();

  struct Part {
    const char* what;
    Result<Section> (*measure)(Bench&);
  };
  constexpr Part parts[] = {{"the disk's own limit", measure_device},
                            {"cold reads", measure_cold_reads},
                            {"cold rows of a mapped file", measure_faults},
                            {"the rows of one token", measure_token},
                            {"cold rows, adaptive", measure_adaptive_cold},
                            {"how fast the adaptive store notices a change", measure_changes},
                            {"what asking early saves", measure_overlap},
                            {"warm rows", measure_warm}};
  for (const Part& part : parts) {
    options.say(part.what);
    Result<Section> section = part.measure(bench);
    if (!section.ok()) return section.failure();
    report.sections.push_back(std::move(section).value());
  }
  report.recommended = recommend(report, options.rows_per_token);
  return report;
}

}  // namespace engram::read_bench
