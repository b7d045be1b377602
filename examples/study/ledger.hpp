// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The results of trained models in a CSV file, so that a study that was stopped goes on where it
// was, and anybody can compute with them.

#include <engram/core/status.hpp>

#include <string>
#include <vector>

namespace engram::study {

/// A model to train: which, how fast it learns, and from which start and order of the text.
struct Trial {
  std::string variant;
  float rate = 0;
  std::uint64_t seed = 1;

  bool operator==(const Trial&) const = default;
};

struct Outcome {
  Index total = 0, active = 0;  ///< parameters
  double choice = 0;            ///< nats a token on the held-out windows by which rates are chosen
  double loss = 0;  ///< nats a token on the other held-out windows, which is what is reported
  double seconds = 0;

  bool operator==(const Outcome&) const = default;
};

class Ledger {
 public:
  /// Reads the file, or begins it where there is none.
  ///
  /// settings  all that every trial has in common, in one line.
  /// Fails with mismatch for a file of other settings; with corrupt for a line that is no result
  /// (index: its number); with io.
  static Result<Ledger> open(const std::string& path, const std::string& settings);

  /// Null: not done yet.
  const Outcome* find(const Trial& trial) const;

  /// Writes the file anew with one more result, on the disk when this returns. A variant's name
  /// holds no comma and no line end.
  ///
  /// Fails with mismatch when the file is no longer what this ledger wrote, and with io; the file
  /// stays as it is then.
  Result<void> add(const Trial& trial, const Outcome& outcome);

 private:
  struct Entry {
    Trial trial;
    Outcome outcome;
  };

  Result<void> write(std::string text);

  std::string path_, text_;
  std::vector<Entry> entries_;
};

}  // namespace engram::study
