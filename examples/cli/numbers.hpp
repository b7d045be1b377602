// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Lists of whole numbers as people type them: separated by commas, spaces or line ends.

#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

namespace engram::cli {

/// The numbers, or nothing when a piece of the text is none of type T. Between two numbers stand
/// white space, one comma, or both.
template <class T>
std::optional<std::vector<T>> parse_numbers(std::string_view text) {
  std::vector<T> numbers;
  bool comma = false;  // one was read and a number must follow
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') {
      ++at;
    } else if (*at == ',') {
      if (comma || numbers.empty()) return std::nullopt;
      comma = true;
      ++at;
    } else {
      T number{};
      const auto [rest, error] = std::from_chars(at, end, number);
      const bool ends = rest == end || std::string_view(", \t\r\n").find(*rest) < 5;
      if (error != std::errc() || !ends) return std::nullopt;
      numbers.push_back(number);
      comma = false;
      at = rest;
    }
  }
  if (comma) return std::nullopt;
  return numbers;
}

}  // namespace engram::cli
