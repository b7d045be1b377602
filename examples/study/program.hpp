// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What the programs that study models have in common: their options, the text, and Ctrl-C.

#include "study.hpp"

namespace engram::study {

struct Program {
  const char* name;     ///< of the program
  const char* study;    ///< StudyOptions::name
  const char* about;    ///< for --help
  const char* results;  ///< the CSV file unless the user names another
  Index steps;          ///< likewise
  /// Gives false when it was stopped.
  Result<bool> (*run)(Study&, const std::atomic<bool>& stop);
};

/// What main() returns: 0; 1 refused, 2 a wrong option, 130 interrupted, to go on when run again.
int run_program(const Program& program, int argc, char** argv);

}  // namespace engram::study
