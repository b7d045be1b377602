// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "temporary_file.hpp"

#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace engram::program {
namespace {

constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};

/// What the handler removes: plain names, because little else is safe in there.
char file[4096], partial_file[4096], folder[4096];
struct sigaction before[std::size(signals)];

void remove_all() noexcept {
  ::unlink(file);
  ::unlink(partial_file);
  ::rmdir(folder);
}

/// Removes, then lets the signal do what it does without us.
void on_signal(int number) {
  remove_all();
  std::signal(number, SIG_DFL);
  ::raise(number);
}

void catch_signals() noexcept {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (std::size_t i = 0; i < std::size(signals); ++i) {
    ::sigaction(signals[i], nullptr, &before[i]);
    if (before[i].sa_handler == SIG_DFL) ::sigaction(signals[i], &action, nullptr);
  }
}

void put_signals_back() noexcept {
  for (std::size_t i = 0; i < std::size(signals); ++i)
    if (before[i].sa_handler == SIG_DFL) ::sigaction(signals[i], &before[i], nullptr);
}

}  // namespace

Result<TemporaryFile> TemporaryFile::make(const std::string& name, const std::string& partial,
                                          Index bytes) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path parent = fs::temp_directory_path(error);
  if (error) parent = "/tmp";
  const fs::space_info space = fs::space(parent, error);
  if (!error && space.available < static_cast<std::uintmax_t>(bytes))
    return fail(Code::io, {parent.string(), " has ", space.available / 1'000'000, " MB free, ",
                           bytes / 1'000'000, " MB are needed; TMPDIR names another folder"});

  const std::string made = (parent / "engram_demo_XXXXXX").string();
  if (made.size() + 1 + name.size() + partial.size() >= sizeof folder)
    return fail(Code::io, {parent.string(), ": too long"});
  std::strcpy(folder, made.c_str());
  catch_signals();
  if (::mkdtemp(folder) == nullptr) {
    const int error_number = errno;
    put_signals_back();
    return fail(Code::io,
                {"cannot make a folder in ", parent.string(), ": ", std::strerror(error_number)},
                -1, error_number);
  }
  const std::string path = sentence({folder, "/", name});
  std::strcpy(file, path.c_str());
  std::strcpy(partial_file, (path + partial).c_str());
  return TemporaryFile(path);
}

void TemporaryFile::remove() noexcept {
  if (path_.empty()) return;
  remove_all();
  put_signals_back();
  path_.clear();
}

}  // namespace engram::program
