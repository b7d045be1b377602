// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Parts of files that are too large to be read whole.

#include <engram/io/file.hpp>

#include <limits>

#if !defined(_WIN32)
#include <sys/types.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// A file open for reading, at offsets of 64 bits. One thread at a time.
class SeekableFile {
 public:
  /// Fails with io, also for a directory and for what has no size, such as a pipe, which it does
  /// not wait for.
  static Result<SeekableFile> open(const std::string& path) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      return file_failure("read", path, std::filesystem::is_directory(status) ? EISDIR : ESPIPE);
    errno = 0;
    SeekableFile file;
    file.path_ = path;
    file.file_.reset(std::fopen(path.c_str(), "rb"));
    if (!file.file_) return file_failure("open", path, errno);
    return file;
  }

  Result<Index> size() {
    errno = 0;
    if (!seek(0, SEEK_END)) return file_failure("read", path_, errno);
#if defined(_WIN32)
    const Index end = _ftelli64(file_.get());
#else
    const Index end = ftello(file_.get());
#endif
    if (end < 0) return file_failure("read", path_, errno);
    return end;
  }

  /// Has the system drop what it keeps of the file in memory, where it can, so that reads come from
  /// the disk.
  void forget_cached() noexcept {
#if defined(POSIX_FADV_DONTNEED)
    (void)::posix_fadvise(fileno(file_.get()), 0, 0, POSIX_FADV_DONTNEED);
#endif
  }

  /// Reads `bytes` bytes from `offset` on; gives how many there were, less only at the end.
  Result<Index> read(Index offset, void* to, Index bytes) {
    std::clearerr(file_.get());  // what failed once may work now
    errno = 0;
    if (!seek(offset, SEEK_SET)) return file_failure("read", path_, errno);
    const auto wanted = static_cast<std::size_t>(bytes);
    const std::size_t got = wanted == 0 ? 0 : std::fread(to, 1, wanted, file_.get());
    if (std::ferror(file_.get()) != 0) return file_failure("read", path_, errno);
    return static_cast<Index>(got);
  }

 private:
  struct Closer {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };
  bool seek(Index offset, int from) {
#if defined(_WIN32)
    return _fseeki64(file_.get(), offset, from) == 0;
#else
    if (offset > (std::numeric_limits<off_t>::max)()) errno = EOVERFLOW;
    return errno == 0 && fseeko(file_.get(), static_cast<off_t>(offset), from) == 0;
#endif
  }

  std::string path_;
  std::unique_ptr<std::FILE, Closer> file_;
};

ENGRAM_END_NAMESPACE
