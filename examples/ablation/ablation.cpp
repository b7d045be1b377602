// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Which part of a memory does the work? Models that differ from the demo's by one thing each,
// trained on the same batches, each with the best of several learning rates.

#include "study/program.hpp"
#include "study/statistics.hpp"

#include <cstdio>

namespace {

using namespace engram;
using namespace engram::study;

constexpr const char *reference = "memory", *equal = "no memory; equal parameters",
                     *rival = "rival: bigrams at every layer";

std::vector<Variant> make_variants(Index vocab_size) {
  lm::ModelConfig without;
  without.vocab_size = vocab_size;
  lm::ModelConfig fewer = without;  // what is left when a memory has been paid for
  fewer.experts = 36;
  fewer.shared_width = 100;
  lm::ModelConfig with = fewer;
  with.memory.emplace();

  std::vector<Variant> variants = {{reference, with, true}};
  const auto change = [&](const char* name, const auto& edit) {
    variants.push_back({name, with, true});
    edit(*variants.back().config.memory);
  };
  variants.push_back({equal, without, true});
  variants.push_back({"no memory; fewer experts", fewer, true});
  lm::ModelConfig bigrams = fewer;  // no projection: a wider shared expert instead
  bigrams.shared_width = 128;
  bigrams.bigrams.emplace();
  variants.push_back({rival, bigrams, true});

  change("one row a head", [](auto& m) { m.rows_per_head = {1, 1}; });
  change("addresses shuffled", [](auto& m) { m.shuffled = true; });
  change("rows random and frozen", [](auto& m) { m.frozen = true; });
  change("no gate", [](auto& m) { m.gated = false; });
  change("with convolution", [](auto& m) { m.taps = 4; });
  variants.push_back({"no compression", with, false});
  change("a quarter of the rows", [](auto& m) { m.rows_per_head = {1728, 1728}; });
  change("four times the rows", [](auto& m) { m.rows_per_head = {27648, 27648}; });
  change("2-grams only; equal rows", [](auto& m) {
    m.rows_per_head = {6912};
    m.heads = 4;
  });
  change("2-; 3- and 4-grams; equal rows", [](auto& m) {
    m.rows_per_head = {7021, 7021, 7021};
    m.row_width = 21;
  });
  change("memory in the first block", [](auto& m) { m.block = 0; });
  change("memory in the last block", [](auto& m) { m.block = 2; });
  return variants;
}

Result<bool> ablate(Study& study, const std::atomic<bool>& stop) {
  const std::vector<Variant> variants = make_variants(study.vocab_size());
  const Result<std::vector<float>> chosen = choose_rates(study, variants, stop);
  if (!chosen.ok()) return chosen.failure();
  if (chosen.value().empty()) return false;
  const std::vector<float>& rates = chosen.value();
  std::vector<Trial> trials;
  for (std::size_t v = 0; v < variants.size(); ++v)
    for (Trial& trial : study.reported(variants[v].name, rates[v]))
      trials.push_back(std::move(trial));
  Result<bool> run = study.run(variants, trials, stop);
  if (!run.ok() || !run.value()) return run;

  const auto losses = [&](const char* name) {
    for (std::size_t v = 0; v < variants.size(); ++v)
      if (variants[v].name == name) return study.losses(name, rates[v]);
    return std::vector<double>();
  };
  const auto against_memory = [&](const std::vector<double>& found) {
    return paired_difference(found, losses(reference));
  };
  std::printf("\n%-32s %10s %8s %9s %16s   %s\n", "", "parameters", "active", "rate",
              "nats a token", "against the memory");
  bool any_outermost = false;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const std::vector<double> found = study.losses(variants[v].name, rates[v]);
    const Outcome& outcome = study.outcome(study.reported(variants[v].name, rates[v])[0]);
    const Estimate loss = estimate(found), difference = against_memory(found);
    const bool outermost = is_outermost(rates[v]);
    any_outermost = any_outermost || outermost;
    std::printf("%-32s %10lld %8lld %8g%s  %6.3f +- %5.3f   ", variants[v].name.c_str(),
                static_cast<long long>(outcome.total), static_cast<long long>(outcome.active),
                double{rates[v]}, outermost ? "*" : " ", loss.mean, loss.error);
    if (variants[v].name == reference)
      std::printf("\n");
    else
      std::printf("%+.3f +- %.3f  %s\n", difference.mean, difference.error,
                  !is_resolved(difference) ? "not resolved"
                  : difference.mean > 0    ? "worse"
                                           : "better");
  }
  if (any_outermost)
    std::printf("* the lowest or highest rate that is tried; a better one may lie beyond\n");
  std::printf(
      "\nMeans of %lld seeds and their standard errors; differences are of models of the same "
      "seed,\n"
      "and not resolved below two standard errors, which chance alone passes about one time in\n"
      "five with three seeds. All seeds hash alike. Rates are the best of at least four for a\n"
      "model of another seed, on other held-out windows; the rows' rate is five times as high.\n"
      "Without a gate the weights of its key count and do nothing.\n\n",
      static_cast<long long>(study.options().seeds));
  const Estimate gain = against_memory(losses(equal)), lead = against_memory(losses(rival));
  std::printf("%s\n%s\n",
              !is_resolved(gain) ? "Whether the memory helps at equal parameters is not resolved."
              : gain.mean > 0    ? "The memory helps at equal parameters."
                                 : "The memory does harm at equal parameters.",
              !is_resolved(lead) ? "Memory against bigrams at every layer: not resolved."
              : lead.mean > 0    ? "The memory is better than bigrams at every layer."
                                 : "The rival wins: bigrams at every layer are better.");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program({"ablation", "ablation 2",
                      "Trains variants of a small language model's memory, several seeds each, and "
                      "compares them",
                      "ablation.csv", 400, ablate},
                     argc, argv);
}
