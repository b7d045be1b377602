// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// tokenizer.json files carry regular expressions in the dialect of Oniguruma, the engine of the
// `tokenizers` package. The two engines agree on the core of the syntax but not on what a space is,
// not on the Unicode version behind \p{L}, and not on the rarer operators. This is the translator:
// what it accepts matches alike on both, what it does not know it refuses by name.

#include <engram/core/status.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace engram::bpe {

/// The pattern for PCRE2 (UTF and UCP on) that matches what `pattern` matches in Oniguruma with
/// Unicode 16.
///
/// Properties are widened by the code points that Unicode 15, 15.1 and 16 assigned, so that any
/// PCRE2 with Unicode 14 to 16 gives the same matches. Fails with unsupported or corrupt (index:
/// byte offset in the pattern) and names the construct.
Result<std::string> translate_oniguruma(std::string_view pattern);

/// The pattern for PCRE2 that matches `text` itself. Precondition: valid UTF-8.
std::string quote_literal(std::string_view text);

/// Class items (without brackets) for the code points that Unicode 15 to 16 added to a general
/// category; nothing when the name is none of the supported: L, Lu, Ll, Lt, Lm, Lo, M, N, Nd, Nl,
/// No, P, S, Z.
std::optional<std::string> newer_code_points(std::string_view category);

}  // namespace engram::bpe
