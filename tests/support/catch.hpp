// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Catch2 2 and 3 keep their headers in different places; tests use what both have.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as version 2 has it
#else
#include <catch2/catch.hpp>
#endif
