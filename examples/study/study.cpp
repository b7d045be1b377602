// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "study.hpp"

#include "lm/train.hpp"
#include "program/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <thread>

namespace engram::study {
namespace {

constexpr Index length = lm::ModelConfig().context + 1;  // tokens of a window
constexpr Index windows_for_choice = 128, windows_for_report = 768;

const Variant& named(std::span<const Variant> variants, const std::string& name) {
  return *std::find_if(variants.begin(), variants.end(),
                       [&](const Variant& v) { return v.name == name; });
}

std::string describe(const Trial& trial) {
  char rate[32];
  std::snprintf(rate, sizeof rate, "%g", double{trial.rate});
  return sentence({trial.variant, ", rate ", rate, ", seed ", trial.seed});
}

}  // namespace

Result<Study> Study::open(const text::Corpus& corpus, const StudyOptions& options) {
  if (options.steps < 1 || options.sequences < 1 || options.seeds < 1 || options.threads < 1)
    return fail(Code::invalid_config,
                {"study: ", options.steps, " steps, ", options.sequences, " sequences, ",
                 options.seeds, " seeds, ", options.threads, " threads: none may be below 1"});
  std::vector<std::int32_t> same(static_cast<std::size_t>(corpus.map.vocab_size()));
  std::iota(same.begin(), same.end(), 0);
  Result<TokenMap> identity = TokenMap::make(std::move(same));
  if (!identity.ok()) return identity.failure();
  std::vector<std::int32_t> held_out = text::cut_windows(corpus.held_out, corpus.end, length, 2);
  const Index needed = options.steps * options.sequences * length,
              there = text::Corpus::tokens_of(corpus.training),
              windows = static_cast<Index>(held_out.size()) / length;
  if (there < needed || windows < 2)
    return fail(Code::invalid_config,
                {"the text is too short: ", options.steps, " steps take ", needed,
                 " tokens to train on, of which none is seen twice, and ", 2 * length,
                 " held out; there are ", there, " and ", held_out.size(),
                 ". Give more text or fewer --steps."});
  const Index for_choice = std::min(windows_for_choice, windows / 2),
              for_report = std::min(windows_for_report, windows - for_choice);
  Result<Ledger> ledger = Ledger::open(
      options.ledger, sentence({options.name, ": ", options.steps, " steps of ", options.sequences,
                                " x ", length - 1, " tokens, ", for_choice, " + ", for_report,
                                " held-out windows, of the text ", corpus.digest, ", token map ",
                                corpus.map.digest()}));
  if (!ledger.ok()) return ledger.failure();

  Study study(corpus, options, std::move(ledger).value(), std::move(identity).value());
  study.held_out_ = std::move(held_out);
  study.for_choice_ = for_choice;
  study.for_report_ = for_report;
  return study;
}

Result<std::optional<Outcome>> Study::train(const Variant& variant, const Trial& trial,
                                            const std::vector<std::int32_t>& windows,
                                            const std::function<bool()>& is_stopped) const {
  const program::Stopwatch watch;
  lm::ModelConfig config = variant.config;
  config.seed = trial.seed;
  Result<lm::Model> made = lm::Model::make(config, variant.compressed ? corpus_->map : identity_);
  if (!made.ok()) return made.failure();
  lm::Model& model = made.value();
  Result<lm::Trainer> trainer =
      lm::Trainer::make(model, {.steps = options_.steps, .peak_rate = trial.rate, .threads = 1});
  if (!trainer.ok()) return trainer.failure();
  Outcome outcome{model.parameters().total, model.parameters().active, INFINITY, INFINITY, 0};
  const View<const std::int32_t, 2> all(windows.data(), static_cast<Index>(windows.size()) / length,
                                        length);
  bool diverged = false;
  for (Index step = 0; step < options_.steps && !diverged; ++step) {
    if (is_stopped()) return std::optional<Outcome>();
    const Result<double> loss =
        trainer.value().step(all.slice(step * options_.sequences, options_.sequences));
    diverged = loss.status().code == Code::not_finite;
    if (!loss.ok() && !diverged) return loss.failure();
  }
  if (!diverged) {
    const View<const std::int32_t, 2> held_out(held_out_.data(), for_choice_ + for_report_, length);
    const Result<double> choice = lm::evaluate(model, held_out.slice(0, for_choice_));
    const Result<double> loss = lm::evaluate(model, held_out.slice(for_choice_, for_report_));
    if (!choice.ok()) return choice.failure();
    if (!loss.ok()) return loss.failure();
    if (std::isfinite(choice.value())) outcome.choice = choice.value();
    if (std::isfinite(loss.value())) outcome.loss = loss.value();
  }
  outcome.seconds = watch.seconds();
  return std::optional(outcome);
}

Result<bool> Study::run(std::span<const Variant> variants, std::span<const Trial> trials,
                        const std::atomic<bool>& stop) {
  std::vector<Trial> left;
  for (const Trial& trial : trials)
    if (ledger_.find(trial) == nullptr) left.push_back(trial);
  const auto needed = static_cast<std::size_t>(options_.steps * options_.sequences * length);
  for (const Trial& trial : left)
    if (std::vector<std::int32_t>& windows = windows_of_[trial.seed]; windows.empty()) {
      windows = text::cut_windows(corpus_->training, corpus_->end, length, trial.seed);
      windows.resize(needed);
      windows.shrink_to_fit();
    }

  std::mutex mutex;  // over all below, and the ledger
  std::size_t next = 0, done = 0;
  std::optional<Failure> failure;
  std::atomic<bool> failed = false;
  const auto is_stopped = [&] { return stop || failed; };
  const program::Stopwatch watch;
  const auto run_trial = [&](const Trial& trial) -> Result<void> {
    const Result<std::optional<Outcome>> trained =
        train(named(variants, trial.variant), trial, windows_of_.at(trial.seed), is_stopped);
    if (!trained.ok()) return trained.failure();
    if (!trained.value()) return {};
    const Outcome& outcome = *trained.value();
    const std::lock_guard lock(mutex);
    if (Result<void> added = ledger_.add(trial, outcome); !added.ok()) return added;
    ++done;
    std::printf("[%zu/%zu] %-58s %.4f nats  %3.0f s; %.0f min left of this round\n", done,
                left.size(), describe(trial).c_str(), outcome.loss, outcome.seconds,
                program::seconds_left(watch.seconds(), static_cast<double>(done),
                                      static_cast<double>(left.size())) /
                    60);
    std::fflush(stdout);
    return {};
  };
  const auto work = [&] {
    for (;;) {
      std::unique_lock lock(mutex);
      if (next == left.size() || is_stopped()) return;
      const Trial& trial = left[next++];
      lock.unlock();
      const Result<void> ran = [&]() -> Result<void> {
        try {
          return run_trial(trial);
        } catch (const std::bad_alloc&) {
          return fail(Code::out_of_memory, "there is not enough memory");
        }
      }();
      if (ran.ok()) continue;
      lock.lock();
      failure.emplace(fail(ran.status().code, {describe(trial), ": ", ran.message()}));
      failed = true;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (Index i = 1; i < std::min(options_.threads, static_cast<Index>(left.size())); ++i)
      threads.emplace_back(work);
    work();
  }
  if (failure) return *failure;
  return done == left.size();
}

std::vector<Trial> Study::reported(const std::string& variant, float rate) const {
  std::vector<Trial> trials;
  for (Index i = 1; i <= options_.seeds; ++i)
    trials.push_back({variant, rate, choice_seed + static_cast<std::uint64_t>(i)});
  return trials;
}

std::vector<double> Study::losses(const std::string& variant, float rate) const {
  std::vector<double> losses;
  for (const Trial& trial : reported(variant, rate)) losses.push_back(outcome(trial).loss);
  return losses;
}

Result<std::vector<float>> choose_rates(Study& study, std::span<const Variant> variants,
                                        const std::atomic<bool>& stop) {
  struct Tried {
    std::size_t first = 1, last = 4;  // of `rates`
  };
  std::vector<Tried> tried(variants.size());
  std::vector<float> best(variants.size());
  for (bool more = true; more;) {
    std::vector<Trial> trials;
    for (std::size_t v = 0; v < variants.size(); ++v)
      for (std::size_t r = tried[v].first; r <= tried[v].last; ++r)
        trials.push_back({variants[v].name, rates[r], choice_seed});
    Result<bool> run = study.run(variants, trials, stop);
    if (!run.ok()) return run.failure();
    if (!run.value()) return std::vector<float>();
    more = false;
    for (std::size_t v = 0; v < variants.size(); ++v) {
      const auto loss = [&](std::size_t r) {
        return study.outcome({variants[v].name, rates[r], choice_seed}).choice;
      };
      std::size_t found = tried[v].first;
      for (std::size_t r = found + 1; r <= tried[v].last; ++r)
        if (loss(r) < loss(found)) found = r;
      best[v] = rates[found];
      if (found == tried[v].first && found > 0) --tried[v].first, more = true;
      if (found == tried[v].last && found + 1 < std::size(rates)) ++tried[v].last, more = true;
    }
  }
  return best;
}

}  // namespace engram::study
