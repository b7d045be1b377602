// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"

#include <engram/io/tokenizer_json.hpp>

#include <string>
#include <vector>

using engram::Code;
using engram::parse_tokenizer_json;

namespace {

// A small good file, of which a test replaces parts.
struct File {
  std::string vocab = R"({"a": 0, "b": 1, "ab": 2, "\u0120a": 3})";
  std::string merges = R"(["a b"])";
  std::string added = R"([{"id": 4, "content": "<s>", "special": true}])";
  std::string decoder = R"({"type": "ByteLevel"})";
  std::string model = R"("type": "BPE")";  // members of the model besides vocab and merges
  std::string more;                        // members of the file, each with a comma after it

  std::string text() const {
    return "{" + more + "\"added_tokens\": " + added + ", \"decoder\": " + decoder +
           ", \"model\": {" + model + ", \"vocab\": " + vocab + ", \"merges\": " + merges + "}}";
  }
};

// The failure of a file that must be refused; `part` is what its sentence has to say.
void refuse(const std::string& text, Code code, engram::Index index, const std::string& part) {
  const auto read = parse_tokenizer_json(text, "t.json");
  INFO(text.substr(0, 400));
  REQUIRE_FALSE(read.ok());
  INFO(read.message());
  CHECK(read.status().code == code);
  CHECK(read.status().index == index);
  CHECK(read.message().compare(0, 8, "t.json: ") == 0);
  CHECK(read.message().find(part) != std::string::npos);
}

void refuse_corrupt(const File& file, engram::Index index, const std::string& part) {
  refuse(file.text(), Code::corrupt, index, part);
}

}  // namespace

TEST_CASE("tokenizer.json: a truncated file is refused at its end") {
  const std::string text = File().text();
  for (std::size_t n = 0; n < text.size(); ++n)
    refuse(text.substr(0, n), Code::corrupt, static_cast<engram::Index>(n), "not JSON at byte");
}

TEST_CASE("tokenizer.json: bytes that are not UTF-8, zero bytes and bombs are refused") {
  File file;
  file.vocab = "{\"a\xFF\": 0}";
  CHECK_FALSE(parse_tokenizer_json(file.text(), "t").ok());
  file.vocab = R"({"\ud800": 0})";
  CHECK_FALSE(parse_tokenizer_json(file.text(), "t").ok());
  const std::string good = File().text();
  refuse(good + std::string(1, '\0') + "x", Code::corrupt, static_cast<engram::Index>(good.size()),
         "zero byte");
  file = File();
  file.more = "\"x\": " + std::string(200000, '[');
  refuse(file.text(), Code::corrupt, 6 + 63, "nest deeper than 64");
}

TEST_CASE("tokenizer.json: a file of another shape is refused") {
  refuse("[]", Code::corrupt, -1, "the file is an array, expected an object");
  refuse("{}", Code::corrupt, -1, "no object 'model'");
  refuse(R"({"model": 3})", Code::corrupt, -1, "no object 'model'");
  File file;
  file.vocab = "[]";
  refuse_corrupt(file, -1, "model.vocab is an array");
  file = File();
  file.merges = "{}";
  refuse_corrupt(file, -1, "no list model.merges");
  file = File();
  file.added = "{}";
  refuse_corrupt(file, -1, "added_tokens is an object");
  file.added = "[3]";
  refuse_corrupt(file, -1, "added_tokens[0] is an integer");
  refuse(R"({"decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "merges": []}})",
         Code::corrupt, -1, "no model.vocab");
  file = File();
  file.vocab = "{}";
  file.merges = "[]";
  file.added = "[]";
  refuse_corrupt(file, -1, "no tokens");
}

TEST_CASE("tokenizer.json: other kinds of tokenizers are refused by name") {
  const auto refuse_kind = [](const File& file, const std::string& part) {
    refuse(file.text(), Code::unsupported, -1, part);
  };
  File file;
  for (const std::string kind : {"Unigram", "WordPiece", "WordLevel"}) {
    file.model = "\"type\": \"" + kind + "\"";
    refuse_kind(file, "the model is \"" + kind + "\"");
  }
  file.model = R"("type": "BPE", "byte_fallback": true)";
  refuse_kind(file, "the model has byte_fallback");
  file.model = R"("type": "BPE", "continuing_subword_prefix": "##")";
  refuse_kind(file, "the model has continuing_subword_prefix");
  file.model = R"("type": "BPE", "end_of_word_suffix": "</w>")";
  refuse_kind(file, "the model has end_of_word_suffix");
  file.model = R"("type": "BPE", "dropout": 0.1)";
  refuse_kind(file, "the model has dropout");
  file = File();
  file.decoder = "null";
  refuse_kind(file, "the decoder is not ByteLevel");
  file.decoder = R"({"type": "Metaspace"})";
  refuse_kind(file, "the decoder is \"Metaspace\"");
  file.decoder = R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Strip"}]})";
  refuse_kind(file, "the decoder is \"Strip\"");
  file.decoder = R"({"type": "Sequence", "decoders": [{"type": "Fuse"}]})";
  refuse_kind(file, "the decoder is not ByteLevel");
  file.decoder = R"({"type": "Sequence"})";
  refuse_corrupt(file, -1, "without a list 'decoders'");
  file.decoder = R"({})";
  refuse_corrupt(file, -1, "the decoder has no type");
  file = File();
  file.model = R"("type": 3)";
  refuse_corrupt(file, -1, "model.type is an integer");
}

TEST_CASE("tokenizer.json: ids that cannot be are refused with entry and reason") {
  File file;
  file.vocab = R"({"a": 0, "b": -1, "ab": 2})";
  refuse_corrupt(file, -1, "vocab entry 1 \"b\": the id is -1, below 0");
  file.vocab = R"({"a": 0, "b": 1.0})";
  refuse_corrupt(file, -1,
                 "vocab entry 1 \"b\": the id is a number with fraction or exponent, expected");
  file.vocab = R"({"a": "0"})";
  refuse_corrupt(file, -1, "vocab entry 0 \"a\": the id is a string");
  file.vocab = R"({"a": null})";
  refuse_corrupt(file, -1, "vocab entry 0 \"a\": the id is null");
  for (const std::string huge :
       {"2147483648", "4294967296", "9223372036854775808", "18446744073709551615"}) {
    file.vocab = "{\"a\": " + huge + "}";
    refuse_corrupt(file, -1, "vocab entry 0 \"a\": the id is larger than 2147483647");
  }
  file = File();
  file.added = R"([{"id": -3, "content": "<s>"}])";
  refuse_corrupt(file, -3, "added_tokens[0] \"<s>\": the id is -3, below 0");
  file.added = R"([{"id": 4.5, "content": "<s>"}])";
  refuse_corrupt(file, -1, "added_tokens[0] \"<s>\": the id is a number with fraction");
  file.added = R"([{"content": "<s>"}])";
  refuse_corrupt(file, -1, "added_tokens[0] \"<s>\" has no 'id'");
}

TEST_CASE("tokenizer.json: an id that stands for two texts is refused") {
  File file;
  file.vocab = R"({"a": 0, "b": 1, "ab": 2, "c": 1})";
  file.added = "[]";
  refuse_corrupt(file, 1, "id 1 belongs to two tokens, \"b\" and \"c\"");
  file = File();
  file.added = R"([{"id": 2, "content": "<s>"}])";
  refuse_corrupt(file, 2, "id 2 belongs to two tokens, \"ab\" and \"<s>\"");
}

TEST_CASE("tokenizer.json: a text with two ids, or twice in a list, is refused") {
  File file;
  file.added = R"([{"id": 4, "content": "ab"}])";
  refuse_corrupt(file, 4, "added_tokens[0] \"ab\": the same text has id 2 and id 4");
  file.added = R"([{"id": 4, "content": "<s>"}, {"id": 5, "content": "<s>"}])";
  refuse_corrupt(file, 5, "added_tokens[1] \"<s>\": the same text has id 4 and id 5");
  file.added = R"([{"id": 4, "content": "<s>"}, {"id": 4, "content": "<s>"}])";
  refuse_corrupt(file, 1, "added_tokens[1] \"<s>\": the same entry is there twice");
  file = File();
  file.vocab = R"({"a": 0, "b": 1, "ab": 2, "a": 0})";
  refuse_corrupt(file, 3, "vocab entry 3 \"a\": the same key is there twice");
}

TEST_CASE("tokenizer.json: an added token that repeats the vocabulary is one token") {
  File file;
  file.added = R"([{"id": 2, "content": "ab", "special": false, "lstrip": true}])";
  const auto read = parse_tokenizer_json(file.text(), "t");
  REQUIRE(read.ok());
  CHECK(read.value().tokens == std::vector<std::string>{"a", "b", "ab",
                                                        "\xC4\xA0"
                                                        "a"});
  REQUIRE(read.value().added_tokens.size() == 1);
  CHECK(read.value().added_tokens[0].id == 2);
  CHECK(read.value().added_tokens[0].lstrip);
  CHECK(read.value().added_tokens[0].normalized);
}

TEST_CASE("tokenizer.json: missing ids are counted, the first one named") {
  File file;
  file.vocab = R"({"a": 0, "b": 1, "ab": 3})";
  file.added = R"([{"id": 7, "content": "<s>"}])";
  refuse_corrupt(file, 2, "id 2 is missing, the first of 4 between 0 and 7");
  file.vocab = R"({"a": 1, "b": 2, "ab": 3})";
  file.added = "[]";
  refuse_corrupt(file, 0, "id 0 is missing, the first of 1 between 0 and 3");
  // The largest id there is, in a small file: answered at once, without room for 2^31 strings.
  file.vocab = R"({"a": 0, "b": 1, "ab": 2147483647})";
  refuse_corrupt(file, 2, "id 2 is missing, the first of 2147483645 between 0 and 2147483647");
}

TEST_CASE("tokenizer.json: a member that decides must not be there twice") {
  File file;
  file.model = R"("type": "BPE", "vocab": {})";
  refuse_corrupt(file, -1, "the member 'vocab' occurs twice");
  file.model = R"("type": "Unigram", "type": "BPE")";
  refuse_corrupt(file, -1, "the member 'type' occurs twice");
  file.model = R"("type": "BPE", "byte_fallback": false, "byte_fallback": true)";
  refuse_corrupt(file, -1, "the member 'byte_fallback' occurs twice");
  file = File();
  file.more = R"("model": {}, )";
  refuse_corrupt(file, -1, "the member 'model' occurs twice");
  file = File();
  file.added = R"([{"id": 4, "id": 5, "content": "<s>"}])";
  refuse_corrupt(file, -1, "the member 'id' occurs twice");
}

TEST_CASE("tokenizer.json: broken added tokens are refused") {
  File file;
  file.added = R"([{"id": 4}])";
  refuse_corrupt(file, -1, "added_tokens[0] has no text 'content'");
  file.added = R"([{"id": 4, "content": ""}])";
  refuse_corrupt(file, -1, "added_tokens[0] has no text 'content'");
  file.added = R"([{"id": 4, "content": 3}])";
  refuse_corrupt(file, -1, "added_tokens[0] has no text 'content'");
  for (const std::string flag : {"special", "normalized", "single_word", "lstrip", "rstrip"}) {
    file.added = "[{\"id\": 4, \"content\": \"<s>\", \"" + flag + "\": 1}]";
    refuse_corrupt(file, -1, "added_tokens[0] \"<s>\": '" + flag + "' is an integer");
  }
  file = File();
  file.model = R"("type": "BPE", "ignore_merges": "yes")";
  refuse_corrupt(file, -1, "model: 'ignore_merges' is a string");
}

TEST_CASE("tokenizer.json: merges that cannot be are refused with their rank") {
  File file;
  file.merges = R"(["a b", "b ab"])";
  refuse_corrupt(file, 1, "merge of rank 1: \"bab\" is no token");
  file.merges = R"(["a b", "c b"])";
  refuse_corrupt(file, 1, "\"c\" is no token");
  file.merges = R"([["a", "b"], ["a", "c"]])";
  refuse_corrupt(file, 1, "\"c\" is no token");
  for (const std::string text : {"ab", "a  b", "a b ", ""}) {
    file.merges = "[\"" + text + "\"]";
    refuse_corrupt(file, 0,
                   "merge of rank 0 \"" + text + "\": expected two parts with one space between");
  }
  file.merges = R"([" b"])";
  refuse_corrupt(file, 0, "\"\" is no token");
  for (const std::string entry : {"3", R"(["a"])", R"(["a", "b", "b"])", R"(["a", 1])", "{}"}) {
    file.merges = "[" + entry + "]";
    refuse_corrupt(file, 0, "merge of rank 0 is neither a string nor a pair of strings");
  }
  // A text that only the added tokens know is no part of a merge.
  file = File();
  file.merges = R"(["a <s>"])";
  refuse_corrupt(file, 0, "\"<s>\" is no token");
}

TEST_CASE("tokenizer.json: messages stay short and printable") {
  File file;
  std::string key;
  for (int i = 0; i < 1000; ++i) key += "\\n\xE2\x82\xAC";
  file.vocab = "{\"" + key + "\": -1}";
  const auto read = parse_tokenizer_json(file.text(), "t");
  REQUIRE_FALSE(read.ok());
  CHECK(read.message().size() < 150);
  CHECK(read.message().find('\n') == std::string::npos);
  CHECK(read.message().find("\xE2\x82\xAC...\"") != std::string::npos);  // cut between characters
}

TEST_CASE("tokenizer.json: everything that is read arrives") {
  File file;
  file.vocab = R"({"b": 1, "a": 0, "ab": 3, "\u0120a": 2, "\u0120ab": 5})";
  file.merges = R"(["a b", ["\u0120a", "b"]])";
  file.added = R"([{"id": 6, "content": "<e f>", "single_word": true, "rstrip": true},
                   {"id": 4, "content": "<s>", "special": true, "normalized": false}])";
  file.decoder = R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Fuse"}]})";
  file.model = R"("byte_fallback": false, "continuing_subword_prefix": "",
                  "end_of_word_suffix": null, "dropout": null, "ignore_merges": true)";
  file.more = R"("normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "ByteLevel"}, )";
  const auto read = parse_tokenizer_json(file.text(), "t");
  INFO(read.message());
  REQUIRE(read.ok());
  const engram::TokenizerJson& t = read.value();
  const std::string g = "\xC4\xA0";
  CHECK(t.tokens == std::vector<std::string>{"a", "b", g + "a", "ab", "<s>", g + "ab", "<e f>"});
  REQUIRE(t.merges.size() == 2);
  CHECK(t.merges[0] == std::pair<std::string, std::string>("a", "b"));
  CHECK(t.merges[1] == std::pair<std::string, std::string>(g + "a", "b"));
  CHECK(t.ignore_merges);
  REQUIRE(t.added_tokens.size() == 2);
  CHECK(t.added_tokens[0].id == 6);
  CHECK(t.added_tokens[0].content == "<e f>");
  CHECK_FALSE(t.added_tokens[0].special);
  CHECK(t.added_tokens[0].normalized);
  CHECK(t.added_tokens[0].single_word);
  CHECK_FALSE(t.added_tokens[0].lstrip);
  CHECK(t.added_tokens[0].rstrip);
  CHECK(t.added_tokens[1].special);
  CHECK_FALSE(t.added_tokens[1].normalized);
  CHECK(*t.normalizer.find("type")->as_string() == "NFC");
  CHECK(*t.pre_tokenizer.find("type")->as_string() == "ByteLevel");
}

TEST_CASE("tokenizer.json: what a file leaves out has its default") {
  File file;
  file.added = "null";
  const auto read = parse_tokenizer_json(file.text(), "t");
  REQUIRE(read.ok());
  CHECK(read.value().tokens.size() == 4);
  CHECK(read.value().normalizer.is_null());
  CHECK(read.value().pre_tokenizer.is_null());
  CHECK_FALSE(read.value().ignore_merges);
}

TEST_CASE("tokenizer.json: a file that is not there is named") {
  const std::string path = std::string(ENGRAM_SCRATCH_DIR) + "/no such tokenizer.json";
  const auto read = engram::read_tokenizer_json(path);
  REQUIRE_FALSE(read.ok());
  CHECK(read.status().code == Code::io);
  CHECK(read.message().find(path) != std::string::npos);
}
