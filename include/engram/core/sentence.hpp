// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Sentences from words and numbers: `sentence({"expected ", 3, ", found ", n})`. One function
// instead of chains of string additions, because every header that can fail includes this one and
// those chains are what a compiler spends its time on.

#include <engram/config.hpp>

#include <initializer_list>
#include <string>
#include <string_view>

ENGRAM_BEGIN_NAMESPACE

/// A word or a number on its way into a sentence; does not own the words.
class Piece {
 public:
  Piece(const char* words) : words_(words) {}         // NOLINT(google-explicit-constructor)
  Piece(std::string_view words) : words_(words) {}    // NOLINT(google-explicit-constructor)
  Piece(const std::string& words) : words_(words) {}  // NOLINT(google-explicit-constructor)
  template <class Number>
    requires(std::is_integral_v<Number>)
  Piece(Number n) : number_(std::to_string(n)) {}  // NOLINT(google-explicit-constructor)

  std::string_view text() const noexcept {
    return number_.empty() ? words_ : std::string_view(number_);
  }

 private:
  std::string_view words_;
  std::string number_;
};

ENGRAM_BEGIN_LOOPS

/// The pieces, one after the other.
inline std::string sentence(std::initializer_list<Piece> pieces) {
  std::string text;
  for (const Piece& piece : pieces) text += piece.text();
  return text;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
