// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command simulate: what caches of rows would have made of a recorded text.

#include "commands.hpp"
#include "numbers.hpp"
#include "simulate/report.hpp"

#include <engram/io/row_manifest.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

struct SimulateOptions {
  std::string trace, cache = "1MiB,16MiB,256MiB,4GiB", policy = "lru,clock,fifo,set16,static,min",
                     orders = "all", chunk = "1,512,2048,16384", row_bytes = "264", sample = "1",
                     csv, svg, manifest, manifest_rows;
};

/// The words of a list with commas between them, none empty.
std::vector<std::string> words_of(const char* option, const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ',') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  for (const std::string& word : words)
    if (word.empty())
      throw CLI::ValidationError(option, sentence({"'", text, "' has an empty place"}));
  return words;
}

/// "16MiB" in bytes.
Index bytes_of(const std::string& word) {
  const std::size_t digits = std::min(word.find_first_not_of("0123456789"), word.size());
  const std::string unit = word.substr(digits);
  const std::pair<const char*, int> units[] = {{"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  for (const auto& [name, shift] : units) {
    if (unit != name) continue;
    const auto number = number_of<Index>("--cache", word.substr(0, digits));
    if (number <= INT64_MAX >> shift) return number << shift;
  }
  throw CLI::ValidationError(
      "--cache", sentence({"'", word, "' is no number of bytes, KiB, MiB or GiB: 16MiB"}));
}

simulate::OrderSet orders_of(const std::string& word) {
  if (word == "all") return {};
  simulate::OrderSet set{word, 0};
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool is_order = word[i] >= '2' && word[i] <= '0' + max_order;
    if (i % 2 == 0 ? !is_order : word[i] != '+' || i + 1 == word.size())
      throw CLI::ValidationError("--orders", sentence({"'", word, "' is neither all nor 2+3"}));
    if (i % 2 == 0) set.orders |= simulate::Orders{1} << (word[i] - '0');
  }
  return set;
}

Result<void> at_least_one(const char* option, Index number) {
  if (number >= 1) return {};
  return fail(Code::invalid_config, {option, " is ", number, ", expected 1 or more"});
}

/// The options as numbers.
struct Simulation {
  std::vector<Index> caches, chunks;
  std::vector<simulate::Policy> policies;
  std::vector<simulate::OrderSet> orders;
  Index row_bytes = 0, sample = 0, manifest_rows = 0;
};

Result<Simulation> read_options(const SimulateOptions& o) {
  Simulation s;
  for (const std::string& word : words_of("--cache", o.cache)) s.caches.push_back(bytes_of(word));
  for (const std::string& word : words_of("--policy", o.policy)) {
    const auto policy = simulate::find_policy(word);
    if (!policy)
      throw CLI::ValidationError(
          "--policy", sentence({"'", word, "' is none of lru, clock, fifo, set16, static, min"}));
    s.policies.push_back(*policy);
  }
  for (const std::string& word : words_of("--orders", o.orders))
    s.orders.push_back(orders_of(word));
  s.chunks = numbers_of<Index>("--chunk", o.chunk);
  s.row_bytes = number_of<Index>("--row-bytes", o.row_bytes);
  s.sample = number_of<Index>("--sample", o.sample);
  if (!o.manifest.empty()) s.manifest_rows = number_of<Index>("--manifest-rows", o.manifest_rows);

  for (const Index tokens : s.chunks)
    if (Result<void> valid = at_least_one("--chunk", tokens); !valid.ok()) return valid.failure();
  if (Result<void> valid = at_least_one("--row-bytes", s.row_bytes); !valid.ok())
    return valid.failure();
  if (Result<void> valid = at_least_one("--sample", s.sample); !valid.ok()) return valid.failure();
  if (!o.manifest.empty()) {
    if (Result<void> valid = at_least_one("--manifest-rows", s.manifest_rows); !valid.ok())
      return valid.failure();
    if (s.sample != 1)
      return fail(Code::invalid_config, {"--manifest: only one of ", s.sample,
                                         " columns is followed; leave --sample out"});
  }
  constexpr Index least = 16;  // rows of a set
  for (const Index bytes : s.caches)
    if (bytes / s.row_bytes / s.sample < least)
      return fail(Code::invalid_config,
                  {"--cache: ", bytes, " bytes hold ", bytes / s.row_bytes, " rows of ",
                   s.row_bytes, " bytes, expected at least ", least, " times --sample"});
  return s;
}

nlohmann::ordered_json json_of(const simulate::Popularity& popular, Index sample) {
  nlohmann::ordered_json top = nlohmann::ordered_json::array();
  for (const auto& [rows, reads] : popular.top)
    top.push_back({{"rows_share", rows}, {"reads_share", reads}});
  return {{"order", popular.order},
          {"unique_rows", popular.unique * sample},
          {"unique", simulate::rate(popular.unique, popular.reads)},
          {"read_once", simulate::rate(popular.once, popular.unique)},
          {"top", top}};
}

nlohmann::ordered_json json_of(const simulate::ChunkUse& use,
                               const std::vector<simulate::Popularity>& popular) {
  nlohmann::ordered_json orders = nlohmann::ordered_json::array();
  for (const simulate::Popularity& p : popular) {
    const auto n = static_cast<std::size_t>(p.order);
    nlohmann::ordered_json unique;  // null without a whole chunk
    if (use.chunks > 0) unique = simulate::rate(use.unique[n], use.reads[n]);
    orders.push_back(
        {{"order", p.order}, {"unique", unique}, {"again", simulate::rate(use.again[n], p.reads)}});
  }
  return {{"tokens", use.tokens}, {"chunks", use.chunks}, {"orders", orders}};
}

nlohmann::ordered_json json_of(const simulate::Outcome& outcome, const simulate::Reads& reads) {
  const simulate::Hits& hits = outcome.hits;
  // Pinned rows are known from the middle on only.
  const auto rates = [&](Index all, Index hit, Index late, Index late_hit) {
    nlohmann::ordered_json whole;
    if (outcome.policy != simulate::Policy::pinned) whole = simulate::rate(hit, all);
    return nlohmann::ordered_json{{"hit_rate", whole},
                                  {"second_half", simulate::rate(late_hit, late)}};
  };
  nlohmann::ordered_json json = {
      {"policy", to_string(outcome.policy)},
      {"orders", outcome.admitted.name},
      {"bytes", outcome.bytes},
      {"rows", outcome.rows},
      {"share_of_table", simulate::rate(outcome.rows, reads.table_rows())}};
  json.update(rates(simulate::sum(hits.reads), simulate::sum(hits.hits),
                    simulate::sum(hits.late_reads), simulate::sum(hits.late_hits)));
  nlohmann::ordered_json by_order = nlohmann::ordered_json::array();
  for (int order = 2; order <= reads.max_ngram_size; ++order) {
    const auto n = static_cast<std::size_t>(order);
    nlohmann::ordered_json one = {{"order", order}};
    one.update(rates(hits.reads[n], hits.hits[n], hits.late_reads[n], hits.late_hits[n]));
    by_order.push_back(one);
  }
  json["by_order"] = by_order;
  return json;
}

Result<void> run_simulation(const SimulateOptions& o) {
  const Result<Simulation> options = read_options(o);
  if (!options.ok()) return options.failure();
  const Simulation& s = options.value();
  Result<RowTrace> trace = RowTrace::open(o.trace);
  if (!trace.ok()) return trace.failure();
  for (const simulate::OrderSet& set : s.orders)
    if (set.name != "all" && set.orders >> (trace.value().layout().max_ngram_size + 1) != 0)
      return fail(Code::invalid_config,
                  {"--orders: ", set.name, ", but the longest n-gram of ", o.trace, " has ",
                   trace.value().layout().max_ngram_size, " tokens"});
  const Result<simulate::Reads> read = simulate::read_trace(trace.value(), s.sample);
  if (!read.ok()) return read.failure();
  const simulate::Reads& reads = read.value();

  const std::vector<simulate::Popularity> popular = simulate::popularity(reads);
  nlohmann::ordered_json orders = nlohmann::ordered_json::array(),
                         chunks = nlohmann::ordered_json::array(),
                         caches = nlohmann::ordered_json::array();
  for (const simulate::Popularity& p : popular) orders.push_back(json_of(p, s.sample));
  for (const simulate::ChunkUse& use : simulate::chunk_use(reads, s.chunks))
    chunks.push_back(json_of(use, popular));
  std::vector<simulate::Outcome> outcomes;
  for (const simulate::OrderSet& set : s.orders)
    for (const simulate::Policy policy : s.policies)
      for (const Index bytes : s.caches) {
        simulate::Outcome outcome{policy, set, bytes, bytes / s.row_bytes, {}};
        outcome.hits = simulate::replay(
            reads, policy, static_cast<std::size_t>(outcome.rows / s.sample), set.orders);
        caches.push_back(json_of(outcome, reads));
        outcomes.push_back(std::move(outcome));
      }

  if (!o.csv.empty())
    if (Result<void> written = write_file(o.csv, as_bytes(simulate::csv(reads, outcomes)));
        !written.ok())
      return written;
  if (!o.svg.empty())
    if (Result<void> written = write_file(o.svg, as_bytes(simulate::svg(outcomes))); !written.ok())
      return written;
  if (!o.manifest.empty())
    if (Result<void> written = write_row_manifest(
            o.manifest, {reads.layout_digest, reads.layers,
                         simulate::hot_rows(reads, static_cast<std::size_t>(s.manifest_rows))});
        !written.ok())
      return written;
  std::cout << nlohmann::ordered_json{{"tokens", reads.tokens},
                                      {"reads", reads.tokens * trace.value().layout().columns() *
                                                    static_cast<Index>(reads.layers.size())},
                                      {"followed", reads.rows.size()},
                                      {"sample", s.sample},
                                      {"row_bytes", s.row_bytes},
                                      {"table_rows", reads.table_rows()},
                                      {"orders", orders},
                                      {"chunks", chunks},
                                      {"caches", caches},
                                      {"digest", reads.layout_digest}}
            << '\n';
  return {};
}

}  // namespace

Command add_simulate(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "simulate", "replay a trace against caches of rows: what repeats, and what they would hit");
  const auto o = std::make_shared<SimulateOptions>();
  app->add_option("--trace", o->trace, "what trace --record wrote")->required()->check(file_name());
  app->add_option("--cache", o->cache, "sizes: bytes, KiB, MiB or GiB (1MiB,16MiB,256MiB,4GiB)");
  app->add_option("--policy", o->policy, "of lru, clock, fifo, set16, static, min (all)");
  app->add_option("--orders", o->orders, "whose rows may enter: all, 2, 2+3 (all)");
  app->add_option("--chunk", o->chunk, "tokens in which to count unique rows (1,512,2048,16384)");
  app->add_option("--row-bytes", o->row_bytes, "what a row takes in a cache (264)");
  app->add_option("--sample", o->sample,
                  "follow one of so many heads of each order, all layers counted through (1)");
  app->add_option("--csv", o->csv, "write the hit rates there")->check(file_name());
  app->add_option("--svg", o->svg, "write a chart of them there")->check(file_name());
  auto* manifest =
      app->add_option("--manifest", o->manifest, "write the most frequent rows there, to be pinned")
          ->check(file_name());
  auto* rows = app->add_option("--manifest-rows", o->manifest_rows, "how many");
  manifest->needs(rows);
  rows->needs(manifest);
  return {app, [o] { return run_simulation(*o); }};
}

}  // namespace engram::cli
