// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "program.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <thread>

namespace engram::study {
namespace {

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler sets it

Result<bool> run(const Program& program, text::CorpusOptions wanted, const StudyOptions& options) {
  wanted.enough_tokens =
      std::max(wanted.enough_tokens,
               options.steps * options.sequences * (lm::ModelConfig().context + 1) / 10 * 11);
  std::printf("Reading the text ...\n");
  std::fflush(stdout);
  Result<text::Corpus> corpus = text::read_corpus(wanted);
  if (!corpus.ok()) return corpus.failure();
  std::printf("Text: %s\n%.2f million tokens to train on, %.2f million held out, %d different\n",
              corpus.value().source.c_str(),
              static_cast<double>(text::Corpus::tokens_of(corpus.value().training)) / 1e6,
              static_cast<double>(text::Corpus::tokens_of(corpus.value().held_out)) / 1e6,
              corpus.value().encoder.vocab_size());
  Result<Study> study = Study::open(corpus.value(), options);
  if (!study.ok()) return study.failure();
  std::printf(
      "%lld steps of %lld sequences a model, %lld models at a time, %lld seeds; losses on %lld\n"
      "held-out tokens. Results go to %s; Ctrl-C gives up the models in training, and the same\n"
      "command goes on from there.\n\n",
      static_cast<long long>(options.steps), static_cast<long long>(options.sequences),
      static_cast<long long>(options.threads), static_cast<long long>(options.seeds),
      static_cast<long long>(study.value().held_out_tokens()), options.ledger.c_str());
  std::fflush(stdout);
  std::signal(SIGINT, [](int) {
    interrupted = true;
    std::signal(SIGINT, SIG_DFL);  // a second Ctrl-C does not wait
  });
  return program.run(study.value(), interrupted);
}

}  // namespace

int run_program(const Program& program, int argc, char** argv) {
  CLI::App app(program.about, program.name);
  text::CorpusOptions wanted;
  StudyOptions options;
  options.name = program.study;
  options.steps = program.steps;
  options.ledger = program.results;
  options.threads = std::clamp<Index>(std::thread::hardware_concurrency(), 1, 256);
  const auto number = [&](const char* name, Index& value, Index most, const char* about) {
    app.add_option(name, value, about)->check(CLI::Range(Index{1}, most))->capture_default_str();
  };
  app.add_option("--text", wanted.text, "UTF-8 text file to train on; else C++ headers");
  app.add_option("--tokenizer", wanted.tokenizer, "tokenizer.json of a byte-level BPE");
  number("--steps", options.steps, Index{1} << 30, "training steps of 2,048 tokens of each model");
  number("--seeds", options.seeds, 900, "models of each kind that are reported");
  number("--threads", options.threads, 256, "models that are trained at a time, 0.1 GB each");
  app.add_option("--results", options.ledger, "CSV file of all models; goes on from there")
      ->capture_default_str();
  app.footer("Ends with 0; 1 refused, 2 a wrong option, 130 interrupted.");
  try {
    app.parse(argc, argv);
    const Result<bool> done = run(program, wanted, options);
    if (done.ok() && done.value()) return 0;
    if (done.ok()) {
      std::printf("Interrupted; run it again to go on.\n");
      return 130;
    }
    std::fprintf(stderr, "%s: %s\n", program.name, done.message().c_str());
    return 1;
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s\nRun with --help for the options.\n", program.name, error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", program.name, error.what());
    return 1;
  }
}

}  // namespace engram::study
