// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The C library's and liburing's I/O, with a fault at one chosen call. shim.cpp defines the
// functions itself and passes each call on to the next definition, so every call site is behind it,
// those inside of the C++ library's <filesystem> too. Linked into a test program, or preloaded into
// any other (preload.cpp).
//
// A call counts while the shim is armed and only when it is on a path below the folder that it was
// armed with, on a file opened so, or on what has no path: anonymous memory and rings. So whoever
// makes it, the scenario's thread or a helper of it, and neither Catch nor the C library's own
// files.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace shim {

/// What calls are told apart by.
enum class Call : std::uint8_t {
  open,      ///< open, openat
  close,     ///< close
  stat,      ///< stat, lstat, fstat, realpath
  read,      ///< read, pread, preadv2
  write,     ///< write, pwrite
  sync,      ///< fsync, fdatasync
  cut,       ///< truncate, ftruncate
  rename,    ///< rename
  remove,    ///< remove, unlink
  mode,      ///< fchmodat
  space,     ///< statvfs
  advise,    ///< posix_fadvise, madvise
  map,       ///< mmap
  unmap,     ///< munmap
  protect,   ///< mprotect
  resident,  ///< mincore
  list,      ///< opendir, fdopendir
  entry,     ///< readdir
  fopen,
  fread,
  fwrite,
  fflush,
  fclose,
  seek,         ///< fseeko
  tell,         ///< ftello
  ring,         ///< io_uring_queue_init
  ring_submit,  ///< io_uring_submit, io_uring_submit_and_wait
  ring_wait,    ///< what io_uring_wait_cqe and, with an empty ring, io_uring_peek_cqe call
  ring_read,    ///< one request to read, when it is submitted
  count
};
inline constexpr std::size_t calls = static_cast<std::size_t>(Call::count);
const char* name(Call call);

enum class Fault : std::uint8_t {
  none,
  eio,
  eintr,
  eagain,
  enospc,
  enomem,
  eacces,
  emfile,
  shorter,    ///< half of what was asked for
  nothing,    ///< no bytes, as at a file's end; of statvfs: a disk that is full
  first_bit,  ///< of what was read, one bit is another: in the first byte, the middle one, the last
  middle_bit,
  last_bit,
  slow,    ///< 1 ms
  killed,  ///< the process ends (status 77), of a write behind its first half
  killed_after,
};
const char* name(Fault fault);

/// The faults that a call can have; not those that end the process.
std::vector<Fault> faults_of(Call call);
constexpr bool is_flip(Fault fault) {
  return fault == Fault::first_bit || fault == Fault::middle_bit || fault == Fault::last_bit;
}

/// The fault, and which of its calls it befalls, from 0.
struct Plan {
  Call call = Call::count;
  long at = 0;
  Fault fault = Fault::none;
};
/// The same counted over all calls that change files, in their order: for processes that end.
struct Death {
  long at = 0;
  Fault fault = Fault::killed;
};

using Counts = std::array<long, calls>;

/// Begins to count calls on paths that begin with `folder`, and does what is planned.
void arm(const std::string& folder, const Plan& plan = {});
void arm(const std::string& folder, const Death& death);
/// Ends that; gives the calls counted.
Counts disarm();
/// Whether the fault befell since arm().
bool struck();
/// Calls that change files, as Death counts them, since arm().
long changes();

}  // namespace shim
