// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Writes what the trainer made. The parts that hold many entries get one entry a line, so that two
// files can be compared.

#include "trainer.hpp"

#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/utf8.hpp>

#include <span>

namespace engram::bpe {
namespace {

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

/// Precondition: valid UTF-8 in all strings, as the parser ensures.
void append_json(const Json& json, std::string& out) {
  switch (json.kind()) {
    case Json::Kind::null:
      out += "null";
      return;
    case Json::Kind::boolean:
      out += *json.as_boolean() ? "true" : "false";
      return;
    case Json::Kind::integer:
      out += std::to_string(*json.as_integer());
      return;
    case Json::Kind::unsigned_integer:
      out += std::to_string(*json.as_unsigned());
      return;
    case Json::Kind::real:
      out += nlohmann::json(*json.as_number()).dump();
      return;
    case Json::Kind::string:
      out += quoted(*json.as_string());
      return;
    case Json::Kind::array: {
      const char* before = "[";
      for (const Json& item : *json.as_array()) {
        out += before;
        append_json(item, out);
        before = ", ";
      }
      out += json.as_array()->empty() ? "[]" : "]";
      return;
    }
    case Json::Kind::object: {
      const char* before = "{";
      for (const auto& [key, value] : *json.as_object()) {
        out.append(before).append(quoted(key)).append(": ");
        append_json(value, out);
        before = ", ";
      }
      out += json.as_object()->empty() ? "{}" : "}";
      return;
    }
  }
}

/// One item a line, with `separator` between them.
class Lines {
 public:
  Lines(std::string& out, const char* indent) : out_(out), indent_(indent) {}
  std::string& next() {
    out_ += first_ ? "\n" : ",\n";
    first_ = false;
    return out_ += indent_;
  }
  void end(const char* close) { out_.append(first_ ? "" : "\n  ").append(close); }

 private:
  std::string& out_;
  const char* indent_;
  bool first_ = true;
};

}  // namespace

Result<std::string> to_json_text(const TokenizerJson& tokenizer) {
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id)
    if (const std::string& text = tokenizer.tokens[id]; find_invalid_utf8(text) != text.size())
      return fail(Code::unsupported, {"token ", id, ": its text is not UTF-8"},
                  static_cast<Index>(id));
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  out += "  \"added_tokens\": [";
  Lines added(out, "    ");
  const auto flag = [&out](const char* key, bool value) {
    out += sentence({", \"", key, value ? "\": true" : "\": false"});
  };
  for (const AddedToken& token : tokenizer.added_tokens) {
    if (find_invalid_utf8(token.content) != token.content.size())
      return fail(Code::unsupported, {"added token ", token.id, ": its text is not UTF-8"},
                  token.id);
    added.next() += sentence({"{\"id\": ", token.id, ", \"content\": ", quoted(token.content)});
    flag("single_word", token.single_word);
    flag("lstrip", token.lstrip);
    flag("rstrip", token.rstrip);
    flag("normalized", token.normalized);
    flag("special", token.special);
    out += '}';
  }
  added.end("],\n  \"normalizer\": ");
  append_json(tokenizer.normalizer, out);
  out += ",\n  \"pre_tokenizer\": ";
  append_json(tokenizer.pre_tokenizer, out);
  out +=
      ",\n  \"post_processor\": null,\n"
      "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
      "\"trim_offsets\": true, \"use_regex\": true},\n"
      "  \"model\": {\n  \"type\": \"BPE\",\n  \"dropout\": null,\n  \"unk_token\": null,\n"
      "  \"continuing_subword_prefix\": null,\n  \"end_of_word_suffix\": null,\n"
      "  \"fuse_unk\": false,\n  \"byte_fallback\": false,\n  \"ignore_merges\": ";
  out += tokenizer.ignore_merges ? "true" : "false";
  out += ",\n  \"vocab\": {";
  Lines vocab(out, "    ");
  for (std::size_t id = 0; id < tokenizer.tokens.size(); ++id)
    vocab.next() += sentence({quoted(tokenizer.tokens[id]), ": ", id});
  vocab.end("},\n  \"merges\": [");
  Lines merges(out, "    ");
  for (const auto& [left, right] : tokenizer.merges)
    merges.next() += sentence({"[", quoted(left), ", ", quoted(right), "]"});
  merges.end("]\n  }\n}\n");
  return out;
}

Result<void> write_tokenizer_json(const TokenizerJson& tokenizer, const std::string& path) {
  const Result<std::string> text = to_json_text(tokenizer);
  if (!text.ok()) return text.failure();
  return write_file(path, std::as_bytes(std::span(text.value())));
}

}  // namespace engram::bpe
