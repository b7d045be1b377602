// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "table_files.hpp"

#include <engram/storage/disk/read_plan.hpp>
#include <engram/storage/disk/residency.hpp>
#include <engram/storage/page_advice.hpp>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

namespace engram::read_bench {

namespace {

struct OpenFile {
  explicit OpenFile(const std::string& path) : descriptor(::open(path.c_str(), O_RDONLY)) {}
  ~OpenFile() {
    if (descriptor >= 0) ::close(descriptor);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor;
};

/// Bytes of a file.
struct FileRange {
  Index begin = 0, end = 0;
};

/// Advises the system of a part of a file in every shared read-only mapping of it in this process.
void advise_mappings(ino_t inode, const FileRange& part, int advice) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::istringstream fields(line);
    std::string range, access, offset, device;
    std::uint64_t number = 0;
    fields >> range >> access >> offset >> device >> number;
    if (!fields || access != "r--s" || number != inode) continue;
    const auto first = static_cast<Index>(std::stoull(range, nullptr, 16));
    const auto last =
        static_cast<Index>(std::stoull(range.substr(range.find('-') + 1), nullptr, 16));
    const auto before = static_cast<Index>(std::stoull(offset, nullptr, 16));
    const Index begin = std::max(first, first + page_down(part.begin) - before);
    const Index end = std::min(last, first + page_up(part.end) - before);
    if (begin < end)
      ::madvise(reinterpret_cast<void*>(begin), static_cast<std::size_t>(end - begin), advice);
  }
}

/// Has what is in memory put into the page tables.
void map_pages(const RowExtent& extent, const FileRange& range) {
#if defined(MADV_POPULATE_READ)
  const OpenFile file(extent.path);
  struct stat found {};
  if (file.descriptor >= 0 && ::fstat(file.descriptor, &found) == 0)
    advise_mappings(found.st_ino, range, MADV_POPULATE_READ);
#else
  (void)extent, (void)range;
#endif
}

Result<void> read_range(const RowExtent& extent, const FileRange& range) {
  const OpenFile file(extent.path);
  if (file.descriptor < 0) return file_failure("open", extent.path, errno);
  std::vector<char> block(std::size_t{1} << 20);
  for (Index at = range.begin; at < range.end;) {
    const auto wanted = std::min(static_cast<std::size_t>(range.end - at), block.size());
    const ssize_t got = ::pread(file.descriptor, block.data(), wanted, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_failure("read", extent.path, errno);
    if (got == 0) return fail(Code::corrupt, {extent.path, ": cut off while it was read"});
    at += got;
  }
  return {};
}

}  // namespace

Result<TableFiles> TableFiles::open(const std::vector<TableSegment>& segments) {
  Result<MmapStore> probe = MmapStore::open(segments);
  if (!probe.ok()) return probe.failure();
  return TableFiles(segments, std::move(probe).value());
}

Index TableFiles::bytes() const noexcept {
  Index sum = 0;
  for (const TableSegment& segment : segments_) {
    const bool apart = segment.has_scales() && !scales_follow(segment);
    sum += span_of(segment.codes) + (apart ? span_of(segment.scales) : 0);
  }
  return sum;
}

void TableFiles::forget() const {
  std::set<std::string> paths;
  for (const TableSegment& segment : segments_) {
    paths.insert(segment.codes.path);
    if (segment.has_scales()) paths.insert(segment.scales.path);
  }
  for (const std::string& path : paths) {
    const OpenFile file(path);
    struct stat found {};
    if (file.descriptor < 0 || ::fstat(file.descriptor, &found) != 0) continue;
    // Pages that are mapped would stay. The next touch maps them again.
    advise_mappings(found.st_ino, {0, static_cast<Index>(found.st_size)}, MADV_DONTNEED);
    ::posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_DONTNEED);
  }
}

Result<void> TableFiles::read(const RowWindow& window) const {
  struct Part {
    const RowExtent* extent;
    FileRange range;
  };
  std::vector<Part> parts;
  Index first = 0;
  for (const TableSegment& segment : segments_) {
    const Index begin = std::max(window.first - first, Index{0});
    const Index end = std::min(window.first + window.rows - first, segment.codes.rows);
    first += segment.codes.rows;
    if (begin >= end) continue;
    for (const RowExtent* extent : {&segment.codes, &segment.scales})
      if (extent == &segment.codes || segment.has_scales())
        parts.push_back({extent,
                         {extent->offset + offset_of(*extent, begin),
                          extent->offset + offset_of(*extent, end - 1) + extent->bytes}});
  }
  for (const Part& part : parts)
    if (const Result<void> read = read_range(*part.extent, part.range); !read.ok()) return read;
  // What somebody else had the system drop meanwhile would come back one page at a time.
  if (resident_share(window) > 0.99)
    for (const Part& part : parts) map_pages(*part.extent, part.range);
  return {};
}

double TableFiles::resident_share(const RowWindow& window) const {
  for (const TableSegment& segment : segments_) {
    const OpenFile file(segment.codes.path);
    if (file.descriptor < 0 || !residency_is_told(file.descriptor)) return -1;
  }
  const Index looked_at = std::min<Index>(window.rows, 1024);
  const Index page = system_page_bytes();
  Index found = 0;
  for (Index i = 0; i < looked_at; ++i)
    found += is_in_memory(probe_.ref()(window.first + i * (window.rows / looked_at)).codes, 1, page)
                 ? 1
                 : 0;
  return static_cast<double>(found) / static_cast<double>(looked_at);
}

RowWindow TableFiles::window(Index bytes, double place) const {
  Index first = 0;
  const Index all = rows();
  auto row = std::min(static_cast<Index>(place * static_cast<double>(all)), all - 1);
  for (const TableSegment& segment : segments_) {
    if (row >= segment.codes.rows) {
      row -= segment.codes.rows;
      first += segment.codes.rows;
      continue;
    }
    const double share = static_cast<double>(bytes) / static_cast<double>(span_of(segment.codes));
    const auto wanted = static_cast<Index>(share * static_cast<double>(segment.codes.rows));
    const Index rows = std::clamp<Index>(wanted, 1, segment.codes.rows);
    return {first + std::min(row, segment.codes.rows - rows), rows};
  }
  return {0, all};
}

Index free_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    Index amount = 0;
    if (name == "MemAvailable:" && file >> amount) return amount * 1024;
    std::getline(file, unit);
  }
  return -1;
}

}  // namespace engram::read_bench
