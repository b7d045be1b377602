// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "pre_tokenizer.hpp"

#include <engram/io/json.hpp>

namespace engram::bpe {
namespace {

// The pattern that ByteLevel uses unless told otherwise: GPT-2's.
constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What Digits takes for a digit. It does not use the regular expressions of the package but its
// language's own tables, which have Unicode 17.
constexpr std::string_view digits_pattern = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";

constexpr std::size_t max_steps = 64;

Failure corrupt(const std::string& reason) {
  return fail(Code::corrupt, "pre-tokenizer " + reason);
}

/// The member as a boolean; `fallback` when absent, or a failure when there is none.
Result<bool> read_flag(const Json& json, const char* kind, const char* key,
                       std::optional<bool> fallback = {}) {
  const Json* member = json.find(key);
  if (member == nullptr && fallback) return *fallback;
  const auto value = member != nullptr ? member->as_boolean() : std::nullopt;
  if (!value) return corrupt(sentence({"'", kind, "': '", key, "' is not true or false"}));
  return *value;
}

}  // namespace

Result<PreTokenizer::Step> PreTokenizer::read_split(const Json& json) {
  Step step;
  const Json* pattern = json.find("pattern");
  const Json* regex = pattern != nullptr ? pattern->find("Regex") : nullptr;
  const Json* literal = pattern != nullptr ? pattern->find("String") : nullptr;
  const Json* text = regex != nullptr ? regex : literal;
  if (text == nullptr || text->as_string() == nullptr || (regex != nullptr && literal != nullptr))
    return corrupt("'Split': 'pattern' is neither {\"Regex\": text} nor {\"String\": text}");
  Result<Regex> compiled =
      regex != nullptr ? Regex::make(*text->as_string()) : Regex::make_literal(*text->as_string());
  if (!compiled.ok())
    return fail(compiled.status().code, {"pre-tokenizer 'Split': ", compiled.message()},
                compiled.status().index);
  step.regex = std::move(compiled).value();

  const Json* behavior = json.find("behavior");
  const std::string* name = behavior != nullptr ? behavior->as_string() : nullptr;
  if (name == nullptr) return corrupt("'Split': 'behavior' is not a text");
  if (*name == "Isolated")
    step.behavior = Behavior::isolated;
  else if (*name == "Removed")
    step.behavior = Behavior::removed;
  else if (*name == "MergedWithPrevious")
    step.behavior = Behavior::merged_with_previous;
  else if (*name == "MergedWithNext")
    step.behavior = Behavior::merged_with_next;
  else if (*name == "Contiguous")
    step.behavior = Behavior::contiguous;
  else
    return fail(Code::unsupported,
                {"pre-tokenizer 'Split': the behavior '", *name, "' is not supported"});
  const Result<bool> invert = read_flag(json, "Split", "invert");
  if (!invert.ok()) return invert.failure();
  step.invert = invert.value();
  return step;
}

Result<void> PreTokenizer::read(const Json& json, PreTokenizer& out) {
  if (json.is_null()) return {};
  const Json* type = json.find("type");
  const std::string* kind = type != nullptr ? type->as_string() : nullptr;
  if (kind == nullptr) return corrupt("entry: 'type' is not a text");
  if (out.byte_level_)
    return fail(Code::unsupported,
                {"pre-tokenizer '", *kind, "' after 'ByteLevel' is not supported"});
  if (out.steps_.size() == max_steps)
    return fail(Code::unsupported, "pre-tokenizer: more than 64 steps");
  if (*kind == "Sequence") {
    const Json* list = json.find("pretokenizers");
    const Json::Array* steps = list != nullptr ? list->as_array() : nullptr;
    if (steps == nullptr) return corrupt("'Sequence': 'pretokenizers' is not an array");
    for (const Json& step : *steps)
      if (auto done = read(step, out); !done.ok()) return done;
    return {};
  }
  Step step;
  if (*kind == "Split") {
    Result<Step> split = read_split(json);
    if (!split.ok()) return split.failure();
    step = std::move(split).value();
  } else if (*kind == "Digits") {
    const Result<bool> individual = read_flag(json, "Digits", "individual_digits");
    if (!individual.ok()) return individual.failure();
    step.regex = Regex::make(digits_pattern).value();
    step.behavior = individual.value() ? Behavior::isolated : Behavior::contiguous;
  } else if (*kind == "ByteLevel") {
    const Result<bool> prefix = read_flag(json, "ByteLevel", "add_prefix_space");
    if (!prefix.ok()) return prefix.failure();
    const Result<bool> regex = read_flag(json, "ByteLevel", "use_regex", true);
    if (!regex.ok()) return regex.failure();
    step.prefix_space = prefix.value();
    if (regex.value()) step.regex = Regex::make(gpt2_pattern).value();
    out.byte_level_ = true;
  } else {
    return fail(Code::unsupported, {"pre-tokenizer '", *kind, "' is not supported"});
  }
  if (step.regex || step.prefix_space) out.steps_.push_back(std::move(step));
  return {};
}

Result<PreTokenizer> PreTokenizer::make(const Json& json) {
  PreTokenizer out;
  if (auto done = read(json, out); !done.ok()) return done.failure();
  return out;
}

struct PreTokenizer::Run {
  MatchScratch& scratch;
  PieceSink& sink;
};

// Depth first: a piece of one step runs through all later ones before the next is cut, so nothing
// is stored but one pending piece per step.
bool PreTokenizer::run(std::size_t index, std::string_view text, Run& run) const {
  if (text.empty()) return true;
  if (index == steps_.size()) {
    run.sink.piece(text);
    return true;
  }
  const Step& step = steps_[index];
  std::string prefixed;
  if (step.prefix_space && text[0] != ' ') {
    prefixed.reserve(text.size() + 1);
    prefixed.append(1, ' ').append(text);
    text = prefixed;
  }
  if (!step.regex) return this->run(index + 1, text, run);

  std::optional<Span> pending;  // may yet grow by what follows
  bool pending_match = false;
  const auto emit = [&](Span span) {
    return this->run(index + 1, text.substr(span.begin, span.end - span.begin), run);
  };
  const auto flush = [&] {
    const bool ok = !pending || emit(*pending);
    pending.reset();
    return ok;
  };
  const auto hold = [&](Span span, bool match) {
    const bool ok = flush();
    pending = span;
    pending_match = match;
    return ok;
  };
  const auto add = [&](Span span, bool match) {
    if (step.invert) match = !match;
    switch (step.behavior) {
      case Behavior::isolated:
        return emit(span);
      case Behavior::removed:
        return match || emit(span);
      case Behavior::contiguous:
        if (!pending || pending_match != match) return hold(span, match);
        pending->end = span.end;
        return true;
      case Behavior::merged_with_previous:  // what is held is no match
        if (!match) return hold(span, false);
        if (!pending) return emit(span);
        pending->end = span.end;
        return flush();
      case Behavior::merged_with_next:  // what is held is a match
        if (match) return hold(span, true);
        if (!pending) return emit(span);
        pending->end = span.end;
        return flush();
    }
    return false;
  };

  std::size_t done = 0;
  Span found, previous;
  bool any = false;
  for (;;) {
    const int state = step.regex->next(text, any ? &previous : nullptr, run.scratch, found);
    if (state < 0) return false;
    if (state == 0) break;
    if (found.begin != done && !add({done, found.begin}, false)) return false;
    if (!add(found, true)) return false;
    done = found.end;
    previous = found;
    any = true;
  }
  if (done != text.size() && !add({done, text.size()}, false)) return false;
  return flush();
}

Result<void> PreTokenizer::split(std::string_view text, MatchScratch& scratch,
                                 PieceSink& sink) const {
  Run state{scratch, sink};
  if (run(0, text, state)) return {};
  return fail(Code::out_of_memory, "pre-tokenizer: the regular expression engine gave up");
}

}  // namespace engram::bpe
