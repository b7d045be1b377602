// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Which part of a memory does the work? Models that differ from the demo's by one thing each,
// trained on the same batches, each with the learning rate that suits it best.

#include "study/program.hpp"
#include "study/statistics.hpp"

#include <cstdio>

namespace {

using namespace engram;
using namespace engram::study;

/// The first is what the others are compared with.
std::vector<Variant> make_variants(Index vocab_size) {
  lm::ModelConfig without;
  without.vocab_size = vocab_size;
  lm::ModelConfig fewer = without;  // what is left when a memory has been paid for
  fewer.experts = 36;
  fewer.shared_width = 100;
  lm::ModelConfig with = fewer;
  with.memory.emplace();

  std::vector<Variant> variants = {{"memory", with, true}};
  const auto change = [&](const char* name, const auto& edit) {
    variants.push_back({name, with, true});
    edit(*variants.back().config.memory);
  };
  variants.push_back({"no memory; equal parameters", without, true});
  variants.push_back({"no memory; fewer experts", fewer, true});
  lm::ModelConfig bigrams = fewer;  // no projection: a wider shared expert instead
  bigrams.shared_width = 128;
  bigrams.bigrams.emplace();
  variants.push_back({"rival: bigrams at every layer", bigrams, true});

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

Result<bool> ablate(Study& study, const volatile std::sig_atomic_t& stop) {
  const std::vector<Variant> variants = make_variants(study.vocab_size());
  const Result<std::vector<float>> chosen = choose_rates(study, variants, stop);
  if (!chosen.ok()) return chosen.failure();
  if (chosen.value().empty()) return false;
  const std::vector<float>& rates = chosen.value();
  std::vector<Trial> trials;
  for (Index seed = 2; seed <= study.options().seeds; ++seed)
    for (std::size_t v = 0; v < variants.size(); ++v)
      trials.push_back({variants[v].name, rates[v], static_cast<std::uint64_t>(seed)});
  Result<bool> run = study.run(variants, trials, stop);
  if (!run.ok() || !run.value()) return run;

  std::printf("\n%-32s %10s %8s %8s %16s   %s\n", "", "parameters", "active", "rate",
              "nats a token", "against the memory");
  const std::vector<double> reference = study.losses(variants[0].name, rates[0]);
  for (std::size_t v = 0; v < variants.size(); ++v) {
    const std::vector<double> losses = study.losses(variants[v].name, rates[v]);
    const Outcome& outcome = study.outcome({variants[v].name, rates[v], 1});
    const Estimate loss = estimate(losses), difference = paired_difference(losses, reference);
    std::printf("%-32s %10lld %8lld %8g  %6.3f +- %5.3f   ", variants[v].name.c_str(),
                static_cast<long long>(outcome.total), static_cast<long long>(outcome.active),
                double{rates[v]}, loss.mean, loss.error);
    if (v == 0)
      std::printf("\n");
    else
      std::printf("%+.3f +- %.3f  %s\n", difference.mean, difference.error,
                  !is_resolved(difference) ? "not resolved"
                  : difference.mean > 0    ? "worse"
                                           : "better");
  }
  std::printf(
      "\nMeans over %lld seeds and their standard errors; differences are of models of the same\n"
      "seed, and \"not resolved\" when below two standard errors. The rate of each is the best of\n"
      "at least four on other held-out windows; where it is 0.00075 or 0.024, the first or the\n"
      "last that is tried, a better one may lie beyond.\n\n",
      static_cast<long long>(study.options().seeds));
  const auto against = [&](std::size_t v) {
    return paired_difference(study.losses(variants[v].name, rates[v]), reference);
  };
  const Estimate gain = against(1), rival = against(3);
  std::printf("%s\n%s\n",
              !is_resolved(gain) ? "Whether the memory helps at equal parameters is not resolved."
              : gain.mean > 0    ? "The memory helps at equal parameters."
                                 : "The memory does harm at equal parameters.",
              !is_resolved(rival) ? "Memory against bigrams at every layer: not resolved."
              : rival.mean > 0    ? "The memory is better than bigrams at every layer."
                                  : "The rival wins: bigrams at every layer are better.");
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program({"ablation",
                      "Trains variants of a small language model's memory, several seeds each, and "
                      "compares them",
                      "ablation.csv", 400, ablate},
                     argc, argv);
}
