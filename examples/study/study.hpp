// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Many small models trained on the same text under the same conditions, several at a time, and what
// each reached on held-out text. Models of the same seed see the same batches in the same order,
// and start from the same weights where they have the same parts in the same place.

#include "ledger.hpp"
#include "lm/config.hpp"
#include "text/corpus.hpp"

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <span>

namespace engram::study {

struct Variant {
  std::string name;  ///< without comma
  lm::ModelConfig config;
  bool compressed = true;  ///< addresses of canonical ids; false: of the tokenizer's own
};

/// Rates are chosen by models of this seed, which are not reported; those that are have the seeds
/// behind it.
inline constexpr std::uint64_t choice_seed = 1;
/// Each is twice the one before. Those in the middle are tried first.
inline constexpr float rates[] = {0.00075f, 0.0015f, 0.003f, 0.006f, 0.012f, 0.024f};
inline bool is_outermost(float rate) { return rate == rates[0] || rate == *std::rbegin(rates); }

struct StudyOptions {
  const char* name = "";  ///< of the study; with a number that rises when its models change
  Index steps = 400;
  Index sequences = 16;  ///< a step
  Index seeds = 3;       ///< that are reported
  Index threads = 2;     ///< models that are trained at a time
  std::string ledger;
};

class Study {
 public:
  /// corpus: outlives the study. Fails with invalid_config where the text is too short for the
  /// steps, and as Ledger::open().
  static Result<Study> open(const text::Corpus& corpus, const StudyOptions& options);

  const StudyOptions& options() const { return options_; }
  Index vocab_size() const { return corpus_->map.vocab_size(); }
  /// By which the reported losses are measured.
  Index held_out_tokens() const { return for_report_ * context; }

  /// Trains what is not in the ledger, and prints a line for each.
  ///
  /// stop  is looked at before each step; when it is set, models in training are given up.
  /// Gives false when it was stopped. A model whose loss or gradient is no longer finite has an
  /// infinite loss. Fails with what a model or the ledger says; what was done before is in the
  /// ledger.
  Result<bool> run(std::span<const Variant> variants, std::span<const Trial> trials,
                   const std::atomic<bool>& stop);

  /// Of a trial that has been run.
  const Outcome& outcome(const Trial& trial) const { return *ledger_.find(trial); }
  /// The models to report of a variant.
  std::vector<Trial> reported(const std::string& variant, float rate) const;
  /// Their losses.
  std::vector<double> losses(const std::string& variant, float rate) const;

 private:
  static constexpr Index context = lm::ModelConfig().context;

  Study(const text::Corpus& corpus, const StudyOptions& options, Ledger ledger, TokenMap identity)
      : corpus_(&corpus),
        options_(options),
        ledger_(std::move(ledger)),
        identity_(std::move(identity)) {}

  /// Empty when it was stopped.
  Result<std::optional<Outcome>> train(const Variant& variant, const Trial& trial,
                                       const std::vector<std::int32_t>& windows,
                                       const std::function<bool()>& is_stopped) const;

  const text::Corpus* corpus_;
  StudyOptions options_;
  Ledger ledger_;
  TokenMap identity_;
  std::vector<std::int32_t> held_out_;  // [windows, context + 1]
  Index for_choice_ = 0, for_report_ = 0;
  std::map<std::uint64_t, std::vector<std::int32_t>> windows_of_;  // by seed
};

/// For each variant the rate whose model had the least loss on the windows for choice, of the four
/// in the middle, and of those beyond while the best is the first or the last that was tried. Empty
/// when it was stopped.
Result<std::vector<float>> choose_rates(Study& study, std::span<const Variant> variants,
                                        const std::atomic<bool>& stop);

}  // namespace engram::study
