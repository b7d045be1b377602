// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What simulations found, as a table and as a chart.

#include "simulate.hpp"

namespace engram::simulate {

/// Orders that may enter a cache, and how they were written: "all", "2+3".
struct OrderSet {
  std::string name = "all";
  Orders orders = all_orders;
};

/// A cache as it was asked for, and its hits.
struct Outcome {
  Policy policy = Policy::lru;
  OrderSet admitted;
  Index bytes = 0;
  Index rows = 0;  ///< of the whole cache, also when only a part of the rows was followed
  Hits hits;
};

/// hits / reads, or 0 when there were none.
double rate(Index hits, Index reads);

/// A line for each cache and order, and one for all orders together.
std::string csv(const Reads& reads, const std::vector<Outcome>& outcomes);

/// Hit rate in the second half against the size of the cache: the policies for the first set of
/// orders, and when there are more sets, these under set16, or the first policy without it.
std::string svg(const std::vector<Outcome>& outcomes);

}  // namespace engram::simulate
