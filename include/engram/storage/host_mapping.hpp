// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// How host memory is asked of the system: the best of what was wished for that it gives, with the
// reason for what it does not give. HostMemory owns what is made here.

#include <engram/storage/memory_descriptor.hpp>
#include <engram/storage/memory_node.hpp>

#include <cerrno>
#include <cstring>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// The bytes of a HostMemory, the address range around them, and what came of the wishes.
struct HostMapping {
  std::byte* data = nullptr;
  Index bytes = 0;
  void* reserved = nullptr;
  std::size_t reserved_bytes = 0;
  int descriptor = -1;
  bool writable = true;

  HostMemoryOptions asked{Pages::ordinary};
  Pages pages = Pages::ordinary;
  int pages_error = 0, node_error = 0, shared_error = 0;
};

ENGRAM_BEGIN_LOOPS

inline void unmap(HostMapping& mapping) noexcept {
#if __has_include(<sys/mman.h>)
  if (mapping.reserved != nullptr) ::munmap(mapping.reserved, mapping.reserved_bytes);
  if (mapping.descriptor >= 0) ::close(mapping.descriptor);
#else
  if (mapping.reserved != nullptr) ::operator delete (mapping.reserved, std::align_val_t{64});
#endif
  mapping = HostMapping();
}

#if __has_include(<sys/mman.h>)

/// Fills in data and reserved of a private mapping of ordinary or huge pages, or returns errno.
inline int map_private(HostMapping& mapping, Pages pages) noexcept {
  // The kernel joins neighbouring mappings of equal kind. A strip without access on either side
  // keeps this one apart, so that the advice and the report concern it alone.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto large = static_cast<std::size_t>(huge_page_bytes);
  const std::size_t alignment = pages == Pages::huge && large > page ? large : page;
  const std::size_t used = (static_cast<std::size_t>(mapping.bytes) + page - 1) / page * page;
  const std::size_t reserved_bytes = used + 2 * alignment;
  void* const reserved =
      ::mmap(nullptr, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return errno;
  auto* const start = static_cast<std::byte*>(reserved);
  std::byte* const data = start + (alignment - reinterpret_cast<std::uintptr_t>(start) % alignment);
  if (::mprotect(data, used, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    ::munmap(reserved, reserved_bytes);
    return error;
  }
  mapping.data = data;
  mapping.reserved = reserved;
  mapping.reserved_bytes = reserved_bytes;
  return 0;
}

/// The same on pages that were set aside.
inline int map_reserved_pages(HostMapping& mapping, Pages pages) noexcept {
#if defined(MAP_HUGETLB)
  constexpr int log2_2m = 21 << 26, log2_1g = 30 << 26;
  const auto page = static_cast<std::size_t>(page_bytes_of(pages));
  const std::size_t used = (static_cast<std::size_t>(mapping.bytes) + page - 1) / page * page;
  const int flags =
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (pages == Pages::reserved_1g ? log2_1g : log2_2m);
  void* const data = ::mmap(nullptr, used, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (data == MAP_FAILED) return errno;
  mapping.data = static_cast<std::byte*>(data);
  mapping.reserved = data;
  mapping.reserved_bytes = used;
  return 0;
#else
  (void)mapping, (void)pages;
  return ENOSYS;
#endif
}

/// The same in a descriptor.
inline int map_shared(HostMapping& mapping, Pages pages) noexcept {
  // Memory in a descriptor is not counted before it is touched, when it is too late to refuse. So
  // the system is asked whether it would give as much without one.
  const auto bytes = static_cast<std::size_t>(mapping.bytes);
  void* const probe = is_reserved(pages) ? nullptr
                                         : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED) return errno;
  if (probe != nullptr) ::munmap(probe, bytes);
  const DescriptorMapping made = map_new_descriptor(bytes, pages);
  if (made.error != 0) return made.error;
  mapping.data = static_cast<std::byte*>(made.data);
  mapping.reserved = made.data;
  mapping.reserved_bytes = made.bytes;
  mapping.descriptor = made.descriptor;
  return 0;
}

/// Touches all pages; errno where that would have raised a signal, as it does when the pages set
/// aside are on another node or beyond a container's share.
inline int touch_all(const HostMapping& mapping) noexcept {
#if defined(__linux__)
  constexpr int populate_write = 23;  // MADV_POPULATE_WRITE, Linux 5.14
  int result = -1;
  do {
    result = ::madvise(mapping.reserved, mapping.reserved_bytes, populate_write);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return 0;
  return errno == EFAULT ? ENOMEM : errno;  // EFAULT stands for the signal
#else
  (void)mapping;
  return ENOSYS;
#endif
}

/// A mapping of exactly these pages; where the system refuses, none, and errno in `error`.
inline HostMapping try_pages(Index bytes, const HostMemoryOptions& asked, Pages pages, bool shared,
                             int& error) noexcept {
  HostMapping mapping;
  mapping.bytes = bytes;
  mapping.asked = asked;
  mapping.pages = pages;
  error = shared               ? map_shared(mapping, pages)
          : is_reserved(pages) ? map_reserved_pages(mapping, pages)
                               : map_private(mapping, pages);
  if (error != 0) return {};
  const auto used =
      is_reserved(pages) ? mapping.reserved_bytes : static_cast<std::size_t>(mapping.bytes);
  if (asked.node != -1)  // before the first touch
    mapping.node_error = bind_to_node(mapping.data, used, asked.node, asked.required);
  if (is_reserved(pages)) error = touch_all(mapping);
#if defined(MADV_HUGEPAGE)
  if (pages == Pages::huge && ::madvise(mapping.data, used, MADV_HUGEPAGE) != 0) error = errno;
#else
  if (pages == Pages::huge) error = ENOSYS;
#endif
  if (error != 0) unmap(mapping);
  return mapping;
}

/// The largest pages that the system gives, from those asked for down; with none, `error` is errno,
/// or 0 where the memory is less than a page that is required.
inline HostMapping try_all_pages(Index bytes, const HostMemoryOptions& asked, bool shared,
                                 int& error) noexcept {
  int first_error = 0;
  for (int kind = static_cast<int>(asked.pages);; --kind) {
    const auto pages = static_cast<Pages>(kind);
    error = 0;
    if (bytes >= page_bytes_of(pages)) {
      HostMapping mapping = try_pages(bytes, asked, pages, shared, error);
      if (error == 0) {
        mapping.pages_error = first_error;
        return mapping;
      }
    }
    const bool may_go_on = !asked.required || (pages == Pages::huge && error == 0);
    if (pages == Pages::ordinary || !may_go_on) return {};
    if (pages == asked.pages) first_error = error;
  }
}

#endif

/// Zeroed bytes as the options say. See HostMemory::make().
inline Result<HostMapping> map_zeroed(Index bytes, const HostMemoryOptions& options) {
  if (bytes < 1)
    return fail(Code::invalid_config,
                {"host memory: a size of ", bytes, " bytes, expected at least 1"});
  if (options.pages < Pages::ordinary || options.pages > Pages::reserved_1g)
    return fail(Code::invalid_config,
                {"host memory: pages of kind ", static_cast<int>(options.pages), ", expected 0 to ",
                 static_cast<int>(Pages::reserved_1g)});
  if (options.node < -1)
    return fail(Code::invalid_config,
                {"host memory: memory node ", options.node, ", expected 0 or more, or -1 for any"});
  const auto refused = [bytes](int error) {
    return fail(Code::out_of_memory,
                {"host memory: the system refuses ", bytes, " bytes: ", std::strerror(error)},
                bytes, error);
  };
  const Index slack = 2 * page_bytes_of(Pages::reserved_1g);
  if (bytes > INT64_MAX - slack ||
      static_cast<std::uint64_t>(bytes + slack) > static_cast<std::uint64_t>(PTRDIFF_MAX))
    return refused(ENOMEM);
#if __has_include(<sys/mman.h>)
  int error = 0;
  HostMapping mapping = try_all_pages(bytes, options, options.shared, error);
  if (mapping.data == nullptr && options.required) {
    const Code code = error == 0 ? Code::invalid_config : Code::out_of_memory;
    return fail(code,
                {"host memory: the system refuses ", bytes, " bytes on ", name_of(options.pages),
                 options.shared ? " in a descriptor" : "", ", as required: ", why_refused(error)},
                bytes, error);
  }
  if (mapping.node_error != 0 && options.required) {
    error = mapping.node_error;
    unmap(mapping);
    return fail(Code::unsupported,
                {"host memory: the system refuses ", bytes, " bytes from node ", options.node,
                 ", as required: ", std::strerror(error)},
                options.node, error);
  }
  if (mapping.data == nullptr && options.shared) {
    const int shared_error = error;
    mapping = try_all_pages(bytes, options, false, error);
    mapping.shared_error = shared_error;
  }
  if (mapping.data == nullptr) return refused(error);
#else
  if (options.required && (is_reserved(options.pages) || options.node != -1 || options.shared))
    return fail(Code::unsupported, "host memory: this system has ordinary pages, and no more");
  HostMapping mapping;
  mapping.bytes = bytes;
  mapping.asked = options;
  mapping.pages_error = options.pages == Pages::ordinary ? 0 : ENOSYS;
  mapping.node_error = options.node == -1 ? 0 : ENOSYS;
  mapping.shared_error = options.shared ? ENOSYS : 0;
  mapping.reserved_bytes = static_cast<std::size_t>(bytes);
  mapping.reserved = ::operator new (mapping.reserved_bytes, std::align_val_t{64}, std::nothrow);
  if (mapping.reserved == nullptr) return refused(ENOMEM);
  std::memset(mapping.reserved, 0, mapping.reserved_bytes);
  mapping.data = static_cast<std::byte*>(mapping.reserved);
#endif
  return mapping;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
