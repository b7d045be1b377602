// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "study.hpp"

#include "lm/train.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <numeric>
#include <thread>

namespace engram::study {
namespace {

constexpr Index length = lm::ModelConfig().context + 1;
constexpr Index windows_for_choice = 128, windows_for_report = 768;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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
  Result<Ledger> ledger = Ledger::open(
      options.ledger,
      sentence({options.steps, " steps of ", options.sequences, " x ", length - 1,
                " tokens of the text ", corpus.digest, ", token map ", corpus.map.digest()}));
  if (!ledger.ok()) return ledger.failure();

  Study study(corpus, options, std::move(ledger).value(), std::move(identity).value());
  study.held_out_ = text::cut_windows(corpus.held_out, corpus.end, length, 2);
  const Index needed = options.steps * options.sequences * length,
              there = text::Corpus::tokens_of(corpus.training);
  if (there < needed + length || static_cast<Index>(study.held_out_.size()) < 2 * length)
    return fail(Code::invalid_config,
                {"the text is too short: ", options.steps, " steps take ", needed,
                 " tokens to train on, of which none is seen twice, and ", 2 * length,
                 " held out; there are ", there, " and ", study.held_out_.size(),
                 ". Give more text or fewer --steps."});
  return study;
}

Index Study::held_out_tokens() const {
  const Index windows = static_cast<Index>(held_out_.size()) / length;
  const Index for_choice = std::min(windows_for_choice, windows / 2);
  return std::min(windows_for_report, windows - for_choice) * (length - 1);
}

Result<Outcome> Study::train(const Variant& variant, const Trial& trial,
                             const std::vector<std::int32_t>& windows,
                             const volatile std::sig_atomic_t& stop) const {
  const auto start = std::chrono::steady_clock::now();
  lm::ModelConfig config = variant.config;
  config.seed = trial.seed;
  Result<lm::Model> made = lm::Model::make(config, variant.compressed ? corpus_->map : identity_);
  if (!made.ok()) return made.failure();
  lm::Model& model = made.value();
  Result<lm::Trainer> trainer =
      lm::Trainer::make(model, {.steps = options_.steps, .peak_rate = trial.rate, .threads = 1});
  if (!trainer.ok()) return trainer.failure();
  const View<const std::int32_t, 2> all(windows.data(), static_cast<Index>(windows.size()) / length,
                                        length);
  for (Index step = 0; step < options_.steps && stop == 0; ++step)
    if (Result<double> loss =
            trainer.value().step(all.slice(step * options_.sequences, options_.sequences));
        !loss.ok())
      return loss.failure();

  const Index there = static_cast<Index>(held_out_.size()) / length;
  const View<const std::int32_t, 2> held_out(held_out_.data(), there, length);
  const Index for_choice = std::min(windows_for_choice, there / 2);
  const Result<double> choice = lm::evaluate(model, held_out.slice(0, for_choice));
  const Result<double> loss = lm::evaluate(
      model, held_out.slice(for_choice, std::min(windows_for_report, there - for_choice)));
  if (!choice.ok()) return choice.failure();
  if (!loss.ok()) return loss.failure();
  const lm::ParameterCounts counts = model.parameters();
  return Outcome{counts.total, counts.active, choice.value(), loss.value(), seconds_since(start)};
}

Result<bool> Study::run(std::span<const Variant> variants, std::span<const Trial> trials,
                        const volatile std::sig_atomic_t& stop) {
  std::vector<Trial> left;
  for (const Trial& trial : trials)
    if (ledger_.find(trial) == nullptr) left.push_back(trial);
  for (const Trial& trial : left)
    if (std::vector<std::int32_t>& windows = windows_of_[trial.seed]; windows.empty())
      windows = text::cut_windows(corpus_->training, corpus_->end, length, trial.seed);

  std::mutex mutex;  // over all below, and the ledger
  std::size_t next = 0, done = 0;
  std::optional<Failure> failure;
  const auto start = std::chrono::steady_clock::now();
  const auto work = [&] {
    for (;;) {
      std::unique_lock lock(mutex);
      if (next == left.size() || stop != 0 || failure) return;
      const Trial& trial = left[next++];
      lock.unlock();
      const Result<Outcome> outcome = [&]() -> Result<Outcome> {
        try {
          return train(named(variants, trial.variant), trial, windows_of_.at(trial.seed), stop);
        } catch (const std::bad_alloc&) {
          return fail(Code::out_of_memory, "there is not enough memory to train it");
        }
      }();
      lock.lock();
      if (stop != 0) return;
      const Result<void> added =
          outcome.ok() ? ledger_.add(trial, outcome.value()) : Result<void>(outcome.failure());
      if (!added.ok()) {
        failure.emplace(fail(added.status().code, {describe(trial), ": ", added.message()}));
        return;
      }
      ++done;
      std::printf("[%zu/%zu] %-58s %.4f nats  %3.0f s; %.0f min left\n", done, left.size(),
                  describe(trial).c_str(), outcome.value().loss, outcome.value().seconds,
                  seconds_since(start) / static_cast<double>(done) *
                      static_cast<double>(left.size() - done) / 60);
      std::fflush(stdout);
    }
  };
  {
    std::vector<std::jthread> threads;
    for (Index i = 1; i < options_.threads; ++i) threads.emplace_back(work);
    work();
  }
  if (failure) return *failure;
  return stop == 0;
}

std::vector<double> Study::losses(const std::string& variant, float rate) const {
  std::vector<double> losses;
  for (Index seed = 1; seed <= options_.seeds; ++seed)
    losses.push_back(outcome({variant, rate, static_cast<std::uint64_t>(seed)}).loss);
  return losses;
}

Result<std::vector<float>> choose_rates(Study& study, std::span<const Variant> variants,
                                        const volatile std::sig_atomic_t& stop) {
  constexpr float least = 0.00075f;
  constexpr int most_powers = 6;
  // Rates are least * 2^power. Those in the middle are tried first.
  const auto rate = [](int power) { return std::ldexp(least, power); };
  struct Tried {
    int first = 1, last = 4;
  };
  std::vector<Tried> tried(variants.size());
  std::vector<float> best(variants.size());
  for (bool more = true; more;) {
    std::vector<Trial> trials;
    for (std::size_t v = 0; v < variants.size(); ++v)
      for (int p = tried[v].first; p <= tried[v].last; ++p)
        trials.push_back({variants[v].name, rate(p), 1});
    Result<bool> run = study.run(variants, trials, stop);
    if (!run.ok()) return run.failure();
    if (!run.value()) return std::vector<float>();
    more = false;
    for (std::size_t v = 0; v < variants.size(); ++v) {
      const auto loss = [&](int p) { return study.outcome({variants[v].name, rate(p), 1}).choice; };
      int found = tried[v].first;
      for (int p = found + 1; p <= tried[v].last; ++p)
        if (loss(p) < loss(found)) found = p;
      best[v] = rate(found);
      if (found == tried[v].first && found > 0) --tried[v].first, more = true;
      if (found == tried[v].last && found < most_powers - 1) ++tried[v].last, more = true;
    }
  }
  return best;
}

}  // namespace engram::study
