// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What this program's operator new gave, in every form of it, by every thread.

#include <cstddef>

/// Bytes ever asked for.
std::size_t allocated_bytes();

/// Every operator new from now on fails, until it is told otherwise.
void refuse_allocations(bool refuse);
