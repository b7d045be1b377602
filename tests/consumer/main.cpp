// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "answer.hpp"

#include <cstdio>

int main() { return std::puts(answer().c_str()) < 0; }
