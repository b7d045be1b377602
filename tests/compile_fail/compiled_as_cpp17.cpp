// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// expect: engram needs C++20: compile with -std=c++20
// fail-flags: -std=c++17
#include <engram/core/ids.hpp>
