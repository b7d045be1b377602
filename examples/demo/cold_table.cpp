// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "cold_table.hpp"

#include "lm/hashed_rows.hpp"
#include "program/stopwatch.hpp"
#include "program/temporary_file.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/packed_rows_writer.hpp>
#include <engram/layer/fetch_batch.hpp>
#include <engram/storage/disk/direct_store.hpp>
#include <engram/storage/disk/thread_reads.hpp>

namespace engram::demo {
namespace {

PackedInfo info_of(const lm::HashedRows& rows) {
  PackedInfo info;
  info.row_bytes = rows.table().store().row_bytes();
  info.codes = "F32";
  info.layers = {{rows.layout().layers[0].layer_id, rows.table().num_rows()}};
  info.layout_digest = layout_digest(rows.layout());
  return info;
}

Failure failed(Status status, const char* call) {
  return fail(status.code, describe(status, call), status.index, status.system_error);
}

}  // namespace

Result<void> write_packed(const lm::HashedRows& rows, const std::string& path) {
  const PackedInfo info = info_of(rows);
  Result<PackedWriter> writer = PackedWriter::open(path, info);
  if (!writer.ok()) return writer.failure();
  for (Index r = 0; r < info.rows(); ++r) {
    const Bytes row(rows.table().store().ref()(r).codes, info.row_bytes);
    if (Result<void> added = writer.value().append(row); !added.ok()) return added;
  }
  if (Result<void> finished = writer.value().finish(); !finished.ok()) return finished;
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  file.value().forget_cached();
  return {};
}

Result<ColdTable> read_packed(const lm::HashedRows& rows, const std::string& path,
                              const std::vector<std::int32_t>& tokens) {
  using Store = DirectStore<ThreadReads>;
  std::vector<std::int32_t> ids;
  if (const Status s = rows.address(tokens.data(), 1, std::ssize(tokens), ids); !s.ok())
    return failed(s, "address");
  const Index columns = rows.columns(), width = rows.row_width(), asked = std::ssize(ids);

  const Result<PackedRows> packed = PackedRows::open(path);
  if (!packed.ok()) return packed.failure();
  if (const Result<void> same = packed.value().expect(layout_digest(rows.layout())); !same.ok())
    return same.failure();
  Result<ThreadReads> reads = ThreadReads::make();
  if (!reads.ok()) return reads.failure();
  const Result<Store> store =
      Store::open(packed.value().segments(), std::move(reads).value(),
                  {.verify = Verify::strict, .page_check = packed_format::page_is_good});
  if (!store.ok()) return store.failure();
  using Batch = FetchBatch<Store, F32Codec>;
  std::vector<std::byte> memory(
      static_cast<std::size_t>(Batch::memory_bytes(store.value(), asked)));
  Result<Batch> made = Batch::make(store.value(), {}, width, asked, memory);
  if (!made.ok()) return made.failure();
  Batch& batch = made.value();

  const Index first_row = 0;
  if (const Status s =
          batch.plan(View<const std::int32_t, 3>(ids.data(), asked / columns, 1, columns),
                     View<const Index, 1>(&first_row, 1));
      !s.ok())
    return failed(s, "plan");
  const program::Stopwatch watch;
  if (const Status s = batch.submit(); !s.ok()) return failed(s, "submit");
  if (const Status s = batch.wait(); !s.ok()) return failed(s, "reading rows back");
  ColdTable found;
  found.milliseconds = 1e3 * watch.seconds();
  std::vector<float> values(static_cast<std::size_t>(asked * width));
  if (const Status s =
          batch.decode(0, View<float, 2>(values.data(), asked / columns, columns * width));
      !s.ok())
    return failed(s, "decode");

  for (Index i = 0; i < asked; ++i) {
    const Index row = ids[static_cast<std::size_t>(i)];
    if (std::memcmp(values.data() + i * width, rows.table().store().ref()(row).codes,
                    sizeof(float) * static_cast<std::size_t>(width)) != 0)
      return fail(Code::mismatch,
                  {"row ", row, " of the memory came back from the disk with other values"}, row);
  }
  found.file_rows = rows.table().num_rows();
  found.rows = asked;
  found.different_rows = batch.unique_rows();
  found.counters = batch.reader().counters();
  found.past_cache = store.value().report().direct_files == store.value().report().files;
  return found;
}

Result<ColdTable> read_cold(const lm::Model& model, const std::vector<std::int32_t>& tokens) {
  const lm::HashedRows& rows = *model.rows();
  const auto read = [&]() -> Result<ColdTable> {
    const Result<program::TemporaryFile> file = program::TemporaryFile::make(
        "table.rows", ".part", packed_format::file_bytes(info_of(rows)));
    if (!file.ok()) return file.failure();
    if (const Result<void> written = write_packed(rows, file.value().path()); !written.ok())
      return written.failure();
    return read_packed(rows, file.value().path(), tokens);
  };
  Result<ColdTable> found = read();
  if (found.status().code != Code::io) return found;
  ColdTable none;
  none.left_out = found.message();
  return none;
}

}  // namespace engram::demo
