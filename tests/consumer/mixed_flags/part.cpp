// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled several times into one program, each time with other flags and another ENGRAM_PART.
#include "part.hpp"
#include "../answer.hpp"

Text ENGRAM_PART() { return to_text(answer()); }
