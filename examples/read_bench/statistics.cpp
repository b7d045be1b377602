// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "statistics.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace engram::read_bench {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[std::clamp<std::size_t>(static_cast<std::size_t>(rank), 1, values.size()) - 1];
}

double Rounds::middle(std::size_t contestant) const {
  std::vector<double> values;
  for (const std::vector<double>& round : rounds_) values.push_back(round[contestant]);
  return median(std::move(values));
}

double Rounds::ratio(std::size_t contestant, std::size_t to) const {
  std::vector<double> ratios;
  for (const std::vector<double>& round : rounds_) ratios.push_back(round[contestant] / round[to]);
  return median(std::move(ratios));
}

Result<Rounds> hold_rounds(const std::vector<Contestant>& contestants, double seconds,
                           Index least) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  Rounds rounds;
  while (rounds.count() < least ||
         std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
    std::vector<double> values(contestants.size());
    for (std::size_t i = 0; i < contestants.size(); ++i) {
      const std::size_t c = (i + static_cast<std::size_t>(rounds.count())) % contestants.size();
      const Result<double> value = contestants[c]();
      if (!value.ok()) return value.failure();
      values[c] = value.value();
    }
    rounds.add(std::move(values));
  }
  return rounds;
}

}  // namespace engram::read_bench
