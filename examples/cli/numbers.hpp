// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Lists of whole numbers as people type them: separated by commas, spaces or line ends.

#include <engram/core/sentence.hpp>

#include <CLI/CLI.hpp>
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

/// The numbers of an option's value, at least one; not of that type is exit status 2.
template <class T>
std::vector<T> numbers_of(const char* option, std::string_view text) {
  auto numbers = parse_numbers<T>(text);
  if (!numbers || numbers->empty())
    throw CLI::ValidationError(option, sentence({"'", text, "' is no list of numbers"}));
  return *std::move(numbers);
}

/// The one number of an option's value.
template <class T>
T number_of(const char* option, std::string_view text) {
  const auto numbers = parse_numbers<T>(text);
  if (!numbers || numbers->size() != 1)
    throw CLI::ValidationError(
        option, sentence({"'", text, "' is not a ",
                          std::is_signed_v<T> ? "whole number" : "whole number from 0 on",
                          sizeof(T) == 4 ? " of 32 bits" : " of 64 bits"}));
  return numbers->front();
}

/// For options that name a file: an empty name is a mistake, not a wish.
inline const CLI::Validator& file_name() {
  static const CLI::Validator validator(
      [](std::string& name) { return name.empty() ? std::string("the file name is empty") : ""; },
      "FILE");
  return validator;
}

}  // namespace engram::cli
