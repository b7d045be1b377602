// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The one place where the version is written; CMake and the tests read it from here.

/// Library version. While the major number is 0, a new minor number may break source compatibility.
/// The address format has its own version: `engram::layout_format_version`.
#define ENGRAM_VERSION_MAJOR 0
#define ENGRAM_VERSION_MINOR 1
#define ENGRAM_VERSION_PATCH 0

/// True when the library is at least major.minor.
#define ENGRAM_VERSION_AT_LEAST(major, minor) \
  (ENGRAM_VERSION_MAJOR > (major) ||          \
   (ENGRAM_VERSION_MAJOR == (major) && ENGRAM_VERSION_MINOR >= (minor)))
