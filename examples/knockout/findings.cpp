// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "findings.hpp"

#include "chart/chart.hpp"
#include "study/statistics.hpp"

#include <engram/core/sentence.hpp>

#include <array>
#include <cmath>
#include <cstdio>

namespace engram::knockout {

using chart::number;
using study::Estimate;

namespace {

constexpr double least_learned = 0.9;    // accuracy with the memory on
constexpr double least_difference = 30;  // points

/// "98.6 +- 0.2"; without what is not known.
std::string shown(const Estimate& e) {
  if (std::isnan(e.mean)) return "-";
  return std::isfinite(e.error) ? sentence({number(e.mean, 1), " +- ", number(e.error, 1)})
                                : number(e.mean, 1);
}

/// What value(seed) is over all seeds.
Estimate over_seeds(const std::vector<SeedFound>& found, const auto& value) {
  std::vector<double> values;
  for (const SeedFound& seed : found) values.push_back(value(seed));
  return study::estimate(values);
}

/// Percent of the accuracy that is left without the memory; NaN where there was none.
double retained(double on, double off) { return on > 0 ? 100 * off / on : std::nan(""); }

struct Summary {
  Estimate facts_on, copies_on, facts_off, copies_off, facts_without, copies_without;  // percent
  Estimate facts_retained, copies_retained, difference;
};

Summary summary(const std::vector<SeedFound>& found) {
  const auto percent = [&](Accuracy SeedFound::*model, double Accuracy::*task) {
    return over_seeds(found, [&](const SeedFound& s) { return 100 * (s.*model.*task); });
  };
  const auto left = [&](double Accuracy::*task) {
    return [task](const SeedFound& s) { return retained(s.on.*task, s.off.*task); };
  };
  const auto facts = left(&Accuracy::facts), copies = left(&Accuracy::copies);
  return {percent(&SeedFound::on, &Accuracy::facts),
          percent(&SeedFound::on, &Accuracy::copies),
          percent(&SeedFound::off, &Accuracy::facts),
          percent(&SeedFound::off, &Accuracy::copies),
          percent(&SeedFound::without, &Accuracy::facts),
          percent(&SeedFound::without, &Accuracy::copies),
          over_seeds(found, facts),
          over_seeds(found, copies),
          over_seeds(found, [&](const SeedFound& s) { return copies(s) - facts(s); })};
}

}  // namespace

Accuracy accuracy(const Sequences& sequences, const std::vector<float>& hits) {
  double right[3] = {}, places[3] = {};
  for (std::size_t t = 0; t < hits.size(); ++t) {
    const auto kind = static_cast<std::size_t>(sequences.kinds[t]);
    right[kind] += double{hits[t]};
    places[kind] += 1;
  }
  const auto share = [&](Kind kind) {
    const auto k = static_cast<std::size_t>(kind);
    return right[k] / places[k];
  };
  return {share(Kind::fact), share(Kind::copy)};
}

std::string table(const std::vector<SeedFound>& found) {
  const Summary s = summary(found);
  std::string text;
  const auto row = [&](const char* name, const std::string& facts, const std::string& copies) {
    std::array<char, 128> line{};
    std::snprintf(line.data(), line.size(), "%-28s %16s %16s\n", name, facts.c_str(),
                  copies.c_str());
    text += line.data();
  };
  row("", "facts", "copied tokens");
  row("right %, memory on", shown(s.facts_on), shown(s.copies_on));
  row("right %, memory silenced", shown(s.facts_off), shown(s.copies_off));
  row("retained %", shown(s.facts_retained), shown(s.copies_retained));
  row("right %, trained without", shown(s.facts_without), shown(s.copies_without));
  return text + "Apart: " + shown(s.difference) + " points of what is retained.\n";
}

std::string conclusion(const std::vector<SeedFound>& found) {
  const Summary s = summary(found);
  for (const SeedFound& seed : found)
    if (!(seed.on.facts >= least_learned && seed.on.copies >= least_learned))
      return sentence(
          {"No conclusion: with its memory on, the model of seed ", seed.seed, " tells ",
           number(100 * seed.on.facts, 1), " % of the facts and ", number(100 * seed.on.copies, 1),
           " % of the copied tokens. What it has not learned to at least ",
           number(100 * least_learned, 0), " % cannot be taken from it; give more --steps."});
  const std::string apart =
      sentence({"without its memory the model keeps ", number(s.facts_retained.mean, 1),
                " % of the facts and ", number(s.copies_retained.mean, 1),
                " % of the copying, which is ", number(s.difference.mean, 1), " points apart"});
  if (s.difference.mean < least_difference)
    return sentence(
        {"Not what was expected: ", apart, ", less than ", number(least_difference, 0), "."});
  if (found.size() < 2)
    return sentence(
        {"No conclusion: ", apart,
         ", but one seed does not tell how much of that is chance. Give more --seeds."});
  const std::string error = number(s.difference.error, 1);
  if (!study::is_resolved(s.difference))
    return sentence({"No conclusion: ", apart, ", but the standard error is ", error,
                     ": less than two of them. Give more --seeds."});
  return sentence({"Shown: ", apart, " (standard error ", error, ", ", found.size(),
                   " seeds): it needs the memory for facts and not for copying."});
}

std::string csv_header() { return "seed,model,facts,copies\n"; }

std::string csv_lines(const SeedFound& found) {
  std::string text;
  for (const auto& [name, a] : {std::pair{"memory on", found.on},
                                {"memory silenced", found.off},
                                {"without memory", found.without}})
    text +=
        sentence({found.seed, ",", name, ",", number(a.facts, 6), ",", number(a.copies, 6), "\n"});
  return text;
}

}  // namespace engram::knockout
