// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whole small files in one call: configurations, tokenizers, token maps. A failure is a sentence
// with the path and the system's reason, and a file that could not be written to its end never
// stands under its final name. Tables are not read this way: see storage/.

#include <engram/core/bytes.hpp>
#include <engram/core/file_failure.hpp>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#if !defined(_WIN32)
#include <fcntl.h>
#include <unistd.h>
#endif

ENGRAM_BEGIN_NAMESPACE

/// The bytes of a file, or of anything else that can be read to an end (a pipe).
///
/// Fails with io (system_error: errno); a directory is refused that way.
inline Result<std::string> read_file(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* f) const noexcept { std::fclose(f); }
  };
  errno = 0;
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) return file_failure("open", path, errno);
  std::string bytes;
  std::size_t used = 0;
  for (;;) {
    bytes.resize(used < 65536 ? 65536 : 2 * used);
    errno = 0;
    const std::size_t got = std::fread(bytes.data() + used, 1, bytes.size() - used, file.get());
    used += got;
    if (used < bytes.size()) break;
  }
  if (std::ferror(file.get()) != 0) return file_failure("read", path, errno);
  bytes.resize(used);
  return bytes;
}

/// read_file() of a regular file; anything else, which might never end, is refused with io.
inline Result<std::string> read_regular_file(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    return file_failure("read", path, std::filesystem::is_directory(status) ? EISDIR : ESPIPE);
  return read_file(path);
}

/// What must hold of a written file before the call returns.
enum class Sync {
  none,  ///< the system has it: after a power cut it may be missing or empty
  disk,  ///< the disk has its bytes and its name: fsync of the file before it is renamed, then of
         ///< its directory; what has no fsync (a pipe, some systems' directories) goes without.
         ///< The same as none on Windows.
};

/// A file open for writing. Keeps the first error, and writes nothing after it. One thread.
class OutputFile {
 public:
  /// `mode`: of fopen.
  OutputFile(const std::string& path, const char* mode) {
    errno = 0;
    file_ = std::fopen(path.c_str(), mode);
    if (file_ == nullptr) keep_error();
  }
  ~OutputFile() { (void)close(Sync::none); }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(Bytes bytes) noexcept {
    const auto size = static_cast<std::size_t>(bytes.size());
    if (error_ == 0 && file_ == nullptr) error_ = EBADF;
    if (error_ == 0 && size != 0 && std::fwrite(bytes.data(), 1, size, file_) != size) keep_error();
  }

  /// errno of the first thing that failed; 0: nothing did.
  int error() const noexcept { return error_; }

  /// Ends the file and gives error().
  int close([[maybe_unused]] Sync sync) noexcept {
    if (file_ == nullptr) return error_;
    if (std::fflush(file_) != 0) keep_error();
#if !defined(_WIN32)
    if (sync == Sync::disk && error_ == 0 && ::fsync(fileno(file_)) != 0 && errno != EINVAL)
      keep_error();
#endif
    if (std::fclose(file_) != 0) keep_error();
    file_ = nullptr;
    return error_;
  }

 private:
  void keep_error() noexcept {
    if (error_ == 0) error_ = errno != 0 ? errno : EIO;
  }

  std::FILE* file_ = nullptr;
  int error_ = 0;
};

/// Opens a file in a mode of fopen and has it written by `body(OutputFile&)`; `created` says
/// whether it could be opened. After a failure some of the bytes may be there.
template <class Body>
Result<void> write_in_place(const std::string& path, const Body& body, Sync sync, bool& created,
                            const char* mode = "wb") {
  OutputFile file(path, mode);
  created = file.error() == 0;
  if (!created) return file_failure("create", path, file.error());
  body(file);
  if (const int error = file.close(sync); error != 0) return file_failure("write", path, error);
  return {};
}

/// Makes the names in a directory last, see Sync::disk.
inline Result<void> sync_directory([[maybe_unused]] const std::string& path) {
#if !defined(_WIN32)
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int error = directory < 0 ? errno : 0;
  if (directory >= 0 && ::fsync(directory) != 0 && errno != EINVAL) error = errno;
  if (directory >= 0) ::close(directory);
  if (error != 0) return file_failure("sync directory", path, error);
#endif
  return {};
}

/// Replaces or creates the file: writes a new file `path`.tmp0 (or .tmp1, ... when that name is
/// taken, by whatever it may be), then renames it. After a failure the old file,
/// if any, is as it was and the temporary one is gone; only when the directory cannot be synced at
/// the end, the new file is there. A process that is killed leaves the temporary file.
/// The new file has the old one's permissions.
/// A symbolic link stays and its target is replaced. A device, a pipe and what a dangling link
/// names are written in place, where a failure can leave a part and only the bytes are synced. Two
/// writers of one path at a time are the caller's error.
///
/// body  writes the bytes: body(OutputFile&).
///
/// Fails with io (system_error: errno); a directory is refused that way.
template <class Body>
Result<void> write_file_with(const std::string& path, Sync sync, const Body& body) {
  namespace fs = std::filesystem;
  std::error_code error;
  bool created = false;
  fs::path target(path);
  const auto failed = [&] { return file_failure("write", path, error.value()); };
  const fs::file_status named = fs::symlink_status(target, error);
  if (!fs::status_known(named)) return failed();
  if (fs::is_symlink(named)) {
    target = fs::canonical(target, error);
    if (error == std::errc::no_such_file_or_directory)
      return write_in_place(path, body, sync, created);
    if (error) return failed();
  }
  const fs::file_status there = fs::status(target, error);
  if (!fs::status_known(there)) return failed();
  if (fs::is_directory(there)) return file_failure("write", path, EISDIR);
  if (fs::exists(there) && !fs::is_regular_file(there))
    return write_in_place(path, body, sync, created);
  const std::string final_path = target.string();
  std::string partial;
  for (int number = 0; number < 100 && !created; ++number) {
    partial = final_path + ".tmp" + std::to_string(number);
    const Result<void> written = write_in_place(partial, body, sync, created, "wbx");
    if (written.ok()) break;
    if (created) std::remove(partial.c_str());
    if (created || written.status().system_error != EEXIST)
      return file_failure("write", path, written.status().system_error);
  }
  if (!created) return file_failure("write", path, EEXIST);
  error.clear();
  if (fs::exists(there) && fs::status(partial, error).permissions() != there.permissions()) {
    fs::permissions(partial, there.permissions(), error);
    if (error) {
      std::remove(partial.c_str());
      return failed();
    }
  }
  fs::rename(partial, target, error);
  if (error) {
    std::remove(partial.c_str());
    return file_failure("rename to", final_path, error.value());
  }
  if (sync == Sync::none) return {};
  return sync_directory(target.has_parent_path() ? target.parent_path().string() : ".");
}

/// The same for bytes that are there already.
///
/// parts  the file's bytes, one part behind the other.
inline Result<void> write_file(const std::string& path, std::span<const Bytes> parts,
                               Sync sync = Sync::none) {
  return write_file_with(path, sync, [&](OutputFile& file) {
    for (const Bytes& part : parts) file.write(part);
  });
}
inline Result<void> write_file(const std::string& path, Bytes bytes, Sync sync = Sync::none) {
  return write_file(path, std::span<const Bytes>(&bytes, 1), sync);
}

ENGRAM_END_NAMESPACE
