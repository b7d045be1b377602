// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Large zeroed memory for tables and weights. A lookup reads rows all over a table, so with small
// pages it pays for a page walk besides the row itself, with pages of another processor's memory
// for the way there, and each process that holds a copy of its own pays for all of it again. So
// this asks for large pages, a node and a shared copy, and says afterwards what the system gave.

#include <engram/core/view.hpp>
#include <engram/storage/host_memory_report.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Bytes in host memory: zeroed, at least 64-byte aligned, fixed in place until destroyed.
///
/// No page is touched here, except those of reserved kinds: the thread that first writes to one
/// decides which memory node it is on, unless options name one, and only then it counts. Moves, is
/// not copied; a moved-from or default one is empty. Const calls may run concurrently.
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

  /// `bytes` zeroed bytes. The options are wishes, and report() says what came of them, unless
  /// `required`: then pages, node and sharing are given or the call fails. Of Pages::huge, only
  /// report() can say how many the system has made.
  ///
  /// Fails with invalid_config (less than 1 byte, or than one page required; no such kind, a
  /// negative node), out_of_memory (index: the bytes; also pages or sharing required and refused),
  /// unsupported (a node required and refused; index: the node).
  /// Cost    reserved pages are zeroed by the calling thread, some seconds for 100 GB; else none.
  /// Memory in a descriptor is charged when it is touched: where memory is promised strictly
  /// (vm.overcommit_memory 2), touching more than there is raises SIGBUS.
  ENGRAM_ALWAYS_INLINE static Result<HostMemory> make(Index bytes,
                                                      const HostMemoryOptions& options = {}) {
    const Result<HostMapping> mapping = map_zeroed(bytes, options);
    if (!mapping.ok()) return mapping.failure();
    return HostMemory(mapping.value());
  }

  /// The first `bytes` bytes of memory that another process, or this one, made with
  /// HostMemoryOptions::shared, to be read: writable() is false. `descriptor` is what its
  /// descriptor() was, sent over a Unix socket (SCM_RIGHTS), kept over a fork, or opened as
  /// /proc/PID/fd/NUMBER; it stays the caller's and may be closed afterwards.
  ///
  /// What the maker writes is seen here: agree on when it is done. The memory lives as long as
  /// anybody maps it.
  ///
  /// Fails with invalid_config (less than 1 byte), io (no such descriptor; system_error: errno),
  /// unsupported (no sealed memory, or a system without), corrupt (shorter; index: its bytes).
  ENGRAM_ALWAYS_INLINE static Result<HostMemory> of_descriptor(int descriptor, Index bytes) {
    const Result<DescriptorMapping> shared = map_shared_descriptor(descriptor, bytes);
    if (!shared.ok()) return shared.failure();
    HostMapping mapping;
    mapping.data = static_cast<std::byte*>(shared.value().data);
    mapping.bytes = bytes;
    mapping.reserved = shared.value().data;
    mapping.reserved_bytes = shared.value().bytes;
    mapping.writable = false;
    return HostMemory(mapping);
  }

  /// Null when not writable().
  std::byte* data() noexcept { return mapping_.writable ? mapping_.data : nullptr; }
  const std::byte* data() const noexcept { return mapping_.data; }
  Index size() const noexcept { return mapping_.bytes; }
  /// Empty when not writable().
  View<std::byte, 1> bytes() noexcept {
    return View<std::byte, 1>(data(), mapping_.writable ? size() : 0);
  }
  View<const std::byte, 1> bytes() const noexcept {
    return View<const std::byte, 1>(data(), size());
  }
  /// False for memory of another's descriptor.
  bool writable() const noexcept { return mapping_.writable; }
  /// What other processes map this memory by, see of_descriptor(); -1 when it is not shared or not
  /// made here. Closed with the memory; not passed on to programs that this one starts.
  int descriptor() const noexcept { return mapping_.descriptor; }

  /// What the system has given so far; on Linux from /proc/self/smaps, elsewhere not known.
  ///
  /// Cost  the kernel walks the process's page tables: once after loading, not in a loop.
  ENGRAM_ALWAYS_INLINE HostMemoryReport report() const { return report_of(mapping_); }

 private:
  ENGRAM_ALWAYS_INLINE explicit HostMemory(const HostMapping& mapping) : mapping_(mapping) {}

  HostMapping mapping_;
};

ENGRAM_END_NAMESPACE
