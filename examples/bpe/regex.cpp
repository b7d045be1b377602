// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "regex.hpp"

#include "oniguruma.hpp"

#include <engram/unicode/utf8.hpp>

#include <new>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace engram::bpe {
namespace {

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

pcre2_match_data* match_of(const std::shared_ptr<void>& p) {
  return static_cast<pcre2_match_data*>(p.get());
}

pcre2_match_context* context_of(const std::shared_ptr<void>& p) {
  return static_cast<pcre2_match_context*>(p.get());
}

}  // namespace

MatchScratch::MatchScratch()
    : match_(pcre2_match_data_create(1, nullptr),
             [](void* p) { pcre2_match_data_free(static_cast<pcre2_match_data*>(p)); }),
      context_(pcre2_match_context_create(nullptr),
               [](void* p) { pcre2_match_context_free(static_cast<pcre2_match_context*>(p)); }) {
  if (!match_ || !context_) throw std::bad_alloc();
  // Each match is linear in its length for the patterns at hand; a limit would only break long
  // words.
  pcre2_set_match_limit(context_of(context_), UINT32_MAX);
  pcre2_set_depth_limit(context_of(context_), UINT32_MAX);
}

Result<Regex> Regex::compile(const std::string& pcre_pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_code* code = pcre2_compile(bytes_of(pcre_pattern), pcre_pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &offset, context.get());
  if (code == nullptr) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof message);
    return fail(Code::unsupported, {"regular expression: the engine refuses it: ",
                                    reinterpret_cast<const char*>(message)});
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where this fails, matching is slower, not wrong
  Regex regex;
  regex.code_ = std::shared_ptr<const void>(code, [](const void* p) {
    pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p)));
  });
  return regex;
}

Result<Regex> Regex::make(std::string_view oniguruma_pattern) {
  Result<std::string> translated = translate_oniguruma(oniguruma_pattern);
  if (!translated.ok()) return translated.failure();
  return compile(translated.value());
}

Result<Regex> Regex::make_literal(std::string_view text) {
  if (const std::size_t at = find_invalid_utf8(text); at != text.size())
    return fail(Code::corrupt, {"pattern: not UTF-8 at byte ", at}, static_cast<Index>(at));
  return compile(quote_literal(text));
}

std::string Regex::unicode_version() {
  char text[64] = {};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, text);
  return text;
}

int Regex::next(std::string_view text, const Span* previous, MatchScratch& scratch,
                Span& found) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  pcre2_match_data* match = match_of(scratch.match_);
  pcre2_match_context* context = context_of(scratch.context_);
  std::size_t from = previous != nullptr ? previous->end : 0;
  for (;;) {
    if (from > text.size()) return 0;
    int rc =
        pcre2_match(code, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK, match, context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !scratch.stack_) {
      scratch.stack_ = std::shared_ptr<void>(
          pcre2_jit_stack_create(std::size_t{1} << 16, std::size_t{1} << 26, nullptr),
          [](void* p) { pcre2_jit_stack_free(static_cast<pcre2_jit_stack*>(p)); });
      if (!scratch.stack_) return -1;
      pcre2_jit_stack_assign(context, nullptr, scratch.stack_.get());
      continue;
    }
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)  // the interpreter keeps its frames on the heap
      rc = pcre2_match(code, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       match, context);
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc < 0) return -1;
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
    found = {ends[0], ends[1]};
    if (found.begin != found.end || previous == nullptr || found.end != previous->end) return 1;
    from += from < text.size() ? next_code_point(text, from).size : 1;
  }
}

}  // namespace engram::bpe
