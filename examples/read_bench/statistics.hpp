// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How two ways to do the same are compared on a machine that does other things as well: in rounds,
// each round all of them, one after the other, and the ratio is taken inside a round. What slows
// one round down slows all of them in it.

#include <engram/core/status.hpp>

#include <functional>
#include <string>
#include <vector>

namespace engram::read_bench {

/// The middle one, or the mean of the two in the middle; 0 of none.
double median(std::vector<double> values);

/// The smallest value that at least `share` of them do not exceed; 0 of none. 0 < share <= 1.
double percentile(std::vector<double> values, double share);

/// Values of contestants, round by round.
class Rounds {
 public:
  void add(std::vector<double> values) { rounds_.push_back(std::move(values)); }
  Index count() const noexcept { return static_cast<Index>(rounds_.size()); }

  /// The median of a contestant's values.
  double middle(std::size_t contestant) const;
  /// The median, over the rounds, of what one contestant's value is divided by another's.
  double ratio(std::size_t contestant, std::size_t to) const;

 private:
  std::vector<std::vector<double>> rounds_;
};

/// Does its part of a round and gives its value: seconds for a unit of work.
using Contestant = std::function<Result<double>()>;

/// Rounds until `seconds` are over, and at least `least`. Each round begins with another
/// contestant. Fails with the first that fails.
Result<Rounds> hold_rounds(const std::vector<Contestant>& contestants, double seconds,
                           Index least = 3);

}  // namespace engram::read_bench
