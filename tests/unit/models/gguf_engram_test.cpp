// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The Engram part of GGUF files: both dialects give the layout that the numbers were made of and
// the rows that were written; what contradicts itself, is of another dialect or of an unknown
// encoding is refused by name; what is missing is computed, and said.

#include "catch.hpp"
#include "contains.hpp"
#include "gguf_model.hpp"
#include "scratch.hpp"

#include <engram/models/gguf_table.hpp>

#include <fstream>

using namespace engram;

namespace {

const std::string at = "deepseek41.engram.";

std::string written(const GgufWriter& w, const std::string& name) {
  const std::string path = scratch_path(name);
  write_file(path, as_bytes(w.file())).value();
  return path;
}

Result<GgufEngram> opened(const GgufWriter& w) {
  return open_gguf_engram({written(w, "model.gguf")});
}

void check_refused(const GgufWriter& w, Code code, std::initializer_list<std::string> words) {
  const auto read = opened(w);
  INFO(read.message());
  CHECK(read.status().code == code);
  CHECK(contains(read.message(), "model.gguf: "));
  for (const std::string& word : words) {
    INFO(word);
    CHECK(contains(read.message(), word));
  }
}

/// The same keys, one of them with another value.
template <class Change>
GgufWriter with(GgufWriter w, const std::string& key, const Change& change) {
  REQUIRE(w.remove(key));
  change(w);
  return w;
}
template <class T>
GgufWriter with_numbers(const GgufWriter& w, const std::string& name,
                        const std::vector<T>& values) {
  return with(w, at + name, [&](GgufWriter& out) { out.numbers(at + name, values); });
}
GgufWriter with_number(const GgufWriter& w, const std::string& name, std::uint32_t value) {
  return with(w, at + name, [&](GgufWriter& out) { out.number(at + name, value); });
}
GgufWriter without(GgufWriter w, const std::string& key) {
  REQUIRE(w.remove(key));
  return w;
}

/// What each of the layout's tables gives for all its rows, as floats.
template <class Codec>
void check_rows(const GgufWriter& w, const Codec& codec, Index width) {
  const auto read = opened(w);
  INFO(read.message());
  REQUIRE(read.ok());
  const GgufEngram& model = read.value();
  CHECK(model.row_width == width);
  CHECK(model.notes.empty());
  REQUIRE(model.tables.size() == 2);
  for (std::size_t l = 0; l < 2; ++l) {
    const auto table = open_gguf_table(model, l);
    INFO(table.message());
    REQUIRE(table.ok());
    const Index rows = model.layout.layers[l].rows;
    CHECK(table.value().num_rows() == rows);
    const std::string& data = w.tensors[l].data;
    const auto stride = static_cast<Index>(data.size()) / rows;
    std::vector<float> out(static_cast<std::size_t>(width));
    for (Index row = 0; row < rows; ++row) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(data.data()) + row * stride;
      REQUIRE(table.value()
                  .gather(View<const Index, 2>(&row, 1, 1), View<float, 2>(out.data(), 1, width))
                  .ok());
      bool same = true;
      for (Index d = 0; d < width; ++d) {
        const float expected = codec.value({bytes, bytes + codec.code_bytes(width)}, d);
        const float found = out[static_cast<std::size_t>(d)];
        same = same && (is_nan(expected) ? is_nan(found) : to_bits(expected) == to_bits(found));
      }
      CHECK(same);
    }
  }
}

}  // namespace

TEST_CASE("gguf engram: both dialects give the layout and the rows that were written") {
  const auto a = opened(gguf_model_a());
  INFO(a.message());
  REQUIRE(a.ok());
  CHECK(a.value().dialect == GgufDialect::a);
  CHECK(first_difference(gguf_model_layout(), a.value().layout).empty());
  CHECK(a.value().tables[0].codes == "F8_E4M3");
  CHECK(a.value().tables[0].scales == "F8_E8M0");
  CHECK(a.value().tables[1].layer_id == 14);
  check_rows(gguf_model_a(), Fp8Codec(), 256);

  for (const char* arch : {"deepseek41", "deepseek4"}) {
    const auto b = opened(gguf_model_b(arch));
    INFO(b.message());
    REQUIRE(b.ok());
    CHECK(b.value().dialect == GgufDialect::b);
    CHECK(first_difference(gguf_model_layout(), b.value().layout).empty());
    CHECK(b.value().tables[1].codes == "Q8_0");
    CHECK(b.value().tables[1].scales.empty());
    CHECK(b.value().token_map.digest() == gguf_model_layout().token_map);
  }
  check_rows(gguf_model_b("deepseek4"), Q8_0Codec(), 64);
  check_rows(gguf_model_b("deepseek41", 0, 8, 32), F32Codec(), 8);
  check_rows(gguf_model_b("deepseek41", 1, 8, 16), F16Codec(), 8);
  check_rows(gguf_model_b("deepseek41", 30, 8, 16), Bf16Codec(), 8);
  check_rows(gguf_model_b("deepseek41", 10, 256, 84), Q2_KCodec(), 256);
  check_rows(gguf_model_b("deepseek41", 11, 256, 110), Q3_KCodec(), 256);
  check_rows(gguf_model_b("deepseek41", 12, 512, 288), Q4_KCodec(), 512);
  check_rows(gguf_model_b("deepseek41", 14, 256, 210), Q6_KCodec(), 256);
}

TEST_CASE("gguf engram: integers of another width are the same integers") {
  GgufWriter w = with_numbers<std::int64_t>(gguf_model_b(), "layer_ids", {1, 14});
  w = with(w, at + "pad_id", [](GgufWriter& o) { o.number<std::int8_t>(at + "pad_id", 2); });
  const auto read = opened(w);
  INFO(read.message());
  REQUIRE(read.ok());
  CHECK(read.value().layout == gguf_model_layout());
}

TEST_CASE("gguf engram: constants that are missing are computed and said") {
  GgufWriter w = gguf_model_b("deepseek4");
  std::vector<std::string> tokens;  // the last two are one key
  for (int i = 0; i < 48; ++i) tokens.push_back("x" + std::to_string(i));
  tokens.push_back("Key");
  tokens.push_back("key");
  w.texts("tokenizer.ggml.tokens", tokens);
  const char* const names[] = {"primes", "token_map", "multipliers", "pad_id", "offsets"};
  for (const char* name : names) {
    const GgufWriter one = without(w, std::string("deepseek4.engram.") + name);
    const auto read = opened(one);
    INFO(read.message());
    REQUIRE(read.ok());
    CHECK(read.value().layout == gguf_model_layout());
    REQUIRE(read.value().notes.size() == 1);
    CHECK(contains(read.value().notes[0],
                   std::string("deepseek4.engram.") + name + ": not in the file, computed"));
  }
  for (const char* name : names) REQUIRE(w.remove(std::string("deepseek4.engram.") + name));
  const auto read = opened(w);
  INFO(read.message());
  REQUIRE(read.ok());
  CHECK(read.value().layout == gguf_model_layout());
  CHECK(read.value().notes.size() == 5);

  CHECK(contains(opened(without(w, "tokenizer.ggml.tokens")).message(),
                 "deepseek4.engram.token_map is missing, and no tokenizer.ggml.tokens"));
  GgufWriter rows = w;  // no primes from anywhere on have these sums
  rows.tensors[1].shape[1] = 257;
  rows.tensors[1].data.resize(257 * 68);
  CHECK(contains(opened(rows).message(),
                 "primes is missing and cannot be computed: primes from 41 on give 258 rows for "
                 "layer 14, its table has 257"));
  rows.tensors[0].shape[1] = 1;
  rows.tensors[0].data.resize(68);
  CHECK(contains(opened(rows).message(), "cannot be computed"));
  // Of dialect A, none may be missing.
  for (const char* name : {"primes", "token_map", "multipliers", "pad_id", "layer_ids", "rows",
                           "compressed_vocab_size", "encoding"})
    check_refused(without(gguf_model_a(), at + name), Code::corrupt, {at + name + " is missing"});
  for (const char* name : {"layer_ids", "head_count", "key_length", "max_ngram_size"})
    check_refused(without(gguf_model_b(), at + name), Code::corrupt, {at + name + " is missing"});
}

TEST_CASE("gguf engram: numbers of the released model must be the released ones") {
  // A header says where tables are; that they are not there is for the store to find.
  GgufWriter w;
  w.numbers<std::uint32_t>(at + "layer_ids", {1, 14});
  w.number<std::uint32_t>(at + "head_count", 8);
  w.number<std::uint32_t>(at + "key_length", 256);
  w.number<std::uint32_t>(at + "max_ngram_size", 4);
  w.tensors.push_back({"blk.1.engram_embd.weight", {256, 384006168}, 12, ""});
  w.tensors.push_back({"blk.14.engram_embd.weight", {256, 384016682}, 12, ""});
  const auto read = [](GgufWriter file) {
    const std::uint64_t second = 384006168ULL * 144 + 31 & ~31ULL;
    const std::string header = file.header();
    const std::string bytes = header.substr(0, header.size() - 8) + gguf_bytes(second);
    const auto parsed = GgufFile::parse(as_bytes(bytes), Index{1} << 38, "x.gguf");
    INFO(parsed.message());
    REQUIRE(parsed.ok());
    return read_gguf_engram(std::span(&parsed.value(), 1));
  };
  std::vector<std::int32_t> map(129280);
  for (int i = 0; i < 129280; ++i) map[static_cast<std::size_t>(i)] = std::min(i, 99091);
  GgufWriter other = w;
  other.numbers(at + "token_map", map);
  const auto refused = read(other);  // of the right sizes, and still another map
  CHECK(refused.status().code == Code::mismatch);
  INFO(refused.message());
  CHECK(contains(refused.message(), "the token map's digest is"));
  CHECK(contains(refused.message(), "expected c60a8632"));
  map.pop_back();
  GgufWriter shorter = w;
  shorter.numbers(at + "token_map", map);
  CHECK(contains(read(shorter).message(), "the token map has 129279 entries, expected 129280"));
}

TEST_CASE("gguf engram: other dialects and encodings are refused by name") {
  GgufWriter c = gguf_model_b();
  c.number<std::uint32_t>("deepseek41.engram_head_dim", 64);
  check_refused(c, Code::unsupported, {"dialect C (key \"deepseek41.engram_head_dim\")"});
  GgufWriter present = gguf_model_b();
  present.number<bool>(at + "present", true);
  check_refused(present, Code::unsupported, {"dialect C (key \"deepseek41.engram.present\")"});
  GgufWriter tensors = gguf_model_b();
  tensors.tensors.push_back({"engram_primes.weight", {8}, 27, std::string(64, '\1')});
  check_refused(tensors, Code::unsupported, {"dialect C (tensor \"engram_primes.weight\")"});
  for (const char* name : {"head_dim", "n_heads", "pad_token_id", "num_embeddings"}) {
    GgufWriter d = gguf_model_a();
    d.number<std::uint32_t>(at + name, 2);
    check_refused(d, Code::unsupported, {"dialect D (key \"" + at + name});
  }
  GgufWriter both = gguf_model_b();
  both.number<std::uint32_t>(at + "compressed_vocab_size", 49);
  check_refused(both, Code::corrupt, {"compressed_vocab_size is of dialect A", "of dialect B"});
  GgufWriter neither;
  neither.number<std::uint32_t>(at + "layer_ids", 1);
  check_refused(neither, Code::unsupported, {"of no known dialect"});
  check_refused(GgufWriter(), Code::mismatch, {"no Engram keys"});
  GgufWriter twice = gguf_model_b();
  twice.number<std::uint32_t>("deepseek4.engram.pad_id", 2);
  check_refused(twice, Code::mismatch, {"expected keys once"});
  GgufWriter old;
  old.text("deepseek4.engram.encoding", "e4m3_e8m0_32_row264");
  check_refused(old, Code::unsupported, {"keys of dialect A begin with deepseek41."});

  for (const char* name : {"lloyd4_e5m3_32_r136", "q4_k_row144", ""})
    check_refused(with(gguf_model_a(), at + "encoding",
                       [&](GgufWriter& w) { w.text(at + "encoding", name); }),
                  Code::unsupported,
                  {"encoding is \"" + std::string(name) + "\", which is not read; known: e4m3"});
  check_refused(with_number(gguf_model_a(), "encoding", 1), Code::corrupt,
                {"encoding is u32, expected a string"});
  GgufWriter external = gguf_model_a();
  external.text(at + "storage", "external");
  check_refused(external, Code::unsupported, {"storage is \"external\"", "outside of the file"});

  check_refused(gguf_model_b("deepseek41", 17, 256, 74), Code::unsupported,
                {"tensor \"blk.1.engram_embd.weight\": table type IQ2_XS is not read; known: F32, "
                 "F16, BF16, Q8_0, Q2_K, Q3_K, Q4_K, Q6_K"});
  check_refused(gguf_model_b("deepseek41", 24, 64, 64), Code::unsupported, {"table type I8"});
  check_refused(gguf_model_b("deepseek41", 99, 64, 68), Code::unsupported, {"table type #99"});
}

TEST_CASE("gguf engram: keys of another type or count or range") {
  const GgufWriter a = gguf_model_a();
  const GgufWriter b = gguf_model_b();
  check_refused(with_number(b, "layer_ids", 1), Code::corrupt,
                {"layer_ids is u32, expected an array of integers"});
  check_refused(with_numbers<float>(b, "layer_ids", {1, 14}), Code::corrupt,
                {"layer_ids: entry 0 is f32"});
  check_refused(with_numbers<std::int32_t>(b, "layer_ids", {1, -1}), Code::corrupt,
                {"entry 1 is -1, expected an integer from 0 to 2147483647"});
  check_refused(with_numbers<std::int32_t>(b, "layer_ids", {}), Code::corrupt,
                {"layer_ids has 0 entries, expected at least 1"});
  check_refused(with_numbers<std::int32_t>(b, "layer_ids", std::vector<std::int32_t>(1025, 1)),
                Code::corrupt, {"1025 entries, expected at most 1024"});
  check_refused(with_numbers<std::uint32_t>(b, "pad_id", {2}), Code::corrupt,
                {"pad_id is an array of 1 u32, expected an integer"});
  check_refused(with_number(b, "pad_id", 49), Code::bad_token,
                {"id 49 is not a token id below 49"});
  check_refused(with_number(b, "max_ngram_size", 9), Code::corrupt, {"max_ngram_size is 9"});
  check_refused(with_number(b, "head_count", 0), Code::corrupt, {"head_count is 0"});
  check_refused(with_number(b, "head_count", 3), Code::corrupt,
                {"primes has 8 entries, expected 12"});
  check_refused(with_number(with_number(b, "head_count", 256), "max_ngram_size", 8), Code::corrupt,
                {"2 layers of 1792 columns, expected at most 2048"});
  check_refused(with_number(a, "compressed_vocab_size", 50), Code::mismatch,
                {"compressed_vocab_size is 50, the token map has 49"});
  check_refused(with_numbers<std::uint32_t>(a, "rows", {184}), Code::corrupt,
                {"rows has 1 entries, expected 2"});
  check_refused(with_numbers<std::uint32_t>(a, "rows", {184, 257}), Code::mismatch,
                {"rows of layer 14 is 257", "has 258"});
  check_refused(with_numbers<std::int32_t>(b, "token_map", {}), Code::corrupt, {"token_map has 0"});
  check_refused(with_numbers<std::int32_t>(b, "token_map", {0, -1}), Code::corrupt,
                {"token_map: entry 1 is -1"});
  GgufWriter tokens = b;
  tokens.texts("tokenizer.ggml.tokens", std::vector<std::string>(49, "t"));
  check_refused(tokens, Code::mismatch, {"has 50 entries, tokenizer.ggml.tokens only 49"});
  auto multipliers = gguf_model_array<std::uint64_t>(gguf_multipliers);
  multipliers[4] += 1;
  check_refused(with_numbers(b, "multipliers", multipliers), Code::invalid_config,
                {"layer 14: multiplier 1 is", "which is even"});
  multipliers[4] = INT64_MAX;
  check_refused(with_numbers(b, "multipliers", multipliers), Code::invalid_config,
                {"overflows 63 bits"});
  multipliers[4] = ~std::uint64_t{0};
  check_refused(with_numbers(b, "multipliers", multipliers), Code::corrupt,
                {"multipliers: entry 4 is 18446744073709551615"});
  multipliers.pop_back();
  check_refused(with_numbers(b, "multipliers", multipliers), Code::corrupt,
                {"multipliers has 5 entries, expected 6"});
  check_refused(with_numbers(a, "multipliers", multipliers), Code::corrupt,
                {"multipliers has 5 entries, expected 2 to 8 for each of 2 layers"});
  auto primes = gguf_model_array<std::uint32_t>(gguf_primes);
  primes[3] += 2;
  for (const GgufWriter& w : {with_numbers(a, "primes", primes), with_numbers(b, "primes", primes)})
    check_refused(w, Code::mismatch, {"the primes of layer 1 add up to 186", "has 184 rows"});
  primes[3] = 0;
  check_refused(with_numbers(b, "primes", primes), Code::corrupt, {"primes: entry 3 is 0"});
  primes.resize(6);
  check_refused(with_numbers(a, "primes", primes), Code::corrupt,
                {"primes has 3 entries a layer, expected a multiple of 2"});
  auto offsets = gguf_model_array<std::uint64_t>(gguf_offsets);
  offsets[5] += 1;
  check_refused(with_numbers(b, "offsets", offsets), Code::mismatch, {"offsets: entry 5 is"});
}

TEST_CASE("gguf engram: tables of another shape or place") {
  GgufWriter missing = gguf_model_b();
  missing.tensors.pop_back();
  check_refused(missing, Code::mismatch, {"tensor \"blk.14.engram_embd.weight\" is missing"});
  missing.number<std::uint16_t>("split.count", 2);
  check_refused(missing, Code::mismatch, {"the model is split, name all of its files"});
  GgufWriter extra = gguf_model_b();
  extra.tensors.push_back({"blk.20.engram_embd.weight", {64, 1}, 8, std::string(68, '\0')});
  check_refused(extra, Code::unsupported, {"\"blk.20.engram_embd.weight\" belongs to no layer"});
  GgufWriter wide = with_number(gguf_model_b(), "key_length", 32);
  check_refused(wide, Code::mismatch, {"its shape is [64, 184], expected [32, rows]"});
  GgufWriter flat = gguf_model_a();
  flat.tensors[0].shape = {264 * 184};
  check_refused(flat, Code::mismatch, {"its shape is [48576], expected [264, rows]"});
  GgufWriter typed = gguf_model_a();
  typed.tensors[1].type = 25;
  typed.tensors[1].data.resize(2 * 264 * 258);
  check_refused(typed, Code::mismatch, {"its type is I16, expected I8"});
}

TEST_CASE("gguf engram: a model in two files") {
  GgufWriter first = gguf_model_b();
  GgufWriter second;
  second.tensors.push_back(first.tensors[1]);
  first.tensors.pop_back();
  const std::string a = written(first, "1.gguf");
  const std::string b = written(second, "2.gguf");
  const auto read = open_gguf_engram({b, a});
  INFO(read.message());
  REQUIRE(read.ok());
  CHECK(read.value().tables[0].segment.codes.path == a);
  CHECK(read.value().tables[1].segment.codes.path == b);
  CHECK(contains(open_gguf_engram({a, b, b}).message(), "is in"));
  CHECK(contains(open_gguf_engram({a, a, b}).message(), "expected keys once"));
  CHECK(open_gguf_engram({}).status().code == Code::mismatch);
  CHECK(open_gguf_engram({a, scratch_path("none")}).status().code == Code::io);
}

TEST_CASE("gguf engram: the configuration in dialect A is held against the keys") {
  const std::string right =
      R"({"text_config":{"engram_layer_ids":[1,14],"engram_num_embeddings":[184,258],
      "engram_max_ngram_size":3,"engram_vocab_size":40,"engram_n_heads":2,"engram_head_dim":256,
      "engram_compressed_vocab_size":49,"vocab_size":50,"hc_mult":4,"engram_pad_token_id":2,
      "hidden_size":64,"rms_norm_eps":1e-20}})";
  const auto with_config = [](const std::string& text) {
    GgufWriter w = gguf_model_a();
    w.text("deepseek41.config", text);
    return w;
  };
  const auto read = opened(with_config(right));
  INFO(read.message());
  REQUIRE(read.ok());
  CHECK(read.value().notes.empty());
  const std::pair<const char*, const char*> changes[] = {
      {"[1,14]", "[1,15]"},
      {"[184,258]", "[184,259]"},
      {"\"engram_max_ngram_size\":3", "\"engram_max_ngram_size\":4"},
      {"\"engram_n_heads\":2", "\"engram_n_heads\":4"},
      {"\"engram_head_dim\":256", "\"engram_head_dim\":128"},
      {"\"engram_compressed_vocab_size\":49", "\"engram_compressed_vocab_size\":50"},
      {"\"engram_pad_token_id\":2", "\"engram_pad_token_id\":3"},
      {"\"engram_pad_token_id\":2", "\"engram_pad_token_id\":50"}};
  for (const auto& [from, to] : changes) {
    std::string text = right;
    text.replace(text.find(from), std::string(from).size(), to);
    check_refused(with_config(text), Code::mismatch, {"deepseek41.config: "});
  }
  const auto other = opened(with_config("{}"));
  REQUIRE(other.ok());
  REQUIRE(other.value().notes.size() == 1);
  CHECK(contains(other.value().notes[0], "deepseek41.config: not held against the keys"));
}
