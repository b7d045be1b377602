// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// All of standard input, or why it could not be read: a read error is not an end.

#include <engram/core/status.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace engram::cli {

/// Every byte up to the end of standard input. Fails with io (system_error: errno).
inline Result<std::string> read_standard_input() {
  std::string text;
  char block[65536];
  errno = 0;
  for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, stdin)) > 0;)
    text.append(block, n);
  if (std::ferror(stdin) != 0)
    return fail(Code::io, {"standard input cannot be read: ", std::strerror(errno)}, -1, errno);
  return text;
}

}  // namespace engram::cli
