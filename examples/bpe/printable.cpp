// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "printable.hpp"

#include <engram/unicode/utf8.hpp>

#include <algorithm>
#include <cstdio>

namespace engram::bpe {

std::string printable(std::string_view bytes) {
  std::string text;
  const auto escape = [&text](char c) {
    char hex[5];
    std::snprintf(hex, sizeof hex, "\\x%02X", static_cast<unsigned char>(c));
    text += hex;
  };
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  while (!bytes.empty()) {
    const std::size_t good = find_invalid_utf8(bytes);
    for (const char c : bytes.substr(0, good)) {
      if (c == '\n') {
        text += "\\n";
      } else if (c == '\t') {
        text += "\\t";
      } else if (is_control(c)) {
        escape(c);
      } else {
        text += c;
      }
    }
    if (good < bytes.size()) escape(bytes[good]);
    bytes.remove_prefix(std::min(good + 1, bytes.size()));
  }
  return text;
}

}  // namespace engram::bpe
