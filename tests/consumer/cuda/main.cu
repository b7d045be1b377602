// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Compiled by nvcc; runs on the CPU, so that no GPU is needed. The kernel shows that the types are
// usable in device code.
#include "../answer.hpp"

#include <cstdio>

__global__ void count(engram::View<engram::Index, 1, engram::DeviceSpace> out) {
  out(threadIdx.x) = out.extent(0);
}

int main() { return std::puts(answer().c_str()) < 0; }
