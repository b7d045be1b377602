// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "made_table.hpp"

#include "row_ids.hpp"

#include <engram/io/packed_rows.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>

namespace engram::read_bench {

namespace {

using packed_format::page_bytes;

int open_nameless(const std::string& directory) {
#if defined(O_TMPFILE)
  const int made = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made >= 0) return made;
#endif
  std::string name = directory;
  name += "/engram-bench-XXXXXX";
  const int named = ::mkstemp(name.data());
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

bool write_all(int descriptor, const std::byte* from, Index bytes) {
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor, from, static_cast<std::size_t>(bytes));
    if (done < 0 && errno != EINTR) return false;
    from += done < 0 ? 0 : done;
    bytes -= done < 0 ? 0 : done;
  }
  return true;
}

void fill_page(std::byte* page, Index number, Index rows, Index row_bytes, Randomness& random) {
  const Index words = rows * row_bytes / Index{sizeof(std::uint64_t)};
  std::memset(page, 0, static_cast<std::size_t>(page_bytes));
  for (Index w = 0; w < words; ++w) {
    const std::uint64_t bits = random.bits();
    std::memcpy(page + w * Index{sizeof bits}, &bits, sizeof bits);
  }
  packed_format::seal(page, number);
}

}  // namespace

MadeTable::~MadeTable() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<MadeTable> MadeTable::make(const std::string& directory, Index bytes,
                                  const std::function<void(Index)>& written) {
  const auto failed = [&](int error) {
    return fail(Code::io, {"cannot write a table to ", directory, ": ", std::strerror(error)}, -1,
                error);
  };
  PackedInfo info{256, 8, "F8_E4M3", "F8_E8M0", {}, ""};
  const Index per_page = packed_format::rows_per_page(info);
  const Index pages = bytes / page_bytes - 1;
  if (pages < 1)
    return fail(Code::invalid_config, {"a table of ", bytes, " bytes, expected at least ",
                                       2 * page_bytes, ", a header and a page of rows"});
  info.layers = {{0, pages * per_page}};
  if (const Result<void> checked = packed_format::check(info); !checked.ok())
    return checked.failure();
  struct statvfs disk {};
  if (::statvfs(directory.c_str(), &disk) != 0) return failed(errno);
  const auto free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
  if (free < 2 * static_cast<double>(bytes))
    return fail(Code::io,
                {"cannot write a table of ", bytes, " bytes to ", directory, ": ",
                 static_cast<Index>(free), " bytes are free, expected at least twice the table"},
                -1, ENOSPC);
  MadeTable table(open_nameless(directory));
  if (table.descriptor_ < 0) return failed(errno);
  const std::vector<std::byte> header = packed_format::header(info, true);
  if (!write_all(table.descriptor_, header.data(), page_bytes)) return failed(errno);
  constexpr Index at_once = 1024;
  std::vector<std::byte> block(static_cast<std::size_t>(at_once * page_bytes));
  Randomness random(1);
  for (Index page = 0; page < pages;) {
    const Index count = std::min(at_once, pages - page);
    for (Index p = 0; p < count; ++p)
      fill_page(block.data() + p * page_bytes, 1 + page + p, per_page,
                info.row_bytes + info.scale_bytes, random);
    if (!write_all(table.descriptor_, block.data(), count * page_bytes)) return failed(errno);
    page += count;
    written((1 + page) * page_bytes);
  }
  if (::fdatasync(table.descriptor_) != 0) return failed(errno);
  return table;
}

}  // namespace engram::read_bench
