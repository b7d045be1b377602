// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How a call of the system on a file failed, in the one form that all files of the library use.

#include <engram/core/status.hpp>

#include <cerrno>
#include <cstring>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

/// "cannot read x.json: No such file or directory": io, with errno in the status.
inline Failure file_failure(const char* action, const std::string& name, int error) {
  if (error == 0) error = EIO;
  return fail(Code::io, {"cannot ", action, " ", name, ": ", std::strerror(error)}, -1, error);
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
