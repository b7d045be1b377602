// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the experiment found: accuracies of each seed, their means and standard errors, and what may
// be said of them.

#include "task.hpp"

#include <string>

namespace engram::knockout {

/// The share of right predictions, 0 to 1, at the places of each task.
struct Accuracy {
  double facts = 0, copies = 0;
};

/// hits: as lm::Watched::hits, for the targets of the sequences.
Accuracy accuracy(const Sequences& sequences, const std::vector<float>& hits);

struct SeedFound {
  std::uint64_t seed = 0;
  Accuracy on, off;  ///< of the model with memory; with the memory silenced
  Accuracy without;  ///< of the model that was trained without
};

/// Rows of numbers for people.
std::string table(const std::vector<SeedFound>& found);

/// What the table shows, or why it shows nothing: a task that was not learned, one seed, tasks that
/// are less than 30 points or two standard errors apart.
std::string conclusion(const std::vector<SeedFound>& found);

/// The first line of a CSV file, and the lines of a seed.
std::string csv_header();
std::string csv_lines(const SeedFound& found);

}  // namespace engram::knockout
