// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Large zeroed memory for tables and weights. A lookup reads rows all over a table, so with small
// pages it pays for a page walk besides the row itself; this asks for 2 MiB pages and says
// afterwards what the system gave, because the system may refuse silently.

#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// Which pages to ask for.
enum class Pages : std::int32_t {
  ordinary = 0,  ///< do not ask: what the system gives by itself
  huge = 1,      ///< 2 MiB pages for memory of at least 2 MiB, where the system has them
};

/// What the system has given so far. Pages count once they were touched.
struct HostMemoryReport {
  Index bytes = 0;            ///< asked for
  Index resident_bytes = -1;  ///< touched and in memory, in whole pages; -1: not known
  Index huge_bytes = -1;      ///< of these, on pages of 2 MiB; -1: not known
  Index page_bytes = -1;      ///< size of an ordinary page; -1: not known
};

/// The bytes of a HostMemory and of the address range around them.
struct HostMapping {
  std::byte* data = nullptr;
  Index bytes = 0;
  void* reserved = nullptr;
  std::size_t reserved_bytes = 0;
};

inline constexpr Index huge_page_bytes = Index{2} << 20;

ENGRAM_BEGIN_LOOPS

/// Zeroed bytes; fails with invalid_config or out_of_memory (index: the bytes).
inline Result<HostMapping> map_zeroed(Index bytes, Pages pages) {
  if (bytes < 1)
    return fail(Code::invalid_config,
                {"host memory: a size of ", bytes, " bytes, expected at least 1"});
  const auto refused = [bytes](int error) {
    return fail(Code::out_of_memory,
                {"host memory: the system refuses ", bytes, " bytes: ", std::strerror(error)},
                bytes, error);
  };
  constexpr Index slack = 4 * huge_page_bytes;
  if (bytes > INT64_MAX - slack ||
      static_cast<std::uint64_t>(bytes + slack) > static_cast<std::uint64_t>(PTRDIFF_MAX))
    return refused(ENOMEM);
  HostMapping mapping;
  mapping.bytes = bytes;
#if __has_include(<sys/mman.h>)
  // The kernel joins neighbouring mappings of equal kind. A strip without access on either side
  // keeps this one apart, so that the advice and the report concern it alone.
  const bool huge = pages == Pages::huge && bytes >= huge_page_bytes;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto large = static_cast<std::size_t>(huge_page_bytes);
  const std::size_t alignment = huge && large > page ? large : page;
  const std::size_t used = (static_cast<std::size_t>(bytes) + page - 1) / page * page;
  mapping.reserved_bytes = used + 2 * alignment;
  mapping.reserved =
      ::mmap(nullptr, mapping.reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping.reserved == MAP_FAILED) return refused(errno);
  auto* const start = static_cast<std::byte*>(mapping.reserved);
  mapping.data = start + (alignment - reinterpret_cast<std::uintptr_t>(start) % alignment);
  if (::mprotect(mapping.data, used, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    ::munmap(mapping.reserved, mapping.reserved_bytes);
    return refused(error);
  }
#if defined(MADV_HUGEPAGE)
  if (huge) ::madvise(mapping.data, used, MADV_HUGEPAGE);  // a refusal shows in the report
#endif
#else
  (void)pages;
  mapping.reserved_bytes = static_cast<std::size_t>(bytes);
  mapping.reserved = ::operator new (mapping.reserved_bytes, std::align_val_t{64}, std::nothrow);
  if (mapping.reserved == nullptr) return refused(ENOMEM);
  std::memset(mapping.reserved, 0, mapping.reserved_bytes);
  mapping.data = static_cast<std::byte*>(mapping.reserved);
#endif
  return mapping;
}

inline void unmap(HostMapping& mapping) noexcept {
  if (mapping.reserved == nullptr) return;
#if __has_include(<sys/mman.h>)
  ::munmap(mapping.reserved, mapping.reserved_bytes);
#else
  ::operator delete (mapping.reserved, std::align_val_t{64});
#endif
  mapping = HostMapping();
}

/// Adds up what Linux says of the mappings in [begin, end).
inline void read_smaps(std::uintptr_t begin, std::uintptr_t end, HostMemoryReport& report) {
  std::FILE* const file = std::fopen("/proc/self/smaps", "r");
  if (file == nullptr) return;
  char line[256];
  bool inside = false;
  bool whole = true;  // the piece read is the start of a line
  Index resident = -1;
  Index huge = -1;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    const bool at_start = whole;
    whole = std::strchr(line, '\n') != nullptr;
    if (!at_start) continue;
    unsigned long long from = 0;
    unsigned long long to = 0;
    long long kib = 0;
    if (std::sscanf(line, "%llx-%llx ", &from, &to) == 2) {
      if (from >= end) break;  // they are in ascending order
      inside = to > begin;
    } else if (inside && std::sscanf(line, "Rss: %lld kB", &kib) == 1) {
      resident = (resident < 0 ? 0 : resident) + 1024 * Index{kib};
    } else if (inside && std::sscanf(line, "AnonHugePages: %lld kB", &kib) == 1) {
      huge = (huge < 0 ? 0 : huge) + 1024 * Index{kib};
    }
  }
  std::fclose(file);
  report.resident_bytes = resident;
  report.huge_bytes = huge;
}

/// The report of a mapping.
inline HostMemoryReport report_of(const HostMapping& mapping) {
  HostMemoryReport report;
  report.bytes = mapping.bytes;
#if __has_include(<sys/mman.h>)
  report.page_bytes = static_cast<Index>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapping.data);
  if (mapping.bytes > 0)
    read_smaps(begin, begin + static_cast<std::uintptr_t>(mapping.bytes), report);
#endif
  return report;
}

/// The report as a sentence: "8388608 bytes of host memory: 8388608 touched, of these 8388608 on
/// pages of 2 MiB; other pages have 4096 bytes".
inline std::string describe(const HostMemoryReport& report) {
  std::string text = sentence({report.bytes, " bytes of host memory: "});
  if (report.resident_bytes < 0 || report.huge_bytes < 0)
    text += "what pages they are on is not known";
  else
    text += sentence(
        {report.resident_bytes, " touched, of these ", report.huge_bytes, " on pages of 2 MiB"});
  if (report.page_bytes > 0) text += sentence({"; other pages have ", report.page_bytes, " bytes"});
  return text;
}

ENGRAM_END_LOOPS

/// Bytes in host memory: zeroed, at least 64-byte aligned, fixed in place until destroyed.
///
/// No page is touched here: the thread that first writes to one decides which memory node it is on,
/// and only then it counts. Moves, is not copied; a moved-from or default one is empty. Const calls
/// may run concurrently.
class HostMemory {
 public:
  HostMemory() = default;
  ENGRAM_ALWAYS_INLINE HostMemory(HostMemory&& other) noexcept : mapping_(other.mapping_) {
    other.mapping_ = HostMapping();
  }
  ENGRAM_ALWAYS_INLINE HostMemory& operator=(HostMemory&& other) noexcept {
    if (this != &other) {
      unmap(mapping_);
      mapping_ = other.mapping_;
      other.mapping_ = HostMapping();
    }
    return *this;
  }
  ENGRAM_ALWAYS_INLINE ~HostMemory() { unmap(mapping_); }

  /// `bytes` zeroed bytes. Pages::huge is a wish: report() says what came of it.
  ///
  /// Fails with invalid_config (less than 1 byte) or out_of_memory (index: the bytes).
  ENGRAM_ALWAYS_INLINE static Result<HostMemory> make(Index bytes, Pages pages = Pages::huge) {
    const Result<HostMapping> mapping = map_zeroed(bytes, pages);
    if (!mapping.ok()) return mapping.failure();
    return HostMemory(mapping.value());
  }

  std::byte* data() noexcept { return mapping_.data; }
  const std::byte* data() const noexcept { return mapping_.data; }
  Index size() const noexcept { return mapping_.bytes; }
  View<std::byte, 1> bytes() noexcept { return View<std::byte, 1>(data(), size()); }
  View<const std::byte, 1> bytes() const noexcept {
    return View<const std::byte, 1>(data(), size());
  }

  /// What the system has given so far; on Linux from /proc/self/smaps, elsewhere not known.
  ///
  /// Cost  the kernel walks the process's page tables: once after loading, not in a loop.
  ENGRAM_ALWAYS_INLINE HostMemoryReport report() const { return report_of(mapping_); }

 private:
  ENGRAM_ALWAYS_INLINE explicit HostMemory(const HostMapping& mapping) : mapping_(mapping) {}

  HostMapping mapping_;
};

ENGRAM_END_NAMESPACE
