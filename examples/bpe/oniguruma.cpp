// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "oniguruma.hpp"

#include <engram/unicode/utf8.hpp>

#include <cstdio>
#include <vector>

namespace engram::bpe {
namespace {

// White_Space, which is Oniguruma's \s; PCRE2's also holds U+180E. And everything else.
constexpr const char* space_items =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr const char* not_space_items =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF})"
    R"(\x{200B}-\x{2027}\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";

constexpr bool is_ascii_letter(char32_t c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }
constexpr bool is_ascii_digit(char32_t c) { return c >= '0' && c <= '9'; }

std::string quote_code_point(char32_t c) {
  if (is_ascii_letter(c) || is_ascii_digit(c)) return std::string(1, static_cast<char>(c));
  char text[16];
  std::snprintf(text, sizeof text, "\\x{%X}", static_cast<unsigned>(c));
  return text;
}

/// One pass over the pattern. Each function reads one construct at at_ and appends to out_, or
/// notes a failure; then everything unwinds.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}
  Result<std::string> run();

 private:
  /// One escape or plain character: either a code point or the items of a set.
  struct Atom {
    bool is_set = false;
    bool negated = false;  // of a set: everything but the items
    char32_t code_point = 0;
    std::string items;
  };

  bool at_end() const { return at_ >= pattern_.size(); }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }
  bool bad(Code code, const std::string& reason) {
    if (!failure_)
      failure_ = fail(code,
                      {"regular expression, byte ", at_, ": ", reason,
                       code == Code::unsupported ? " is not supported" : ""},
                      static_cast<Index>(at_));
    return false;
  }
  bool unsupported(const std::string& what) { return bad(Code::unsupported, what); }

  bool read_atom(Atom& atom, bool in_class);
  bool read_escape(Atom& atom, bool in_class);
  bool read_hex(Atom& atom, char kind);
  bool read_property(Atom& atom, bool negated, bool in_class);
  bool read_class();
  bool read_class_items(int depth);
  bool read_group();
  bool read_quantifier();
  bool emit(const Atom& atom);

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::string out_;
  std::optional<Failure> failure_;
  struct Group {
    bool caseless;    // whether the text around it is
    bool lookaround;  // takes no quantifier
  };
  std::vector<Group> groups_;
  bool caseless_ = false;
  bool quantifiable_ = false;  // something stands here that a quantifier may follow
  char32_t last_letter_ = 0;   // caseless text only: the letter just before
};

bool Translator::read_hex(Atom& atom, char kind) {
  const auto digit = [&]() -> int {
    if (at_end()) return -1;
    const char c = pattern_[at_];
    if (is_ascii_digit(static_cast<unsigned char>(c))) return c - '0';
    const char low = static_cast<char>(c | 32);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
  };
  const bool braces = kind == 'x' && take("{");
  const int most = braces ? 8 : kind == 'u' ? 4 : 2;
  std::uint32_t value = 0;
  int count = 0;
  for (; count < most; ++count) {
    const int d = digit();
    if (d < 0) break;
    value = value << 4 | static_cast<std::uint32_t>(d);
    ++at_;
  }
  if (count == 0 || (kind == 'u' && count != 4) || (braces && !take("}")))
    return bad(Code::corrupt, "a hexadecimal escape has the wrong number of digits");
  if (kind == 'x' && !braces && value >= 0x80)
    return unsupported("a byte escape above \\x7F (write \\x{...})");
  if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
    return bad(Code::corrupt, "a hexadecimal escape is no code point");
  atom.code_point = static_cast<char32_t>(value);
  return true;
}

bool Translator::read_property(Atom& atom, bool negated, bool in_class) {
  const std::size_t close = pattern_.find('}', at_);
  if (!take("{") || close == std::string_view::npos)
    return unsupported("a property without braces");
  if (take("^")) negated = !negated;
  const std::string name(pattern_.substr(at_, close - at_));
  const auto later = newer_code_points(name);
  if (!later) return unsupported("the property \\p{" + name + "}");
  if (negated && in_class) return unsupported("the negated property \\P{" + name + "} in a class");
  if (caseless_) return unsupported("the property \\p{" + name + "} in caseless text");
  at_ = close + 1;
  atom.is_set = true;
  atom.negated = negated;
  atom.items = "\\p{" + name + "}" + *later;
  return true;
}

bool Translator::read_escape(Atom& atom, bool in_class) {
  if (at_end()) return bad(Code::corrupt, "nothing follows the backslash");
  const Utf8Step step = next_code_point(pattern_, at_);
  at_ += step.size;
  switch (step.code_point) {
    case 'n':
      atom.code_point = '\n';
      return true;
    case 'r':
      atom.code_point = '\r';
      return true;
    case 't':
      atom.code_point = '\t';
      return true;
    case 'f':
      atom.code_point = '\f';
      return true;
    case 'v':
      atom.code_point = '\v';
      return true;
    case 'x':
      return read_hex(atom, 'x');
    case 'u':
      return read_hex(atom, 'u');
    case 'p':
      return read_property(atom, false, in_class);
    case 'P':
      return read_property(atom, true, in_class);
    case 's':
      atom.is_set = true;
      atom.items = space_items;
      return true;
    case 'S':
      atom.is_set = true;
      atom.items = not_space_items;
      return true;
    case 'd':
      atom.is_set = true;
      atom.items = "\\p{Nd}" + *newer_code_points("Nd");
      return true;
    case 'D':
      if (in_class) {
        --at_;
        return unsupported("\\D in a class");
      }
      atom.is_set = true;
      atom.negated = true;
      atom.items = "\\p{Nd}" + *newer_code_points("Nd");
      return true;
    default:
      break;
  }
  if (is_ascii_letter(step.code_point) || is_ascii_digit(step.code_point)) {
    --at_;
    return unsupported(std::string("the escape \\") + static_cast<char>(step.code_point));
  }
  atom.code_point = step.code_point;
  return true;
}

bool Translator::read_atom(Atom& atom, bool in_class) {
  if (take("\\")) {
    if (!read_escape(atom, in_class)) return false;
  } else {
    const Utf8Step step = next_code_point(pattern_, at_);
    atom.code_point = step.code_point;
    at_ += step.size;
  }
  if (caseless_ && !atom.is_set && atom.code_point >= 0x80)
    return unsupported("a character beyond ASCII in caseless text");
  return true;
}

// Classes nest in Oniguruma: [a[bc]] is [abc]. A nested one that is not negated only adds items.
bool Translator::read_class_items(int depth) {
  if (depth > 32) return unsupported("a class nested deeper than 32");
  if (next_is("]")) return unsupported("']' as first member of a class");
  for (bool first_member = true; !take("]"); first_member = false) {
    if (at_end()) return bad(Code::corrupt, "a class has no closing ']'");
    if (next_is("&&")) return unsupported("the class operator &&");
    if (next_is("[:")) return unsupported("a POSIX bracket");
    if (next_is("[^")) return unsupported("a negated class inside a class");
    if (take("[")) {
      if (!read_class_items(depth + 1)) return false;
      continue;
    }
    Atom first;
    const bool plain_minus = next_is("-");
    if (!read_atom(first, true)) return false;
    const bool may_be_range = next_is("-") && !next_is("-]");
    if (first.is_set) {
      if (may_be_range) return unsupported("'-' after a set in a class");
      out_ += first.items;
      continue;
    }
    out_ += quote_code_point(first.code_point);
    if (!may_be_range) {
      // "[-a]" and "[a-]" are a plain '-'; elsewhere the engines may read it in their own ways.
      if (plain_minus && !first_member && !next_is("]"))
        return unsupported("'-' in the middle of a class");
      continue;
    }
    if (plain_minus) return unsupported("a range that begins with '-'");
    take("-");
    if (next_is("[")) return unsupported("'-' before a class");
    Atom last;
    if (!read_atom(last, true)) return false;
    if (last.is_set) return unsupported("'-' before a set in a class");
    if (last.code_point < first.code_point)
      return bad(Code::corrupt, "the range of a class runs backwards");
    if (next_is("-") && !next_is("-]")) return unsupported("'-' after a range");
    out_ += '-';
    out_ += quote_code_point(last.code_point);
  }
  return true;
}

bool Translator::read_class() {
  take("[");
  const bool negated = take("^");
  if (negated && caseless_) return unsupported("a negated class in caseless text");
  out_ += negated ? "[^" : "[";
  if (!read_class_items(0)) return false;
  out_ += ']';
  return true;
}

bool Translator::read_group() {
  take("(");
  Group group{caseless_, false};
  if (!take("?")) {
    out_ += "(?:";  // captures are of no use here
  } else if (take(":")) {
    out_ += "(?:";
  } else if (take("i:")) {
    out_ += "(?i:";
    caseless_ = true;
  } else if (take(">")) {
    out_ += "(?>";
  } else {
    bool known = false;
    for (const std::string_view kind : {"=", "!", "<=", "<!"}) {
      if (known || !take(kind)) continue;
      known = true;
      out_.append("(?").append(kind);
    }
    if (!known) return unsupported("a group '(?" + std::string(pattern_.substr(at_, 1)) + "'");
    group.lookaround = true;
  }
  groups_.push_back(group);
  quantifiable_ = false;
  return true;
}

bool Translator::read_quantifier() {
  if (!quantifiable_) return unsupported("a quantifier without something to repeat");
  quantifiable_ = false;
  const char kind = pattern_[at_];
  if (kind != '{') {
    out_ += kind;
    ++at_;
    if (next_is("?") || next_is("+")) out_ += pattern_[at_++];
    return true;
  }
  const std::size_t close = pattern_.find('}', at_);
  std::string text(pattern_.substr(at_ + 1, close == std::string_view::npos ? 0 : close - at_ - 1));
  const std::size_t comma = text.find(',');
  const std::string low = text.substr(0, comma);
  const std::string high = comma == std::string::npos ? low : text.substr(comma + 1);
  const auto is_number = [](const std::string& s) {
    return s.size() <= 4 && s.find_first_not_of("0123456789") == std::string::npos;
  };
  if (!is_number(low) || !is_number(high) || (low.empty() && high.empty()))
    return unsupported("'{' that is no repeat count");
  if (!low.empty() && !high.empty() && std::stoi(low) > std::stoi(high))
    return unsupported("a repeat count that runs backwards");
  at_ = close + 1;
  if (next_is("+")) return unsupported("a possessive repeat count");
  if (comma == std::string::npos && next_is("?")) return unsupported("a lazy fixed repeat count");
  out_ += "{" + (low.empty() ? std::string("0") : low);
  if (comma != std::string::npos) out_ += "," + high;
  out_ += '}';
  if (take("?")) out_ += '?';
  return true;
}

bool Translator::emit(const Atom& atom) {
  if (atom.is_set) {
    out_ += (atom.negated ? "[^" : "[") + atom.items + "]";
    return true;
  }
  const char32_t letter = caseless_ && is_ascii_letter(atom.code_point) ? atom.code_point | 32 : 0;
  if (letter != 0 && last_letter_ != 0) {
    const std::string both{static_cast<char>(last_letter_), static_cast<char>(letter)};
    for (const char* fold : {"ss", "ff", "fi", "fl", "st"})
      if (both == fold)
        return unsupported("caseless \"" + both + "\", which also means a ligature,");
  }
  last_letter_ = letter;
  out_ += quote_code_point(atom.code_point);
  return true;
}

Result<std::string> Translator::run() {
  if (const std::size_t at = find_invalid_utf8(pattern_); at != pattern_.size()) {
    at_ = at;
    bad(Code::corrupt, "not UTF-8");
  }
  while (!failure_ && !at_end()) {
    const char c = pattern_[at_];
    const char32_t letter_before = last_letter_;
    last_letter_ = 0;
    if (c == '(') {
      read_group();
    } else if (c == ')') {
      if (groups_.empty()) {
        bad(Code::corrupt, "')' without '('");
        break;
      }
      caseless_ = groups_.back().caseless;
      quantifiable_ = !groups_.back().lookaround;
      groups_.pop_back();
      out_ += c;
      ++at_;
    } else if (c == '|') {
      quantifiable_ = false;
      out_ += c;
      ++at_;
    } else if (c == '*' || c == '+' || c == '?' || c == '{') {
      read_quantifier();
    } else if (c == '^' || c == '$') {
      unsupported(std::string("the anchor ") + c);
    } else {
      quantifiable_ = true;
      if (c == '[') {
        read_class();
      } else if (c == '.') {
        out_ += "[^\\x{A}]";
        ++at_;
      } else {
        Atom atom;
        last_letter_ = letter_before;
        if (read_atom(atom, false)) emit(atom);
        if (atom.is_set) last_letter_ = 0;
      }
    }
  }
  if (!failure_ && !groups_.empty()) bad(Code::corrupt, "a group has no closing ')'");
  if (failure_) return *failure_;
  return out_;
}

}  // namespace

Result<std::string> translate_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

std::string quote_literal(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = next_code_point(text, at);
    out += quote_code_point(step.code_point);
    at += step.size;
  }
  return out;
}

}  // namespace engram::bpe
