// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The floors, for instruction_sets.sh to look at.
#include "../consumer/answer.hpp"

std::string keep() { return answer(); }
