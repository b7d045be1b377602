// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a run has found, for a reader who has not seen it run: on the terminal, and as one HTML page
// that needs nothing else.

#include "cold_table.hpp"
#include "findings.hpp"

namespace engram::demo {

struct Run {
  const text::Corpus* corpus = nullptr;
  const std::vector<Contender>* contenders = nullptr;
  LockstepOptions options;
  Index steps_done = 0;
  bool partial = false;
  Findings findings;
  ColdTable cold;
};

/// The whole page.
std::string html_report(const Run& run);

/// Tables on standard output.
void print_findings(const Run& run);

/// One plain sentence: what the run has shown, and what it has not.
std::string conclusion(const Run& run);

}  // namespace engram::demo
