// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// What does a trained model use its memory for? Small models learn a text of facts and of copies;
// then the memory is silenced, and what is left of either task is counted.

#include "chart/chart.hpp"
#include "findings.hpp"
#include "models.hpp"
#include "program/progress.hpp"

#include <engram/io/file.hpp>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <limits>
#include <thread>

namespace {

using namespace engram;
using namespace engram::knockout;

constexpr Index held_out = 1024;   // sequences
constexpr Index trial_steps = 10;  // to estimate the time
constexpr std::uint64_t held_out_stream = std::numeric_limits<std::uint64_t>::max();

struct Options {
  Index steps = 1500;
  Index seeds = 3;
  Index threads = 2;
  std::string csv;
};

/// Says how far the models are, each on a line of its own.
class Progress {
 public:
  explicit Progress(const Options& options)
      : steps_(options.steps), all_(2 * options.seeds * options.steps) {}

  void begin(std::uint64_t seed, bool with_memory) {
    name_ = sentence({"seed ", seed, with_memory ? ", with memory:   " : ", without memory:"});
    of_model_ = {};
  }
  void operator()(Index step, double loss) {
    ++done_;
    const double left = program::seconds_left(of_all_.seconds(), static_cast<double>(done_),
                                              static_cast<double>(all_));
    line_.show(sentence({name_, " step ", step, "/", steps_, ", loss ", chart::number(loss, 2),
                         ", ", chart::number(of_model_.seconds(), 0), " s; ",
                         chart::number(left, 0), " s left"}),
               step == steps_);
  }

 private:
  Index steps_, all_, done_ = 0;
  std::string name_;
  program::Stopwatch of_all_, of_model_;
  program::ProgressLine line_;
};

Result<SeedFound> run_seed(std::uint64_t seed, const Options& options, Progress& progress) {
  const Result<Text> text = Text::make({.seed = seed});
  if (!text.ok()) return text.failure();
  const Sequences unseen = text.value().draw(held_out, held_out_stream);
  SeedFound found;
  found.seed = seed;
  for (const bool with_memory : {true, false}) {
    progress.begin(seed, with_memory);
    const Result<lm::Model> model = train(text.value(), with_memory, options.steps, options.threads,
                                          [&](Index step, double loss) { progress(step, loss); });
    if (!model.ok()) return model.failure();
    for (const bool silenced : {false, true}) {
      if (silenced && !with_memory) continue;
      const Result<Accuracy> right = measure(model.value(), unseen, options.threads, silenced);
      if (!right.ok()) return right.failure();
      (!with_memory ? found.without : silenced ? found.off : found.on) = right.value();
    }
  }
  return found;
}

/// Seconds that all models will take, by a few steps of one with memory and one without.
Result<double> estimate_seconds(const Text& text, const Options& options) {
  const program::Stopwatch watch;
  for (const bool with_memory : {true, false}) {
    const Result<lm::Model> model =
        train(text, with_memory, trial_steps, options.threads, [](Index, double) {});
    if (!model.ok()) return model.failure();
  }
  return watch.seconds() / static_cast<double>(trial_steps) *
         static_cast<double>(options.steps * options.seeds);
}

Result<void> run(const Options& options) {
  std::string csv = csv_header();
  // Written before the work, so that a path that cannot be is refused, and behind each seed, so
  // that a run that is stopped leaves what it has.
  const auto write_csv = [&]() -> Result<void> {
    return options.csv.empty() ? Result<void>() : write_file(options.csv, as_bytes(csv));
  };
  if (Result<void> written = write_csv(); !written.ok()) return written;
  const Result<Text> text = Text::make({});
  if (!text.ok()) return text.failure();
  const TextConfig& c = text.value().config();
  std::printf(
      "Text: sequences of %lld of %d different tokens. In random order: facts, each a key of\n"
      "2 or 3 tokens and its value, from %lld; a segment of %lld to %lld tokens, drawn anew each\n"
      "time; and its copy behind a separator.\n",
      static_cast<long long>(c.context + 1), text.value().vocab_size(),
      static_cast<long long>(c.facts), static_cast<long long>(c.shortest),
      static_cast<long long>(c.longest));
  for (const bool with_memory : {true, false}) {
    const Result<lm::Model> model = make_model(text.value(), with_memory);
    if (!model.ok()) return model.failure();
    std::printf("Model %s memory: %lld parameters, %lld active a token.\n",
                with_memory ? "with" : "without",
                static_cast<long long>(model.value().parameters().total),
                static_cast<long long>(model.value().parameters().active));
  }
  const Result<double> seconds = estimate_seconds(text.value(), options);
  if (!seconds.ok()) return seconds.failure();
  std::printf("%lld models, %lld steps of %lld tokens each: about %.0f s with %lld threads.\n\n",
              static_cast<long long>(2 * options.seeds), static_cast<long long>(options.steps),
              static_cast<long long>(step_sequences * c.context), seconds.value(),
              static_cast<long long>(options.threads));
  std::fflush(stdout);

  std::vector<SeedFound> found;
  Progress progress(options);
  for (Index seed = 1; seed <= options.seeds; ++seed) {
    const Result<SeedFound> one = run_seed(static_cast<std::uint64_t>(seed), options, progress);
    if (!one.ok()) return one.failure();
    found.push_back(one.value());
    csv += csv_lines(found.back());
    if (Result<void> written = write_csv(); !written.ok()) return written;
  }
  std::printf(
      "\nHow often the most probable token was the right one, in %lld held-out sequences a seed:\n"
      "the same facts, new segments. Facts: at the value of each, where a guess among all values\n"
      "has %.1f %%. Copied tokens: at the second to the last of each copy. Means over the seeds,\n"
      "+- their standard error.\n\n%s\n%s\n"
      "Silencing measures what the model depends on, not what the memory gained it; the gain is\n"
      "seen against the model that was trained without one, on the same sequences and with fewer\n"
      "parameters.\n",
      static_cast<long long>(held_out), 100 / static_cast<double>(c.value_tokens),
      table(found).c_str(), conclusion(found).c_str());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Trains small models on a text of facts and of copies, silences their memory, and counts "
      "what is left of either");
  Options options;
  options.threads =
      std::clamp<Index>(static_cast<Index>(std::thread::hardware_concurrency()), 1, 2);
  app.add_option("--steps", options.steps, "training steps of a model, of 512 tokens")
      ->capture_default_str()
      ->check(CLI::Range(Index{1}, Index{1} << 30));
  app.add_option("--seeds", options.seeds, "texts, each with two models of its own")
      ->capture_default_str()
      ->check(CLI::Range(Index{1}, Index{1000}));
  app.add_option("--threads", options.threads, "more than 2 do not help")
      ->capture_default_str()
      ->check(CLI::Range(Index{1}, Index{256}));
  app.add_option("--csv", options.csv, "a file for the accuracies of each seed");
  app.footer("Ends with 0, whatever was found; 1 refused, 2 a wrong option.");
  try {
    app.parse(argc, argv);
    if (const Result<void> done = run(options); !done.ok()) {
      std::fprintf(stderr, "knockout: %s\n", done.message().c_str());
      return 1;
    }
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "knockout: %s\nRun with --help for the options.\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "knockout: %s\n", error.what());
    return 1;
  }
  return 0;
}
