// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What became of host memory since it was made: how much of it was touched, on what pages that is,
// and on which memory nodes. Asked of the system each time, because it changes as memory is used.

#include <engram/storage/host_mapping.hpp>

#include <cstdio>

ENGRAM_BEGIN_NAMESPACE
ENGRAM_BEGIN_LOOPS

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
    if (std::sscanf(line, "%llx-%llx ", &from, &to) == 2) {
      if (from >= end) break;  // they are in ascending order
      inside = to > begin;
      continue;
    }
    char key[32] = {};
    long long kib = 0;
    if (!inside || std::sscanf(line, "%31[A-Za-z_]: %lld kB", key, &kib) != 2) continue;
    // Pages that were set aside are not in Rss.
    const bool set_aside =
        std::strcmp(key, "Private_Hugetlb") == 0 || std::strcmp(key, "Shared_Hugetlb") == 0;
    if (set_aside || std::strcmp(key, "Rss") == 0)
      resident = (resident < 0 ? 0 : resident) + 1024 * Index{kib};
    if (set_aside || std::strcmp(key, "AnonHugePages") == 0 ||
        std::strcmp(key, "ShmemPmdMapped") == 0)
      huge = (huge < 0 ? 0 : huge) + 1024 * Index{kib};
  }
  std::fclose(file);
  report.resident_bytes = resident;
  report.huge_bytes = huge;
}

/// Asks on which nodes 64 pages are, spread over the mapping.
inline void sample_nodes(const HostMapping& mapping, HostMemoryReport& report) noexcept {
  constexpr Index most = 64;
  const Index pages = (mapping.bytes + report.page_bytes - 1) / report.page_bytes;
  const Index count = pages < most ? pages : most;
  const std::byte* addresses[most] = {};
  int nodes[most] = {};
  for (Index i = 0; i < count; ++i)
    addresses[i] = mapping.data + pages / count * i * report.page_bytes;
  nodes_of(addresses, nodes, count);
  const bool bound = mapping.asked.node != -1 && mapping.node_error == 0;
  for (Index i = 0; i < count; ++i) {
    if (nodes[i] < 0) continue;
    if (report.node < 0) report.node = nodes[i];
    ++report.sampled_pages;
    if (nodes[i] == (bound ? mapping.asked.node : report.node)) ++report.pages_on_node;
  }
}

/// The report of a mapping.
inline HostMemoryReport report_of(const HostMapping& mapping) {
  HostMemoryReport report;
  report.bytes = mapping.bytes;
  report.asked = mapping.asked;
  report.pages = mapping.pages;
  report.pages_error = mapping.pages_error;
  report.node_error = mapping.node_error;
  report.shared = mapping.descriptor >= 0 || !mapping.writable;
  report.shared_error = mapping.shared_error;
#if __has_include(<sys/mman.h>)
  report.page_bytes = static_cast<Index>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapping.data);
  if (mapping.bytes > 0) {
    read_smaps(begin, begin + static_cast<std::uintptr_t>(mapping.bytes), report);
    sample_nodes(mapping, report);
  }
#endif
  return report;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
