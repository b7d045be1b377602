// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Memory in a descriptor (Linux: memfd), so that several processes can map one copy of a table. It
// belongs to no mounted file system: the size of /dev/shm, small in containers, does not limit it,
// and nothing has to be deleted. Sealed: nobody can shorten it, so touching it raises no SIGBUS.

#include <engram/core/status.hpp>
#include <engram/storage/placement.hpp>

#include <cerrno>
#if defined(__linux__) && __has_include(<sys/mman.h>) && __has_include(<sys/syscall.h>)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// What a descriptor's memory is mapped as.
struct DescriptorMapping {
  void* data = nullptr;
  std::size_t bytes = 0;  ///< whole pages
  int descriptor = -1;    ///< owned by whoever owns the mapping; -1: none
  int error = 0;          ///< errno when nothing was mapped
};

ENGRAM_BEGIN_LOOPS

#if defined(SYS_memfd_create) && defined(F_ADD_SEALS)

/// New zeroed memory of at least `bytes` bytes on such pages, mapped to be written by this process
/// and sealed: neither it nor others can shorten, lengthen or map it to write again.
inline DescriptorMapping map_new_descriptor(std::size_t bytes, Pages pages) noexcept {
  constexpr unsigned close_on_exec = 1, allow_sealing = 2, huge_pages = 4, never_executed = 8;
  constexpr unsigned log2_2m = 21U << 26, log2_1g = 30U << 26;
  constexpr int seal_future_write = 16;  // Linux 5.1
  DescriptorMapping made;
  unsigned flags = close_on_exec | allow_sealing;
  std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (is_reserved(pages)) {
    flags |= huge_pages | (pages == Pages::reserved_1g ? log2_1g : log2_2m);
    page = static_cast<std::size_t>(page_bytes_of(pages));
  }
  const auto create = [](unsigned how) {
    return static_cast<int>(::syscall(SYS_memfd_create, "engram", how));
  };
  made.descriptor = create(flags | never_executed);
  if (made.descriptor < 0 && errno == EINVAL) made.descriptor = create(flags);  // before Linux 6.3
  if (made.descriptor < 0) {
    made.error = errno;
    return made;
  }
  made.bytes = (bytes + page - 1) / page * page;
  int cut = -1;
  do {
    cut = ::ftruncate(made.descriptor, static_cast<off_t>(made.bytes));
  } while (cut != 0 && errno == EINTR);
  if (cut == 0 && ::fcntl(made.descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0) {
    void* const data =
        ::mmap(nullptr, made.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made.descriptor, 0);
    if (data != MAP_FAILED) made.data = data;
  }
  if (made.data == nullptr) {
    made.error = errno;
    ::close(made.descriptor);
    made.descriptor = -1;
  } else {
    (void)::fcntl(made.descriptor, F_ADD_SEALS, seal_future_write);
  }
  return made;
}

/// Maps what another process made so, to be read. See HostMemory::of_descriptor().
inline Result<DescriptorMapping> map_shared_descriptor(int descriptor, Index bytes) {
  const auto refused = [descriptor](Code code, const char* why, int error = 0, Index index = -1) {
    return fail(
        code,
        {"host memory: descriptor ", descriptor, ": ", why, error != 0 ? std::strerror(error) : ""},
        index, error);
  };
  if (bytes < 1)
    return fail(Code::invalid_config,
                {"host memory: a size of ", bytes, " bytes, expected at least 1"});
  struct stat file {};
  if (::fstat(descriptor, &file) != 0) return refused(Code::io, "", errno);
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  if (seals < 0)
    return refused(Code::unsupported, "expected memory made by HostMemory, found something else");
  if ((seals & F_SEAL_SHRINK) == 0)
    return refused(Code::unsupported,
                   "it is not sealed against shrinking, so reading it could raise SIGBUS");
  const auto found = static_cast<Index>(file.st_size);
  if (found < bytes)
    return fail(Code::corrupt,
                {"host memory: descriptor ", descriptor, " is too short: ", bytes,
                 " bytes needed, ", found, " found"},
                found);
  DescriptorMapping mapping;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto block = static_cast<std::size_t>(file.st_blksize);  // the page, where it is reserved
  const std::size_t unit = block > page && block % page == 0 ? block : page;
  mapping.bytes = (static_cast<std::size_t>(bytes) + unit - 1) / unit * unit;
  void* const data = ::mmap(nullptr, mapping.bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) return refused(Code::io, "cannot be mapped: ", errno);
  mapping.data = data;
  return mapping;
}

#else

inline DescriptorMapping map_new_descriptor(std::size_t, Pages) noexcept {
  DescriptorMapping none;
  none.error = ENOSYS;
  return none;
}
inline Result<DescriptorMapping> map_shared_descriptor(int, Index) {
  return fail(Code::unsupported, "host memory: this system shares no memory by descriptors");
}

#endif

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
