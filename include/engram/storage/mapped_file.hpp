// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A file as memory, read-only: nothing is loaded until it is touched, processes share the pages,
// and the system drops what it needs elsewhere. The price: an error of the disk, or a file that
// somebody shortens, arrives as a signal (see sigbus_guard.hpp).

#include <engram/core/bytes.hpp>
#include <engram/core/file_failure.hpp>

#if __has_include(<sys/mman.h>)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// The bytes of a mapped range and the whole pages around them.
struct FileMapping {
  const std::byte* data = nullptr;
  Index bytes = 0;
  void* pages = nullptr;
  std::size_t page_bytes = 0;
};

ENGRAM_BEGIN_LOOPS

#if __has_include(<sys/mman.h>)

/// See MappedFile::of_descriptor().
inline Result<FileMapping> map_descriptor(int descriptor, const std::string& name, Index offset,
                                          Index bytes) {
  struct stat file {};
  if (::fstat(descriptor, &file) != 0) return file_failure("map", name, errno);
  if (S_ISDIR(file.st_mode)) return file_failure("map", name, EISDIR);
  if (!S_ISREG(file.st_mode))
    return fail(Code::unsupported,
                {"cannot map ", name, ": expected a regular file, found a device or a pipe"});
  const auto found = static_cast<Index>(file.st_size);
  if (offset < 0 || bytes < -1 || (bytes > 0 && offset > INT64_MAX - bytes))
    return fail(Code::invalid_config,
                {"cannot map ", bytes, " bytes from offset ", offset, " of ", name});
  const Index needed = bytes < 0 ? offset : offset + bytes;
  if (needed > found)
    return fail(Code::corrupt,
                {name, " is too short: ", needed, " bytes needed, ", found, " found"}, found);
  FileMapping mapping;
  mapping.bytes = bytes < 0 ? found - offset : bytes;
  if (mapping.bytes == 0) return mapping;
  const auto page = static_cast<Index>(::sysconf(_SC_PAGESIZE));
  const Index before = offset % page;
  if (static_cast<std::uint64_t>(mapping.bytes) >
      static_cast<std::uint64_t>(PTRDIFF_MAX) - static_cast<std::uint64_t>(before))
    return file_failure("map", name, ENOMEM);
  mapping.page_bytes = static_cast<std::size_t>(before + mapping.bytes);
  mapping.pages = ::mmap(nullptr, mapping.page_bytes, PROT_READ, MAP_SHARED, descriptor,
                         static_cast<off_t>(offset - before));
  if (mapping.pages == MAP_FAILED) return file_failure("map", name, errno);
  mapping.data = static_cast<const std::byte*>(mapping.pages) + before;
#if defined(MADV_RANDOM)
  // Rows are read all over the file: reading ahead would fetch what nobody asked for. Only advice.
  ::madvise(mapping.pages, mapping.page_bytes, MADV_RANDOM);
#endif
  return mapping;
}

/// See MappedFile::open().
inline Result<FileMapping> map_path(const std::string& path, Index offset, Index bytes) {
  int descriptor = -1;
  do {  // without O_NONBLOCK, a pipe that nobody writes to would be waited for
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) return file_failure("open", path, errno);
  Result<FileMapping> mapping = map_descriptor(descriptor, path, offset, bytes);
  ::close(descriptor);
  return mapping;
}

inline void unmap(FileMapping& mapping) noexcept {
  if (mapping.pages != nullptr) ::munmap(mapping.pages, mapping.page_bytes);
  mapping = FileMapping();
}

#else

inline Result<FileMapping> map_descriptor(int, const std::string& name, Index, Index) {
  return fail(Code::unsupported, {"cannot map ", name, ": this system has no POSIX mmap"});
}
inline Result<FileMapping> map_path(const std::string& path, Index offset, Index bytes) {
  return map_descriptor(-1, path, offset, bytes);
}
inline void unmap(FileMapping& mapping) noexcept { mapping = FileMapping(); }

#endif

ENGRAM_END_LOOPS

/// A range of a regular file in memory, read-only.
///
/// The file must keep its length: reading what was cut off raises SIGBUS. Moves, is not copied; a
/// moved-from or default one is empty; the bytes stay where they are when it moves. Const calls may
/// run concurrently. No descriptor stays open.
class MappedFile {
 public:
  MappedFile() = default;
  ENGRAM_ALWAYS_INLINE MappedFile(MappedFile&& other) noexcept : mapping_(other.mapping_) {
    other.mapping_ = FileMapping();
  }
  ENGRAM_ALWAYS_INLINE MappedFile& operator=(MappedFile&& other) noexcept {
    if (this != &other) {
      unmap(mapping_);
      mapping_ = other.mapping_;
      other.mapping_ = FileMapping();
    }
    return *this;
  }
  ENGRAM_ALWAYS_INLINE ~MappedFile() { unmap(mapping_); }

  /// Bytes [offset, offset + bytes) of the file; `bytes` -1: up to its end. Any offset.
  ///
  /// Fails with io (no such file, a directory; system_error: errno), corrupt (the file is shorter;
  /// index: its bytes), invalid_config (a negative range), unsupported (a pipe or device; a system
  /// without mmap).
  ENGRAM_ALWAYS_INLINE static Result<MappedFile> open(const std::string& path, Index offset = 0,
                                                      Index bytes = -1) {
    return from(map_path(path, offset, bytes));
  }

  /// The same of an open file, which stays the caller's and may be closed afterwards. `name` is for
  /// sentences.
  ENGRAM_ALWAYS_INLINE static Result<MappedFile> of_descriptor(int descriptor,
                                                               const std::string& name,
                                                               Index offset = 0, Index bytes = -1) {
    return from(map_descriptor(descriptor, name, offset, bytes));
  }

  /// The byte at `offset`; null when the range is empty.
  const std::byte* data() const noexcept { return mapping_.data; }
  Index size() const noexcept { return mapping_.bytes; }
  Bytes bytes() const noexcept { return Bytes(data(), size()); }

 private:
  ENGRAM_ALWAYS_INLINE explicit MappedFile(const FileMapping& mapping) : mapping_(mapping) {}
  ENGRAM_ALWAYS_INLINE static Result<MappedFile> from(const Result<FileMapping>& mapping) {
    if (!mapping.ok()) return mapping.failure();
    return MappedFile(mapping.value());
  }

  FileMapping mapping_;
};

ENGRAM_END_NAMESPACE
