// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "memory.hpp"

#include "program/stopwatch.hpp"
#include "program/temporary_file.hpp"

#include <engram/codec/plain.hpp>
#include <engram/eigen/projection.hpp>
#include <engram/io/safetensors_writer.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/mmap_store.hpp>

#include <optional>

namespace engram::demo {
namespace {

using HostTable = Table<HostStore, F32Codec>;
using MappedTable = Table<MmapStore, F32Codec>;

constexpr Index layer_tokens = 4096;    // that go through the whole layer
constexpr Index gather_tokens = 16384;  // that are gathered only
constexpr Index at_once = 512;          // tokens a call
constexpr const char* table_name = "layers.1.engram.table";

Failure failed(Status status, const char* call) {
  return fail(status.code, describe(status, call), status.index, status.system_error);
}

/// Evenly distributed numbers in (-scale, scale) that are the same on every machine.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}

  void fill(float* to, Index count, float scale) {
    for (Index i = 0; i < count; ++i) {
      std::uint64_t z = state_ += 0x9E3779B97F4A7C15;  // splitmix64
      z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
      z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
      to[i] = scale * (static_cast<float>(z >> 40) / 8388608 - 1);
    }
  }
  std::vector<float> make(Index count, float scale) {
    std::vector<float> numbers(static_cast<std::size_t>(count));
    fill(numbers.data(), count, scale);
    return numbers;
  }

 private:
  std::uint64_t state_;
};

/// The weights of the paper's demo module, untrained, in the layout that the layer reads.
struct Weights {
  explicit Weights(const EngramConfig& config, Index inputs) {
    const Index g = config.hc_mult, d = config.hidden_size;
    Numbers numbers(1);
    // Chosen so that keys and values are about as large as the rows.
    key = numbers.make(g * d * inputs, 0.054f);
    value = numbers.make(d * inputs, 0.054f);
    key_bias = numbers.make(g * d, 0.1f);
    value_bias = numbers.make(d, 0.1f);
    conv = numbers.make(config.kernel_size * g * d, 0.5f);
    projection.key = View<const float, 3>(key.data(), g, d, inputs);
    projection.value = View<const float, 2>(value.data(), d, inputs);
    projection.key_bias = View<const float, 2>(key_bias.data(), g, d);
    projection.value_bias = value_bias;
    fusion.conv = View<const float, 3>(conv.data(), config.kernel_size, g, d);
  }

  std::vector<float> key, value, key_bias, value_bias, conv;
  ProjectionWeights<float> projection;
  FusionWeights fusion;
};

/// A layer over one of the tables, with its convolution's state and what it has used.
template <class TableType>
class Run {
 public:
  Run(const TableType& table, const EigenProjection& projection, const Weights& weights,
      const EngramConfig& config)
      : elements_(projection.input_width()),
        layer_(table, projection, weights.fusion, fusion_config(config),
               SignedSqrtGate{ZeroScore::sign}),
        conv_state_(static_cast<std::size_t>(layer_.conv_state_size())),
        workspace_(static_cast<std::size_t>(layer_.workspace_bytes(at_once))) {}

  Result<void> check() const { return layer_.check(); }

  /// The next tokens of the text; `hidden` is changed in place.
  Status forward(View<const int, 2> rows, View<float, 3> hidden) {
    const program::Stopwatch watch;
    FusionOptions options;
    options.conv_state = View<float, 2>(conv_state_.data(), 1, layer_.conv_state_size());
    const Status status = layer_.forward(rows, hidden, hidden, workspace_, options);
    seconds_ += watch.seconds();
    tokens_ += rows.extent(0);
    sha_.update(Bytes(reinterpret_cast<const std::byte*>(hidden.data()), 4 * hidden.size()));
    return status;
  }

  /// Gathers all rows and nothing more, `passes` times; the best rate in rows a second, or 0.
  double gather(View<const int, 2> rows, int passes) const {
    std::vector<float> e(static_cast<std::size_t>(at_once * elements_));
    double best = 0;
    for (int pass = 0; pass < passes; ++pass) {
      const program::Stopwatch watch;
      for (Index t = 0; t < rows.extent(0); t += at_once) {
        const auto some = rows.slice(t, std::min(at_once, rows.extent(0) - t));
        const View<float, 2> to(e.data(), some.extent(0), elements_);
        if (!layer_.gather(some, to).ok()) return 0;
      }
      best = std::max(best, static_cast<double>(rows.size()) / watch.seconds());
    }
    return best;
  }

  double tokens_a_second() const { return static_cast<double>(tokens_) / seconds_; }
  std::string digest() { return sha_.hex(); }

 private:
  Index elements_;  // of a token's rows
  EngramLayer<const TableType, EigenProjection, SignedSqrtGate> layer_;
  std::vector<float> conv_state_;
  std::vector<std::byte> workspace_;
  Sha256 sha_;
  double seconds_ = 0;
  Index tokens_ = 0;
};

/// The layer's rows of the first tokens of a text, [tokens, columns].
Result<std::vector<int>> rows_of(const Layout& layout, const TokenMap& map,
                                 View<const std::int32_t, 1> ids) {
  const auto front = make_front_end(layout, map);
  if (!front.ok()) return front.failure();
  std::vector<int> rows(static_cast<std::size_t>(ids.size() * layout.columns()));
  const View<int, 3> view(rows.data(), ids.size(), 1, layout.columns());
  NgramState state = front.value().initial_state();
  if (const Status s = front.value().address(ids, state, view); !s.ok())
    return failed(s, "address");
  return rows;
}

Result<HostTable> make_table(Index rows, Index width) {
  const program::Stopwatch watch;
  Result<HostStore> store = HostStore::make(rows, 4 * width);
  if (!store.ok()) return store.failure();
  std::vector<float> row(static_cast<std::size_t>(width));
  Numbers numbers(2);
  for (Index r = 0; r < rows; ++r) {
    numbers.fill(row.data(), width, 1);
    std::memcpy(store.value().mutable_ref()(r).codes, row.data(), 4 * row.size());
  }
  const HostMemoryReport report = store.value().report();
  std::printf("In memory after %.1f s: %lld MB", watch.seconds(),
              static_cast<long long>(report.bytes / 1'000'000));
  if (report.huge_bytes >= 0)
    std::printf(", of which the system put %lld MB on pages of 2 MiB",
                static_cast<long long>(report.huge_bytes / 1'000'000));
  std::printf(".\n");
  std::fflush(stdout);
  return HostTable::make(std::move(store).value(), {}, width);
}

/// The same rows in a safetensors file, mapped where they lie in it. The file's name is gone when
/// this returns; the mapping keeps the bytes.
Result<MappedTable> write_and_map(const HostTable& table) {
  const Index bytes = table.num_rows() * table.store().stride();
  Result<program::TemporaryFile> file =
      program::TemporaryFile::make("table.safetensors", ".tmp0", bytes + 16'000'000);
  if (!file.ok()) return file.failure();
  const program::Stopwatch watch;
  const TensorToWrite tensor{table_name,
                             DType::f32,
                             {table.num_rows(), table.row_width()},
                             Bytes(table.store().ref().base, bytes)};
  const Result<void> written =
      write_safetensors(file.value().path(), std::span(&tensor, 1),
                        {{"note", "pseudo-random numbers of engram's demo, not a trained table"}});
  if (!written.ok()) return written.failure();
  const Result<SafetensorsFile> header = SafetensorsFile::open(file.value().path());
  if (!header.ok()) return header.failure();
  const TensorInfo* found = header.value().find(table_name);
  if (found == nullptr) return fail(Code::corrupt, "the table is not in the file");
  RowExtent rows;
  rows.path = header.value().path();
  rows.offset = found->file_offset;
  rows.rows = found->shape[0];
  rows.stride = rows.bytes = found->bytes / found->shape[0];
  Result<MmapStore> store = MmapStore::open({{rows, {}}});
  if (!store.ok()) return store.failure();
  file.value().remove();
  std::printf(
      "In a file after %.1f s: written as safetensors, mapped from byte %lld on, its name "
      "removed again.\n",
      watch.seconds(), static_cast<long long>(rows.offset));
  std::fflush(stdout);
  return MappedTable::make(std::move(store).value(), {}, table.row_width());
}

template <class TableType>
void print_run(const char* from, Run<TableType>& run, double rows_a_second) {
  std::printf("%-12s %14.1f million %20.0f   %s...\n", from, rows_a_second / 1e6,
              run.tokens_a_second(), run.digest().substr(0, 16).c_str());
}

}  // namespace

Result<MemoryShown> show_memory(const TokenMap& map, std::int32_t pad_id,
                                View<const std::int32_t, 1> ids) {
  EngramConfig config = demo_preset().config;
  config.engram_vocab_size = {62500, 62500};  // rows of a head: a tenth of the paper's
  config.layer_ids = {1};
  config.pad_id = pad_id;
  const Result<Layout> layout = make_layout(config, map);
  if (!layout.ok()) return layout.failure();
  const Index columns = layout.value().columns();
  const Index width = config.n_embed_per_ngram / config.n_head_per_ngram;
  std::printf(
      "One layer of the paper's demo, %lld branches of width %lld, with a smaller table: "
      "%lld rows of %lld\nfloats. No trained table is published: table, weights and hidden "
      "states are pseudo-random numbers.\n",
      static_cast<long long>(config.hc_mult), static_cast<long long>(config.hidden_size),
      static_cast<long long>(layout.value().layers[0].rows), static_cast<long long>(width));
  std::fflush(stdout);
  const auto rows = rows_of(layout.value(), map, ids.slice(0, std::min(ids.size(), gather_tokens)));
  if (!rows.ok()) return rows.failure();
  const View<const int, 2> reads(rows.value().data(), std::ssize(rows.value()) / columns, columns);

  const Weights weights(config, columns * width);
  const auto projection = EigenProjection::make(weights.projection);
  if (!projection.ok()) return projection.failure();
  const Result<HostTable> table = make_table(layout.value().layers[0].rows, width);
  if (!table.ok()) return table.failure();
  const Result<MappedTable> mapped = write_and_map(table.value());
  if (!mapped.ok()) std::printf("The file is left out: %s.\n", mapped.message().c_str());
  const SigbusGuard guard;  // a disk that fails under the mapping becomes a status

  Run from_memory(table.value(), projection.value(), weights, config);
  if (const Result<void> fits = from_memory.check(); !fits.ok()) return fits.failure();
  std::optional<Run<MappedTable>> from_file;
  if (mapped.ok()) from_file.emplace(mapped.value(), projection.value(), weights, config);
  const double first_rate = from_file ? from_file->gather(reads, 1) : 0;
  const double file_rate = from_file ? from_file->gather(reads, 5) : 0;
  const double memory_rate = from_memory.gather(reads, 5);

  const Index branches = config.hc_mult;
  MemoryShown shown{std::min(reads.extent(0), layer_tokens), from_file.has_value()};
  Numbers stream(3);
  for (Index t = 0; t < shown.tokens; t += at_once) {
    const Index count = std::min(at_once, shown.tokens - t);
    std::vector<float> one = stream.make(count * branches * config.hidden_size, 1), other = one;
    const auto view = [&](std::vector<float>& hidden) {
      return View<float, 3>(hidden.data(), count, branches, config.hidden_size);
    };
    if (const Status s = from_memory.forward(reads.slice(t, count), view(one)); !s.ok())
      return failed(s, "forward from memory");
    if (!from_file) continue;
    if (const Status s = from_file->forward(reads.slice(t, count), view(other)); !s.ok())
      return failed(s, "forward from the file");
    if (std::memcmp(one.data(), other.data(), 4 * one.size()) != 0)
      return fail(Code::mismatch, {"memory and file give different hidden states within tokens ", t,
                                   " to ", t + count});
  }

  std::printf("\n%-12s %22s %20s   SHA-256 of the new\n%-12s %22s %20s   hidden states\n",
              "rows from", "gathered alone,", "the whole layer,", "", "rows a second",
              "tokens a second");
  print_run("memory", from_memory, memory_rate);
  if (!from_file) return shown;
  print_run("mapped file", *from_file, file_rate);
  std::printf(
      "One core, %lld tokens; memory and file give the same hidden states, byte for byte. The "
      "first pass over\nthe file gathered %.1f million rows a second: the system maps each "
      "page when it is first touched.\n",
      static_cast<long long>(shown.tokens), first_rate / 1e6);
  return shown;
}

}  // namespace engram::demo
