// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "normalizer.hpp"

#include <engram/io/json.hpp>
#include <engram/unicode/normalizer.hpp>

#include <algorithm>

namespace engram::bpe {
namespace {

/// Appends the normal form of a run of UTF-16. False when ICU refuses.
bool append_form(const std::u16string& run, const UNormalizer2* form, std::string& out) {
  if (run.empty()) return true;
  std::u16string normal(run.size() + run.size() / 2 + 32, u'\0');
  std::int32_t size = 0;
  for (int attempt = 0;; ++attempt) {
    UErrorCode error = U_ZERO_ERROR;
    size = unorm2_normalize(form, run.data(), static_cast<std::int32_t>(run.size()), normal.data(),
                            static_cast<std::int32_t>(normal.size()), &error);
    if (U_SUCCESS(error)) break;
    if (error != U_BUFFER_OVERFLOW_ERROR || attempt > 0) return false;
    normal.resize(static_cast<std::size_t>(size));
  }
  for (std::int32_t i = 0; i < size;) {
    UChar32 c = 0;
    U16_NEXT(normal.data(), i, size, c);
    append_utf8(out, static_cast<char32_t>(c));
  }
  return true;
}

}  // namespace

Result<void> Normalizer::read(const Json& json, Normalizer& out) {
  if (json.is_null()) return {};
  const Json* type = json.find("type");
  const std::string* kind = type != nullptr ? type->as_string() : nullptr;
  if (kind == nullptr) return fail(Code::corrupt, "normalizer: an entry's 'type' is not a text");
  if (*kind == "Sequence") {
    const Json* list = json.find("normalizers");
    const Json::Array* steps = list != nullptr ? list->as_array() : nullptr;
    if (steps == nullptr)
      return fail(Code::corrupt, "normalizer 'Sequence': 'normalizers' is not an array");
    for (const Json& step : *steps)
      if (auto done = read(step, out); !done.ok()) return done;
    return {};
  }
  if (*kind == "NFC")
    out.forms_.push_back(Form::nfc);
  else if (*kind == "NFD")
    out.forms_.push_back(Form::nfd);
  else if (*kind == "NFKC")
    out.forms_.push_back(Form::nfkc);
  else if (*kind == "NFKD")
    out.forms_.push_back(Form::nfkd);
  else
    return fail(Code::unsupported, {"normalizer '", *kind, "' is not supported"});
  return {};
}

Result<Normalizer> Normalizer::make(const Json& json) {
  Normalizer out;
  if (auto done = read(json, out); !done.ok()) return done.failure();
  return out;
}

Result<std::string> Normalizer::apply(std::string_view text, Form form) {
  UErrorCode error = U_ZERO_ERROR;
  const UNormalizer2* const normal = form == Form::nfc    ? unorm2_getNFCInstance(&error)
                                     : form == Form::nfd  ? unorm2_getNFDInstance(&error)
                                     : form == Form::nfkc ? unorm2_getNFKCInstance(&error)
                                                          : unorm2_getNFKDInstance(&error);
  if (U_FAILURE(error))
    return fail(Code::unsupported, {"normalizer: ICU cannot load its data: ", u_errorName(error)});
  // The reference normalises by the data of Unicode 9. A later character has no combining class, no
  // decomposition and no part in a composition there, so it ends the run before it. Runs are cut
  // where nothing combines across, so that ICU's 32-bit sizes always suffice.
  constexpr std::size_t long_run = std::size_t{1} << 20;
  std::string out;
  out.reserve(text.size());
  std::u16string run;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = next_code_point(text, at);
    const char32_t c = step.code_point;
    const bool later = c >= 0x80 && unicode_age(c) > 9;
    if (run.size() > std::size_t{1} << 28)
      return fail(Code::unsupported,
                  {"normalizer: no boundary in 2^28 characters before byte ", at},
                  static_cast<Index>(at));
    if (later || c == '\n' ||
        (run.size() > long_run && unorm2_hasBoundaryBefore(normal, static_cast<UChar32>(c)))) {
      if (!append_form(run, normal, out))
        return fail(Code::out_of_memory, "normalizer: not enough memory");
      run.clear();
    }
    if (later || c == '\n') {
      out.append(text, at, step.size);
    } else if (c < 0x10000) {
      run += static_cast<char16_t>(c);
    } else {
      run += static_cast<char16_t>(U16_LEAD(c));
      run += static_cast<char16_t>(U16_TRAIL(c));
    }
    at += step.size;
  }
  if (!append_form(run, normal, out))
    return fail(Code::out_of_memory, "normalizer: not enough memory");
  return out;
}

Result<std::string> Normalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const Form form : forms_) {
    if (std::all_of(result.begin(), result.end(),
                    [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
      return result;
    Result<std::string> applied = apply(result, form);
    if (!applied.ok()) return applied;
    result = std::move(applied).value();
  }
  return result;
}

}  // namespace engram::bpe
