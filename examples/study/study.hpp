// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Many small models trained on the same text under the same conditions, several at a time, and what
// each reached on held-out text. Models of the same seed see the same batches in the same order.

#include "ledger.hpp"
#include "lm/config.hpp"
#include "text/corpus.hpp"

#include <csignal>
#include <map>
#include <span>

namespace engram::study {

struct Variant {
  std::string name;  ///< without comma
  lm::ModelConfig config;
  bool compressed = true;  ///< addresses of canonical ids; false: of the tokenizer's own
};

struct StudyOptions {
  Index steps = 400;
  Index sequences = 16;  ///< a step
  Index seeds = 3;
  Index threads = 2;  ///< models that are trained at a time
  std::string ledger;
};

class Study {
 public:
  /// corpus: outlives the study. Fails as Ledger::open(), and with invalid_config where the text is
  /// too short for the steps.
  static Result<Study> open(const text::Corpus& corpus, const StudyOptions& options);

  const StudyOptions& options() const { return options_; }
  Index vocab_size() const { return corpus_->map.vocab_size(); }
  /// By which the reported losses are measured.
  Index held_out_tokens() const;

  /// Trains what is not in the ledger, and prints a line for each.
  ///
  /// stop  is looked at before each step; when it is set, models in training are given up.
  /// Gives false when it was stopped. Fails with what a model or the ledger says; what was done
  /// before is in the ledger.
  Result<bool> run(std::span<const Variant> variants, std::span<const Trial> trials,
                   const volatile std::sig_atomic_t& stop);

  /// Of a trial that has been run.
  const Outcome& outcome(const Trial& trial) const { return *ledger_.find(trial); }
  /// The reported losses at one rate, by seed.
  std::vector<double> losses(const std::string& variant, float rate) const;

 private:
  Study(const text::Corpus& corpus, const StudyOptions& options, Ledger ledger, TokenMap identity)
      : corpus_(&corpus),
        options_(options),
        ledger_(std::move(ledger)),
        identity_(std::move(identity)) {}

  Result<Outcome> train(const Variant& variant, const Trial& trial,
                        const std::vector<std::int32_t>& windows,
                        const volatile std::sig_atomic_t& stop) const;

  const text::Corpus* corpus_;
  StudyOptions options_;
  Ledger ledger_;
  TokenMap identity_;
  std::vector<std::int32_t> held_out_;                             // [windows, context + 1]
  std::map<std::uint64_t, std::vector<std::int32_t>> windows_of_;  // by seed
};

/// For each variant the rate, of four and more, whose model of the first seed had the least loss on
/// the windows for choice. Tries further rates, up to six, while the best is the first or the last.
/// Empty when it was stopped.
Result<std::vector<float>> choose_rates(Study& study, std::span<const Variant> variants,
                                        const volatile std::sig_atomic_t& stop);

}  // namespace engram::study
