// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads the golden files. They are our own, so this trusts them; it exists because the plain golden
// programs run on machines for which there are only the library's own headers.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

struct Value {
  std::string text;               // of a string or number
  std::vector<Value> items;       // of an array or object
  std::vector<std::string> keys;  // of an object, one for each item

  const Value& operator[](const char* name) const {
    for (std::size_t i = 0; i < keys.size(); ++i)
      if (keys[i] == name) return items[i];
    std::fprintf(stderr, "golden file: there is no '%s'\n", name);
    std::exit(1);
  }
  const Value& operator[](std::size_t i) const { return items.at(i); }
  std::int64_t integer() const { return std::strtoll(text.c_str(), nullptr, 10); }
  std::uint64_t natural() const { return std::strtoull(text.c_str(), nullptr, 10); }
  double real() const { return std::strtod(text.c_str(), nullptr); }

  /// Every number below this value, in order: [[1, 2], [3]] gives 1, 2, 3.
  std::vector<std::int64_t> numbers() const {
    std::vector<std::int64_t> all;
    if (!text.empty()) all.push_back(integer());
    for (const Value& item : items)
      for (const std::int64_t n : item.numbers()) all.push_back(n);
    return all;
  }
};

class ValueReader {
 public:
  explicit ValueReader(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
      std::fprintf(stderr, "golden file: cannot open %s\n", path.c_str());
      std::exit(1);
    }
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text_ += static_cast<char>(c);
    std::fclose(file);
  }

  Value read() {
    Value value;
    const char c = peek();
    if (c == '{' || c == '[') {
      const char close = c == '{' ? '}' : ']';
      ++at_;
      while (peek() != close) {
        if (c == '{') {
          value.keys.push_back(string());
          expect(':');
        }
        value.items.push_back(read());
        if (peek() == ',') ++at_;
      }
      ++at_;
    } else if (c == '"') {
      value.text = string();
    } else {
      while (std::string_view(" ,]}\r\n\t").find(text_[at_]) == std::string_view::npos)
        value.text += text_[at_++];
    }
    return value;
  }

 private:
  char peek() {
    while (std::string_view(" \r\n\t").find(text_.at(at_)) != std::string_view::npos) ++at_;
    return text_.at(at_);
  }
  void expect(char c) {
    if (peek() != c) {
      std::fprintf(stderr, "golden file: expected '%c' at byte %zu\n", c, at_);
      std::exit(1);
    }
    ++at_;
  }
  std::string string() {
    expect('"');
    std::string s;
    for (; text_.at(at_) != '"'; ++at_) {
      if (text_[at_] != '\\') {
        s += text_[at_];
      } else if (text_.at(++at_) == 'u') {
        append(s, code_unit());
      } else {
        const std::size_t which = std::string_view("bfnrt").find(text_[at_]);
        s += which == std::string_view::npos ? text_[at_] : "\b\f\n\r\t"[which];
      }
    }
    ++at_;
    return s;
  }
  /// The four digits behind the 'u' at at_, which moves to the last of them.
  unsigned code_unit() {
    const unsigned long unit = std::strtoul(text_.substr(at_ + 1, 4).c_str(), nullptr, 16);
    at_ += 4;
    return static_cast<unsigned>(unit);
  }
  void append(std::string& s, unsigned c) {
    if (c >= 0xD800 && c < 0xDC00) {  // the first half of a pair
      at_ += 2;
      c = 0x10000 + ((c - 0xD800) << 10) + (code_unit() - 0xDC00);
    }
    const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const unsigned lead[] = {0x00, 0xC0, 0xE0, 0xF0};
    s += static_cast<char>(lead[more] | (c >> (6 * more)));
    for (int shift = 6 * more - 6; shift >= 0; shift -= 6)
      s += static_cast<char>(0x80 | ((c >> shift) & 0x3F));
  }

  std::string text_;
  std::size_t at_ = 0;
};

inline Value read_values(const std::string& path) { return ValueReader(path).read(); }
