// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "headers.hpp"

#include <engram/core/splitmix.hpp>
#include <engram/io/file.hpp>
#include <engram/unicode/utf8.hpp>

#include <algorithm>
#include <filesystem>

namespace engram::text {
namespace {

constexpr std::size_t largest_file = 400'000;  // bytes; above are tables and other generated text

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t h = 0xCBF29CE484222325;  // FNV-1a
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return h;
}

/// A source file without the comments and blank lines in front of its first line of code: licences.
std::string_view without_leading_comments(std::string_view text) {
  for (std::size_t at = 0;;) {
    at = std::min(text.find_first_not_of(" \t\r\n", at), text.size());
    if (text.substr(at, 2) == "//")
      at = std::min(text.find('\n', at), text.size());
    else if (text.substr(at, 2) == "/*")
      at = std::min(text.find("*/", at), text.size() - 2) + 2;
    else
      return text.substr(at);
  }
}

}  // namespace

std::vector<NamedText> read_headers(std::size_t limit) {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::uint64_t, std::string>> paths;
  std::error_code ignored;  // a folder that may not be read holds no text for a demo
  for (fs::recursive_directory_iterator it("/usr/include",
                                           fs::directory_options::skip_permission_denied, ignored);
       it != fs::recursive_directory_iterator(); it.increment(ignored)) {
    const std::string ending = it->path().extension().string();
    if (ending.empty() || ending == ".h" || ending == ".hpp" || ending == ".tcc")
      if (it->is_regular_file(ignored) && !it->is_symlink(ignored))
        paths.emplace_back(splitmix64(hash_of(it->path().string())), it->path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<NamedText> texts;
  std::size_t bytes = 0;
  for (const auto& [order, path] : paths) {
    if (bytes >= limit) break;
    Result<std::string> text = read_file(path);
    if (!text.ok() || text.value().size() > largest_file ||
        find_invalid_utf8(text.value()) < text.value().size())
      continue;
    texts.push_back({path, std::string(without_leading_comments(text.value()))});
    bytes += texts.back().text.size();
  }
  return texts;
}

}  // namespace engram::text
