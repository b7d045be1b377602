// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads the tokenizer.json of a byte-level BPE tokenizer: the token string of every id, from which
// the token map is built, and what an encoder needs. The file may come from anywhere, and a token
// under the wrong id moves every address, so nothing doubtful is let through.

#include <engram/io/file.hpp>
#include <engram/io/json.hpp>

#include <algorithm>
#include <unordered_map>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// A token that is matched in the text before the tokenizer proper runs. A flag that the file does
/// not give is false; `normalized` then is the opposite of `special`, as in the reference.
struct AddedToken {
  std::int32_t id = -1;
  std::string content;
  bool special = false;
  bool normalized = false;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
};

/// What a tokenizer.json says.
struct TokenizerJson {
  /// Token string of each id: in the byte alphabet, or an added token's text.
  std::vector<std::string> tokens;
  std::vector<AddedToken> added_tokens;
  /// In rank order; both parts and their join are tokens.
  std::vector<std::pair<std::string, std::string>> merges;
  bool ignore_merges = false;
  /// As read; null when absent.
  Json normalizer;
  Json pre_tokenizer;
};

/// Reads a tokenizer.json. `name` is the file's name, for the sentence.
///
/// Only byte-level BPE: model BPE without byte fallback, dropout or affixes, decoder ByteLevel.
/// Ids must be 0 to n-1 without a gap: the reference walks 0 to n-1 for n tokens, so that with a
/// gap it would ask for ids that do not exist and never reach the last ones; there is no map to
/// agree with. Ids beyond the last entry have no canonical id (bad_token at address time).
///
/// Fails with corrupt (not JSON: index is the byte offset; an impossible entry: index is the id,
/// the rank or the entry) or unsupported (another kind of tokenizer). Linear in the text.
inline Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& name);

/// The same from a file. Fails also with io.
inline Result<TokenizerJson> read_tokenizer_json(const std::string& path);

/// Does the work of parse_tokenizer_json(), once.
class TokenizerJsonReader {
 public:
  explicit TokenizerJsonReader(const std::string& name) : name_(name) {}
  Result<TokenizerJson> read(Json& root);

 private:
  Failure corrupt(std::initializer_list<Piece> reason, Index index = -1) const {
    return fail(Code::corrupt, {name_, ": ", sentence(reason)}, index);
  }
  Failure unsupported(const char* what, std::string_view found) const {
    return fail(Code::unsupported,
                {name_, ": ", what, found, "; only byte-level BPE tokenizers are read"});
  }
  /// The text in quotes for a message: control characters as '?', long texts cut.
  static std::string quote(std::string_view text);

  /// The member, or null when there is none. Two of one name are refused.
  Result<Json*> member(Json& object, const char* key) const;
  Result<void> check_model_kind(Json& model) const;
  /// Sets `byte_level` when the decoder, or one in its sequence, is ByteLevel.
  Result<void> check_decoder(Json& decoder, bool& byte_level) const;
  Result<std::int32_t> read_id(const Json& value, const std::string& item) const;
  Result<bool> read_flag(Json& entry, const char* key, bool otherwise,
                         const std::string& item) const;
  Result<void> read_vocab(Json& vocab);
  Result<void> read_added_token(Json& entry, std::size_t at);
  Result<void> read_merge(Json& entry, std::size_t rank);
  Result<void> place_tokens();

  struct Entry {
    std::int32_t id;
    std::string* text;
  };
  struct Known {
    std::int32_t id;
    bool added;  // named by added_tokens
  };
  const std::string& name_;
  TokenizerJson out_;
  std::vector<Entry> entries_;  // of both lists; the texts lie in the tree
  std::unordered_map<std::string_view, Known> ids_;
};

inline std::string TokenizerJsonReader::quote(std::string_view text) {
  std::size_t size = std::min<std::size_t>(text.size(), 60);
  while (size < text.size() && size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80)
    --size;
  std::string quoted = "\"";
  for (const char c : text.substr(0, size))
    quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return quoted + (size < text.size() ? "...\"" : "\"");
}

inline Result<Json*> TokenizerJsonReader::member(Json& object, const char* key) const {
  if (object.count(key) > 1) return corrupt({"the member '", key, "' occurs twice"});
  return object.find(key);
}

inline Result<void> TokenizerJsonReader::check_model_kind(Json& model) const {
  const Result<Json*> type = member(model, "type");
  if (!type.ok()) return type.failure();
  // Files of 2020 have no type; what has merges is BPE.
  if (const Json* kind = type.value(); kind != nullptr) {
    const std::string* text = kind->as_string();
    if (text == nullptr) return corrupt({"model.type is ", to_string(kind->kind())});
    if (*text != "BPE") return unsupported("the model is ", quote(*text));
  }
  for (const char* key :
       {"byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout"}) {
    const Result<Json*> option = member(model, key);
    if (!option.ok()) return option.failure();
    const Json* value = option.value();
    if (value == nullptr || value->is_null() || value->as_boolean() == false ||
        value->as_number() == 0.0)
      continue;
    if (const std::string* text = value->as_string(); text != nullptr && text->empty()) continue;
    return unsupported("the model has ", key);
  }
  return {};
}

inline Result<void> TokenizerJsonReader::check_decoder(Json& decoder, bool& byte_level) const {
  const Result<Json*> type = member(decoder, "type");
  if (!type.ok()) return type.failure();
  const std::string* text = type.value() ? type.value()->as_string() : nullptr;
  if (text == nullptr) return corrupt({"the decoder has no type"});
  if (*text == "ByteLevel") byte_level = true;
  if (*text == "ByteLevel" || *text == "Fuse") return {};
  if (*text != "Sequence") return unsupported("the decoder is ", quote(*text));
  const Result<Json*> list = member(decoder, "decoders");
  if (!list.ok()) return list.failure();
  Json::Array* parts = list.value() ? list.value()->as_array() : nullptr;
  if (parts == nullptr) return corrupt({"the decoder is a sequence without a list 'decoders'"});
  for (Json& part : *parts)
    if (auto checked = check_decoder(part, byte_level); !checked.ok()) return checked;
  return {};
}

inline Result<std::int32_t> TokenizerJsonReader::read_id(const Json& value,
                                                         const std::string& item) const {
  const std::optional<std::int64_t> id = value.as_integer();
  if (!id && value.kind() != Json::Kind::unsigned_integer)
    return corrupt({item, ": the id is ", to_string(value.kind()), ", expected an integer"});
  if (!id || *id > 0x7FFFFFFF) return corrupt({item, ": the id is larger than 2147483647"});
  if (*id < 0) return corrupt({item, ": the id is ", *id, ", below 0"}, *id);
  return static_cast<std::int32_t>(*id);
}

inline Result<bool> TokenizerJsonReader::read_flag(Json& entry, const char* key, bool otherwise,
                                                   const std::string& item) const {
  const Result<Json*> found = member(entry, key);
  if (!found.ok()) return found.failure();
  if (found.value() == nullptr) return otherwise;
  const std::optional<bool> flag = found.value()->as_boolean();
  if (!flag) return corrupt({item, ": '", key, "' is ", to_string(found.value()->kind())});
  return *flag;
}

inline Result<void> TokenizerJsonReader::read_vocab(Json& vocab) {
  Json::Object* object = vocab.as_object();
  if (object == nullptr)
    return corrupt({"model.vocab is ", to_string(vocab.kind()), ", expected an object"});
  ids_.reserve(object->size());
  entries_.reserve(object->size());
  for (std::size_t i = 0; i < object->size(); ++i) {
    std::string& text = (*object)[i].first;
    const Json& value = (*object)[i].second;
    // Put together only when needed: there are as many items as tokens.
    const auto item = [&] { return sentence({"vocab entry ", i, " ", quote(text)}); };
    const std::optional<std::int64_t> id = value.as_integer();
    if (!id || *id < 0 || *id > 0x7FFFFFFF) return read_id(value, item()).failure();
    const Known known{static_cast<std::int32_t>(*id), false};
    if (!ids_.try_emplace(text, known).second)
      return corrupt({item(), ": the same key is there twice"}, static_cast<Index>(i));
    entries_.push_back({known.id, &text});
  }
  return {};
}

inline Result<void> TokenizerJsonReader::read_added_token(Json& entry, std::size_t at) {
  std::string item = sentence({"added_tokens[", at, "]"});
  if (entry.as_object() == nullptr)
    return corrupt({item, " is ", to_string(entry.kind()), ", expected an object"});
  const Result<Json*> content = member(entry, "content");
  if (!content.ok()) return content.failure();
  std::string* text = content.value() ? content.value()->as_string() : nullptr;
  if (text == nullptr || text->empty()) return corrupt({item, " has no text 'content'"});
  item = sentence({item, " ", quote(*text)});
  const Result<Json*> number = member(entry, "id");
  if (!number.ok()) return number.failure();
  if (number.value() == nullptr) return corrupt({item, " has no 'id'"});
  const Result<std::int32_t> id = read_id(*number.value(), item);
  if (!id.ok()) return id.failure();

  AddedToken token;
  token.id = id.value();
  token.content = *text;
  const auto flag = [&](const char* key, bool otherwise, bool& to) -> Result<void> {
    const Result<bool> read = read_flag(entry, key, otherwise, item);
    if (!read.ok()) return read.failure();
    to = read.value();
    return {};
  };
  if (auto r = flag("special", false, token.special); !r.ok()) return r;
  if (auto r = flag("normalized", !token.special, token.normalized); !r.ok()) return r;
  if (auto r = flag("single_word", false, token.single_word); !r.ok()) return r;
  if (auto r = flag("lstrip", false, token.lstrip); !r.ok()) return r;
  if (auto r = flag("rstrip", false, token.rstrip); !r.ok()) return r;

  const auto [place, fresh] = ids_.try_emplace(*text, Known{token.id, true});
  Known& known = place->second;
  if (known.id != token.id)
    return corrupt({item, ": the same text has id ", known.id, " and id ", token.id}, token.id);
  if (!fresh && known.added)
    return corrupt({item, ": the same entry is there twice"}, static_cast<Index>(at));
  known.added = true;
  if (fresh) entries_.push_back({token.id, text});
  out_.added_tokens.push_back(std::move(token));
  return {};
}

inline Result<void> TokenizerJsonReader::read_merge(Json& entry, std::size_t rank) {
  const auto bad = [&](std::initializer_list<Piece> reason) {
    return corrupt({"merge of rank ", rank, sentence(reason)}, static_cast<Index>(rank));
  };
  std::pair<std::string, std::string> merge;
  if (const std::string* text = entry.as_string()) {
    const std::size_t space = text->find(' ');
    if (space == std::string::npos || text->find(' ', space + 1) != std::string::npos)
      return bad({" ", quote(*text), ": expected two parts with one space between them"});
    merge = {text->substr(0, space), text->substr(space + 1)};
  } else {
    Json::Array* parts = entry.as_array();
    if (parts == nullptr || parts->size() != 2 || !(*parts)[0].as_string() ||
        !(*parts)[1].as_string())
      return bad({" is neither a string nor a pair of strings"});
    merge = {std::move(*(*parts)[0].as_string()), std::move(*(*parts)[1].as_string())};
  }
  std::string joined = merge.first + merge.second;
  for (const std::string* text : {&merge.first, &merge.second, &joined})
    if (!ids_.contains(*text)) return bad({": ", quote(*text), " is no token"});
  out_.merges.push_back(std::move(merge));
  return {};
}

inline Result<void> TokenizerJsonReader::place_tokens() {
  if (entries_.empty()) return corrupt({"there are no tokens"});
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.id < b.id; });
  for (std::size_t i = 1; i < entries_.size(); ++i)
    if (entries_[i].id == entries_[i - 1].id)
      return corrupt({"id ", entries_[i].id, " belongs to two tokens, ",
                      quote(*entries_[i - 1].text), " and ", quote(*entries_[i].text)},
                     entries_[i].id);
  // Ids differ and are not negative: there is a gap exactly when one is not its place.
  const Index last = entries_.back().id;
  const auto count = static_cast<Index>(entries_.size());
  for (Index i = 0; i < count; ++i) {
    const Entry& entry = entries_[static_cast<std::size_t>(i)];
    if (entry.id != i)
      return corrupt(
          {"id ", i, " is missing, the first of ", last + 1 - count, " between 0 and ", last}, i);
    out_.tokens.push_back(std::move(*entry.text));
  }
  return {};
}

inline Result<TokenizerJson> TokenizerJsonReader::read(Json& root) {
  if (root.as_object() == nullptr)
    return corrupt({"the file is ", to_string(root.kind()), ", expected an object"});
  const Result<Json*> model = member(root, "model");
  const Result<Json*> decoder = member(root, "decoder");
  const Result<Json*> added = member(root, "added_tokens");
  const Result<Json*> normalizer = member(root, "normalizer");
  const Result<Json*> pre_tokenizer = member(root, "pre_tokenizer");
  for (const Result<Json*>* part : {&model, &decoder, &added, &normalizer, &pre_tokenizer})
    if (!part->ok()) return part->failure();
  if (model.value() == nullptr || model.value()->as_object() == nullptr)
    return corrupt({"there is no object 'model'"});

  if (auto r = check_model_kind(*model.value()); !r.ok()) return r.failure();
  bool byte_level = false;
  if (decoder.value() != nullptr && !decoder.value()->is_null())
    if (auto r = check_decoder(*decoder.value(), byte_level); !r.ok()) return r.failure();
  if (!byte_level) return unsupported("the decoder is not ByteLevel", "");

  const Result<Json*> vocab = member(*model.value(), "vocab");
  const Result<Json*> merges = member(*model.value(), "merges");
  const Result<bool> ignore_merges = read_flag(*model.value(), "ignore_merges", false, "model");
  if (!vocab.ok()) return vocab.failure();
  if (!merges.ok()) return merges.failure();
  if (!ignore_merges.ok()) return ignore_merges.failure();
  if (vocab.value() == nullptr) return corrupt({"there is no model.vocab"});
  if (merges.value() == nullptr || merges.value()->as_array() == nullptr)
    return corrupt({"there is no list model.merges"});
  out_.ignore_merges = ignore_merges.value();

  if (auto r = read_vocab(*vocab.value()); !r.ok()) return r.failure();
  // Before the added tokens are known: they are no part of a merge.
  Json::Array& ranked = *merges.value()->as_array();
  out_.merges.reserve(ranked.size());
  for (std::size_t rank = 0; rank < ranked.size(); ++rank)
    if (auto r = read_merge(ranked[rank], rank); !r.ok()) return r.failure();
  if (added.value() != nullptr && !added.value()->is_null()) {
    Json::Array* list = added.value()->as_array();
    if (list == nullptr)
      return corrupt({"added_tokens is ", to_string(added.value()->kind()), ", expected a list"});
    for (std::size_t i = 0; i < list->size(); ++i)
      if (auto r = read_added_token((*list)[i], i); !r.ok()) return r.failure();
  }
  if (auto r = place_tokens(); !r.ok()) return r.failure();
  if (normalizer.value() != nullptr) out_.normalizer = std::move(*normalizer.value());
  if (pre_tokenizer.value() != nullptr) out_.pre_tokenizer = std::move(*pre_tokenizer.value());
  return std::move(out_);
}

inline Result<TokenizerJson> parse_tokenizer_json(std::string_view text, const std::string& name) {
  Result<Json> root = parse_json(text, name);
  if (!root.ok()) return root.failure();
  return TokenizerJsonReader(name).read(root.value());
}

inline Result<TokenizerJson> read_tokenizer_json(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text.ok()) return text.failure();
  return parse_tokenizer_json(text.value(), path);
}

ENGRAM_END_NAMESPACE
