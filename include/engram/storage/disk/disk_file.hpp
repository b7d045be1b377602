// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A file opened for reads of whole pages past the system's cache (O_DIRECT), or through it where
// the file system has no such reads. Rows all over a table are rarely read twice, so a cache of
// pages costs memory and copies and saves little; who wants a cache has one of rows.

#if defined(_WIN32)
#error "engram: reads of files past the cache need POSIX"
#endif

#include <engram/core/bytes.hpp>
#include <engram/core/file_failure.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstdlib>

ENGRAM_BEGIN_NAMESPACE

/// Offsets, lengths and memory of reads past the cache are multiples of it. Larger than any disk's
/// block in use, and the page that an mmap would read.
inline constexpr Index disk_page_bytes = 4096;

constexpr Index page_down(Index offset) noexcept {
  return offset / disk_page_bytes * disk_page_bytes;
}
constexpr Index page_up(Index offset) noexcept {
  return (offset + disk_page_bytes - 1) / disk_page_bytes * disk_page_bytes;
}

namespace disk {

ENGRAM_BEGIN_LOOPS

inline int open_retrying(const char* path, int flags) noexcept {
  int descriptor = -1;
  do {
    descriptor = ::open(path, flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

/// Whether a page can be read at `offset` in the way the descriptor was opened.
inline bool reads_pages(int descriptor, Index offset) noexcept {
  void* const page = std::aligned_alloc(static_cast<std::size_t>(disk_page_bytes),
                                        static_cast<std::size_t>(disk_page_bytes));
  if (page == nullptr) return false;
  ssize_t got = -1;
  do {
    got = ::pread(descriptor, page, static_cast<std::size_t>(disk_page_bytes),
                  static_cast<off_t>(page_down(offset)));
  } while (got < 0 && errno == EINTR);
  std::free(page);
  return got >= 0;
}

ENGRAM_END_LOOPS

}  // namespace disk

/// An open file. Moves, is not copied.
class DiskFile {
 public:
  /// `end`: how many bytes the file must have at least.
  ///
  /// Fails with io (system_error: errno), unsupported (no regular file), corrupt (too short; index:
  /// its bytes).
  static Result<DiskFile> open(const std::string& path, Index end);

  /// The same of a file that the caller has open, and may close afterwards.
  static Result<DiskFile> of_descriptor(int descriptor, const std::string& name, Index end);

  ENGRAM_ALWAYS_INLINE DiskFile(DiskFile&& other) noexcept
      : descriptor_(other.descriptor_), direct_(other.direct_) {
    other.descriptor_ = -1;
  }
  DiskFile& operator=(DiskFile&&) = delete;
  ENGRAM_ALWAYS_INLINE ~DiskFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int descriptor() const noexcept { return descriptor_; }
  /// Past the cache; else through it, without reading ahead.
  bool is_direct() const noexcept { return direct_; }

 private:
  DiskFile(int descriptor, bool direct) : descriptor_(descriptor), direct_(direct) {}

  int descriptor_;
  bool direct_;
};

inline Result<DiskFile> DiskFile::open(const std::string& path, Index end) {
  bool direct = false;
  int descriptor = -1;
#if defined(O_DIRECT)
  descriptor = disk::open_retrying(path.c_str(), O_DIRECT);
  direct = descriptor >= 0;
#endif
  // What it is for sees to it that it is tried again: a file system without such reads says EINVAL.
  if (descriptor < 0) descriptor = disk::open_retrying(path.c_str(), 0);
  if (descriptor < 0) return file_failure("open", path, errno);
  DiskFile file(descriptor, direct);
  struct stat found {};
  if (::fstat(descriptor, &found) != 0) return file_failure("read", path, errno);
  if (S_ISDIR(found.st_mode)) return file_failure("read", path, EISDIR);
  if (!S_ISREG(found.st_mode))
    return fail(Code::unsupported,
                {"cannot read ", path, ": expected a regular file, found a device or a pipe"});
  if (const auto bytes = static_cast<Index>(found.st_size); bytes < end)
    return fail(Code::corrupt, {path, " is too short: ", end, " bytes needed, ", bytes, " found"},
                bytes);
  if (direct && !disk::reads_pages(descriptor, 0)) {
    const int buffered = disk::open_retrying(path.c_str(), 0);
    if (buffered < 0) return file_failure("open", path, errno);
    ::close(file.descriptor_);
    file.descriptor_ = buffered;
    file.direct_ = false;
  }
#if defined(POSIX_FADV_RANDOM)
  if (!file.direct_) (void)::posix_fadvise(file.descriptor_, 0, 0, POSIX_FADV_RANDOM);
#endif
  return DiskFile(std::move(file));  // nvcc would copy it
}

/// A second description of the file, so that its flags are not the caller's.
inline Result<DiskFile> DiskFile::of_descriptor(int descriptor, const std::string& name,
                                                Index end) {
  if (::fcntl(descriptor, F_GETFD) < 0) return file_failure("read", name, errno);
  Result<DiskFile> file = open(sentence({"/proc/self/fd/", descriptor}), end);
  if (!file.ok()) return Failure{file.status(), sentence({name, ": ", file.message()})};
  return file;
}

ENGRAM_END_NAMESPACE
