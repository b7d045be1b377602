// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "trace/trace.hpp"
#include "program/progress.hpp"

#include "commands.hpp"
#include "geometry.hpp"
#include "numbers.hpp"
#include "trace/record.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/file.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

struct TraceOptions {
  explicit TraceOptions(CLI::App& app) : geometry(app, "demo") {}

  GeometryOptions geometry;
  std::string tokenizer, text, record, format = "json", limit = "20";
};

void print_json(const trace::Trace& traced, const Layout& layout) {
  nlohmann::ordered_json shown = nlohmann::ordered_json::array();
  for (const trace::TokenLine& line : traced.first)
    shown.push_back({{"text", line.text},
                     {"token_id", line.token_id},
                     {"canonical_id", line.canonical_id},
                     {"ngrams", line.ngrams},
                     {"rows", line.rows}});
  nlohmann::ordered_json orders = nlohmann::ordered_json::array();
  for (const trace::OrderSummary& s : traced.orders)
    orders.push_back({{"order", s.order},
                      {"distinct_ngrams", s.distinct},
                      {"row_reads", s.reads},
                      {"unique_rows", s.unique_rows},
                      {"reuse", s.reuse},
                      {"collisions", s.collisions},
                      {"collided_in_all_heads", s.collided_in_all_heads}});
  std::cout << nlohmann::ordered_json{{"tokens", traced.tokens},
                                      {"trace", shown},
                                      {"orders", orders},
                                      {"digest", layout_digest(layout)}}
            << '\n';
}

Result<void> run(const TraceOptions& o) {
  const auto limit = number_of<Index>("--limit", o.limit);
  if (limit < 0) return fail(Code::invalid_config, {"--limit is ", limit, ", expected 0 or more"});
  Result<TokenizerJson> tokenizer = read_tokenizer_json(o.tokenizer);
  if (!tokenizer.ok()) return tokenizer.failure();
  Result<TokenMap> map = build_token_map(tokenizer.value().tokens);
  if (!map.ok()) return fail(map.status().code, {o.tokenizer, ": ", map.message()});
  const Result<Geometry> geometry = o.geometry.resolve(map.value());
  if (!geometry.ok()) return geometry.failure();
  if (!geometry.value().document_starts.empty())
    return fail(Code::unsupported,
                "trace: --boundary starts is for address; a text has no documents");
  const Result<bpe::Encoder> encoder = bpe::Encoder::make(std::move(tokenizer).value());
  if (!encoder.ok()) return fail(encoder.status().code, {o.tokenizer, ": ", encoder.message()});
  const Layout& layout = geometry.value().layout;
  if (!o.record.empty()) {
    const Result<Index> tokens =
        trace::record_text(encoder.value(), map.value(), layout, o.text, o.record);
    if (!tokens.ok()) return tokens.failure();
    std::cout << nlohmann::ordered_json{{"tokens", tokens.value()},
                                        {"layers", layout.layers.size()},
                                        {"columns", layout.columns()},
                                        {"digest", layout_digest(layout)}}
              << '\n';
    return {};
  }
  const Result<std::string> text = read_file(o.text);
  if (!text.ok()) return text.failure();
  const Result<trace::Trace> traced =
      trace::trace_text(encoder.value(), map.value(), layout, text.value(), limit);
  if (!traced.ok()) return fail(traced.status().code, {o.text, ": ", traced.message()});
  if (o.format == "text") {
    trace::print(stdout, traced.value(), layout, program::is_terminal());
  } else {
    print_json(traced.value(), layout);
  }
  return {};
}

}  // namespace

Command add_trace(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "trace", "follow a text to its rows, and show what repeats (preset demo unless said)");
  const auto o = std::make_shared<TraceOptions>(*app);
  app->add_option("--tokenizer", o->tokenizer, "tokenizer.json of a byte-level BPE")
      ->required()
      ->check(file_name());
  app->add_option("--text", o->text, "UTF-8 text file")->required()->check(file_name());
  auto* limit = app->add_option("--limit", o->limit,
                                "tokens to show; the figures are of the whole text (20)");
  auto* format = app->add_option("--format", o->format, "json, or text for a terminal")
                     ->check(CLI::IsMember({"json", "text"}));
  app->add_option("--record", o->record,
                  "write which rows the text asks for to this file, for simulate; the text may be "
                  "of any size")
      ->check(file_name())
      ->excludes(limit)
      ->excludes(format);
  return {app, [o] { return run(*o); }};
}

}  // namespace engram::cli
