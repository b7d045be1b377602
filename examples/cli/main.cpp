// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The program `engram`: the library's front end from the command line.
// Exit status: 0 done; 1 well-formed but refused; 2 an option missing, unknown or not of its type.

#include "commands.hpp"

#include <engram/version.hpp>

#include <iostream>

#define ENGRAM_TEXT_(x) #x
#define ENGRAM_TEXT(x) ENGRAM_TEXT_(x)

int main(int argc, char** argv) {
  using namespace engram::cli;
  CLI::App program("Engram addresses: tokens to canonical ids, n-grams and table rows");
  program.require_subcommand(1);
  program.set_version_flag("--version",
                           ENGRAM_TEXT(ENGRAM_VERSION_MAJOR) "." ENGRAM_TEXT(
                               ENGRAM_VERSION_MINOR) "." ENGRAM_TEXT(ENGRAM_VERSION_PATCH));
  const std::vector<Command> commands = {
      add_layout(program), add_address(program), add_normalize(program), add_token_map(program),
      add_encode(program), add_trace(program),   add_inspect(program),   add_pack(program),
      add_verify(program), add_plan(program),    add_simulate(program),  add_bench_read(program)};
  try {
    program.parse(argc, argv);
    for (const Command& command : commands) {
      if (!command.app->parsed()) continue;
      const engram::Result<void> done = command.run();
      if (!done.ok()) {
        std::cerr << "engram: " << done.message() << '\n';
        return 1;
      }
      std::cout.flush();
      if (!std::cout) {
        std::cerr << "engram: standard output cannot be written\n";
        return 1;
      }
    }
  } catch (const CLI::Success& asked) {  // --help, --version
    return program.exit(asked);
  } catch (const CLI::ParseError& error) {
    const std::string first = argc > 1 ? argv[1] : "";
    if (program.get_subcommands().empty() && !first.empty() && first[0] != '-')
      std::cerr << "engram: there is no command '" << first << "'\n";
    std::cerr << "engram: " << error.what() << "\nRun with --help for the options.\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "engram: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
