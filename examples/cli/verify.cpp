// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The command verify: whether files are what they were when they were written.

#include "commands.hpp"
#include "numbers.hpp"
#include "tables.hpp"

#include <engram/io/packed_rows.hpp>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

namespace engram::cli {

namespace {

using Printed = nlohmann::ordered_json;

Result<Printed> verify_file(const std::string& path) {
  const Result<FileKind> kind = kind_of(path);
  if (!kind.ok()) return kind.failure();
  if (kind.value() == FileKind::gguf) {
    const Result<GgufFile> file = GgufFile::open(path);
    if (!file.ok()) return file.failure();
    std::fprintf(stderr, "verify: %s: GGUF files have no checksums; only the header is checked\n",
                 path.c_str());
    return Printed{{"path", path}, {"format", "gguf"}, {"verified", "header"}};
  }
  if (kind.value() == FileKind::safetensors) {  // which has no checksums
    const Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file.ok()) return file.failure();
    return Printed{{"path", path}, {"format", "safetensors"}, {"verified", "header"}};
  }
  Result<PackedRows> packed = PackedRows::open(path);
  if (!packed.ok()) return packed.failure();
  const Index pages = packed.value().pages();
  if (Result<void> verified = packed.value().verify(0, pages); !verified.ok())
    return verified.failure();
  return Printed{{"path", path}, {"format", "packed"}, {"verified", "pages"}, {"pages", pages}};
}

Result<void> verify(const std::vector<std::string>& paths) {
  Printed files = Printed::array();
  for (const std::string& path : paths) {
    Result<Printed> verified = verify_file(path);
    if (!verified.ok()) return verified.failure();
    files.push_back(std::move(verified).value());
  }
  std::cout << Printed{{"files", std::move(files)}}.dump(-1, ' ', false,
                                                         Printed::error_handler_t::replace)
            << '\n';
  return {};
}

}  // namespace

Command add_verify(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "verify",
      "read packed files and compare every checksum; of safetensors and GGUF files the header");
  const auto paths = std::make_shared<std::vector<std::string>>();
  app->add_option("paths", *paths, "packed, safetensors and GGUF files")
      ->required()
      ->check(file_name());
  return {app, [paths] { return verify(*paths); }};
}

}  // namespace engram::cli
