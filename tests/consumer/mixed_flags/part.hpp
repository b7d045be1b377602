// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <cstring>
#include <string>

// The border between parts: plain bytes, because parts differ in exceptions and RTTI.
struct Text {
  char bytes[4096];
};

inline Text to_text(const std::string& s) {
  Text text{};
  std::memcpy(text.bytes, s.data(),
              s.size() < sizeof text.bytes ? s.size() : sizeof text.bytes - 1);
  return text;
}
