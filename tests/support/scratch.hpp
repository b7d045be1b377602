// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where a test case may write: cases run side by side, so each has paths of its own.

#include <catch.hpp>
#include <filesystem>
#include <string>

/// A path below ENGRAM_SCRATCH_DIR that no other case has; its folder is there.
inline std::string scratch_path(const std::string& name) {
  std::filesystem::create_directories(ENGRAM_SCRATCH_DIR);
  const std::string test = Catch::getResultCapture().getCurrentTestName();
  return std::string(ENGRAM_SCRATCH_DIR) + "/" + std::to_string(std::hash<std::string>()(test)) +
         "_" + name;
}
