// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The options that say which addresses are meant: a preset, its parts, or parts over a preset.

#include <engram/layer/presets.hpp>
#include <engram/tokenizer/token_map.hpp>

#include <CLI/CLI.hpp>
#include <optional>

namespace engram::cli {

/// A layout, and what went into it that a layout does not keep.
struct Geometry {
  Layout layout;
  std::uint64_t seed = 0;
  std::vector<std::int64_t> document_starts;  ///< of --boundary starts:...
};

/// Adds the options to a command and, after parsing, makes a layout of them.
class GeometryOptions {
 public:
  /// `fallback`: the preset that is meant when the command line names none and gives no parts.
  explicit GeometryOptions(CLI::App& command, std::string fallback = "");

  /// The layout over a token map, or over canonical ids when there is none. Throws CLI::ParseError
  /// when an option is missing; a refused value is a Failure.
  Result<Geometry> resolve(const std::optional<TokenMap>& map) const;

 private:
  bool given(const char* option) const { return command_->count(option) > 0; }
  void need(const char* option) const;
  void read_boundary(AddressingConfig& config, std::vector<std::int64_t>& starts) const;
  void override_parts(AddressingConfig& config, std::vector<std::int64_t>& starts) const;

  CLI::App* command_;
  std::string fallback_;
  // As typed: the command-line library's own numbers would take "" for 0, 010 for 8, -1 for 2^64
  // - 1.
  std::string preset_, boundary_, mixer_, multipliers_, moduli_, layers_, sizes_, heads_,
      max_ngram_, compressed_vocab_, pad_, seed_, salt_;
};

}  // namespace engram::cli
