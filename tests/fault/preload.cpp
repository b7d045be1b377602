// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The shim for a program that knows nothing of it, by LD_PRELOAD: ends the program at its
// ENGRAM_FAULT_AT-th call that changes a file below ENGRAM_FAULT_FOLDER, in the middle of it, or
// with ENGRAM_FAULT_AFTER behind it.
#include "shim.hpp"

#include <cstdlib>

namespace {

[[gnu::constructor]] void arm_from_environment() {
  const char* const folder = std::getenv("ENGRAM_FAULT_FOLDER");
  const char* const at = std::getenv("ENGRAM_FAULT_AT");
  if (folder == nullptr || at == nullptr) return;
  const bool after = std::getenv("ENGRAM_FAULT_AFTER") != nullptr;
  shim::arm(folder, {std::atol(at), after ? shim::Fault::killed_after : shim::Fault::killed});
}

}  // namespace
