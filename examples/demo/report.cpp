// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "report.hpp"

#include "bpe/printable.hpp"
#include "chart/chart.hpp"

#include <algorithm>
#include <cmath>

namespace engram::demo {

using chart::number;
namespace {

constexpr const char* colors[] = {"#888888", "#d9480f", "#1c7ed6"};

constexpr const char* style = R"(<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: 1rem 0; } caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } td.bar { text-align: left; width: 12rem; }
td.bar i { display: inline-block; height: .8rem; background: #d9480f; } td.bar i.less { background: #1c7ed6; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: currentColor; }
.grid { stroke: currentColor; opacity: .15; }
.map { font: 14px/1.9 ui-monospace, monospace; white-space: pre-wrap; border: 1px solid var(--line);
  padding: .8rem; overflow-wrap: anywhere; margin: .3rem 0 1rem; }
.note { opacity: .75; } .warning { border-left: 4px solid #d9480f; padding-left: .8rem; }
</style>
)";

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '&')
      safe += "&amp;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

/// A token's text with its line ends made visible and kept.
std::string shown(const std::string& token) {
  std::string text;
  std::size_t begin = 0;
  for (std::size_t end = token.find('\n'); end != std::string::npos;
       end = token.find('\n', begin)) {
    text += bpe::printable(token.substr(begin, end - begin)) + "\u21B5\n";
    begin = end + 1;
  }
  return text + bpe::printable(token.substr(begin));
}

std::string row(std::initializer_list<std::string> cells, const char* cell = "td") {
  std::string line = "<tr>";
  for (const std::string& text : cells) line += sentence({"<", cell, ">", text, "</", cell, ">"});
  return line + "</tr>\n";
}

std::string millions(Index count) { return number(static_cast<double>(count) / 1e6, 2) + " M"; }

/// Each token on a background of that strength, positive ones in one colour, negative in another.
template <class Strength>
std::string token_map(const std::vector<PassageToken>& passage, double full, Strength strength) {
  std::string html = "<div class=\"map\">";
  for (const PassageToken& token : passage) {
    const double part = std::clamp(double{strength(token)} / std::max(full, 1e-9), -1.0, 1.0);
    html += "<span style=\"background:rgba(" +
            std::string(part >= 0 ? "217,72,15," : "28,126,214,") + number(std::fabs(part), 2) +
            ")\" title=\"" + number(double{strength(token)}, 3) + "\">" +
            escaped(shown(token.text)) + "</span>";
  }
  return html + "</div>\n";
}

std::string curves(const Run& run) {
  std::vector<chart::Line> lines;
  for (std::size_t i = 0; i < run.contenders->size(); ++i) {
    const Contender& c = (*run.contenders)[i];
    chart::Line in_training{c.name + ", training", colors[i], {}, true, {}};
    double smooth = c.losses.empty() ? 0 : c.losses[0];
    for (std::size_t s = 0; s < c.losses.size(); ++s) {
      smooth += 0.1 * (c.losses[s] - smooth);
      if (s >= 10) in_training.points.emplace_back(static_cast<double>(s + 1), smooth);
    }
    lines.push_back(std::move(in_training));
  }
  for (std::size_t i = 0; i < run.contenders->size(); ++i) {
    const Contender& c = (*run.contenders)[i];
    chart::Line held_out{c.name, colors[i], {}, false, {}};
    for (const CurvePoint& p : c.curve)
      held_out.points.emplace_back(static_cast<double>(p.step), p.loss);
    lines.push_back(std::move(held_out));
  }
  return chart::line_chart(lines, "step", "nats a token");
}

std::string strata_table(const std::vector<StratumFound>& found, int order) {
  std::string html =
      "<table><caption>By how often the " + std::to_string(order) +
      "-gram that ends at the position occurred in training</caption>\n" +
      row({"occurrences", "positions", "nats saved", "standard error", "one row a head saves", ""},
          "th");
  double largest = 0.05;
  for (const StratumFound& s : found) largest = std::max(largest, std::fabs(s.gain));
  for (std::size_t i = 0; i < found.size(); ++i) {
    const StratumFound& s = found[i];
    if (s.share == 0) {
      html += row({text::strata[i].name, "none", "", "", "", ""});
      continue;
    }
    html += "<tr><td>" + std::string(text::strata[i].name) + "</td><td>" +
            number(100 * s.share, 1) + " %</td><td>" + number(s.gain, 3) + "</td><td>" +
            number(s.error, 3) + "</td><td>" + number(s.one_row_gain, 3) +
            "</td><td class=\"bar\"><i class=\"" + (s.gain < 0 ? "less" : "more") +
            "\" style=\"width:" + number(100 * std::fabs(s.gain) / largest, 0) +
            "%\"></i></td></tr>\n";
  }
  return html + "</table>\n";
}

std::string kib(Index bytes) { return std::to_string(bytes / 1024) + " KiB"; }

const char* way_of(const ColdTable& cold) {
  return cold.past_cache ? "past the system's cache"
                         : "through the system's cache, for want of reads past it";
}

std::string cold_section(const ColdTable& cold) {
  std::string html = "<h2>The table from a disk</h2>\n";
  if (!cold.left_out.empty())
    return html + "<p>The trained table was not read back from a disk: " + escaped(cold.left_out) +
           "</p>\n";
  const ReadCounters& c = cold.counters;
  return html + "<p>The trained table, " + std::to_string(cold.file_rows) +
         " rows in pages of 4 KiB, was written to a disk, dropped from the system's memory, and "
         "the rows of the passage above were read back in one batch, " +
         way_of(cold) + ". All " + std::to_string(c.checked_pages) +
         " pages have the right checksum, and all values equal the table in memory, bit for "
         "bit.</p>\n<table>\n" +
         row({"rows asked for", "different rows", "reads", "pages", "read", "until all were there"},
             "th") +
         row({std::to_string(cold.rows), std::to_string(cold.different_rows),
              std::to_string(c.reads), std::to_string(c.pages), kib(c.bytes),
              number(cold.milliseconds, 1) + " ms"}) +
         "</table>\n";
}

}  // namespace

std::string conclusion(const Run& run) {
  const StratumFound& all = run.findings.all;
  const std::string tokens =
      number(static_cast<double>(run.steps_done * run.options.sequences) *
                 static_cast<double>((*run.contenders)[0].model.config().context) / 1e6,
             2);
  std::string text = "Shown: after " + tokens + " million tokens, the model with memory ";
  if (std::fabs(all.gain) < 2 * all.error)
    text +=
        "is as good on text it has not seen as the one without, as far as this text can tell (" +
        number(all.gain, 3) + " nats a token saved, standard error " + number(all.error, 3) + ").";
  else
    text +=
        "predicts text it has not seen " + std::string(all.gain > 0 ? "better" : "worse") + " by " +
        number(std::fabs(all.gain), 3) + " nats a token (standard error " + number(all.error, 3) +
        ") than the one without, at equal parameters; with one row a head the gain is " +
        number(all.one_row_gain, 3) +
        (all.gain < 0                      ? "."
         : all.one_row_gain < all.gain / 2 ? ", so most of it is what the rows hold."
                                           : ", so at least half of it is not what the rows hold.");
  return text +
         " Not shown: that this holds for larger models, longer training, other text or another "
         "seed.";
}

std::string html_report(const Run& run) {
  const Findings& f = run.findings;
  const std::vector<Contender>& models = *run.contenders;
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>engram: what memory does "
      "for a "
      "small language model</title>\n";
  html += style;
  html += "</head><body>\n<h1>What memory does for a small language model</h1>\n";
  if (run.partial)
    html += "<p class=\"warning\"><b>Partial:</b> training was interrupted after " +
            std::to_string(run.steps_done) + " of " + std::to_string(run.options.steps) +
            " steps; the learning rate had not come down, so losses are higher than they would "
            "be.</p>\n";
  html += "<p>" + escaped(conclusion(run)) + "</p>\n";
  html +=
      "<p>An Engram memory is a table of learned vectors: the last two and three tokens are hashed "
      "to a few of its rows, which a gate weighs and adds to the hidden state. Three models were "
      "trained side by side on the same tokens. The second pays for its rows with fewer experts "
      "and "
      "a narrower shared expert. The third is the second with one row a head, read at every "
      "position: its memory can hold nothing about any n-gram.</p>\n";

  html += "<h2>The text</h2>\n<p>" + escaped(run.corpus->source) + ": " +
          number(static_cast<double>(run.corpus->bytes) / 1e6, 1) + " MB, " +
          millions(text::Corpus::tokens_of(run.corpus->training)) + " tokens to train on, " +
          millions(text::Corpus::tokens_of(run.corpus->held_out)) + " held out; " +
          std::to_string(run.corpus->encoder.vocab_size()) + " different tokens. SHA-256 <code>" +
          run.corpus->digest + "</code></p>\n";

  html += "<h2>The models</h2>\n<table>\n" +
          row({"", "parameters", "active a token", "nats", "bits a byte", "at equal time, nats",
               "on training text, nats", "training, s"},
              "th");
  for (std::size_t i = 0; i < models.size(); ++i) {
    const lm::ParameterCounts counts = models[i].model.parameters();
    html += row({models[i].name, millions(counts.total), millions(counts.active),
                 number(f.models[i].nats, 3), number(f.models[i].bits_per_byte, 3),
                 number(f.models[i].at_equal_time, 3), number(f.models[i].train_nats, 3),
                 number(models[i].seconds, 1)});
  }
  html += "</table>\n<p class=\"note\">On " + std::to_string(f.tokens) +
          " held-out tokens. Active: weights multiplied for a token and row values read for it, "
          "without "
          "the input embedding. At equal time: the loss when the fastest was done, after " +
          number(f.equal_seconds, 1) +
          " s of its own training; that is, the final loss and what the curve below still fell by "
          "from there on.</p>\n";

  html += "<h2>While training</h2>\n" + curves(run) +
          "<p class=\"note\">Strong: on held-out text; pale: on the training text, smoothed.</p>\n";

  html +=
      "<h2>Where the memory helps</h2>\n" + strata_table(f.by_order[0], 2) +
      strata_table(f.by_order[1], 3) +
      "<p class=\"note\">A memory can only help where its n-gram was trained: for unseen ones the "
      "gain should be near zero, or come from the other order and from collisions. The standard "
      "error takes windows of text as independent draws; it knows nothing of other seeds.</p>\n";

  html +=
      "<h2>With the memory silenced</h2>\n<p>The trained model with memory has " +
      number(f.models[1].nats, 3) + " nats; with its memory multiplied by 0, " +
      number(f.knocked_out, 3) +
      ". This measures how much the model depends on its memory, not what the memory is worth: the "
      "rest was trained to rely on it.</p>\n";

  double largest = 0.1, norm = 0;
  for (const PassageToken& t : f.passage) {
    largest = std::max(largest, double{std::fabs(t.saved)});
    norm = std::max(norm, double{t.norm});
  }
  html +=
      "<h2>A passage, token by token</h2>\n<p>From the middle of " + escaped(f.passage_name) +
      ", held out and chosen before training. A gate map alone proves nothing: the gates of a "
      "memory that can hold nothing open and close too, as the third map shows. The first map is "
      "the evidence.</p>\n"
      "<p><b>Loss saved</b> on each token by the model with memory (orange) or lost (blue), full "
      "colour at " +
      number(largest, 1) + " nats</p>\n" +
      token_map(f.passage, largest, [](const PassageToken& t) { return t.saved; }) +
      "<p><b>Gate</b> of the memory; on a token, it acts on the guess of the next</p>\n" +
      token_map(f.passage, 1, [](const PassageToken& t) { return t.gate; }) +
      "<p><b>Gate</b> of the model with one row a head</p>\n" +
      token_map(f.passage, 1, [](const PassageToken& t) { return t.one_row_gate; }) +
      "<p><b>Length</b> of what the memory added, full colour at " + number(norm, 2) + "</p>\n" +
      token_map(f.passage, norm, [](const PassageToken& t) { return t.norm; }) +
      cold_section(run.cold);
  return html + "</body></html>\n";
}

void print_findings(const Run& run) {
  const Findings& f = run.findings;
  std::printf("\nOn %lld held-out tokens, after %lld steps:\n", static_cast<long long>(f.tokens),
              static_cast<long long>(run.steps_done));
  std::printf("%-16s %10s %12s %8s %12s %20s %18s\n", "", "parameters", "active", "nats",
              "bits a byte", "nats at equal time", "nats in training");
  for (std::size_t i = 0; i < f.models.size(); ++i) {
    const Contender& c = (*run.contenders)[i];
    const lm::ParameterCounts counts = c.model.parameters();
    std::printf("%-16s %10s %12s %8.3f %12.3f %20.3f %18.3f\n", c.name.c_str(),
                millions(counts.total).c_str(), millions(counts.active).c_str(), f.models[i].nats,
                f.models[i].bits_per_byte, f.models[i].at_equal_time, f.models[i].train_nats);
  }
  std::printf("(equal time: when the fastest was done, after %.1f s of its own training)\n",
              f.equal_seconds);
  std::printf(
      "\nNats saved by the memory, by how often the n-gram at the position occurred in "
      "training:\n");
  std::printf("%-12s", "occurrences");
  for (const text::Stratum& s : text::strata) std::printf(" %16s", s.name);
  for (int order = 2; order <= 3; ++order) {
    std::printf("\n%d-grams     ", order);
    for (const StratumFound& s : f.by_order[order - 2])
      if (s.share == 0)
        std::printf(" %16s", "-");
      else
        std::printf("  %6.3f (%4.1f %%)", s.gain, 100 * s.share);
  }
  std::printf(
      "\n(in brackets: the share of positions)\n\n"
      "With its memory silenced the model has %.3f nats instead of %.3f. That measures how much it "
      "depends\non the memory, not what the memory is worth.\n",
      f.knocked_out, f.models[1].nats);
  const ColdTable& cold = run.cold;
  if (!cold.left_out.empty()) {
    std::printf("\nThe trained table was not read back from a disk: %s\n", cold.left_out.c_str());
    return;
  }
  const ReadCounters& c = cold.counters;
  std::printf(
      "\nThe trained table, %lld rows, written to a disk and read back cold, %s:\n"
      "%lld rows of the report's passage, %lld different, came in %lld reads of %lld pages, %s, in "
      "%.1f ms;\nequal to the table in memory, bit for bit.\n",
      static_cast<long long>(cold.file_rows), way_of(cold), static_cast<long long>(cold.rows),
      static_cast<long long>(cold.different_rows), static_cast<long long>(c.reads),
      static_cast<long long>(c.pages), kib(c.bytes).c_str(), cold.milliseconds);
}

}  // namespace engram::demo
