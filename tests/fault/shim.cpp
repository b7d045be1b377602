// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "shim.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <mutex>

#if __has_include(<liburing.h>)
#include <liburing.h>
#endif

namespace shim {
namespace {

constexpr int most_descriptors = 65536;

struct State {
  std::atomic<bool> armed{false};
  std::mutex mutex;  // of what follows
  char folder[1024] = {};
  std::size_t folder_bytes = 0;
  Plan plan;
  bool has_death = false;
  Death death;
  Counts counts = {};
  long changes = 0;
  bool struck = false;
  bool owned[most_descriptors] = {};
  std::FILE* failed[8] = {};  // what ferror() is true of
  std::size_t next_failed = 0;
  const void* folders[8] = {};  // open directories
};
State state;

/// The definition that this program's hides.
template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

bool is_ours(const char* path) {
  if (!state.armed || path == nullptr) return false;
  constexpr char open_file[] = "/proc/self/fd/";
  if (std::strncmp(path, open_file, sizeof open_file - 1) == 0) {
    const int descriptor = std::atoi(path + sizeof open_file - 1);
    const std::lock_guard lock(state.mutex);
    return descriptor >= 0 && descriptor < most_descriptors && state.owned[descriptor];
  }
  const std::lock_guard lock(state.mutex);
  return std::strncmp(path, state.folder, state.folder_bytes) == 0;
}

bool is_ours(int descriptor) {
  if (!state.armed || descriptor < 0 || descriptor >= most_descriptors) return false;
  const std::lock_guard lock(state.mutex);
  return state.owned[descriptor];
}

bool is_ours(std::FILE* file) { return state.armed && file != nullptr && is_ours(::fileno(file)); }

void own(int descriptor, bool owned) {
  if (descriptor < 0 || descriptor >= most_descriptors) return;
  const std::lock_guard lock(state.mutex);
  state.owned[descriptor] = owned;
}

void set_failed(std::FILE* file, bool failed) {
  const std::lock_guard lock(state.mutex);
  for (std::FILE*& one : state.failed)
    if (one == file) one = nullptr;
  if (failed) state.failed[state.next_failed++ % 8] = file;
}

bool changes_files(Call call) {
  switch (call) {
    case Call::open:
    case Call::close:
    case Call::write:
    case Call::sync:
    case Call::cut:
    case Call::rename:
    case Call::remove:
    case Call::mode:
    case Call::fopen:
    case Call::fwrite:
    case Call::fflush:
    case Call::fclose:
      return true;
    default:
      return false;
  }
}

[[noreturn]] void die() { ::_exit(77); }

/// Counts a call and says what becomes of it. Fault::slow has passed by then.
Fault take(Call call) {
  Fault fault = Fault::none;
  {
    const std::lock_guard lock(state.mutex);
    const long at = state.counts[static_cast<std::size_t>(call)]++;
    const long change = changes_files(call) ? state.changes++ : -1;
    if (state.plan.call == call && state.plan.at == at) fault = state.plan.fault;
    if (state.has_death && change == state.death.at) fault = state.death.fault;
    state.struck = state.struck || fault != Fault::none;
  }
  if (fault == Fault::slow) {
    const timespec one_ms{0, 1000000};
    ::nanosleep(&one_ms, nullptr);
    return Fault::none;
  }
  if (fault == Fault::killed && call != Call::fwrite && call != Call::write) die();
  return fault;
}

int error_of(Fault fault) {
  switch (fault) {
    case Fault::eio:
      return EIO;
    case Fault::eintr:
      return EINTR;
    case Fault::eagain:
      return EAGAIN;
    case Fault::enospc:
      return ENOSPC;
    case Fault::enomem:
      return ENOMEM;
    case Fault::eacces:
      return EACCES;
    case Fault::emfile:
      return EMFILE;
    default:
      return 0;
  }
}

/// Sets errno; whether the fault is one of errno at all.
bool fails(Fault fault) {
  const int error = error_of(fault);
  if (error != 0) errno = error;
  return error != 0;
}

void flip(Fault fault, void* bytes, std::size_t count) {
  if (count == 0) return;
  auto* const all = static_cast<unsigned char*>(bytes);
  if (fault == Fault::first_bit) all[0] ^= 0x01;
  if (fault == Fault::middle_bit) all[count / 2] ^= 0x10;
  if (fault == Fault::last_bit) all[count - 1] ^= 0x80;
}

/// A call whose failure is -1 and changes nothing.
template <class F>
int plain(Call call, bool ours, const F& go) {
  if (!ours) return go();
  const Fault fault = take(call);
  if (fails(fault)) return -1;
  const int result = go();
  if (fault == Fault::killed_after) die();
  return result;
}

template <class F>
ssize_t reading(int descriptor, void* to, std::size_t bytes, const F& go) {
  if (!is_ours(descriptor)) return go(bytes);
  const Fault fault = take(Call::read);
  if (fails(fault)) return -1;
  if (fault == Fault::nothing) return 0;
  const ssize_t got = go(fault == Fault::shorter && bytes > 1 ? bytes / 2 : bytes);
  if (got > 0 && is_flip(fault)) flip(fault, to, static_cast<std::size_t>(got));
  return got;
}

template <class F>
ssize_t writing(int descriptor, std::size_t bytes, const F& go) {
  if (!is_ours(descriptor)) return go(bytes);
  const Fault fault = take(Call::write);
  if (fails(fault)) return -1;
  const bool half = fault == Fault::shorter || fault == Fault::killed;
  const ssize_t put = go(half && bytes > 1 ? bytes / 2 : bytes);
  if (fault == Fault::killed || fault == Fault::killed_after) die();
  return put;
}

int opening(const char* name, const char* path, int flags, unsigned mode) {
  const bool ours = is_ours(path);
  const int descriptor = plain(
      Call::open, ours, [&] { return next<int(const char*, int, ...)>(name)(path, flags, mode); });
  if (ours && descriptor >= 0) own(descriptor, true);
  return descriptor;
}

std::FILE* opening_stream(const char* name, const char* path, const char* mode) {
  const auto go = [&] { return next<std::FILE*(const char*, const char*)>(name)(path, mode); };
  if (!is_ours(path)) return go();
  const Fault fault = take(Call::fopen);
  if (fails(fault)) return nullptr;
  std::FILE* const file = go();
  if (file != nullptr) own(::fileno(file), true);
  if (fault == Fault::killed_after) die();
  return file;
}

void* mapping(const char* name, void* at, std::size_t bytes, int protection, int flags,
              int descriptor, off_t offset) {
  const auto go = [&](int how, int kind) {
    return next<void*(void*, std::size_t, int, int, int, off_t)>(name)(at, bytes, how, kind,
                                                                       descriptor, offset);
  };
  if (!(descriptor < 0 ? state.armed.load() : is_ours(descriptor))) return go(protection, flags);
  const Fault fault = take(Call::map);
  if (fails(fault)) return MAP_FAILED;
  if (!is_flip(fault) || descriptor < 0) return go(protection, flags);
  void* const pages = go(PROT_READ | PROT_WRITE, (flags & ~MAP_SHARED) | MAP_PRIVATE);
  if (pages != MAP_FAILED) flip(fault, pages, bytes);
  return pages;
}

template <class F>
void* listing(bool ours, const F& go) {
  if (ours && fails(take(Call::list))) return nullptr;
  void* const folder = go();
  const std::lock_guard lock(state.mutex);
  for (const void*& one : state.folders)
    if (ours && folder != nullptr && (one == nullptr || one == folder)) {
      one = folder;
      break;
    }
  return folder;
}

#if __has_include(<liburing.h>)

/// Requests to read that are about to be submitted: one may get a descriptor that is none, ask for
/// half, or lie behind the file's end.
void change_requests(io_uring* ring) {
  const unsigned mask = *ring->sq.kring_mask;
  for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; ++at) {
    io_uring_sqe& request = ring->sq.sqes[at & mask];
    if (request.opcode != IORING_OP_READ) continue;
    const Fault fault = take(Call::ring_read);
    if (fault == Fault::eio) request.fd = -1;
    if (fault == Fault::shorter) request.len /= 2;
    if (fault == Fault::nothing) request.off = std::uint64_t{1} << 50;
  }
}

/// An error comes before anything is submitted; `shorter` submits half.
template <class F>
int submitting(io_uring* ring, const F& go) {
  if (!state.armed) return go();
  change_requests(ring);
  const Fault fault = take(Call::ring_submit);
  if (const int error = error_of(fault); error != 0) return -error;
  const unsigned tail = ring->sq.sqe_tail;
  if (fault == Fault::shorter) ring->sq.sqe_tail -= (tail - ring->sq.sqe_head) / 2;
  const int taken = go();
  ring->sq.sqe_tail = tail;
  return taken;
}
#endif

}  // namespace

const char* name(Call call) {
  constexpr const char* names[calls] = {
      "open",   "close", "stat",        "read",      "write",    "sync",   "cut",     "rename",
      "remove", "mode",  "space",       "advise",    "map",      "unmap",  "protect", "resident",
      "list",   "entry", "fopen",       "fread",     "fwrite",   "fflush", "fclose",  "seek",
      "tell",   "ring",  "ring_submit", "ring_wait", "ring_read"};
  return call == Call::count ? "no call" : names[static_cast<std::size_t>(call)];
}

const char* name(Fault fault) {
  constexpr const char* names[] = {"none",     "EIO",     "EINTR",     "EAGAIN",
                                   "ENOSPC",   "ENOMEM",  "EACCES",    "EMFILE",
                                   "shorter",  "nothing", "first bit", "middle bit",
                                   "last bit", "slow",    "killed",    "killed after"};
  return names[static_cast<std::size_t>(fault)];
}

std::vector<Fault> faults_of(Call call) {
  using F = Fault;
  switch (call) {
    case Call::open:
    case Call::fopen:
      return {F::eio, F::eintr, F::enospc, F::enomem, F::eacces, F::emfile, F::slow};
    case Call::close:
      return {F::eio, F::eintr};
    case Call::stat:
      return {F::eio, F::enomem, F::eacces};
    case Call::read:
      return {F::eio,     F::eintr,     F::eagain,     F::enomem,   F::shorter,
              F::nothing, F::first_bit, F::middle_bit, F::last_bit, F::slow};
    case Call::fread:
      return {F::eio,       F::eintr,      F::eagain,   F::shorter, F::nothing,
              F::first_bit, F::middle_bit, F::last_bit, F::slow};
    case Call::write:
    case Call::fwrite:
      return {F::eio, F::eintr, F::eagain, F::enospc, F::shorter, F::slow};
    case Call::sync:
    case Call::fflush:
    case Call::fclose:
    case Call::cut:
      return {F::eio, F::eintr, F::enospc, F::slow};
    case Call::rename:
      return {F::eio, F::enospc, F::eacces, F::slow};
    case Call::remove:
    case Call::mode:
      return {F::eio, F::eacces};
    case Call::space:
      return {F::eio, F::eintr, F::enomem, F::nothing};
    case Call::advise:
    case Call::protect:
    case Call::unmap:
      return {F::enomem, F::eagain};
    case Call::map:
      return {F::enomem, F::eacces, F::eagain, F::emfile, F::first_bit, F::middle_bit, F::last_bit};
    case Call::resident:
      return {F::enomem, F::eagain, F::first_bit, F::slow};
    case Call::list:
      return {F::eio, F::enomem, F::eacces, F::emfile};
    case Call::entry:
      return {F::eio, F::enomem};
    case Call::seek:
    case Call::tell:
      return {F::eio, F::enomem};
    case Call::ring:
      return {F::enomem, F::eacces, F::emfile, F::slow};
    case Call::ring_submit:
      return {F::eio, F::eintr, F::eagain, F::enomem, F::shorter, F::slow};
    case Call::ring_wait:
      return {F::eintr, F::eagain, F::slow};
    case Call::ring_read:
      return {F::eio, F::shorter, F::nothing};
    case Call::count:
      break;
  }
  return {};
}

namespace {
void arm(const std::string& folder, const Plan& plan, const Death* death) {
  const std::lock_guard lock(state.mutex);
  state.folder_bytes = folder.copy(state.folder, sizeof state.folder - 1);
  state.folder[state.folder_bytes] = '\0';
  state.plan = plan;
  state.has_death = death != nullptr;
  if (death != nullptr) state.death = *death;
  state.counts = {};
  state.changes = 0;
  state.struck = false;
  std::memset(state.owned, 0, sizeof state.owned);
  std::memset(state.failed, 0, sizeof state.failed);
  state.armed = true;
}
}  // namespace

void arm(const std::string& folder, const Plan& plan) { arm(folder, plan, nullptr); }
void arm(const std::string& folder, const Death& death) { arm(folder, {}, &death); }
Counts disarm() {
  state.armed = false;
  const std::lock_guard lock(state.mutex);
  return state.counts;
}
bool struck() { return state.struck; }
long changes() { return state.changes; }

}  // namespace shim

// What follows has the names of the C library's functions by their labels, because the headers
// declare some as others than one may define.
using namespace shim;

extern "C" {

int shim_open(const char* path, int flags, unsigned mode) __asm__("open");
int shim_open(const char* path, int flags, unsigned mode) {
  return opening("open", path, flags, mode);
}
int shim_open64(const char* path, int flags, unsigned mode) __asm__("open64");
int shim_open64(const char* path, int flags, unsigned mode) {
  return opening("open64", path, flags, mode);
}
int shim_openat(int folder, const char* path, int flags, unsigned mode) __asm__("openat");
int shim_openat(int folder, const char* path, int flags, unsigned mode) {
  const bool ours = is_ours(path) || is_ours(folder);
  const int descriptor = plain(Call::open, ours, [&] {
    return next<int(int, const char*, int, ...)>("openat")(folder, path, flags, mode);
  });
  if (ours && descriptor >= 0) own(descriptor, true);
  return descriptor;
}

int shim_close(int descriptor) __asm__("close");
int shim_close(int descriptor) {
  const auto go = [&] { return next<int(int)>("close")(descriptor); };
  if (!is_ours(descriptor)) return go();
  const Fault fault = take(Call::close);
  own(descriptor, false);
  const int result = go();  // Linux closes it whatever it says
  if (fault == Fault::killed_after) die();
  return fails(fault) ? -1 : result;
}

int shim_stat(const char* path, struct stat* to) __asm__("stat");
int shim_stat(const char* path, struct stat* to) {
  return plain(Call::stat, is_ours(path),
               [&] { return next<int(const char*, struct stat*)>("stat")(path, to); });
}
char* shim_realpath(const char* path, char* to) __asm__("realpath");
char* shim_realpath(const char* path, char* to) {
  if (is_ours(path) && fails(take(Call::stat))) return nullptr;
  return next<char*(const char*, char*)>("realpath")(path, to);
}
int shim_stat64(const char* path, struct stat* to) __asm__("stat64");
int shim_stat64(const char* path, struct stat* to) { return shim_stat(path, to); }
int shim_lstat(const char* path, struct stat* to) __asm__("lstat");
int shim_lstat(const char* path, struct stat* to) {
  return plain(Call::stat, is_ours(path),
               [&] { return next<int(const char*, struct stat*)>("lstat")(path, to); });
}
int shim_lstat64(const char* path, struct stat* to) __asm__("lstat64");
int shim_lstat64(const char* path, struct stat* to) { return shim_lstat(path, to); }
int shim_fstat(int descriptor, struct stat* to) __asm__("fstat");
int shim_fstat(int descriptor, struct stat* to) {
  return plain(Call::stat, is_ours(descriptor),
               [&] { return next<int(int, struct stat*)>("fstat")(descriptor, to); });
}
int shim_fstat64(int descriptor, struct stat* to) __asm__("fstat64");
int shim_fstat64(int descriptor, struct stat* to) { return shim_fstat(descriptor, to); }

ssize_t shim_read(int descriptor, void* to, size_t bytes) __asm__("read");
ssize_t shim_read(int descriptor, void* to, size_t bytes) {
  return reading(descriptor, to, bytes, [&](size_t count) {
    return next<ssize_t(int, void*, size_t)>("read")(descriptor, to, count);
  });
}
ssize_t shim_pread(int descriptor, void* to, size_t bytes, off_t at) __asm__("pread");
ssize_t shim_pread(int descriptor, void* to, size_t bytes, off_t at) {
  return reading(descriptor, to, bytes, [&](size_t count) {
    return next<ssize_t(int, void*, size_t, off_t)>("pread")(descriptor, to, count, at);
  });
}
ssize_t shim_pread64(int descriptor, void* to, size_t bytes, off_t at) __asm__("pread64");
ssize_t shim_pread64(int descriptor, void* to, size_t bytes, off_t at) {
  return shim_pread(descriptor, to, bytes, at);
}
ssize_t shim_preadv2(int descriptor, const iovec* to, int count, off_t at,
                     int flags) __asm__("preadv2");
ssize_t shim_preadv2(int descriptor, const iovec* to, int count, off_t at, int flags) {
  const size_t bytes = count > 0 ? to[0].iov_len : 0;
  return reading(descriptor, count > 0 ? to[0].iov_base : nullptr, bytes, [&](size_t asked) {
    iovec part{count > 0 ? to[0].iov_base : nullptr, asked};
    return next<ssize_t(int, const iovec*, int, off_t, int)>("preadv2")(
        descriptor, asked < bytes ? &part : to, asked < bytes ? 1 : count, at, flags);
  });
}
ssize_t shim_preadv64v2(int descriptor, const iovec* to, int count, off_t at,
                        int flags) __asm__("preadv64v2");
ssize_t shim_preadv64v2(int descriptor, const iovec* to, int count, off_t at, int flags) {
  return shim_preadv2(descriptor, to, count, at, flags);
}

ssize_t shim_write(int descriptor, const void* from, size_t bytes) __asm__("write");
ssize_t shim_write(int descriptor, const void* from, size_t bytes) {
  return writing(descriptor, bytes, [&](size_t count) {
    return next<ssize_t(int, const void*, size_t)>("write")(descriptor, from, count);
  });
}
ssize_t shim_pwrite(int descriptor, const void* from, size_t bytes, off_t at) __asm__("pwrite");
ssize_t shim_pwrite(int descriptor, const void* from, size_t bytes, off_t at) {
  return writing(descriptor, bytes, [&](size_t count) {
    return next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(descriptor, from, count, at);
  });
}
ssize_t shim_pwrite64(int descriptor, const void* from, size_t bytes, off_t at) __asm__("pwrite64");
ssize_t shim_pwrite64(int descriptor, const void* from, size_t bytes, off_t at) {
  return shim_pwrite(descriptor, from, bytes, at);
}

/// Of ours the disk is not waited for: nobody here cuts the power.
int shim_fsync(int descriptor) __asm__("fsync");
int shim_fsync(int descriptor) {
  const bool ours = is_ours(descriptor);
  return plain(Call::sync, ours, [&] { return ours ? 0 : next<int(int)>("fsync")(descriptor); });
}
int shim_fdatasync(int descriptor) __asm__("fdatasync");
int shim_fdatasync(int descriptor) {
  const bool ours = is_ours(descriptor);
  return plain(Call::sync, ours,
               [&] { return ours ? 0 : next<int(int)>("fdatasync")(descriptor); });
}
int shim_ftruncate(int descriptor, off_t bytes) __asm__("ftruncate");
int shim_ftruncate(int descriptor, off_t bytes) {
  return plain(Call::cut, is_ours(descriptor),
               [&] { return next<int(int, off_t)>("ftruncate")(descriptor, bytes); });
}
int shim_ftruncate64(int descriptor, off_t bytes) __asm__("ftruncate64");
int shim_ftruncate64(int descriptor, off_t bytes) { return shim_ftruncate(descriptor, bytes); }
int shim_truncate(const char* path, off_t bytes) __asm__("truncate");
int shim_truncate(const char* path, off_t bytes) {
  return plain(Call::cut, is_ours(path),
               [&] { return next<int(const char*, off_t)>("truncate")(path, bytes); });
}
int shim_truncate64(const char* path, off_t bytes) __asm__("truncate64");
int shim_truncate64(const char* path, off_t bytes) { return shim_truncate(path, bytes); }

int shim_rename(const char* from, const char* to) __asm__("rename");
int shim_rename(const char* from, const char* to) {
  return plain(Call::rename, is_ours(from) || is_ours(to),
               [&] { return next<int(const char*, const char*)>("rename")(from, to); });
}
int shim_remove(const char* path) __asm__("remove");
int shim_remove(const char* path) {
  return plain(Call::remove, is_ours(path), [&] { return next<int(const char*)>("remove")(path); });
}
int shim_unlink(const char* path) __asm__("unlink");
int shim_unlink(const char* path) {
  return plain(Call::remove, is_ours(path), [&] { return next<int(const char*)>("unlink")(path); });
}
int shim_fchmodat(int folder, const char* path, mode_t mode, int flags) __asm__("fchmodat");
int shim_fchmodat(int folder, const char* path, mode_t mode, int flags) {
  return plain(Call::mode, is_ours(path), [&] {
    return next<int(int, const char*, mode_t, int)>("fchmodat")(folder, path, mode, flags);
  });
}

int shim_statvfs(const char* path, struct statvfs* to) __asm__("statvfs");
int shim_statvfs(const char* path, struct statvfs* to) {
  const auto go = [&] { return next<int(const char*, struct statvfs*)>("statvfs")(path, to); };
  if (!is_ours(path)) return go();
  const Fault fault = take(Call::space);
  if (fails(fault)) return -1;
  const int result = go();
  if (fault == Fault::nothing) to->f_bavail = 0;
  return result;
}
int shim_statvfs64(const char* path, struct statvfs* to) __asm__("statvfs64");
int shim_statvfs64(const char* path, struct statvfs* to) { return shim_statvfs(path, to); }

int shim_posix_fadvise(int descriptor, off_t at, off_t bytes, int how) __asm__("posix_fadvise");
int shim_posix_fadvise(int descriptor, off_t at, off_t bytes, int how) {
  if (is_ours(descriptor))
    if (const Fault fault = take(Call::advise); fails(fault)) return error_of(fault);
  return next<int(int, off_t, off_t, int)>("posix_fadvise")(descriptor, at, bytes, how);
}
int shim_posix_fadvise64(int descriptor, off_t at, off_t bytes, int how) __asm__("posix_fadvise64");
int shim_posix_fadvise64(int descriptor, off_t at, off_t bytes, int how) {
  return shim_posix_fadvise(descriptor, at, bytes, how);
}

void* shim_mmap(void* at, size_t bytes, int how, int flags, int descriptor,
                off_t offset) __asm__("mmap");
void* shim_mmap(void* at, size_t bytes, int how, int flags, int descriptor, off_t offset) {
  return mapping("mmap", at, bytes, how, flags, descriptor, offset);
}
void* shim_mmap64(void* at, size_t bytes, int how, int flags, int descriptor,
                  off_t offset) __asm__("mmap64");
void* shim_mmap64(void* at, size_t bytes, int how, int flags, int descriptor, off_t offset) {
  return mapping("mmap64", at, bytes, how, flags, descriptor, offset);
}
int shim_munmap(void* at, size_t bytes) __asm__("munmap");
int shim_munmap(void* at, size_t bytes) {
  return plain(Call::unmap, state.armed,
               [&] { return next<int(void*, size_t)>("munmap")(at, bytes); });
}
int shim_mprotect(void* at, size_t bytes, int how) __asm__("mprotect");
int shim_mprotect(void* at, size_t bytes, int how) {
  return plain(Call::protect, state.armed,
               [&] { return next<int(void*, size_t, int)>("mprotect")(at, bytes, how); });
}
int shim_madvise(void* at, size_t bytes, int how) __asm__("madvise");
int shim_madvise(void* at, size_t bytes, int how) {
  return plain(Call::advise, state.armed,
               [&] { return next<int(void*, size_t, int)>("madvise")(at, bytes, how); });
}
int shim_mincore(void* at, size_t bytes, unsigned char* to) __asm__("mincore");
int shim_mincore(void* at, size_t bytes, unsigned char* to) {
  const auto go = [&] {
    return next<int(void*, size_t, unsigned char*)>("mincore")(at, bytes, to);
  };
  if (!state.armed) return go();
  const Fault fault = take(Call::resident);
  if (fails(fault)) return -1;
  const int result = go();
  if (result == 0) flip(fault, to, 1);
  return result;
}

void* shim_opendir(const char* path) __asm__("opendir");
void* shim_opendir(const char* path) {
  return listing(is_ours(path), [&] { return next<void*(const char*)>("opendir")(path); });
}
void* shim_fdopendir(int descriptor) __asm__("fdopendir");
void* shim_fdopendir(int descriptor) {
  return listing(is_ours(descriptor), [&] { return next<void*(int)>("fdopendir")(descriptor); });
}
int shim_closedir(void* folder) __asm__("closedir");
int shim_closedir(void* folder) {
  {
    const std::lock_guard lock(state.mutex);
    for (const void*& one : state.folders)
      if (one == folder) one = nullptr;
  }
  return next<int(void*)>("closedir")(folder);
}
void* shim_readdir(void* folder) __asm__("readdir");
void* shim_readdir(void* folder) {
  bool ours = false;
  if (state.armed) {
    const std::lock_guard lock(state.mutex);
    for (const void* one : state.folders) ours = ours || one == folder;
  }
  if (ours && fails(take(Call::entry))) return nullptr;
  return next<void*(void*)>("readdir")(folder);
}
void* shim_readdir64(void* folder) __asm__("readdir64");
void* shim_readdir64(void* folder) { return shim_readdir(folder); }

std::FILE* shim_fopen(const char* path, const char* mode) __asm__("fopen");
std::FILE* shim_fopen(const char* path, const char* mode) {
  return opening_stream("fopen", path, mode);
}
std::FILE* shim_fopen64(const char* path, const char* mode) __asm__("fopen64");
std::FILE* shim_fopen64(const char* path, const char* mode) {
  return opening_stream("fopen64", path, mode);
}

/// An error comes behind half of the bytes; `shorter` and `nothing` say that the file ends.
size_t shim_fread(void* to, size_t size, size_t count, std::FILE* file) __asm__("fread");
size_t shim_fread(void* to, size_t size, size_t count, std::FILE* file) {
  const auto go = [&](size_t asked) {
    return next<size_t(void*, size_t, size_t, std::FILE*)>("fread")(to, size, asked, file);
  };
  if (!is_ours(file)) return go(count);
  const Fault fault = take(Call::fread);
  if (fault == Fault::nothing) return 0;
  if (error_of(fault) != 0 || fault == Fault::shorter) {
    const size_t got = go(count / 2);
    if (fails(fault)) set_failed(file, true);
    return got;
  }
  const size_t got = go(count);
  flip(fault, to, got * size);
  return got;
}
int shim_ferror(std::FILE* file) __asm__("ferror");
int shim_ferror(std::FILE* file) {
  if (state.armed) {
    const std::lock_guard lock(state.mutex);
    for (std::FILE* one : state.failed)
      if (one == file) return 1;
  }
  return next<int(std::FILE*)>("ferror")(file);
}
void shim_clearerr(std::FILE* file) __asm__("clearerr");
void shim_clearerr(std::FILE* file) {
  set_failed(file, false);
  next<void(std::FILE*)>("clearerr")(file);
}

/// An error comes before the first byte; `shorter` writes half and then finds the disk full.
size_t shim_fwrite(const void* from, size_t size, size_t count, std::FILE* file) __asm__("fwrite");
size_t shim_fwrite(const void* from, size_t size, size_t count, std::FILE* file) {
  const auto go = [&](const void* part, size_t one, size_t asked) {
    return next<size_t(const void*, size_t, size_t, std::FILE*)>("fwrite")(part, one, asked, file);
  };
  if (!is_ours(file)) return go(from, size, count);
  const Fault fault = take(Call::fwrite);
  if (fails(fault)) return 0;
  if (fault == Fault::shorter || fault == Fault::killed) {
    const size_t bytes = go(from, 1, size * count / 2);
    if (fault == Fault::killed) {
      next<int(std::FILE*)>("fflush")(file);
      die();
    }
    errno = ENOSPC;
    return size > 0 ? bytes / size : 0;
  }
  const size_t put = go(from, size, count);
  if (fault == Fault::killed_after) {
    next<int(std::FILE*)>("fflush")(file);
    die();
  }
  return put;
}

int shim_fflush(std::FILE* file) __asm__("fflush");
int shim_fflush(std::FILE* file) {
  return plain(Call::fflush, is_ours(file), [&] { return next<int(std::FILE*)>("fflush")(file); });
}
int shim_fclose(std::FILE* file) __asm__("fclose");
int shim_fclose(std::FILE* file) {
  const auto go = [&] { return next<int(std::FILE*)>("fclose")(file); };
  if (!is_ours(file)) return go();
  const Fault fault = take(Call::fclose);
  own(::fileno(file), false);
  set_failed(file, false);
  const int result = go();  // gone whatever it says
  if (fault == Fault::killed_after) die();
  return fails(fault) ? EOF : result;
}
int shim_fseeko(std::FILE* file, off_t at, int from) __asm__("fseeko");
int shim_fseeko(std::FILE* file, off_t at, int from) {
  return plain(Call::seek, is_ours(file),
               [&] { return next<int(std::FILE*, off_t, int)>("fseeko")(file, at, from); });
}
int shim_fseeko64(std::FILE* file, off_t at, int from) __asm__("fseeko64");
int shim_fseeko64(std::FILE* file, off_t at, int from) { return shim_fseeko(file, at, from); }
off_t shim_ftello(std::FILE* file) __asm__("ftello");
off_t shim_ftello(std::FILE* file) {
  if (is_ours(file) && fails(take(Call::tell))) return -1;
  return next<off_t(std::FILE*)>("ftello")(file);
}
off_t shim_ftello64(std::FILE* file) __asm__("ftello64");
off_t shim_ftello64(std::FILE* file) { return shim_ftello(file); }

#if __has_include(<liburing.h>)

int shim_ring(unsigned entries, io_uring* ring, unsigned flags) __asm__("io_uring_queue_init");
int shim_ring(unsigned entries, io_uring* ring, unsigned flags) {
  if (state.armed)
    if (const int error = error_of(take(Call::ring)); error != 0) return -error;
  return next<int(unsigned, io_uring*, unsigned)>("io_uring_queue_init")(entries, ring, flags);
}

int shim_submit(io_uring* ring) __asm__("io_uring_submit");
int shim_submit(io_uring* ring) {
  return submitting(ring, [&] { return next<int(io_uring*)>("io_uring_submit")(ring); });
}
int shim_submit_and_wait(io_uring* ring, unsigned count) __asm__("io_uring_submit_and_wait");
int shim_submit_and_wait(io_uring* ring, unsigned count) {
  return submitting(ring, [&] {
    return next<int(io_uring*, unsigned)>("io_uring_submit_and_wait")(ring, count);
  });
}
int shim_get_cqe(io_uring* ring, io_uring_cqe** to, unsigned submit, unsigned wait,
                 void* mask) __asm__("__io_uring_get_cqe");
int shim_get_cqe(io_uring* ring, io_uring_cqe** to, unsigned submit, unsigned wait, void* mask) {
  if (state.armed)
    if (const int error = error_of(take(Call::ring_wait)); error != 0) {
      *to = nullptr;
      return -error;
    }
  return next<int(io_uring*, io_uring_cqe**, unsigned, unsigned, void*)>("__io_uring_get_cqe")(
      ring, to, submit, wait, mask);
}

#endif
}
