// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A compiled pattern and the walk over its matches. PCRE2 does the matching, compiled to machine
// code where it can; its header stays out of this one.

#include <engram/core/status.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace engram::bpe {

/// Bytes [begin, end) of a text.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What matching writes to. One per thread, for any number of patterns.
class MatchScratch {
 public:
  MatchScratch();

 private:
  friend class Regex;
  std::shared_ptr<void> match_;
  std::shared_ptr<void> context_;
  std::shared_ptr<void> stack_;  // only once a match has asked for more than the default
};

/// A compiled pattern. Copies share it; const calls may run concurrently.
class Regex {
 public:
  /// Compiles a pattern written for Oniguruma. Fails like translate_oniguruma().
  static Result<Regex> make(std::string_view oniguruma_pattern);
  /// Matches the text itself. Fails with corrupt when it is not UTF-8.
  static Result<Regex> make_literal(std::string_view text);

  /// The next match after `previous` (null: the first), found from its end on; an empty match right
  /// at that end does not count.
  ///
  /// Returns 1 and fills `found`; 0 when there is no further match; -1 when the engine gave up (out
  /// of memory). Precondition: `text` is valid UTF-8. What precedes the match may be looked at.
  int next(std::string_view text, const Span* previous, MatchScratch& scratch, Span& found) const;

  /// "14.0.0", the Unicode version of the engine.
  static std::string unicode_version();

 private:
  static Result<Regex> compile(const std::string& pcre_pattern);
  std::shared_ptr<const void> code_;
};

}  // namespace engram::bpe
