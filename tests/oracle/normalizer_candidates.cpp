// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The three normalisers that docs/unicode.md compares, behind the interface of `engram normalize`:
// one JSON string a line in, one key a line out. Not part of the build; by hand, from this folder:
//
//   g++ -std=c++20 -O2 -I../../include normalizer_candidates.cpp -o candidates -licuuc -lutf8proc
//   python3 normalizer_oracle.py -- ./candidates engram      (or icu, or utf8proc)
//   ./candidates ages  classes of the characters that plain ICU and engram treat differently

#include <utf8proc.h>
#include <engram/unicode/normalizer.hpp>

#include <cstdio>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

namespace {

// Steps 1 to 4 for one character with nothing but the library's own tables.
void plain_utf8proc(std::string& out, char32_t c) {
  utf8proc_int32_t parts[32];
  int boundary = 0;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK);
  const auto n =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts, 32, options, &boundary);
  for (utf8proc_ssize_t i = 0; i < n; ++i)
    engram::append_utf8(out, static_cast<char32_t>(utf8proc_tolower(parts[i])));
}

void plain_icu(std::string& out, char32_t c) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfkd = unorm2_getNFKDInstance(&error);
  UChar units[32];
  std::int32_t n = unorm2_getDecomposition(nfkd, static_cast<UChar32>(c), units, 32, &error);
  if (n < 0) {
    n = 0;
    U16_APPEND_UNSAFE(units, n, c);
  }
  for (std::int32_t i = 0; i < n;) {
    UChar32 part = 0;
    U16_NEXT(units, i, n, part);
    if ((U_GET_GC_MASK(part) & U_GC_M_MASK) == 0)
      engram::append_utf8(out, static_cast<char32_t>(u_tolower(part)));
  }
}

int print_ages() {
  std::map<std::string, long> classes;
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* nfkd = unorm2_getNFKDInstance(&error);
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string a;
    std::string b;
    plain_icu(a, c);
    engram::append_folded(b, c, nfkd);
    if (a == b) continue;
    UVersionInfo age = {};
    u_charAge(static_cast<UChar32>(c), age);
    const bool mark = (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_M_MASK) != 0;
    const char* kind = age[0] == 0 ? "capital unknown to this ICU" : mark ? "mark" : "other";
    ++classes[std::string(kind) + ", first in Unicode " + std::to_string(age[0]) + "." +
              std::to_string(age[1])];
  }
  for (const auto& [name, count] : classes) std::printf("%5ld %s\n", count, name.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "ages") return print_ages();
  if (mode != "engram" && mode != "icu" && mode != "utf8proc") {
    std::fprintf(stderr, "usage: %s engram|icu|utf8proc|ages\n", argv[0]);
    return 2;
  }
  std::fprintf(stderr, "ICU %s, Unicode %s; utf8proc %s, Unicode %s\n", U_ICU_VERSION,
               U_UNICODE_VERSION, utf8proc_version(), utf8proc_unicode_version());
  for (std::string line; std::getline(std::cin, line);) {
    const std::string text = nlohmann::json::parse(line).get<std::string>();
    std::string key;
    if (mode == "engram") {
      key = engram::canonical_key(text).value();
    } else {
      std::string folded;
      for (std::size_t at = 0; at < text.size();) {
        const engram::Utf8Step step = engram::next_code_point(text, at);
        (mode == "icu" ? plain_icu : plain_utf8proc)(folded, step.code_point);
        at += step.size;
      }
      key = engram::tidy_white_space(folded);  // steps 5 to 8 need no Unicode library
      if (key.empty()) key = text;
    }
    std::cout << nlohmann::json(key).dump(-1, ' ', true) << '\n';
  }
}
