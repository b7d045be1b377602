// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The Engram part of a DeepSeek-V4.1 GGUF: addresses from its keys, tables in place. There are
// several dialects, which are not compatible; two are read, the others refused by name
// (docs/gguf.md). Whatever the file says twice must agree; hash constants that the first files lack
// are computed, and the result says which.

#include <engram/addressing/layout_bytes.hpp>
#include <engram/layer/presets.hpp>
#include <engram/models/deepseek_v41_config.hpp>
#include <engram/models/gguf_keys.hpp>
#include <engram/storage/row_extent.hpp>
#include <engram/tokenizer/identity.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <span>

ENGRAM_BEGIN_NAMESPACE

/// Whose keys a file has.
enum class GgufDialect {
  a,  ///< ds4's: rows of 264 bytes, e4m3 codes and e8m0 scales, as tensors of bytes
  b,  ///< llama.cpp's: rows in a GGUF type
};

/// One layer's table, in a file.
struct GgufEngramTable {
  std::int32_t layer_id = 0;
  std::string name;  ///< of the tensor
  GgmlType type = GgmlType::i8;
  std::string codes;   ///< element type, as packed files name it: "F8_E4M3", "Q4_K"
  std::string scales;  ///< empty: none
  TableSegment segment;
};

/// What the files say.
struct GgufEngram {
  GgufDialect dialect = GgufDialect::a;
  Layout layout;
  TokenMap token_map;
  Index row_width = 0;                  ///< E
  std::vector<GgufEngramTable> tables;  ///< [layers] in the order of the layout
  /// What was not in the files, or could not be held against them: one sentence each.
  std::vector<std::string> notes;
};

/// Whether rows in a tensor type are read; F8_E4M3 rows of dialect A apart, which are bytes to a
/// GGUF.
constexpr bool is_table_type(GgmlType type) noexcept {
  switch (type) {
    case GgmlType::f32:
    case GgmlType::f16:
    case GgmlType::bf16:
    case GgmlType::q8_0:
    case GgmlType::q2_k:
    case GgmlType::q3_k:
    case GgmlType::q4_k:
    case GgmlType::q6_k:
      return true;
    default:
      return false;
  }
}

/// Does the work of read_gguf_engram(), once.
class GgufEngramReader {
 public:
  explicit GgufEngramReader(std::span<const GgufFile> files) : files_(files) {}

  Result<GgufEngram> read();

 private:
  static constexpr Index most_moduli = 2048;  // of V4.1: 48; finding primes takes quadratic time
  static constexpr Index most_rows = Index{1} << 48;
  static constexpr const char* encoding_a = "e4m3_e8m0_32_row264";
  static constexpr Index codes_a = 256, scales_a = 8;

  /// What the keys say, before anything is made of it.
  struct Parts {
    std::vector<Index> layer_ids, rows;
    Index order = 0, heads = 0;
    std::vector<Index> primes, multipliers, offsets;  // empty: not in the file
    Index canonical_size = 0;                         // 0: not in the file
    Index columns() const { return (order - 1) * heads; }
  };

  Result<void> find_keys();
  Result<GgufDialect> find_dialect() const;
  void read_geometry_a();
  void read_geometry_b();
  void read_constants(bool may_lack);
  Result<void> find_tables();
  Result<GgufEngramTable> find_table(const std::string& name, Index layer) const;
  Result<void> refuse_other_tables() const;
  Result<void> compute_primes();
  Result<TokenMap> read_map();
  Result<Layout> make_checked_layout(const TokenMap& map);
  Result<void> check_offsets(const Layout& layout) const;
  Result<void> check_config(const Layout& layout, const TokenMap& map);

  Failure mismatch(std::initializer_list<Piece> why) const {
    return fail(Code::mismatch, {keys_->file().path(), ": ", sentence(why)});
  }
  void note(std::string_view key, std::initializer_list<Piece> why) {
    notes_.push_back(sentence({keys_->full(key), ": ", sentence(why)}));
  }
  bool given(std::string_view key, bool may_lack) const { return keys_->has(key) || !may_lack; }

  std::span<const GgufFile> files_;
  std::optional<GgufKeys> keys_;
  std::string model_;  // "deepseek41." or "deepseek4."
  GgufDialect dialect_ = GgufDialect::a;
  Parts parts_;
  Index width_ = 0;
  std::vector<GgufEngramTable> tables_;
  std::vector<std::string> notes_;
};

/// The file with Engram keys, and the prefix that they have.
inline Result<void> GgufEngramReader::find_keys() {
  for (const GgufFile& file : files_)
    for (const std::string model : {"deepseek41.", "deepseek4."}) {
      bool any = false;
      for (const auto& key : file.keys()) any = any || key.first.starts_with(model + "engram");
      if (!any) continue;
      if (keys_)
        return fail(Code::mismatch, {keys_->file().path(), ": has ", keys_->full("*"), " and ",
                                     file.path(), " ", model, "engram.*, expected keys once"});
      keys_.emplace(file, model + "engram.");
      model_ = model;
    }
  if (keys_) return {};
  return fail(Code::mismatch, {files_.empty() ? "no file" : files_.front().path(),
                               ": no Engram keys, expected deepseek41.engram.layer_ids"});
}

inline Result<GgufDialect> GgufEngramReader::find_dialect() const {
  const GgufFile& file = keys_->file();
  const auto refuse = [&](char dialect, std::string_view kind, std::string_view name) {
    return fail(Code::unsupported,
                {file.path(), ": dialect ", std::string_view(&dialect, 1), " (", kind, " ",
                 quote_gguf_name(name), "); the dialects A and B are read"});
  };
  for (const auto& key : file.keys())
    if (key.first.starts_with(model_ + "engram_")) return refuse('C', "key", key.first);
  if (keys_->has("present")) return refuse('C', "key", keys_->full("present"));
  for (const char* tensor : {"engram_token_map.weight", "engram_primes.weight"})
    if (file.find(tensor) != nullptr) return refuse('C', "tensor", tensor);
  for (const char* key : {"head_dim", "n_heads", "pad_token_id", "num_embeddings"})
    if (keys_->has(key)) return refuse('D', "key", keys_->full(key));

  const auto first_of = [&](std::initializer_list<const char*> names) -> const char* {
    for (const char* name : names)
      if (keys_->has(name)) return name;
    return nullptr;
  };
  const char* const a = first_of({"encoding", "rows", "storage", "compressed_vocab_size"});
  const char* const b = first_of({"head_count", "key_length", "offsets", "max_ngram_size"});
  if (a != nullptr && b != nullptr)
    return fail(Code::corrupt, {file.path(), ": ", keys_->full(a), " is of dialect A, ",
                                keys_->full(b), " of dialect B"});
  if (a == nullptr && b == nullptr)
    return fail(Code::unsupported, {file.path(), ": Engram keys of no known dialect, neither ",
                                    keys_->full("encoding"), " nor ", keys_->full("key_length")});
  return a != nullptr ? GgufDialect::a : GgufDialect::b;
}

/// N and H follow from the numbers of multipliers and primes.
inline void GgufEngramReader::read_geometry_a() {
  if (keys_->has("storage"))
    keys_->refuse({keys_->full("storage"), " is ", quote_gguf_name(keys_->text("storage")),
                   "; tables outside of the file are not read"},
                  Code::unsupported);
  if (const std::string encoding = keys_->text("encoding"); encoding != encoding_a)
    keys_->refuse({keys_->full("encoding"), " is ", quote_gguf_name(encoding),
                   ", which is not read; known: ", encoding_a},
                  Code::unsupported);
  width_ = codes_a;
  const auto layers = static_cast<Index>(parts_.layer_ids.size());
  parts_.rows = keys_->integers("rows", layers, 1, most_rows);
  parts_.canonical_size = keys_->integer("compressed_vocab_size", 1, Index{1} << 31);
  const auto each = [&](const char* name, Index least, Index most) -> Index {
    const GgufValue* value = keys_->find(name);
    if (value == nullptr || !value->is_array()) {
      (void)keys_->integers(name, -1, 0, INT64_MAX);  // says why there are none
      return 0;
    }
    const Index count = value->size();
    if (layers > 0 && count % layers == 0 && count / layers >= least && count / layers <= most)
      return count / layers;
    keys_->refuse({keys_->full(name), " has ", count, " entries, expected ", least, " to ", most,
                   " for each of ", layers, " layers"});
    return 0;
  };
  parts_.order = each("multipliers", 2, max_order);
  const Index columns = each("primes", 1, max_heads * Index{max_order - 1});
  if (parts_.order < 2 || columns == 0) return;
  if (columns % (parts_.order - 1) != 0)
    keys_->refuse({keys_->full("primes"), " has ", columns,
                   " entries a layer, expected a multiple of ", parts_.order - 1,
                   ", the orders of ", parts_.order, " multipliers"});
  parts_.heads = columns / (parts_.order - 1);
}

inline void GgufEngramReader::read_geometry_b() {
  parts_.order = keys_->integer("max_ngram_size", 2, max_order);
  parts_.heads = keys_->integer("head_count", 1, max_heads);
  width_ = keys_->integer("key_length", 1, 1 << 16);
}

inline void GgufEngramReader::read_constants(bool may_lack) {
  const auto layers = static_cast<Index>(parts_.layer_ids.size());
  if (layers * parts_.columns() > most_moduli)
    keys_->refuse({layers, " layers of ", parts_.columns(), " columns, expected at most ",
                   most_moduli, " columns in all"});
  if (keys_->failure()) return;
  if (given("primes", may_lack))
    parts_.primes = keys_->integers("primes", layers * parts_.columns(), 1, most_rows);
  if (given("multipliers", may_lack))
    parts_.multipliers = keys_->integers("multipliers", layers * parts_.order, 1, INT64_MAX);
  if (dialect_ == GgufDialect::b && keys_->has("offsets"))
    parts_.offsets = keys_->integers("offsets", layers * parts_.columns(), 0, most_rows);
}

inline Result<GgufEngramTable> GgufEngramReader::find_table(const std::string& name,
                                                            Index layer) const {
  const GgufFile* file = nullptr;
  for (const GgufFile& candidate : files_)
    if (candidate.find(name) != nullptr) {
      if (file != nullptr)
        return fail(Code::mismatch, {"tensor ", quote_gguf_name(name), " is in ", file->path(),
                                     " and in ", candidate.path()});
      file = &candidate;
    }
  if (file == nullptr) {
    const GgufValue* parts = keys_->file().key("split.count");
    const Index count = parts != nullptr ? parts->integer().value_or(1) : 1;
    return mismatch({"tensor ", quote_gguf_name(name), " is missing",
                     count > static_cast<Index>(files_.size())
                         ? "; the model is split, name all of its files"
                         : ""});
  }
  const GgufTensor& tensor = *file->find(name);
  const auto differs = [&](Code code, std::initializer_list<Piece> why) {
    return fail(code, {file->path(), ": tensor ", quote_gguf_name(name), ": ", sentence(why)});
  };
  GgufEngramTable table;
  table.layer_id = static_cast<std::int32_t>(layer);
  table.name = name;
  table.type = tensor.type;
  if (dialect_ == GgufDialect::b && !is_table_type(tensor.type))
    return differs(Code::unsupported,
                   {"table type ", to_string(tensor.type),
                    " is not read; known: F32, F16, BF16, Q8_0, Q2_K, Q3_K, Q4_K, Q6_K"});
  if (dialect_ == GgufDialect::a && tensor.type != GgmlType::i8)
    return differs(Code::mismatch,
                   {"its type is ", to_string(tensor.type), ", expected I8 for ", encoding_a});
  const Index elements = dialect_ == GgufDialect::a ? codes_a + scales_a : width_;
  if (tensor.shape.size() != 2 || tensor.shape[0] != elements || tensor.shape[1] < 1) {
    std::string shape;
    for (const Index size : tensor.shape) shape += sentence({shape.empty() ? "" : ", ", size});
    return differs(Code::mismatch, {"its shape is [", shape, "], expected [", elements, ", rows]"});
  }
  const Index rows = tensor.shape[1];
  const Index stride = tensor.bytes / rows;
  table.segment.codes = {file->path(), -1, tensor.file_offset, rows, stride, stride};
  table.codes = to_string(tensor.type);
  if (dialect_ == GgufDialect::a) {
    table.segment.codes.bytes = codes_a;
    table.segment.scales = {file->path(), -1, tensor.file_offset + codes_a, rows, stride, scales_a};
    table.codes = "F8_E4M3";
    table.scales = "F8_E8M0";
  }
  return table;
}

/// Fails with unsupported at a table of a layer that is none of those of the keys.
inline Result<void> GgufEngramReader::refuse_other_tables() const {
  for (const GgufFile& file : files_)
    for (const GgufTensor& tensor : file.tensors()) {
      if (tensor.name.find(".engram_embd") == std::string::npos) continue;
      bool known = false;
      for (const GgufEngramTable& table : tables_) known = known || table.name == tensor.name;
      if (!known)
        return fail(Code::unsupported,
                    {file.path(), ": tensor ", quote_gguf_name(tensor.name),
                     " belongs to no layer of ", keys_->full("layer_ids"),
                     "; expected names such as ", quote_gguf_name(tables_.front().name)});
    }
  return {};
}

inline Result<void> GgufEngramReader::find_tables() {
  const bool rows_said = !parts_.rows.empty();
  for (const Index layer : parts_.layer_ids) {
    Result<GgufEngramTable> table =
        find_table(sentence({"blk.", layer, ".engram_embd.weight"}), layer);
    if (!table.ok()) return table.failure();
    const Index rows = table.value().segment.codes.rows;
    if (!rows_said)
      parts_.rows.push_back(rows);
    else if (const Index said = parts_.rows[tables_.size()]; said != rows)
      return mismatch({keys_->full("rows"), " of layer ", layer, " is ", said, ", tensor ",
                       quote_gguf_name(table.value().name), " has ", rows});
    tables_.push_back(std::move(table).value());
  }
  return refuse_other_tables();
}

/// The moduli are consecutive primes, so the rows of the first table say where they begin, and
/// those of the others whether that is right.
inline Result<void> GgufEngramReader::compute_primes() {
  const auto orders = static_cast<std::size_t>(parts_.order - 1);
  const auto primes_from = [&](Index size, std::size_t layers) {
    return make_moduli(ModulusRule::unique_primes, std::vector<Index>(orders, size),
                       static_cast<int>(parts_.heads), static_cast<int>(layers));
  };
  const auto rows_of = [&](const std::vector<std::uint64_t>& primes, std::size_t layer) {
    const auto columns = static_cast<std::size_t>(parts_.columns());
    std::uint64_t sum = 0;
    for (std::size_t c = layer * columns; c < (layer + 1) * columns; ++c) sum += primes[c];
    return static_cast<Index>(sum);
  };
  Index least = 1, most = std::max<Index>(1, parts_.rows[0] / parts_.columns());
  while (least < most) {  // the largest size whose primes do not add up to more than the rows
    const Index middle = least + (most - least + 1) / 2;
    const auto primes = primes_from(middle, 1);
    if (!primes.ok()) return primes.failure();
    if (rows_of(primes.value(), 0) <= parts_.rows[0])
      least = middle;
    else
      most = middle - 1;
  }
  const auto primes = primes_from(least, parts_.rows.size());
  if (!primes.ok()) return primes.failure();
  for (std::size_t l = 0; l < parts_.rows.size(); ++l)
    if (const Index sum = rows_of(primes.value(), l); sum != parts_.rows[l])
      return mismatch({keys_->full("primes"), " is missing and cannot be computed: primes from ",
                       primes.value()[0], " on give ", sum, " rows for layer ", parts_.layer_ids[l],
                       ", its table has ", parts_.rows[l]});
  for (const std::uint64_t prime : primes.value())
    parts_.primes.push_back(static_cast<Index>(prime));
  note("primes", {"not in the file, computed: the primes from ", parts_.primes[0],
                  " on, whose sums are the tables' rows"});
  return {};
}

inline Result<TokenMap> GgufEngramReader::read_map() {
  const GgufValue* tokens = keys_->file().key("tokenizer.ggml.tokens");
  const bool listed = tokens != nullptr && tokens->is_array() && tokens->type() == GgufType::string;
  const auto named = [&](const Failure& why) {
    return fail(why.status.code, {keys_->file().path(), ": ", why.message}, why.status.index);
  };
  if (given("token_map", dialect_ == GgufDialect::b)) {
    std::vector<std::int32_t> ids;
    for (const Index id : keys_->integers("token_map", -1, 0, INT32_MAX))
      ids.push_back(static_cast<std::int32_t>(id));
    if (keys_->failure()) return *keys_->failure();
    Result<TokenMap> map = TokenMap::make(std::move(ids));
    if (!map.ok()) return named(map.failure());
    if (listed && map.value().vocab_size() > tokens->size())
      return mismatch({keys_->full("token_map"), " has ", map.value().vocab_size(),
                       " entries, tokenizer.ggml.tokens only ", tokens->size()});
    return map;
  }
  if (!listed)
    return mismatch(
        {keys_->full("token_map"), " is missing, and no tokenizer.ggml.tokens to compute it from"});
  std::vector<std::string> texts;
  for (Index i = 0; i < tokens->size(); ++i) texts.emplace_back(*tokens->text(i));
  Result<TokenMap> map = build_token_map(texts);
  if (!map.ok()) return named(map.failure());
  note("token_map", {"not in the file, computed from tokenizer.ggml.tokens"});
  return map;
}

/// The layout of the parts. One with the released model's tables must be the released one.
inline Result<Layout> GgufEngramReader::make_checked_layout(const TokenMap& map) {
  const Preset released = deepseek_v41_preset();
  AddressingConfig config;
  config.max_ngram_size = static_cast<std::int32_t>(parts_.order);
  config.n_head_per_ngram = static_cast<std::int32_t>(parts_.heads);
  for (const Index id : parts_.layer_ids) config.layer_ids.push_back(static_cast<std::int32_t>(id));
  config.modulus_rule = ModulusRule::explicit_values;
  config.moduli.assign(parts_.primes.begin(), parts_.primes.end());
  if (!parts_.multipliers.empty()) {
    config.multiplier_source = MultiplierSource::explicit_values;
    config.multipliers.assign(parts_.multipliers.begin(), parts_.multipliers.end());
  } else {
    note("multipliers", {"not in the file, computed from the layer ids and the compressed size"});
  }
  if (keys_->has("pad_id") || dialect_ == GgufDialect::a) {
    config.pad_id = static_cast<std::int32_t>(keys_->integer("pad_id", 0, INT32_MAX));
  } else {
    const std::int32_t pad = released.config.pad_id;
    if (pad >= map.vocab_size())
      return mismatch({keys_->full("pad_id"), " is missing, and the token map has no token ", pad});
    config.pad_id = to_integer(map(pad));
    note("pad_id", {"not in the file, computed: the canonical id of token ", pad,
                    ", the released model's pad"});
  }
  if (keys_->failure()) return *keys_->failure();
  // The pad is a canonical id already.
  Result<Layout> layout = make_layout(config, IdentityCompressor(map.canonical_size()));
  if (!layout.ok())
    return fail(layout.status().code, {keys_->file().path(), ": ", layout.message()});
  layout.value().token_map = map.digest();
  for (std::size_t l = 0; l < parts_.rows.size(); ++l)
    if (const Index sum = layout.value().layers[l].rows; sum != parts_.rows[l])
      return mismatch({"the primes of layer ", parts_.layer_ids[l], " add up to ", sum,
                       ", its table has ", parts_.rows[l], " rows"});
  if (parts_.rows == released.published.rows && config.layer_ids == released.config.layer_ids) {
    const Result<Layout> expected = make_layout(released, map);
    if (!expected.ok()) return mismatch({expected.message()});
    if (const std::string where = first_difference(expected.value(), layout.value());
        !where.empty())
      return mismatch({"tables of deepseek-v4.1 with other addresses: ", where});
  }
  return layout;
}

inline Result<void> GgufEngramReader::check_offsets(const Layout& layout) const {
  for (std::size_t i = 0; i < parts_.offsets.size(); ++i) {
    const auto columns = static_cast<std::size_t>(parts_.columns());
    const Index expected = layout.layers[i / columns].offsets[i % columns];
    if (parts_.offsets[i] != expected)
      return mismatch({keys_->full("offsets"), ": entry ", i, " is ", parts_.offsets[i],
                       ", expected the sum of the primes before it, ", expected});
  }
  return {};
}

/// Dialect A carries the model's config.json.
inline Result<void> GgufEngramReader::check_config(const Layout& layout, const TokenMap& map) {
  const GgufValue* value = keys_->file().key(model_ + "config");
  if (value == nullptr) return {};
  const std::string key = model_ + "config";
  const std::optional<std::string_view> text = value->is_array() ? std::nullopt : value->text();
  const Result<DeepseekV41Config> config = parse_deepseek_v41_config(text.value_or(""), key);
  if (!config.ok()) {
    notes_.push_back(sentence({key, ": not held against the keys: ", config.message()}));
    return {};
  }
  const DeepseekV41Config& said = config.value();
  const auto differs = [&](const char* what, Index found, Index expected) {
    return mismatch({key, ": ", what, " is ", found, ", the keys and tables say ", expected});
  };
  if (said.config.max_ngram_size != layout.max_ngram_size)
    return differs("engram_max_ngram_size", said.config.max_ngram_size, layout.max_ngram_size);
  if (said.config.n_head_per_ngram != layout.heads)
    return differs("engram_n_heads", said.config.n_head_per_ngram, layout.heads);
  if (said.head_dim != width_) return differs("engram_head_dim", said.head_dim, width_);
  if (said.config.compressed_vocab_size != layout.canonical_size)
    return differs("engram_compressed_vocab_size", said.config.compressed_vocab_size,
                   layout.canonical_size);
  if (said.config.layer_ids.size() != layout.layers.size())
    return differs("the number of engram_layer_ids",
                   static_cast<Index>(said.config.layer_ids.size()),
                   static_cast<Index>(layout.layers.size()));
  for (std::size_t l = 0; l < layout.layers.size(); ++l) {
    if (said.config.layer_ids[l] != layout.layers[l].layer_id)
      return differs("a layer of engram_layer_ids", said.config.layer_ids[l],
                     layout.layers[l].layer_id);
    if (said.num_embeddings[l] != layout.layers[l].rows)
      return differs("a size of engram_num_embeddings", said.num_embeddings[l],
                     layout.layers[l].rows);
  }
  if (said.config.pad_id >= map.vocab_size() || to_integer(map(said.config.pad_id)) != layout.pad)
    return differs("the token of the pad", said.config.pad_id, layout.pad);
  return {};
}

inline Result<GgufEngram> GgufEngramReader::read() {
  if (Result<void> found = find_keys(); !found.ok()) return found.failure();
  const Result<GgufDialect> dialect = find_dialect();
  if (!dialect.ok()) return dialect.failure();
  dialect_ = dialect.value();
  if (dialect_ == GgufDialect::a && model_ != "deepseek41.")
    return fail(Code::unsupported,
                {keys_->file().path(), ": keys of dialect A begin with deepseek41., found ",
                 keys_->full("*")});
  parts_.layer_ids = keys_->integers("layer_ids", -1, 0, INT32_MAX);
  if (parts_.layer_ids.size() > max_layers)
    keys_->refuse({keys_->full("layer_ids"), " has ", parts_.layer_ids.size(),
                   " entries, expected at most ", max_layers});
  if (dialect_ == GgufDialect::a)
    read_geometry_a();
  else
    read_geometry_b();
  if (!keys_->failure()) read_constants(dialect_ == GgufDialect::b);
  if (keys_->failure()) return *keys_->failure();
  if (Result<void> found = find_tables(); !found.ok()) return found.failure();
  Result<TokenMap> map = read_map();
  if (!map.ok()) return map.failure();
  if (const Index size = map.value().canonical_size();
      parts_.canonical_size != 0 && parts_.canonical_size != size)
    return mismatch({keys_->full("compressed_vocab_size"), " is ", parts_.canonical_size,
                     ", the token map has ", size, " canonical ids"});
  if (parts_.primes.empty())
    if (Result<void> computed = compute_primes(); !computed.ok()) return computed.failure();
  Result<Layout> layout = make_checked_layout(map.value());
  if (!layout.ok()) return layout.failure();
  if (Result<void> fits = check_offsets(layout.value()); !fits.ok()) return fits.failure();
  if (dialect_ == GgufDialect::b && parts_.offsets.empty())
    note("offsets", {"not in the file, computed from the primes"});
  if (dialect_ == GgufDialect::a)
    if (Result<void> fits = check_config(layout.value(), map.value()); !fits.ok())
      return fits.failure();
  return GgufEngram{dialect_, std::move(layout).value(), std::move(map).value(),
                    width_,   std::move(tables_),        std::move(notes_)};
}

/// The Engram part of a model in one GGUF file, or in the files into which it was split.
///
/// Fails with unsupported for other dialects, encodings and table types, by name; with corrupt for
/// keys that are missing, of another type or out of range; with mismatch for parts that contradict
/// one another, or the released model when the tables are of its size. Reads no row.
/// Cost  some hundred milliseconds where a token map must be computed.
inline Result<GgufEngram> read_gguf_engram(std::span<const GgufFile> files) {
  return GgufEngramReader(files).read();
}

/// The same from the files' names.
inline Result<GgufEngram> open_gguf_engram(const std::vector<std::string>& paths) {
  std::vector<GgufFile> files;
  for (const std::string& path : paths) {
    Result<GgufFile> file = GgufFile::open(path);
    if (!file.ok()) return file.failure();
    files.push_back(std::move(file).value());
  }
  return read_gguf_engram(files);
}

ENGRAM_END_NAMESPACE
