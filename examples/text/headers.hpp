// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Text that is on every machine with a compiler: C++ headers.

#include <string>
#include <vector>

namespace engram::text {

struct NamedText {
  std::string name, text;
};

/// Headers below /usr/include, without the licences in front of them, in the order of their paths'
/// hashes, up to `limit` bytes. Files above 400 kB, symbolic links, what may not be read and what
/// is not UTF-8 are left out.
std::vector<NamedText> read_headers(std::size_t limit);

}  // namespace engram::text
