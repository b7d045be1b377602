// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What a memory of a given size will be like: how full its rows get, how many n-grams share one,
// what a token reads. Every figure says where it comes from.

#include "bpe/encoder.hpp"
#include "commands.hpp"
#include "geometry.hpp"
#include "numbers.hpp"

#include <engram/addressing/layout_bytes.hpp>
#include <engram/io/file.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/training/row_optimizer.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

namespace engram::cli {

namespace {

struct PlanOptions {
  explicit PlanOptions(CLI::App& app) : geometry(app) {}

  GeometryOptions geometry;
  std::string tokens, budget_bytes, budget_parameters, row_width,
      row_format = "bf16", optimizer, tier = "memory", bandwidth, distinct, text, tokenizer,
      format = "json";
};

/// Where a table may be. Bandwidths are assumptions, of a server of 2024: DDR5 read at random, PCIe
/// 4.0 x16, and an NVMe disk at random, by page faults and by direct reads of many at a time.
struct PlannedTier {
  const char* name;
  const char* means;
  Index unit;  ///< bytes that are read at a time
  double bandwidth;
};
constexpr PlannedTier planned_tiers[] = {
    {"memory", "host memory, rows at the stride of HostStore", 64, 20e9},
    {"pinned", "pinned host memory, rows at the same stride, read over PCIe", 64, 20e9},
    {"mmap", "mapped file, rows dense, each page read once by a fault", 4096, 5e8},
    {"disk", "file, rows dense, read past the system's cache", 4096, 3e9}};

struct PlannedRow {
  Index width = 0;
  Index bytes = 0;        ///< codes and scales
  Index stride = 0;       ///< what it takes in the tier
  Index state_bytes = 0;  ///< of the optimizer
};

/// Heaps' law: t tokens have k t^beta distinct n-grams.
struct Heaps {
  double k = 0;
  double beta = 0;

  double operator()(double tokens) const { return k * std::pow(tokens, beta); }
};

/// The law when nothing better is known, for orders from 2: what --text gives for the validation
/// and test parts of WikiText-2 (561,579 tokens) with DeepSeek-V3's tokenizer.
constexpr std::array<Heaps, max_order - 1> assumed_growth = {{{2.079, 0.8538},
                                                              {1.267, 0.9422},
                                                              {1.113, 0.9705},
                                                              {1.078, 0.9823},
                                                              {1.027, 0.9916},
                                                              {1.006, 0.9958},
                                                              {0.9958, 0.9980}}};

/// How many n-grams of an order to expect in the training tokens.
struct Distinct {
  double ngrams = 0;
  const char* basis = "estimate";
  std::string source;
  std::optional<Heaps> law;
};

nlohmann::ordered_json figure(const nlohmann::ordered_json& value, const char* basis) {
  return {{"value", value}, {"basis", basis}};
}
nlohmann::ordered_json counted(double value) { return static_cast<Index>(std::llround(value)); }

Result<Index> positive(const char* option, const std::string& text) {
  const auto value = number_of<Index>(option, text);
  if (value < 1) return fail(Code::invalid_config, {option, " is ", value, ", expected 1 or more"});
  return value;
}

Result<PlannedRow> plan_row(const CLI::App& app, const PlanOptions& o, const PlannedTier& tier) {
  PlannedRow row;
  if (app.count("--row-width") > 0) {
    const Result<Index> width = positive("--row-width", o.row_width);
    if (!width.ok()) return width.failure();
    row.width = width.value();
  } else if (app.count("--preset") > 0) {
    const EngramConfig config =
        find_preset(app.get_option("--preset")->as<std::string>()).value().config;
    row.width = config.n_embed_per_ngram / config.n_head_per_ngram;
  } else {
    throw CLI::RequiredError("--row-width (or --preset)");
  }
  if (row.width > Index{1} << 20)
    return fail(Code::invalid_config, {"--row-width is ", row.width, ", expected at most 1048576"});
  row.bytes = row.width * (o.row_format == "f32" ? 4 : o.row_format == "fp8" ? 1 : 2);
  if (o.row_format == "fp8") {
    if (row.width % 32 != 0)
      return fail(Code::invalid_config,
                  {"--row-width is ", row.width, ", fp8 has a scale for each 32 elements"});
    row.bytes += row.width / 32;
  }
  row.stride = tier.unit == 64 ? default_stride(row.bytes) : row.bytes;
  if (o.optimizer.empty()) return row;
  if (o.row_format != "f32" && o.row_format != "bf16")
    return fail(Code::unsupported,
                {"--optimizer: rows of ", o.row_format, " are not trained, only f32 and bf16"});
  const Index floats = o.optimizer == "adam"      ? LazyAdam().state_width(row.width)
                       : o.optimizer == "adagrad" ? RowAdagrad().state_width(row.width)
                                                  : Sgd().state_width(row.width);
  row.state_bytes = floats * Index{sizeof(float)};
  return row;
}

Index total_rows(const Layout& layout) {
  Index rows = 0;
  for (const LayerLayout& layer : layout.layers) rows += layer.rows;
  return rows;
}

/// The geometry whose heads are the largest that `most_rows` rows hold, all of one size.
Result<Geometry> fit_geometry(CLI::App& app, const PlanOptions& o,
                              const std::optional<TokenMap>& map, Index most_rows) {
  int longest = 2;
  if (app.count("--max-ngram") > 0) {
    longest =
        number_of<std::int32_t>("--max-ngram", app.get_option("--max-ngram")->as<std::string>());
  } else if (app.count("--preset") > 0) {
    longest =
        find_preset(app.get_option("--preset")->as<std::string>()).value().config.max_ngram_size;
  }
  CLI::Option* const sizes = app.get_option("--sizes");
  const auto with_size = [&](Index size) {
    std::string text = std::to_string(size);
    for (int order = 3; order <= std::min(longest, max_order); ++order)
      text += ',' + std::to_string(size);
    sizes->clear();
    sizes->add_result(text);
    sizes->run_callback();
    return o.geometry.resolve(map);
  };
  Result<Geometry> smallest = with_size(1);
  if (!smallest.ok()) return smallest.failure();
  const Layout& layout = smallest.value().layout;
  const Index heads = static_cast<Index>(layout.layers.size()) * layout.columns();
  if (total_rows(layout) > most_rows)
    return fail(Code::invalid_config, {"the budget holds ", most_rows, " rows, expected at least ",
                                       total_rows(layout), " for ", heads, " heads"});
  Index fits = 1;
  for (Index beyond = most_rows / heads + 1; beyond - fits > 1;) {
    const Index middle = fits + (beyond - fits) / 2;
    const Result<Geometry> tried = with_size(middle);
    if (!tried.ok()) return tried.failure();
    (total_rows(tried.value().layout) <= most_rows ? fits : beyond) = middle;
  }
  return with_size(fits);
}

/// The positions at which an n-gram of an order comes for the first time, ascending.
std::vector<Index> first_places(const std::vector<NgramWindow>& windows, int order) {
  std::vector<Index> places(windows.size());
  std::iota(places.begin(), places.end(), Index{0});
  const auto ids = [&](Index place) { return windows[static_cast<std::size_t>(place)].ids; };
  std::stable_sort(places.begin(), places.end(), [&](Index a, Index b) {
    return std::lexicographical_compare(ids(a), ids(a) + order, ids(b), ids(b) + order);
  });
  places.erase(
      std::unique(places.begin(), places.end(),
                  [&](Index a, Index b) { return std::equal(ids(a), ids(a) + order, ids(b)); }),
      places.end());
  std::sort(places.begin(), places.end());
  return places;
}

double count_before(const std::vector<Index>& places, Index tokens) {
  return static_cast<double>(std::lower_bound(places.begin(), places.end(), tokens) -
                             places.begin());
}

/// Least squares of log distinct over log tokens, at the text's length and five halvings of it.
Heaps fit_heaps(const std::vector<Index>& places, Index tokens) {
  double x = 0, y = 0, xx = 0, xy = 0;
  constexpr int points = 6;
  for (int halvings = 0; halvings < points; ++halvings) {
    const Index part = tokens >> halvings;
    const double lx = std::log(static_cast<double>(part));
    const double ly = std::log(count_before(places, part));
    x += lx / points;
    y += ly / points;
    xx += lx * lx / points;
    xy += lx * ly / points;
  }
  const double beta = (xy - x * y) / (xx - x * x);
  return {std::exp(y - beta * x), beta};
}

/// The windows of a text, one for each token.
Result<std::vector<NgramWindow>> windows_of(const PlanOptions& o, const bpe::Encoder& encoder,
                                            const TokenMap& map, const Layout& layout) {
  const Result<std::string> text = read_file(o.text);
  if (!text.ok()) return text.failure();
  const Result<std::vector<std::int32_t>> ids = encoder.encode(text.value());
  if (!ids.ok()) return fail(ids.status().code, {o.text, ": ", ids.message()});
  constexpr std::size_t fewest = 1024;
  if (ids.value().size() < fewest)
    return fail(Code::unsupported, {o.text, ": ", ids.value().size(), " tokens, expected at least ",
                                    fewest, " to see how n-grams grow"});
  std::vector<NgramWindow> windows;
  const auto push_all = [&](const auto& front) -> Result<void> {
    if (!front.ok()) return front.failure();
    NgramState state = front.value().initial_state();
    for (const std::int32_t id : ids.value())
      windows.push_back(front.value().extractor().push(state, map(id), Mark::token));
    return {};
  };
  const Result<void> pushed = layout.mixer == Mixer::polynomial
                                  ? push_all(make_front_end<Polynomial>(layout, map))
                                  : push_all(make_front_end(layout, map));
  if (!pushed.ok()) return pushed.failure();
  return windows;
}

/// --distinct 2=1000,3=5000, one for each order.
Result<std::vector<Index>> read_distinct(const std::string& text, int longest, Index tokens) {
  std::vector<Index> counts(static_cast<std::size_t>(longest - 1), 0);
  std::string_view left = text;
  do {
    const std::size_t end = std::min(left.find(','), left.size());
    const std::string_view part = left.substr(0, end);
    const std::size_t equals = part.find('=');
    if (equals == part.npos || end + 1 == left.size())
      throw CLI::ValidationError("--distinct", "is 2=1000,3=5000, one for each order");
    const auto order = number_of<Index>("--distinct", part.substr(0, equals));
    const auto count = number_of<Index>("--distinct", part.substr(equals + 1));
    if (order < 2 || order > longest || counts[static_cast<std::size_t>(order - 2)] != 0)
      return fail(Code::invalid_config,
                  {"--distinct: order ", order, ", expected each from 2 to ", longest, " once"});
    if (count < 1 || count > tokens)
      return fail(Code::invalid_config, {"--distinct: ", count, " n-grams of order ", order,
                                         ", expected 1 to the ", tokens, " of --tokens"});
    counts[static_cast<std::size_t>(order - 2)] = count;
    left.remove_prefix(std::min(end + 1, left.size()));
  } while (!left.empty());
  for (int order = 2; order <= longest; ++order)
    if (counts[static_cast<std::size_t>(order - 2)] == 0)
      return fail(Code::invalid_config, {"--distinct: there is no count for order ", order});
  return counts;
}

/// No more than there are tokens, nor than the vocabulary can form.
Distinct by_law(const Heaps& law, std::string source, double tokens, double forms) {
  return {std::min({law(tokens), tokens, forms}), "estimate", std::move(source), law};
}

nlohmann::ordered_json describe_order(const Layout& layout, int order, double tokens,
                                      const Distinct& distinct) {
  double occupancy = 0, sharers = 0, tokens_per_row = 0;
  std::uint64_t smallest = UINT64_MAX;
  const auto heads = static_cast<std::size_t>(layout.heads);
  const double all = static_cast<double>(heads * layout.layers.size());
  for (const LayerLayout& layer : layout.layers)
    for (std::size_t head = 0; head < heads; ++head) {
      const std::uint64_t rows = layer.moduli[static_cast<std::size_t>(order - 2) * heads + head];
      const double load = distinct.ngrams / static_cast<double>(rows);
      smallest = std::min(smallest, rows);
      sharers += load / all;
      occupancy += (1 - std::exp(-load)) / all;
      tokens_per_row += tokens / static_cast<double>(rows) / all;
    }
  nlohmann::ordered_json ngrams = figure(counted(distinct.ngrams), distinct.basis);
  ngrams["source"] = distinct.source;
  if (distinct.law) {
    ngrams["k"] = distinct.law->k;
    ngrams["beta"] = distinct.law->beta;
  }
  return {{"order", order},
          {"rows_per_head", figure(smallest, "exact")},
          {"distinct_ngrams", ngrams},
          {"occupancy", figure(occupancy, "estimate")},
          {"collisions", figure(occupancy, "estimate")},
          {"sharers", figure(sharers, "estimate")},
          {"tokens_per_row", figure(tokens_per_row, "exact")},
          {"tokens_per_used_row", figure(tokens_per_row / occupancy, "estimate")}};
}

void print_plan(const nlohmann::ordered_json& plan) {
  const auto number = [](const nlohmann::ordered_json& f) { return f["value"].get<double>(); };
  const auto line = [&](const char* name, const nlohmann::ordered_json& f) {
    std::printf("%-24s %20.0f  %s\n", name, number(f), f["basis"].get<std::string>().c_str());
  };
  std::printf("A memory of %.0f parameters, %s rows of %d, in %s\n", number(plan["parameters"]),
              plan["row"]["format"].get<std::string>().c_str(), plan["row"]["width"].get<int>(),
              plan["tier"]["means"].get<std::string>().c_str());
  for (const char* name : {"rows", "table_bytes", "optimizer_bytes", "row_bytes_per_token",
                           "read_bytes_per_token", "bandwidth", "tokens_per_second"})
    line(name, plan[name]);
  std::printf("\nAfter %.0f tokens\n%7s %14s %16s %9s %10s %11s %16s\n", number(plan["tokens"]),
              "n-gram", "rows per head", "distinct", "occupied", "collisions", "sharers",
              "tokens per row");
  for (const nlohmann::ordered_json& order : plan["orders"])
    std::printf("%7d %14.0f %16.0f %8.1f%% %9.1f%% %11.4g %16.4g  %s, %s\n",
                order["order"].get<int>(), number(order["rows_per_head"]),
                number(order["distinct_ngrams"]), 100 * number(order["occupancy"]),
                100 * number(order["collisions"]), number(order["sharers"]),
                number(order["tokens_per_row"]),
                order["distinct_ngrams"]["basis"].get<std::string>().c_str(),
                order["distinct_ngrams"]["source"].get<std::string>().c_str());
  std::printf(
      "occupied: rows of a head that some n-gram reads. collisions: chance that an n-gram shares\n"
      "its row in one head. sharers: how many others it shares that with. All three are "
      "estimates.\n");
}

/// What each order has to expect: given, counted in a text, or by a law.
Result<std::vector<Distinct>> expect_distinct(const CLI::App& app, const PlanOptions& o,
                                              const Layout& layout, const bpe::Encoder* encoder,
                                              const std::optional<TokenMap>& map, Index tokens) {
  const int longest = layout.max_ngram_size;
  const auto all = static_cast<double>(tokens);
  const auto forms = [&](int order) {
    return std::pow(static_cast<double>(layout.canonical_size), order);
  };
  std::vector<Distinct> distinct;
  if (app.count("--distinct") > 0) {
    const Result<std::vector<Index>> counts = read_distinct(o.distinct, longest, tokens);
    if (!counts.ok()) return counts.failure();
    for (const Index count : counts.value())
      distinct.push_back({static_cast<double>(count), "given", "--distinct", std::nullopt});
    return distinct;
  }
  if (encoder == nullptr) {
    for (int order = 2; order <= longest; ++order)
      distinct.push_back(by_law(assumed_growth[static_cast<std::size_t>(order - 2)],
                                "Heaps' law of WikiText-2", all, forms(order)));
    return distinct;
  }
  const Result<std::vector<NgramWindow>> windows = windows_of(o, *encoder, *map, layout);
  if (!windows.ok()) return windows.failure();
  const auto length = static_cast<Index>(windows.value().size());
  for (int order = 2; order <= longest; ++order) {
    const std::vector<Index> places = first_places(windows.value(), order);
    if (tokens <= length) {
      distinct.push_back({count_before(places, tokens), "measured",
                          sentence({"the first ", tokens, " tokens of --text"}), std::nullopt});
    } else {
      distinct.push_back(by_law(
          fit_heaps(places, length),
          sentence({"Heaps' law fitted on the ", length, " tokens of --text"}), all, forms(order)));
    }
  }
  return distinct;
}

/// The sizes asked for, or null where the moduli were.
nlohmann::ordered_json requested_sizes(const CLI::App& app) {
  if (app.count("--sizes") > 0)
    return numbers_of<Index>("--sizes", app.get_option("--sizes")->as<std::string>());
  if (app.count("--moduli") > 0 || app.count("--preset") == 0) return nullptr;
  return find_preset(app.get_option("--preset")->as<std::string>())
      .value()
      .config.engram_vocab_size;
}

/// The rows that a budget holds, or nothing without one.
Result<std::optional<Index>> budgeted_rows(const CLI::App& app, const PlanOptions& o,
                                           const PlannedRow& row) {
  const bool in_bytes = app.count("--budget-bytes") > 0;
  if (!in_bytes && app.count("--budget-parameters") == 0) return std::optional<Index>();
  if (app.count("--moduli") > 0 &&
      parse_numbers<std::uint64_t>(app.get_option("--moduli")->as<std::string>()))
    throw CLI::ValidationError("--moduli",
                               "moduli given as numbers leave a budget nothing to choose");
  const Result<Index> limit = in_bytes ? positive("--budget-bytes", o.budget_bytes)
                                       : positive("--budget-parameters", o.budget_parameters);
  if (!limit.ok()) return limit.failure();
  return std::optional<Index>(limit.value() / (in_bytes ? row.stride : row.width));
}

Result<void> run(CLI::App& app, const PlanOptions& o) {
  const Result<Index> tokens = positive("--tokens", o.tokens);
  if (!tokens.ok()) return tokens.failure();
  constexpr Index most_tokens = 1000000000000000000;
  if (tokens.value() > most_tokens)
    return fail(Code::invalid_config,
                {"--tokens is ", tokens.value(), ", expected at most ", most_tokens});
  const PlannedTier& tier = *std::find_if(std::begin(planned_tiers), std::end(planned_tiers),
                                          [&](const PlannedTier& t) { return o.tier == t.name; });
  const Result<PlannedRow> planned = plan_row(app, o, tier);
  if (!planned.ok()) return planned.failure();
  const PlannedRow& row = planned.value();
  const Result<std::optional<Index>> budget = budgeted_rows(app, o, row);
  if (!budget.ok()) return budget.failure();
  double bandwidth = tier.bandwidth;
  if (app.count("--bandwidth") > 0) {
    const Result<Index> given = positive("--bandwidth", o.bandwidth);
    if (!given.ok()) return given.failure();
    bandwidth = static_cast<double>(given.value());
  }

  std::optional<TokenMap> map;
  std::unique_ptr<bpe::Encoder> encoder;
  if (!o.tokenizer.empty()) {
    Result<TokenizerJson> tokenizer = read_tokenizer_json(o.tokenizer);
    if (!tokenizer.ok()) return tokenizer.failure();
    Result<TokenMap> made = build_token_map(tokenizer.value().tokens);
    if (!made.ok()) return fail(made.status().code, {o.tokenizer, ": ", made.message()});
    map = std::move(made).value();
    Result<bpe::Encoder> read = bpe::Encoder::make(std::move(tokenizer).value());
    if (!read.ok()) return fail(read.status().code, {o.tokenizer, ": ", read.message()});
    encoder = std::make_unique<bpe::Encoder>(std::move(read).value());
  }
  const Result<Geometry> geometry =
      budget.value() ? fit_geometry(app, o, map, *budget.value()) : o.geometry.resolve(map);
  if (!geometry.ok()) return geometry.failure();
  if (!geometry.value().document_starts.empty())
    return fail(Code::unsupported, "plan: --boundary starts is for address");
  const Layout& layout = geometry.value().layout;
  const Index rows = total_rows(layout);
  if (rows > INT64_MAX / std::max({row.width, row.stride, row.state_bytes}))
    return fail(Code::invalid_config,
                {"plan: ", rows, " rows of ", row.width, " elements have more than 2^63 bytes"});
  const Result<std::vector<Distinct>> distinct =
      expect_distinct(app, o, layout, encoder.get(), map, tokens.value());
  if (!distinct.ok()) return distinct.failure();

  nlohmann::ordered_json orders = nlohmann::ordered_json::array();
  for (int order = 2; order <= layout.max_ngram_size; ++order)
    orders.push_back(describe_order(layout, order, static_cast<double>(tokens.value()),
                                    distinct.value()[static_cast<std::size_t>(order - 2)]));
  const Index reads = static_cast<Index>(layout.layers.size()) * layout.columns();
  // Dense rows begin anywhere, and a read fetches every unit that a row has a part in.
  const Index fetched = tier.unit == 64 ? (row.bytes + 63) / 64 * 64
                                        : tier.unit + row.bytes - std::gcd(row.bytes, tier.unit);
  nlohmann::ordered_json spent = nullptr;
  if (budget.value()) {
    const bool in_bytes = app.count("--budget-bytes") > 0;
    spent = {{"unit", in_bytes ? "bytes" : "parameters"},
             {"limit", in_bytes ? number_of<Index>("--budget-bytes", o.budget_bytes)
                                : number_of<Index>("--budget-parameters", o.budget_parameters)},
             {"used", rows * (in_bytes ? row.stride : row.width)}};
  }
  nlohmann::ordered_json optimizer = nullptr;
  if (!o.optimizer.empty()) optimizer = o.optimizer;
  const nlohmann::ordered_json plan = {
      {"tokens", figure(tokens.value(), "given")},
      {"budget", spent},
      {"sizes", requested_sizes(app)},
      {"row", {{"width", row.width}, {"format", o.row_format}, {"bytes", row.bytes}}},
      {"optimizer", optimizer},
      {"tier", {{"name", tier.name}, {"means", tier.means}, {"unit_bytes", tier.unit}}},
      {"rows", figure(rows, "exact")},
      {"parameters", figure(rows * row.width, "exact")},
      {"table_bytes", figure(rows * row.stride, "exact")},
      {"optimizer_bytes", figure(rows * row.state_bytes, "exact")},
      {"row_bytes_per_token", figure(reads * row.bytes, "exact")},
      {"read_bytes_per_token", figure(reads * fetched, "estimate")},
      {"bandwidth",
       figure(counted(bandwidth), app.count("--bandwidth") > 0 ? "given" : "estimate")},
      {"tokens_per_second", figure(bandwidth / static_cast<double>(reads * fetched), "estimate")},
      {"orders", orders},
      {"digest", layout_digest(layout)}};
  if (o.format == "text")
    print_plan(plan);
  else
    std::cout << plan << '\n';
  return {};
}

}  // namespace

Command add_plan(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "plan", "what a memory of a given size will be like after a training run");
  const auto o = std::make_shared<PlanOptions>(*app);
  CLI::Option* const bytes = app->add_option(
      "--budget-bytes", o->budget_bytes, "bytes for the tables of all layers; instead of --sizes");
  CLI::Option* const parameters =
      app->add_option("--budget-parameters", o->budget_parameters, "the same in parameters");
  CLI::Option* const sizes = app->get_option("--sizes");
  bytes->excludes(parameters)->excludes(sizes);
  parameters->excludes(sizes);
  app->add_option("--tokens", o->tokens, "tokens of training")->required();
  app->add_option("--row-width", o->row_width, "elements of a row (the preset's)");
  app->add_option("--row-format", o->row_format, "f32, f16, bf16 or fp8 (bf16)")
      ->check(CLI::IsMember({"f32", "f16", "bf16", "fp8"}));
  app->add_option("--optimizer", o->optimizer, "of the rows: sgd, adagrad or adam (no training)")
      ->check(CLI::IsMember({"sgd", "adagrad", "adam"}));
  app->add_option("--tier", o->tier, "where the tables are: memory, pinned, mmap or disk (memory)")
      ->check(CLI::IsMember({"memory", "pinned", "mmap", "disk"}));
  app->add_option("--bandwidth", o->bandwidth, "bytes a second that the tier gives (an estimate)");
  CLI::Option* const distinct =
      app->add_option("--distinct", o->distinct, "distinct n-grams to expect: 2=1000,3=5000");
  CLI::Option* const text =
      app->add_option("--text", o->text, "count them in this UTF-8 text, and extrapolate");
  CLI::Option* const tokenizer =
      app->add_option("--tokenizer", o->tokenizer, "tokenizer.json for --text");
  text->check(file_name())->needs(tokenizer)->excludes(distinct);
  tokenizer->check(file_name())->needs(text);
  app->add_option("--format", o->format, "json, or text for a terminal")
      ->check(CLI::IsMember({"json", "text"}));
  return {app, [app, o] { return run(*app, *o); }};
}

}  // namespace engram::cli
