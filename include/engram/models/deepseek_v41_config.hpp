// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The Engram part of a DeepSeek-V4.1 config.json. The file exists in two forms with partly
// different names: Hugging Face's, which nests the keys under text_config, and the flat one of the
// released inference code.

#include <engram/io/json.hpp>
#include <engram/io/json_names.hpp>
#include <engram/layer/config.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What the config.json says, as the library names it.
struct DeepseekV41Config {
  EngramConfig config;
  Index vocab_size = 0;               ///< token ids of the model
  std::vector<Index> num_embeddings;  ///< rows of each table
  Index head_dim = 0;                 ///< E, elements of a row

  Index columns() const noexcept {
    return Index{config.max_ngram_size - 1} * config.n_head_per_ngram;
  }
};

/// Reads one object's Engram keys.
class DeepseekV41ConfigReader {
 public:
  DeepseekV41ConfigReader(const Json& object, const std::string& name)
      : object_(object), name_(name) {}

  Result<DeepseekV41Config> read() {
    DeepseekV41Config out;
    const Index n = integer({"engram_max_ngram_size"}, 2, max_order);
    const Index heads = integer({"engram_n_heads"}, 1, max_heads);
    out.config.max_ngram_size = static_cast<std::int32_t>(n);
    out.config.n_head_per_ngram = static_cast<std::int32_t>(heads);
    const Index size = integer({"engram_vocab_size"}, 1, INT32_MAX);
    if (failure_.empty())
      out.config.engram_vocab_size.assign(static_cast<std::size_t>(n - 1), size);
    for (const Index id : integers("engram_layer_ids", INT32_MAX))
      out.config.layer_ids.push_back(static_cast<std::int32_t>(id));
    out.num_embeddings = integers("engram_num_embeddings", INT64_MAX);
    out.head_dim = integer({"engram_head_dim"}, 32, 1 << 16);
    out.config.pad_id =
        static_cast<std::int32_t>(integer({"engram_pad_token_id", "engram_pad_id"}, 0, INT32_MAX));
    out.config.compressed_vocab_size = integer({"engram_compressed_vocab_size"}, 1, Index{1} << 31);
    out.vocab_size = integer({"vocab_size"}, 1, Index{1} << 31);
    out.config.hidden_size = integer({"hidden_size", "dim"}, 32, 1 << 20);
    out.config.hc_mult = static_cast<std::int32_t>(integer({"hc_mult"}, 1, 64));
    out.config.norm_eps = number({"rms_norm_eps", "norm_eps"});
    out.config.n_embed_per_ngram = out.head_dim * heads;
    if (failure_.empty() && out.num_embeddings.size() != out.config.layer_ids.size())
      failure_ =
          sentence({"engram_num_embeddings has ", out.num_embeddings.size(), " entries, expected ",
                    out.config.layer_ids.size(), " as engram_layer_ids"});
    if (failure_.empty() &&
        out.columns() * static_cast<Index>(out.num_embeddings.size()) > most_moduli)
      failure_ = sentence({out.num_embeddings.size(), " layers of ", out.columns(),
                           " columns, expected at most ", most_moduli, " columns in all"});
    if (failure_.empty() && (out.head_dim % 32 != 0 || out.config.hidden_size % 32 != 0))
      failure_ = sentence({"engram_head_dim is ", out.head_dim, " and hidden_size ",
                           out.config.hidden_size, ", expected multiples of 32"});
    if (!failure_.empty()) return fail(Code::corrupt, {name_, ": ", failure_});
    return out;
  }

 private:
  static constexpr Index most_moduli = 2048;  // of V4.1: 48; finding primes takes quadratic time
  using Names = std::initializer_list<const char*>;

  /// The member of one of these names; null, and why, when there is none or more than one.
  const Json* member(Names names) {
    const Json* found = nullptr;
    std::string spelled;
    for (const char* name : names) {
      spelled += (spelled.empty() ? "" : " or ") + std::string(name);
      if (object_.count(name) + (found != nullptr ? 1 : 0) > 1)
        note({"more than one of ", spelled});
      if (const Json* value = object_.find(name)) found = value;
    }
    if (found == nullptr) note({spelled, " is missing"});
    return found;
  }

  Index integer(Names names, Index least, Index most) {
    const Json* value = member(names);
    if (value == nullptr) return least;
    const std::optional<std::int64_t> n = value->as_integer();
    if (!n || *n < least || *n > most) {
      note({*names.begin(), " is ", n ? std::to_string(*n) : to_string(value->kind()),
            ", expected an integer from ", least, " to ", most});
      return least;
    }
    return *n;
  }

  std::vector<Index> integers(const char* name, Index most) {
    const Json* value = member({name});
    if (value == nullptr) return {};
    const Json::Array* list = value->as_array();
    if (list == nullptr || list->empty() || list->size() > max_layers) {
      note({name, " is ", list ? sentence({"a list of ", list->size()}) : to_string(value->kind()),
            ", expected a list of 1 to ", max_layers, " integers"});
      return {};
    }
    std::vector<Index> numbers;
    for (const Json& item : *list) {
      const std::optional<std::int64_t> n = item.as_integer();
      if (!n || *n < 0 || *n > most) {
        note({name, " has ", n ? std::to_string(*n) : to_string(item.kind()),
              ", expected integers from 0 to ", most});
        return {};
      }
      numbers.push_back(*n);
    }
    return numbers;
  }

  float number(Names names) {
    const Json* value = member(names);
    if (value == nullptr) return 0;
    const std::optional<double> x = value->as_number();
    if (!x || !(*x >= 0) || !(*x <= 1)) {
      note({*names.begin(), " is ", x ? std::to_string(*x) : to_string(value->kind()),
            ", expected a number from 0 to 1"});
      return 0;
    }
    return static_cast<float>(*x);
  }

  void note(std::initializer_list<Piece> words) {
    if (failure_.empty()) failure_ = sentence(words);
  }

  const Json& object_;
  const std::string& name_;
  std::string failure_;  // the first one
};

/// The Engram keys of a config.json, nested under text_config or flat. `name` is the file's name.
///
/// Fails with corrupt: no JSON, a key missing (both its names said), twice, of another type or out
/// of range.
inline Result<DeepseekV41Config> parse_deepseek_v41_config(std::string_view text,
                                                           const std::string& name) {
  const Result<Json> root = parse_json(text, name);
  if (!root.ok()) return root.failure();
  const Json* object = &root.value();
  if (object->count("text_config") > 1)
    return fail(Code::corrupt, {name, ": text_config occurs twice"});
  if (const Json* nested = object->find("text_config"); nested != nullptr && !nested->is_null())
    object = nested;
  if (object->as_object() == nullptr)
    return fail(Code::corrupt, {name, ": ", to_string(object->kind()), ", expected an object"});
  return DeepseekV41ConfigReader(*object, name).read();
}

ENGRAM_END_NAMESPACE
