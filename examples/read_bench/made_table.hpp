// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A packed table of random rows to measure a disk with, for who has no table yet. It has no name,
// so that it is gone with the program however that ends.

#include <engram/core/status.hpp>

#include <functional>
#include <string>

namespace engram::read_bench {

/// An open file without a name. Moves, is not copied.
class MadeTable {
 public:
  /// Rows of 256 and 8 bytes, as those of DeepSeek-V4.1, as many as `bytes` hold, of layer 0, on
  /// the disk when this returns.
  ///
  /// written  called now and then with the bytes written.
  /// Fails with invalid_config (less than a page of rows), io (no directory, a disk with less than
  /// twice the bytes free: system_error ENOSPC).
  static Result<MadeTable> make(const std::string& directory, Index bytes,
                                const std::function<void(Index)>& written);

  MadeTable(MadeTable&& other) noexcept : descriptor_(other.descriptor_) { other.descriptor_ = -1; }
  MadeTable& operator=(MadeTable&&) = delete;
  ~MadeTable();

  /// Opens the file for as long as this object lives.
  std::string path() const { return sentence({"/proc/self/fd/", descriptor_}); }

 private:
  explicit MadeTable(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace engram::read_bench
