// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Opens the Engram layers of a DeepSeek-V4.1 checkpoint directory: config.json, tokenizer.json and
// the safetensors shards. The tables stay in the files, mapped; the small weights are read into
// memory. Everything that the files say is checked against everything else, because a wrong map, a
// swapped scale or a table of another size gives plausible numbers.

#include <engram/addressing/layout_bytes.hpp>
#include <engram/codec/fp8.hpp>
#include <engram/io/safetensors_index.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/fp8_projection.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/models/deepseek_v41_config.hpp>
#include <engram/storage/host_memory.hpp>
#include <engram/storage/mmap_store.hpp>
#include <engram/unicode/token_map_builder.hpp>

ENGRAM_BEGIN_NAMESPACE

/// One layer of an opened checkpoint: its table in the files, its weights in memory.
class DeepseekV41Layer {
 public:
  using TableType = Table<MmapStore, Fp8Codec>;

  std::int32_t layer_id() const noexcept { return layer_id_; }
  const TableType& table() const noexcept { return table_; }
  const Fp8Projection& projection() const noexcept { return projection_; }
  FusionWeights weights() const noexcept { return {gain_view(), {}, {}}; }
  FusionConfig config() const noexcept { return config_; }

  /// The layer to call; refers to this object, which must stay where it is meanwhile.
  EngramLayer<const TableType, Fp8Projection, SignedSqrtGate> layer() const& noexcept {
    return {table_, projection_, weights(), config_, SignedSqrtGate{}};
  }
  void layer() const&& = delete;

 private:
  friend class DeepseekV41Opener;
  DeepseekV41Layer(std::int32_t layer_id, TableType table, HostMemory codes, HostMemory scales,
                   Fp8Projection projection, HostMemory gain, Index branches,
                   const FusionConfig& config)
      : layer_id_(layer_id),
        table_(std::move(table)),
        codes_(std::move(codes)),
        scales_(std::move(scales)),
        projection_(projection),
        gain_(std::move(gain)),
        branches_(branches),
        config_(config) {}

  View<const float, 2> gain_view() const noexcept {
    return View<const float, 2>(reinterpret_cast<const float*>(gain_.data()), branches_,
                                projection_.output_width());
  }

  std::int32_t layer_id_;
  TableType table_;
  HostMemory codes_, scales_;  // what the projection's views point to
  Fp8Projection projection_;
  HostMemory gain_;
  Index branches_;
  FusionConfig config_;
};

/// An opened checkpoint.
struct DeepseekV41 {
  using FrontEndType = FrontEnd<TokenMap, SuffixNgrams<RuntimeBoundary>, MultiplicativeXor>;

  DeepseekV41Config config;
  Layout layout;
  FrontEndType front_end;
  std::vector<DeepseekV41Layer>
      layers;  ///< in the order of engram_layer_ids, as the rows' [T, L, H]
};

/// Reads a checkpoint directory, step by step.
class DeepseekV41Opener {
 public:
  explicit DeepseekV41Opener(std::string directory) : directory_(std::move(directory)) {}

  Result<DeepseekV41> open() {
    const Result<std::string> text = read_regular_file(file("config.json"));
    if (!text.ok()) return text.failure();
    Result<DeepseekV41Config> config = parse_deepseek_v41_config(text.value(), file("config.json"));
    if (!config.ok()) return config.failure();
    Result<TokenMap> map = read_map(config.value());
    if (!map.ok()) return map.failure();
    Result<Layout> layout = make_checked_layout(config.value(), map.value());
    if (!layout.ok()) return layout.failure();
    auto front = make_front_end(layout.value(), std::move(map).value());
    if (!front.ok()) return front.failure();
    const Result<SafetensorsIndex> tensors = SafetensorsIndex::open(directory_);
    if (!tensors.ok()) return tensors.failure();
    if (auto known = refuse_unknown(tensors.value(), config.value()); !known.ok())
      return known.failure();
    std::vector<DeepseekV41Layer> layers;
    const std::string digest = layout_digest(layout.value());
    for (const std::int32_t id : config.value().config.layer_ids) {
      Result<DeepseekV41Layer> layer = open_layer(
          tensors.value(), config.value(), id, layout.value().layers[layers.size()].rows, digest);
      if (!layer.ok()) return layer.failure();
      layers.push_back(std::move(layer).value());
    }
    return DeepseekV41{std::move(config).value(), std::move(layout).value(),
                       std::move(front).value(), std::move(layers)};
  }

 private:
  static constexpr const char* tensor_names[6] = {"embed.weight", "embed.scale", "wkv.weight",
                                                  "wkv.scale",    "q_weight",    "k_weight"};

  std::string file(const char* name) const {
    return (std::filesystem::path(directory_) / name).string();
  }
  static std::string prefix_of(std::int32_t layer_id) {
    return sentence({"layers.", layer_id, ".engram."});
  }

  Result<TokenMap> read_map(const DeepseekV41Config& config) const {
    const Result<std::string> text = read_regular_file(file("tokenizer.json"));
    if (!text.ok()) return text.failure();
    const Result<TokenizerJson> tokenizer =
        parse_tokenizer_json(text.value(), file("tokenizer.json"));
    if (!tokenizer.ok()) return tokenizer.failure();
    Result<TokenMap> map = build_token_map(tokenizer.value().tokens);
    if (!map.ok()) return map;
    if (map.value().vocab_size() > config.vocab_size)
      return fail(Code::mismatch, {file("tokenizer.json"), ": ", map.value().vocab_size(),
                                   " tokens, expected at most vocab_size, ", config.vocab_size});
    if (auto fits = map.value().expect(0, config.config.compressed_vocab_size, ""); !fits.ok())
      return fail(Code::mismatch, {file("tokenizer.json"), ": ", fits.message()});
    return map;
  }

  /// The layout that config.json describes. When it is the released model's, the map must be too.
  Result<Layout> make_checked_layout(const DeepseekV41Config& config, const TokenMap& map) const {
    const Preset released = deepseek_v41_preset();
    const PublishedConstants& known = released.published;
    if (config.config.compressed_vocab_size == released.config.compressed_vocab_size &&
        config.config.engram_vocab_size == released.config.engram_vocab_size)
      if (auto fits = map.expect(known.vocab_size, 0, known.token_map); !fits.ok())
        return fail(Code::mismatch, {file("tokenizer.json"), ": ", fits.message()});
    Result<Layout> layout = make_layout(config.config, map);
    for (std::size_t l = 0; layout.ok() && l < config.num_embeddings.size(); ++l)
      if (layout.value().layers[l].rows != config.num_embeddings[l])
        return fail(Code::mismatch,
                    {file("config.json"), ": engram_num_embeddings of layer ",
                     config.config.layer_ids[l], " is ", config.num_embeddings[l],
                     ", expected the sum of the layout's primes, ", layout.value().layers[l].rows});
    return layout;
  }

  /// Fails with unsupported at an Engram tensor that is none of those of the configured layers.
  static Result<void> refuse_unknown(const SafetensorsIndex& tensors,
                                     const DeepseekV41Config& config) {
    for (const SafetensorsFile& file : tensors.files())
      for (const TensorInfo& tensor : file.tensors()) {
        if (tensor.name.find(".engram.") == std::string::npos) continue;
        bool known = false;
        for (const std::int32_t id : config.config.layer_ids)
          for (const char* name : tensor_names)
            known = known || tensor.name == prefix_of(id) + name;
        if (!known)
          return fail(Code::unsupported,
                      {file.path(), ": tensor ", quote_name(tensor.name),
                       " belongs to no layer of config.json; expected names such as ",
                       quote_name(prefix_of(config.config.layer_ids[0]) + tensor_names[0])});
      }
    return {};
  }

  struct Expected {
    DType dtype;
    Index rows, columns;
  };

  /// The tensor of that name when it has the type and shape; else missing or mismatch.
  static Result<TensorPlace> find(const SafetensorsIndex& tensors, const std::string& name,
                                  const Expected& expected) {
    const std::optional<TensorPlace> place = tensors.find(name);
    if (!place)
      return fail(Code::mismatch, {tensors.path(), ": tensor ", quote_name(name), " is missing"});
    const TensorInfo& tensor = *place->tensor;
    const std::string wanted =
        sentence({to_string(expected.dtype), " [", expected.rows, ", ", expected.columns, "]"});
    if (tensor.dtype != expected.dtype || tensor.shape.size() != 2 ||
        tensor.shape[0] != expected.rows || tensor.shape[1] != expected.columns) {
      std::string found = sentence({to_string(tensor.dtype), " ["});
      for (std::size_t i = 0; i < tensor.shape.size(); ++i)
        found += sentence({i == 0 ? "" : ", ", tensor.shape[i]});
      return fail(Code::mismatch, {place->file->path(), ": tensor ", quote_name(name), " is ",
                                   found, "], expected ", wanted});
    }
    return *place;
  }

  static RowExtent extent_of(const TensorPlace& place) {
    const Index rows = place.tensor->shape[0];
    const Index bytes = place.tensor->bytes / rows;
    return {place.file->path(), -1, place.tensor->file_offset, rows, bytes, bytes};
  }

  static Result<HostMemory> read(const TensorPlace& place) {
    Result<HostMemory> memory = HostMemory::make(place.tensor->bytes);
    if (!memory.ok()) return memory;
    if (auto done = read_tensor(*place.file, *place.tensor, memory.value().bytes()); !done.ok())
      return done.failure();
    return memory;
  }

  static Result<DeepseekV41Layer> open_layer(const SafetensorsIndex& tensors,
                                             const DeepseekV41Config& config, std::int32_t id,
                                             Index rows, const std::string& digest) {
    const Index width = config.head_dim;
    const Index inputs = config.columns() * width;
    const Index branches = config.config.hc_mult;
    const Index hidden = config.config.hidden_size;
    const Index outputs = (branches + 1) * hidden;
    const Expected expected[6] = {
        {DType::f8_e4m3, rows, width},     {DType::f8_e8m0, rows, width / 32},
        {DType::f8_e4m3, outputs, inputs}, {DType::f8_e8m0, outputs / 32, inputs / 32},
        {DType::bf16, branches, hidden},   {DType::bf16, branches, hidden}};
    std::vector<TensorPlace> places;
    for (int i = 0; i < 6; ++i) {
      Result<TensorPlace> place = find(tensors, prefix_of(id) + tensor_names[i], expected[i]);
      if (!place.ok()) return place.failure();
      places.push_back(place.value());
    }
    Result<MmapStore> store = MmapStore::open({{extent_of(places[0]), extent_of(places[1])}});
    if (!store.ok()) return store.failure();
    auto table = DeepseekV41Layer::TableType::make(std::move(store).value(), {}, width, digest);
    if (!table.ok()) return table.failure();
    Result<HostMemory> codes = read(places[2]);
    if (!codes.ok()) return codes.failure();
    Result<HostMemory> scales = read(places[3]);
    if (!scales.ok()) return scales.failure();
    Result<Fp8Projection> projection = Fp8Projection::make(
        View<const E4m3, 2>(reinterpret_cast<const E4m3*>(codes.value().data()), outputs, inputs),
        View<const E8m0, 2>(reinterpret_cast<const E8m0*>(scales.value().data()), outputs / 32,
                            inputs / 32),
        branches);
    if (!projection.ok()) return projection.failure();
    Result<HostMemory> gain = read_gain(places[4], places[5], branches * hidden);
    if (!gain.ok()) return gain.failure();
    const FusionConfig fusion = fusion_config(config.config);
    return DeepseekV41Layer(id, std::move(table).value(), std::move(codes).value(),
                            std::move(scales).value(), projection.value(), std::move(gain).value(),
                            branches, fusion);
  }

  /// query gain * key gain, in float.
  static Result<HostMemory> read_gain(const TensorPlace& query, const TensorPlace& key,
                                      Index count) {
    const Result<HostMemory> q = read(query);
    if (!q.ok()) return q.failure();
    const Result<HostMemory> k = read(key);
    if (!k.ok()) return k.failure();
    Result<HostMemory> gain = HostMemory::make(4 * count);
    if (!gain.ok()) return gain;
    const auto* qs = reinterpret_cast<const Bf16*>(q.value().data());
    const auto* ks = reinterpret_cast<const Bf16*>(k.value().data());
    auto* out = reinterpret_cast<float*>(gain.value().data());
    for (Index i = 0; i < count; ++i) out[i] = to_float(qs[i]) * to_float(ks[i]);
    return gain;
  }

  std::string directory_;
};

/// Opens the Engram layers of a DeepSeek-V4.1 checkpoint: config.json (nested or flat),
/// tokenizer.json, and the shards that model.safetensors.index.json names.
///
/// Fails, naming file and tensor, with io (a file is missing), corrupt (a file that is not what it
/// should be), mismatch (a map, a table or a tensor that is not the configured model's; a tensor
/// missing), unsupported (Engram tensors that the configuration does not know), out_of_memory.
/// Cost: reads the small weights, 157 MB a layer of the released model; the tables are mapped only.
inline Result<DeepseekV41> open_deepseek_v41(const std::string& directory) {
  return DeepseekV41Opener(directory).open();
}

ENGRAM_END_NAMESPACE
