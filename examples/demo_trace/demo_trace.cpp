// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The main job without training: what happens to real text on its way to a memory. A tokenizer, its
// token map, n-grams, row ids and what repeats, then a layer with random weights over the text.

#include "bpe/printable.hpp"
#include "bpe/trainer.hpp"
#include "memory.hpp"
#include "program/progress.hpp"
#include "text/headers.hpp"
#include "trace/trace.hpp"

#include <engram/io/file.hpp>
#include <engram/io/tokenizer_json.hpp>
#include <engram/layer/front_end.hpp>
#include <engram/layer/presets.hpp>
#include <engram/unicode/token_map_builder.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

namespace {

using namespace engram;
using namespace engram::demo;

struct Options {
  std::string tokenizer, text;  // empty: from the C++ headers of this machine
  std::string save_tokenizer;   // empty: not saved
  bool color = false;
};

constexpr std::size_t training_bytes = 8'000'000;
constexpr std::size_t shown_bytes = 1'500'000;

void heading(const std::string& text, bool color) {
  std::printf("\n%s%s%s\n", color ? "\x1b[1;36m" : "", text.c_str(), color ? "\x1b[0m" : "");
  std::fflush(stdout);
}

Result<TokenizerJson> train(const std::vector<text::NamedText>& texts) {
  const program::Stopwatch watch;
  bpe::TrainerOptions options;
  options.special_tokens = {"<|begin|>", "<|end|>", "<|pad|>"};
  Result<bpe::Trainer> trainer = bpe::Trainer::make(options);
  if (!trainer.ok()) return trainer.failure();
  std::size_t bytes = 0;
  for (const text::NamedText& header : texts) {
    bytes += header.text.size();
    if (Result<void> added = trainer.value().add(header.text); !added.ok()) return added.failure();
  }
  Result<TokenizerJson> tokenizer = trainer.value().train();
  if (tokenizer.ok())
    std::printf("Trained %zu tokens on %zu C++ headers of this machine (%.1f MB) in %.1f s.\n",
                tokenizer.value().tokens.size(), texts.size(), static_cast<double>(bytes) / 1e6,
                watch.seconds());
  return tokenizer;
}

/// The largest groups of spellings that share a canonical id.
void show_groups(const bpe::Encoder& encoder, const TokenMap& map) {
  std::map<std::int32_t, std::vector<std::int32_t>> groups;
  for (Index token = 0; token < map.vocab_size(); ++token)
    groups[to_integer(map(token))].push_back(static_cast<std::int32_t>(token));
  std::vector<const std::vector<std::int32_t>*> by_size;
  for (const auto& [canonical, tokens] : groups) by_size.push_back(&tokens);
  std::stable_sort(by_size.begin(), by_size.end(),
                   [](const auto* a, const auto* b) { return a->size() > b->size(); });
  for (std::size_t g = 0; g < by_size.size() && g < 8; ++g) {
    std::string spellings;
    for (std::size_t i = 0; i < by_size[g]->size() && i < 6; ++i)
      spellings += '"' + bpe::printable(encoder.token((*by_size[g])[i])) + "\"  ";
    std::printf("  %3zu spellings, canonical id %5d:  %s%s\n", by_size[g]->size(),
                to_integer(map((*by_size[g])[0])), spellings.c_str(),
                by_size[g]->size() > 6 ? "..." : "");
  }
}

/// Row ids a second over the tokens of a text, best of a few passes.
Result<double> measure(const Layout& layout, const TokenMap& map,
                       const std::vector<std::int32_t>& ids) {
  const auto front = make_front_end(layout, map);
  if (!front.ok()) return front.failure();
  const Index tokens = std::min<Index>(static_cast<Index>(ids.size()), 4096);
  const auto layers = static_cast<Index>(layout.layers.size());
  std::vector<Index> rows(static_cast<std::size_t>(tokens * layers * layout.columns()));
  const View<Index, 3> view(rows.data(), tokens, layers, layout.columns());
  double best = 0;
  for (int pass = 0; pass < 200; ++pass) {
    NgramState state = front.value().initial_state();
    const program::Stopwatch watch;
    const Status status =
        front.value().address(View<const std::int32_t, 1>(ids.data(), tokens), state, view);
    if (!status.ok()) return fail(status.code, describe(status, "address"));
    best = std::max(best, static_cast<double>(rows.size()) / watch.seconds());
  }
  return best;
}

Result<void> show_trace(const Options& options) {
  const std::string& tokenizer_path = options.tokenizer;
  const std::string& text_path = options.text;
  std::vector<text::NamedText> headers;
  if (tokenizer_path.empty() || text_path.empty()) headers = text::read_headers(training_bytes);
  if (headers.empty() && (tokenizer_path.empty() || text_path.empty()))
    return fail(Code::io,
                "there are no C++ headers below /usr/include; give --tokenizer and --text");

  heading("1. A tokenizer", options.color);
  Result<TokenizerJson> tokenizer =
      tokenizer_path.empty() ? train(headers) : read_tokenizer_json(tokenizer_path);
  if (!tokenizer.ok()) return tokenizer.failure();
  if (!options.save_tokenizer.empty())
    if (Result<void> saved = bpe::write_tokenizer_json(tokenizer.value(), options.save_tokenizer);
        !saved.ok())
      return saved;
  if (!tokenizer_path.empty())
    std::printf("Read %zu tokens from %s.\n", tokenizer.value().tokens.size(),
                tokenizer_path.c_str());

  heading("2. Tokenizer compression: spellings of one word share a canonical id", options.color);
  const Result<TokenMap> map = build_token_map(tokenizer.value().tokens);
  if (!map.ok()) return map.failure();
  const Result<bpe::Encoder> encoder = bpe::Encoder::make(std::move(tokenizer).value());
  if (!encoder.ok()) return encoder.failure();
  const auto entries = static_cast<double>(map.value().vocab_size());
  const auto compressed = static_cast<double>(map.value().canonical_size());
  std::printf("%.0f tokens become %.0f canonical ids (%.1f %% fewer). The largest groups:\n",
              entries, compressed, 100 * (1 - compressed / entries));
  show_groups(encoder.value(), map.value());

  heading("3. n-grams and their rows, for the tables of the paper's demo", options.color);
  EngramConfig config = demo_preset().config;
  config.pad_id = std::min<std::int32_t>(config.pad_id,
                                         static_cast<std::int32_t>(map.value().vocab_size()) - 1);
  const Result<Layout> layout = make_layout(config, map.value());
  if (!layout.ok()) return layout.failure();
  std::string text;
  if (!text_path.empty()) {
    Result<std::string> file = read_file(text_path);
    if (!file.ok()) return file.failure();
    text = std::move(file).value();
  }
  for (std::size_t i = 0; text_path.empty() && i < headers.size() && text.size() < shown_bytes; ++i)
    text += headers[i].text;
  const Result<trace::Trace> traced =
      trace::trace_text(encoder.value(), map.value(), layout.value(), text, 16);
  if (!traced.ok()) return traced.failure();
  trace::print(stdout, traced.value(), layout.value(), options.color);

  heading("4. Speed", options.color);
  const std::size_t enough = std::min(text.find('\n', 100'000), text.size());
  const Result<std::vector<std::int32_t>> ids =
      encoder.value().encode(std::string_view(text).substr(0, enough));
  if (!ids.ok()) return ids.failure();
  const Result<double> rate = measure(layout.value(), map.value(), ids.value());
  if (!rate.ok()) return rate.failure();
  std::printf("%.0f million row ids a second on one core: %lld rows a token, %.0f ns a token.\n",
              rate.value() / 1e6,
              static_cast<long long>(layout.value().columns() *
                                     static_cast<Index>(layout.value().layers.size())),
              1e9 * static_cast<double>(layout.value().columns()) *
                  static_cast<double>(layout.value().layers.size()) / rate.value());

  heading("5. The memory: rows gathered, projected, gated, convolved and added to hidden states",
          options.color);
  const Result<MemoryShown> memory = show_memory(map.value(), config.pad_id, ids.value());
  if (!memory.ok()) return memory.failure();

  std::printf(
      "\nShown: %lld tokens of real text followed to their rows of two tables of %.1f million "
      "rows, exactly as\nthe paper's demo addresses them; %lld of them taken through a layer%s;\n"
      "not shown: what a trained memory knows, for the numbers in this one are random.\n"
      "Next: examples/run engram trace --help\n",
      static_cast<long long>(traced.value().tokens),
      static_cast<double>(layout.value().layers[0].rows) / 1e6,
      static_cast<long long>(memory.value().tokens),
      memory.value().from_file ? ", from memory and from a file alike" : "");
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Follows text to the rows of an Engram memory; trains nothing", "demo --trace");
  Options options;
  options.color = program::is_terminal();
  app.add_option("--text", options.text, "UTF-8 text file; else C++ headers");
  app.add_option("--tokenizer", options.tokenizer,
                 "tokenizer.json of a byte-level BPE; else one is trained on C++ headers");
  app.add_option("--save-tokenizer", options.save_tokenizer,
                 "write the tokenizer there as tokenizer.json");
  app.footer("Ends with 0; 1 refused, 2 a wrong option.");
  try {
    app.parse(argc, argv);
    const Result<void> done = show_trace(options);
    if (done.ok()) return 0;
    std::fprintf(stderr, "demo --trace: %s\n", done.message().c_str());
    return 1;
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "demo --trace: %s\nRun with --help for the options.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo --trace: %s\n", error.what());
    return 1;
  }
}
