// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where large memory is asked to lie, and where it came to lie: on pages of what size, on which
// memory node, seen by which processes. A system refuses such wishes silently or at a bad moment,
// so each of them is either a wish with a report or a demand that fails at once.

#include <engram/core/ids.hpp>
#include <engram/core/sentence.hpp>

#include <cstring>

ENGRAM_BEGIN_NAMESPACE

/// Which pages to ask for. Each falls back to the one before it.
enum class Pages : std::int32_t {
  ordinary = 0,     ///< do not ask: what the system gives by itself
  huge = 1,         ///< 2 MiB pages that the system makes where it can, now or later
  reserved_2m = 2,  ///< 2 MiB pages that the administrator has set aside (Linux, hugetlb)
  reserved_1g = 3,  ///< the same, of 1 GiB
};

struct HostMemoryOptions {
  Pages pages = Pages::huge;
  int node = -1;  ///< memory node; -1: of each page, the node of the thread that first touches it
  bool shared = false;    ///< in a descriptor that other processes can map, see HostMemory
  bool required = false;  ///< fail where a wish is refused, instead of going on without it
};

/// What the system has given so far. Pages count once they were touched.
struct HostMemoryReport {
  Index bytes = 0;            ///< asked for
  Index resident_bytes = -1;  ///< touched and in memory, in whole pages; -1: not known
  Index huge_bytes = -1;      ///< of these, on pages of 2 MiB or 1 GiB; -1: not known
  Index page_bytes = -1;      ///< size of an ordinary page; -1: not known

  HostMemoryOptions asked{Pages::ordinary};
  Pages pages = Pages::ordinary;  ///< obtained; of `huge`, huge_bytes says how much
  int pages_error = 0;            ///< errno of the pages asked for; 0 also: less than such a page
  int node_error = 0;             ///< errno of the node asked for
  bool shared = false;            ///< obtained
  int shared_error = 0;

  int node = -1;            ///< of the first page of a sample; -1: not known
  Index sampled_pages = 0;  ///< touched pages whose node was asked for
  Index pages_on_node = 0;  ///< of these, on the node asked for, else on `node`
};

inline constexpr Index huge_page_bytes = Index{2} << 20;

/// Bytes of such a page; 0 for ordinary ones, whose size the system decides.
constexpr Index page_bytes_of(Pages pages) noexcept {
  if (pages == Pages::ordinary) return 0;
  return pages == Pages::reserved_1g ? Index{1} << 30 : huge_page_bytes;
}

constexpr bool is_reserved(Pages pages) noexcept {
  return pages == Pages::reserved_2m || pages == Pages::reserved_1g;
}

/// "reserved pages of 1 GiB".
constexpr const char* name_of(Pages pages) noexcept {
  switch (pages) {
    case Pages::ordinary:
      return "ordinary pages";
    case Pages::huge:
      return "pages of 2 MiB";
    case Pages::reserved_2m:
      return "reserved pages of 2 MiB";
    case Pages::reserved_1g:
      return "reserved pages of 1 GiB";
  }
  return "unknown pages";
}

ENGRAM_BEGIN_LOOPS

/// Why a wish was refused, for people.
inline const char* why_refused(int error) noexcept {
  return error == 0 ? "the memory is smaller than one" : std::strerror(error);
}

/// The report as a sentence: "8388608 bytes of host memory: 8388608 touched, of these 8388608 on
/// pages of 2 MiB; other pages have 4096 bytes; reserved pages of 1 GiB not obtained: the memory is
/// smaller than one; node 0: 16 of 16 sampled pages".
inline std::string describe(const HostMemoryReport& report) {
  std::string text = sentence({report.bytes, " bytes of host memory: "});
  if (report.resident_bytes < 0 || report.huge_bytes < 0)
    text += "what pages they are on is not known";
  else
    text += sentence({report.resident_bytes, " touched, of these ", report.huge_bytes, " on ",
                      name_of(is_reserved(report.pages) ? report.pages : Pages::huge)});
  if (report.page_bytes > 0) text += sentence({"; other pages have ", report.page_bytes, " bytes"});
  if (report.pages != report.asked.pages)
    text += sentence(
        {"; ", name_of(report.asked.pages), " not obtained: ", why_refused(report.pages_error)});
  if (report.node_error != 0)
    text +=
        sentence({"; node ", report.asked.node, " not obtained: ", why_refused(report.node_error)});
  if (report.sampled_pages > 0) {
    const bool as_asked = report.asked.node >= 0 && report.node_error == 0;
    text += sentence({"; node ", as_asked ? report.asked.node : report.node, ": ",
                      report.pages_on_node, " of ", report.sampled_pages, " sampled pages"});
  }
  if (report.shared) text += "; shared with other processes";
  if (report.shared_error != 0)
    text += sentence({"; sharing not obtained: ", why_refused(report.shared_error)});
  return text;
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
