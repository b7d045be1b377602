// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A file that must not outlive the program: a demo leaves nothing behind, also when it is
// interrupted while it writes a few hundred megabytes.

#include <engram/core/status.hpp>

namespace engram::program {

/// The path of a file in a new folder below TMPDIR, or /tmp. File and folder are removed at the end
/// of the scope, and when Ctrl-C, a closed terminal or `kill` ends the program; a
/// handler of the program's own stays, and is to let the scope end. One at a time, since a signal
/// handler can only know one.
class TemporaryFile {
 public:
  /// name     of the file in its folder.
  /// partial  what its writer appends to the name until it is whole; removed likewise.
  /// Fails with io when no folder can be made, or when it has less than `bytes` free.
  static Result<TemporaryFile> make(const std::string& name, const std::string& partial,
                                    Index bytes);
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() { remove(); }

  const std::string& path() const noexcept { return path_; }
  /// Now: who has mapped or opened the file can go on reading it.
  void remove() noexcept;

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace engram::program
