// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <answer.hpp>
#include <memory.hpp>

#include <cstdio>

int main() { return std::puts(remember().c_str()) < 0 || remember() != answer(); }
