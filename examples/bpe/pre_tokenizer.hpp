// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Cuts text into the pieces within which byte-pair merges happen, as the `pre_tokenizer` entry of a
// tokenizer.json says. docs/bpe.md lists what is supported.

#include "regex.hpp"

#include <optional>
#include <vector>

ENGRAM_BEGIN_NAMESPACE
class Json;
ENGRAM_END_NAMESPACE

namespace engram::bpe {

/// Receives pieces in the order of the text.
class PieceSink {
 public:
  /// `text` lives during the call only; it is never empty.
  virtual void piece(std::string_view text) = 0;

 protected:
  ~PieceSink() = default;
};

/// The steps that cut a text into pieces. Const calls may run concurrently.
class PreTokenizer {
 public:
  /// From the JSON of the entry: null, Sequence, Split, Digits, ByteLevel.
  ///
  /// Fails with unsupported, naming the kind or construct, or corrupt (a field is missing or of the
  /// wrong type).
  static Result<PreTokenizer> make(const Json& json);

  /// Sends every piece of `text` to the sink, as plain UTF-8: spelling the pieces in the byte
  /// alphabet is left to the caller.
  ///
  /// Precondition: `text` is valid UTF-8. Fails with out_of_memory when a regular expression gave
  /// up; pieces may have been sent by then. Linear in the text for the usual patterns.
  Result<void> split(std::string_view text, MatchScratch& scratch, PieceSink& sink) const;

  /// True when the last step is ByteLevel.
  bool byte_level() const noexcept { return byte_level_; }

 private:
  /// What becomes of a match and of the text between two matches.
  enum class Behavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };
  struct Step {
    std::optional<Regex> regex;  // none: the text stays whole
    Behavior behavior = Behavior::isolated;
    bool invert = false;
    bool prefix_space = false;  // put ' ' before a text that does not begin with one
  };
  struct Run;

  static Result<void> read(const Json& json, PreTokenizer& out);
  static Result<Step> read_split(const Json& json);
  bool run(std::size_t step, std::string_view text, Run& run) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace engram::bpe
