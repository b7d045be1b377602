// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The normaliser of tokenizer compression: which spellings share a canonical id. Addresses depend
// on its output, so it must give the same text on every machine. Decompositions, categories and
// lower case come from ICU, but only for the characters that the reference knows, whose tables are
// older (docs/unicode.md has the evidence).

#include <engram/core/status.hpp>
#include <engram/unicode/utf8.hpp>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/utf16.h>
#include <unicode/uvernum.h>

#if U_ICU_VERSION_MAJOR_NUM < 70
#error "engram: the token map builder needs ICU 70 or later; older ones lack capitals of Unicode 14"
#endif

ENGRAM_BEGIN_NAMESPACE

/// Unicode White_Space, the set that step 7 strips.
constexpr bool is_white_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

/// The Unicode version that first had the character, major version only; 255 when ICU does not know
/// it yet.
inline unsigned unicode_age(char32_t c) noexcept {
  UVersionInfo age = {};
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] == 0 ? 255 : age[0];
}

/// General category M. Precondition: the character is in Unicode 9.0, whose categories count.
inline bool is_mark_in_unicode_9(char32_t c) noexcept {
  if (c == 0x1CF2 || c == 0x1CF3) return true;  // Vedic signs, letters since 12.0
  if (c == 0x111C9) return false;               // a Sharada sign, a mark since 11.0
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0;
}

/// Lower case of one character by Unicode 17, whichever version ICU has. One character to one: the
/// only letter whose lower case is longer, U+0130, is decomposed before.
inline char32_t to_lower_case(char32_t c) noexcept {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const unsigned age = unicode_age(c);
  if (age <= 15) return static_cast<char32_t>(u_tolower(static_cast<UChar32>(c)));
  // The capitals of 16.0 and 17.0.
  if (c >= 0x10D50 && c <= 0x10D65) return c + 0x20;
  if (c >= 0x16EA0 && c <= 0x16EB8) return c + 0x1B;
  switch (c) {
    case 0x1C89:
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA:
      return c + 1;
    case 0xA7CB:
      return 0x0264;
    case 0xA7DC:
      return 0x019B;
    default:
      return c;
  }
}

/// Steps 1 to 4 for one character: full compatibility decomposition, marks dropped, lower case.
///
/// A character at a time is exact: nothing recomposes after step 2, NFD after NFKC is NFKD, and the
/// canonical order that NFKD also demands permutes marks only, which step 3 drops.
inline void append_folded(std::string& out, char32_t c, const UNormalizer2* nfkd) {
  if (unicode_age(c) > 9) return append_utf8(out, to_lower_case(c));
  UChar units[32];  // the longest decomposition, of U+FDFA, has 18
  UErrorCode error = U_ZERO_ERROR;
  const std::int32_t count =
      unorm2_getDecomposition(nfkd, static_cast<UChar32>(c), units, 32, &error);
  if (count < 0) {
    if (!is_mark_in_unicode_9(c)) append_utf8(out, to_lower_case(c));
    return;
  }
  for (std::int32_t i = 0; i < count;) {
    UChar32 part = 0;
    U16_NEXT(units, i, count, part);
    const auto p = static_cast<char32_t>(part);
    if (!is_mark_in_unicode_9(p)) append_utf8(out, to_lower_case(p));
  }
}

/// Steps 1 to 4 for a text.
inline Result<std::string> fold_characters(std::string_view utf8) {
  std::string folded;
  folded.reserve(utf8.size());
  const UNormalizer2* nfkd = nullptr;
  for (std::size_t at = 0; at < utf8.size();) {
    const Utf8Step step = next_code_point(utf8, at);
    if (step.size == 0)
      return fail(Code::corrupt, {"normalize: the text is not UTF-8 at byte ", at},
                  static_cast<Index>(at));
    at += step.size;
    if (step.code_point < 0x80) {
      folded += static_cast<char>(to_lower_case(step.code_point));
      continue;
    }
    if (nfkd == nullptr) {
      UErrorCode error = U_ZERO_ERROR;
      nfkd = unorm2_getNFKDInstance(&error);
      if (U_FAILURE(error))
        return fail(Code::unsupported,
                    std::string("normalize: ICU cannot load its data: ") + u_errorName(error));
    }
    append_folded(folded, step.code_point, nfkd);
  }
  return folded;
}

/// Steps 5 to 8 for a text that is UTF-8.
inline std::string tidy_white_space(std::string text) {
  std::size_t size = 0;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (blank && size > 0 && text[size - 1] == ' ') continue;
    text[size++] = blank ? ' ' : c;
  }
  text.resize(size);
  if (text == " ") return text;

  std::size_t begin = 0;
  while (begin < text.size()) {
    const Utf8Step step = next_code_point(text, begin);
    if (!is_white_space(step.code_point)) break;
    begin += step.size;
  }
  std::size_t end = text.size();
  while (end > begin) {
    std::size_t last = end - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!is_white_space(next_code_point(text, last).code_point)) break;
    end = last;
  }

  const std::string_view inner = std::string_view(text).substr(begin, end - begin);
  constexpr std::string_view guard = "\xEE\x80\x80";  // U+E000
  std::string out;
  out.reserve(inner.size());
  for (std::size_t at = 0; at < inner.size();) {
    const bool guarded = inner.substr(at, guard.size()) == guard;
    out += guarded ? ' ' : inner[at];
    at += guarded ? guard.size() : 1;
  }
  return out;
}

/// The text in the form in which spellings are compared; may be empty (marks alone, VT alone).
///
/// Steps, in this order: NFKC, NFD, drop general category M, lower case, each run of space, tab, CR
/// and LF to one space, (a text that is one space is done), strip White_Space at both ends, each
/// U+E000 to a space. Equal to the reference's chain for every code point.
///
/// Fails with corrupt (index: byte offset) when the text is not UTF-8: the reference has no such
/// texts, so no key is invented for them. Linear; const, any thread. Spec: deepseek-v41 2.2.
inline Result<std::string> normalize(std::string_view utf8) {
  Result<std::string> folded = fold_characters(utf8);
  if (!folded.ok()) return folded;
  return tidy_white_space(std::move(folded).value());
}

/// The key of a token whose decoded text is `decoded`: the normalised text, or the text itself when
/// that is empty. Fails like normalize().
inline Result<std::string> canonical_key(std::string_view decoded) {
  Result<std::string> key = normalize(decoded);
  if (key.ok() && key.value().empty()) return std::string(decoded);
  return key;
}

ENGRAM_END_NAMESPACE
