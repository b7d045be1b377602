// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The main job on real text: three small language models, without a memory, with one, and with one
// that can hold nothing, are trained side by side and compared. With no arguments the text is the
// C++ headers of this machine.

#include "chart/chart.hpp"
#include "program/progress.hpp"
#include "report.hpp"

#include <engram/io/file.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <thread>

namespace {

using namespace engram;
using namespace engram::demo;

volatile std::sig_atomic_t interrupted = 0;

struct Options {
  text::CorpusOptions corpus;
  std::string report = "engram-demo.html";
  LockstepOptions lockstep;
};

/// Says how far the training is, with a bar and the losses.
class Progress {
 public:
  Progress(const std::vector<Contender>& contenders, Index steps)
      : contenders_(&contenders), steps_(steps) {}

  void operator()(Index step) {
    constexpr Index cells = 20;
    const auto full = static_cast<std::size_t>(cells * step / steps_);
    std::string text = sentence({"[", std::string(full, '#'), std::string(cells - full, '.'), "] ",
                                 step, "/", steps_, " "});
    for (const Contender& c : *contenders_) text += ' ' + chart::number(recent_loss(c), 3);
    const double left = program::seconds_left(watch_.seconds(), static_cast<double>(step),
                                              static_cast<double>(steps_));
    line_.show(sentence({text, "  ", chart::number(left, 0), " s left"}), step == steps_);
  }

 private:
  const std::vector<Contender>* contenders_;
  Index steps_;
  program::Stopwatch watch_;
  program::ProgressLine line_;
};

/// Fails before any work where the report could not be written in the end. Leaves what is there.
Result<void> check_writable(const std::string& path) {
  std::error_code error;
  const auto there = std::filesystem::status(path, error);
  if (std::filesystem::is_regular_file(there)) {
    const Result<std::string> old = read_file(path);
    if (!old.ok()) return old.failure();
    return write_file(path, as_bytes(old.value()));
  }
  Result<void> written = write_file(path, Bytes());
  if (written.ok() && !std::filesystem::exists(there)) std::filesystem::remove(path, error);
  return written;
}

Result<void> run(const Options& options) {
  const program::Stopwatch watch;
  if (Result<void> writable = check_writable(options.report); !writable.ok()) return writable;

  text::CorpusOptions wanted = options.corpus;
  const Index length = lm::ModelConfig().context + 1;
  const Index needed = options.lockstep.steps * options.lockstep.sequences;
  wanted.enough_tokens = std::max(wanted.enough_tokens, needed * length / 10 * 11);
  Result<text::Corpus> read = text::read_corpus(wanted);
  if (!read.ok()) return read.failure();
  const text::Corpus corpus = std::move(read).value();
  const Index train_tokens = text::Corpus::tokens_of(corpus.training);
  std::printf(
      "Text: %s\n%.1f MB; %.2f million tokens to train on, %.2f million held out, %d different; "
      "read in %.1f s\nSHA-256 %s\n",
      corpus.source.c_str(), static_cast<double>(corpus.bytes) / 1e6,
      static_cast<double>(train_tokens) / 1e6,
      static_cast<double>(text::Corpus::tokens_of(corpus.held_out)) / 1e6,
      corpus.encoder.vocab_size(), watch.seconds(), corpus.digest.c_str());

  Result<std::vector<Contender>> made = make_contenders(corpus.encoder.vocab_size(), corpus.map);
  if (!made.ok()) return made.failure();
  std::vector<Contender> contenders = std::move(made).value();
  const std::vector<std::int32_t> all = text::cut_windows(corpus.training, corpus.end, length, 1);
  const std::vector<std::int32_t> unseen =
      text::cut_windows(corpus.held_out, corpus.end, length, 2);
  const View<const std::int32_t, 2> windows(all.data(), static_cast<Index>(all.size()) / length,
                                            length);
  const View<const std::int32_t, 2> held_out(unseen.data(),
                                             static_cast<Index>(unseen.size()) / length, length);
  if (windows.extent(0) < needed || held_out.extent(0) < 1)
    return fail(Code::invalid_config,
                {"the text is too short: ", options.lockstep.steps, " steps take ", needed * length,
                 " tokens to train on, of which none is seen twice, and ", length,
                 " held out; there are ", train_tokens, " and ",
                 text::Corpus::tokens_of(corpus.held_out), ". Give more text or fewer --steps."});
  const Result<Passage> passage = choose_passage(corpus, length);
  if (!passage.ok()) return passage.failure();

  std::printf("\n%-16s %12s %14s\n", "model", "parameters", "active a token");
  for (const Contender& c : contenders)
    std::printf("%-16s %12lld %14lld\n", c.name.c_str(),
                static_cast<long long>(c.model.parameters().total),
                static_cast<long long>(c.model.parameters().active));
  const lm::ParameterCounts without = contenders[0].model.parameters();
  const lm::ParameterCounts with = contenders[1].model.parameters();
  const auto apart = [](Index a, Index b) {
    return 100 * std::fabs(static_cast<double>(b) / static_cast<double>(a) - 1);
  };
  std::printf(
      "Active: weights multiplied for a token and row values read, without the input embedding.\n"
      "The first two are %.1f and %.1f %% apart: the memory is paid for with fewer experts and a\n"
      "narrower shared expert. The third has the second's experts and a memory that can hold\n"
      "nothing.\n\n"
      "Training, %lld steps of %lld tokens, the same for each; Ctrl-C ends early and reports.\n"
      "Loss in nats a token, mean of the last 20 steps: without memory, with memory, one row a "
      "head\n",
      apart(without.total, with.total), apart(without.active, with.active),
      static_cast<long long>(options.lockstep.steps),
      static_cast<long long>(options.lockstep.sequences * (length - 1)));
  std::fflush(stdout);

  Run done;
  done.corpus = &corpus;
  done.contenders = &contenders;
  done.options = options.lockstep;
  std::signal(SIGINT, [](int) {
    interrupted = 1;
    std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C does not wait for the report
  });
  Progress progress(contenders, options.lockstep.steps);
  if (Result<void> trained =
          train_in_lockstep(contenders, options.lockstep, windows, held_out, interrupted,
                            [&](Index step) {
                              done.steps_done = step;
                              progress(step);
                            });
      !trained.ok())
    return trained;
  done.partial = done.steps_done < options.lockstep.steps;
  if (done.partial) std::printf("\nInterrupted; what there is:\n");

  Result<Findings> found =
      look_into(contenders, corpus, windows, done.steps_done * options.lockstep.sequences, held_out,
                passage.value(), options.lockstep.threads);
  if (!found.ok()) return found.failure();
  done.findings = std::move(found).value();
  Result<ColdTable> cold = read_cold(contenders[1].model, passage.value().tokens);
  if (cold.ok())
    done.cold = std::move(cold).value();
  else
    done.cold.left_out = cold.message();
  print_findings(done);
  if (Result<void> written = write_file(options.report, as_bytes(html_report(done))); !written.ok())
    return written;
  std::printf(
      "\n%s%s\nReport: %s\nNext: examples/run-demo --trace follows text to the rows of a memory\n",
      done.partial ? "PARTIAL RUN. " : "", conclusion(done).c_str(), options.report.c_str());
  if (!cold.ok()) return cold.failure();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Trains three small language models side by side: without an Engram memory, with one, "
      "and with one that can hold nothing");
  Options options;
  options.lockstep.threads =
      std::clamp<Index>(static_cast<Index>(std::thread::hardware_concurrency()), 1, 2);
  app.add_option("--text", options.corpus.text, "UTF-8 text file to train on; else C++ headers");
  app.add_option("--tokenizer", options.corpus.tokenizer, "tokenizer.json of a byte-level BPE");
  app.add_option("--steps", options.lockstep.steps, "training steps of 2,048 tokens")
      ->check(CLI::Range(Index{1}, Index{1} << 40));
  app.add_option("--threads", options.lockstep.threads, "more than 2 do not help")
      ->check(CLI::Range(Index{1}, Index{256}));
  app.add_option("--report", options.report, "the HTML page to write");
  app.footer(
      "Ends with 0; 1 refused, 2 a wrong option, 130 interrupted, with a report.\n"
      "examples/run-demo --trace trains nothing: it follows text to the rows of a memory.");
  try {
    app.parse(argc, argv);
    const Result<void> done = run(options);
    if (!done.ok()) {
      std::fprintf(stderr, "demo: %s\n", done.message().c_str());
      return 1;
    }
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "demo: %s\nRun with --help for the options.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
  return interrupted != 0 ? 130 : 0;
}
