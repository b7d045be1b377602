// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The commands about tokenizers: normalize, token-map, encode.

#include "bpe/encoder.hpp"
#include "commands.hpp"
#include "numbers.hpp"
#include "standard_input.hpp"

#include <engram/core/sha256.hpp>
#include <engram/io/file.hpp>
#include <engram/io/json.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

struct FileOptions {
  std::string tokenizer, text, out;
};

Result<void> normalize_lines() {
  const Result<std::string> input = read_standard_input();
  if (!input.ok()) return input.failure();
  std::string printed;
  std::string_view left = input.value();
  for (int number = 1; !left.empty(); ++number) {
    const std::size_t end = std::min(left.find('\n'), left.size());
    const std::string name = sentence({"line ", number});
    const Result<Json> line = parse_json(left.substr(0, end), name);
    if (!line.ok()) return line.failure();
    const std::string* text = line.value().as_string();
    if (text == nullptr) return fail(Code::corrupt, {name, " is no JSON string"});
    const Result<std::string> key = canonical_key(*text);
    if (!key.ok()) return fail(key.status().code, {name, ": ", key.message()});
    printed += nlohmann::json(key.value()).dump() + '\n';
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  std::cout << printed;
  return {};
}

Result<void> print_token_map(const FileOptions& o) {
  const Result<TokenizerJson> tokenizer = read_tokenizer_json(o.tokenizer);
  if (!tokenizer.ok()) return tokenizer.failure();
  const Result<TokenMap> map = build_token_map(tokenizer.value().tokens);
  if (!map.ok()) return fail(map.status().code, {o.tokenizer, ": ", map.message()});
  if (!o.out.empty())
    if (Result<void> written = write_file(o.out, map.value().bytes()); !written.ok())
      return written;
  std::cout << nlohmann::ordered_json{{"entries", map.value().vocab_size()},
                                      {"compressed", map.value().canonical_size()},
                                      {"digest", map.value().digest()}}
            << '\n';
  return {};
}

Result<void> encode_file(const FileOptions& o) {
  Result<TokenizerJson> tokenizer = read_tokenizer_json(o.tokenizer);
  if (!tokenizer.ok()) return tokenizer.failure();
  const Result<bpe::Encoder> encoder = bpe::Encoder::make(std::move(tokenizer).value());
  if (!encoder.ok()) return fail(encoder.status().code, {o.tokenizer, ": ", encoder.message()});
  const Result<std::string> text = read_file(o.text);
  if (!text.ok()) return text.failure();
  const Result<std::vector<std::int32_t>> ids = encoder.value().encode(text.value());
  if (!ids.ok()) return fail(ids.status().code, {o.text, ": ", ids.message()});
  const Bytes bytes(reinterpret_cast<const std::byte*>(ids.value().data()),
                    4 * static_cast<Index>(ids.value().size()));
  if (!o.out.empty())
    if (Result<void> written = write_file(o.out, bytes); !written.ok()) return written;
  std::cout << nlohmann::ordered_json{{"tokens", ids.value().size()}, {"digest", sha256_hex(bytes)}}
            << '\n';
  return {};
}

}  // namespace

Command add_normalize(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "normalize", "read a JSON string a line from standard input, print the key of each");
  return {app, normalize_lines};
}

Command add_token_map(CLI::App& program) {
  CLI::App* app = program.add_subcommand("token-map", "build the token map of a tokenizer");
  const auto o = std::make_shared<FileOptions>();
  app->add_option("--tokenizer", o->tokenizer, "tokenizer.json of a byte-level BPE")
      ->required()
      ->check(file_name());
  app->add_option("--out", o->out, "write the map there: little-endian int32 canonical ids")
      ->check(file_name());
  return {app, [o] { return print_token_map(*o); }};
}

Command add_encode(CLI::App& program) {
  CLI::App* app = program.add_subcommand("encode", "turn a text into token ids");
  const auto o = std::make_shared<FileOptions>();
  app->add_option("--tokenizer", o->tokenizer, "tokenizer.json of a byte-level BPE")
      ->required()
      ->check(file_name());
  app->add_option("--text", o->text, "UTF-8 text file")->required()->check(file_name());
  app->add_option("--out", o->out, "write the ids there: little-endian int32")->check(file_name());
  return {app, [o] { return encode_file(*o); }};
}

}  // namespace engram::cli
