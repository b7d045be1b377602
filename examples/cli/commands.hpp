// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The commands of the program `engram`. Each adds itself to the command line; run, it prints one
// JSON object to stdout and nothing else, or returns why it did not.

#include <engram/core/status.hpp>

#include <CLI/CLI.hpp>
#include <functional>
#include <vector>

namespace engram::cli {

/// A command and what to do when it is the one that was called.
struct Command {
  CLI::App* app;
  std::function<Result<void>()> run;
};

Command add_layout(CLI::App& program);
Command add_address(CLI::App& program);
Command add_normalize(CLI::App& program);
Command add_token_map(CLI::App& program);
Command add_encode(CLI::App& program);
Command add_trace(CLI::App& program);
Command add_inspect(CLI::App& program);
Command add_pack(CLI::App& program);
Command add_verify(CLI::App& program);
Command add_plan(CLI::App& program);
Command add_simulate(CLI::App& program);
Command add_bench_read(CLI::App& program);

}  // namespace engram::cli
