// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Whole small files in one call: configurations, tokenizers, token maps. A failure is a sentence
// with the path and the system's reason, and a file that could not be written to its end never
// stands under its final name. Tables are not read this way: see storage/.

#include <engram/core/bytes.hpp>
#include <engram/core/status.hpp>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

ENGRAM_BEGIN_NAMESPACE

/// "cannot read x.json: No such file or directory", with errno in the status.
inline Failure file_failure(const char* action, const std::string& path, int error) {
  if (error == 0) error = EIO;
  return fail(Code::io,
              {"cannot ", action, " ", path, ": ", std::generic_category().message(error)}, -1,
              error);
}

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

/// Opens a file in a mode of fopen and writes the parts one after another; `created` says whether
/// it could be opened. After a failure some of the bytes may be there.
inline Result<void> write_in_place(const std::string& path, std::span<const Bytes> parts,
                                   bool& created, const char* mode = "wb") {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), mode);
  created = file != nullptr;
  if (!created) return file_failure("create", path, errno);
  int error = 0;
  for (const Bytes& part : parts) {
    const auto size = static_cast<std::size_t>(part.size());
    if (error == 0 && size != 0 && std::fwrite(part.data(), 1, size, file) != size)
      error = errno != 0 ? errno : EIO;
  }
  if (std::fflush(file) != 0 && error == 0) error = errno != 0 ? errno : EIO;
  if (std::fclose(file) != 0 && error == 0) error = errno != 0 ? errno : EIO;
  if (error != 0) return file_failure("write", path, error);
  return {};
}

/// Replaces or creates the file: writes a new file `path`.tmp0 (or .tmp1, ... when that name is
/// taken, by whatever it may be), then renames it. After a failure the old file,
/// if any, is as it was and the temporary one is gone. The new file has the old one's permissions.
/// A symbolic link stays and its target is replaced. A device, a pipe and what a dangling link
/// names are written in place, where a failure can leave a part. Not flushed to the disk itself:
/// after a power cut the file may be missing or empty. Two writers of one path at a time are the
/// caller's error.
///
/// parts  the file's bytes, one part behind the other.
///
/// Fails with io (system_error: errno); a directory is refused that way.
inline Result<void> write_file(const std::string& path, std::span<const Bytes> parts) {
  namespace fs = std::filesystem;
  std::error_code error;
  bool created = false;
  fs::path target(path);
  if (fs::is_symlink(fs::symlink_status(target, error))) {
    target = fs::canonical(target, error);
    if (error) return write_in_place(path, parts, created);
  }
  const fs::file_status there = fs::status(target, error);
  if (fs::is_directory(there)) return file_failure("write", path, EISDIR);
  if (fs::exists(there) && !fs::is_regular_file(there)) return write_in_place(path, parts, created);
  const std::string final_path = target.string();
  std::string partial;
  for (int number = 0; number < 100 && !created; ++number) {
    partial = final_path + ".tmp" + std::to_string(number);
    const Result<void> written = write_in_place(partial, parts, created, "wbx");
    if (written.ok()) break;
    if (created) std::remove(partial.c_str());
    if (created || written.status().system_error != EEXIST)
      return file_failure("write", path, written.status().system_error);
  }
  if (!created) return file_failure("write", path, EEXIST);
  if (fs::exists(there)) fs::permissions(partial, there.permissions(), error);
  fs::rename(partial, target, error);
  if (error) {
    std::remove(partial.c_str());
    return file_failure("rename to", final_path, error.value());
  }
  return {};
}
inline Result<void> write_file(const std::string& path, Bytes bytes) {
  return write_file(path, std::span<const Bytes>(&bytes, 1));
}

ENGRAM_END_NAMESPACE
