// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What a training run needs to go on: weights, rows, the optimizer's state, step and seed, in one
// safetensors file that is there whole or not at all. The same list of tensors saves and loads.
// docs/checkpoints.md has the format.
//
//   const std::vector<CheckpointTensor> tensors = {
//       checkpoint_codes("layers.1.table", DType::bf16, store),
//       checkpoint_tensor("layers.1.state", state)};
//   save_checkpoint("run.safetensors", {step, seed, layout_digest(layout), {}}, tensors);
//
//   auto saved = Checkpoint::open("run.safetensors", layout_digest(layout));
//   saved.value().read(tensors).value();
//   step = saved.value().info().step;

#include <engram/core/scalar.hpp>
#include <engram/io/safetensors_writer.hpp>
#include <engram/storage/host_store.hpp>

#include <charconv>
#include <cstring>

// Inlined, so that the size of a running hash and the code that fills it are of one version.
#if !defined(XXH_INLINE_ALL)
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

ENGRAM_BEGIN_NAMESPACE

/// A tensor of a checkpoint: its name, and the caller's memory that is saved or loaded.
struct CheckpointTensor {
  std::string name;
  DType dtype = DType::u8;
  std::vector<Index> shape;  ///< empty: one element
  View<std::byte, 2> rows;   ///< [n, bytes of a row] of any stride, together those of the shape
};

/// The element type of a file for one of memory.
template <class T>
constexpr DType dtype_of() noexcept {
  const auto is = [](auto zero) { return std::is_same_v<T, decltype(zero)>; };
  static_assert(is(0.0f) || is(0.0) || is(Bf16()) || is(F16()) || is(E4m3()) || is(E8m0()) ||
                    is(std::byte()) || is(std::int32_t()) || is(std::int64_t()) ||
                    is(std::uint64_t()),
                "engram: a checkpoint takes float, double, Bf16, F16, E4m3, E8m0, std::byte, "
                "int32, int64 and uint64; name the type and give bytes for others");
  if (is(0.0f)) return DType::f32;
  if (is(0.0)) return DType::f64;
  if (is(Bf16())) return DType::bf16;
  if (is(F16())) return DType::f16;
  if (is(E4m3())) return DType::f8_e4m3;
  if (is(E8m0())) return DType::f8_e8m0;
  if (is(std::int32_t())) return DType::i32;
  if (is(std::int64_t())) return DType::i64;
  return is(std::uint64_t()) ? DType::u64 : DType::u8;
}

/// An array as a tensor of a checkpoint.
template <class T>
CheckpointTensor checkpoint_tensor(std::string name, const View<T, 1>& array) {
  return {std::move(name),
          dtype_of<T>(),
          {array.size()},
          View<std::byte, 2>(reinterpret_cast<std::byte*>(array.data()), 1,
                             array.size() * Index{sizeof(T)})};
}
template <class T>
CheckpointTensor checkpoint_tensor(std::string name, const View<T, 2>& array) {
  constexpr auto size = Index{sizeof(T)};
  return {std::move(name),
          dtype_of<T>(),
          {array.extent(0), array.extent(1)},
          View<std::byte, 2>(reinterpret_cast<std::byte*>(array.data()), array.extent(0),
                             array.extent(1) * size)
              .with_stride<0>(array.stride(0) * size)};
}

/// The codes of a store's rows, [num_rows, elements of a row]; what lies between rows is left out.
/// `dtype`: of an element, one of whole bytes.
inline CheckpointTensor checkpoint_codes(std::string name, DType dtype, HostStore& store) {
  return {std::move(name),
          dtype,
          {store.num_rows(), store.row_bytes() / bytes_of(dtype)},
          View<std::byte, 2>(store.mutable_ref().base, store.num_rows(), store.row_bytes())
              .with_stride<0>(store.stride())};
}
/// The same of the scales, for a store that has some.
inline CheckpointTensor checkpoint_scales(std::string name, DType dtype, HostStore& store) {
  const MutableStridedRows rows = store.mutable_ref();
  return {std::move(name),
          dtype,
          {store.num_rows(), store.scale_bytes() / bytes_of(dtype)},
          View<std::byte, 2>(rows.base + rows.scale_offset, store.num_rows(), store.scale_bytes())
              .with_stride<0>(store.stride())};
}

/// What a checkpoint says besides its tensors.
struct CheckpointInfo {
  std::uint64_t step = 0;
  std::uint64_t seed = 0;
  std::string layout_digest;           ///< layout_digest(layout): the addresses the rows were for
  SafetensorsFile::Metadata metadata;  ///< the caller's; no key begins with "engram."
};

/// Writes a checkpoint and syncs it to the disk (Sync::disk). Until that is done, and after any
/// failure, crash or power cut before, the file of that name is the one that was there.
///
/// Fails with invalid_config, before anything is written, for tensors that write_safetensors()
/// would refuse, without memory, or with a reserved name or key; with io as write_file_with().
/// Cost  one pass over the tensors; of the library's, a buffer of 1 MiB for rows with gaps.
inline Result<void> save_checkpoint(const std::string& path, const CheckpointInfo& info,
                                    std::span<const CheckpointTensor> tensors);

/// Tensors of the file that the caller did not ask for.
enum class OtherTensors {
  refuse,
  ignore,
};

/// A checkpoint, open for reading. Stays readable when another is saved under its name. One thread.
class Checkpoint {
 public:
  /// Reads what the checkpoint says about itself, not yet its tensors.
  ///
  /// Fails with mismatch when it was made for another layout, naming both digests; with unsupported
  /// for a safetensors file that is no checkpoint, or one of another format; else as
  /// SafetensorsFile::open().
  static Result<Checkpoint> open(const std::string& path, std::string_view layout_digest);

  /// To be relied on once read() has found the file undamaged.
  const CheckpointInfo& info() const noexcept { return info_; }
  const SafetensorsFile& file() const noexcept { return header_; }

  /// Reads the tensors into the caller's memory. The whole file is checked first: that it has each
  /// tensor, with that type and shape, and no other, and that its bytes are those that were saved.
  /// Where the answer is no, nothing of the caller's is written.
  ///
  /// Fails with mismatch (a tensor is missing, of another type or shape, or not asked for),
  /// shape_mismatch (memory that is not as large as its shape; index: the bytes expected), corrupt
  /// (damaged), or io; the last two while the tensors are read, which is after the check, when the
  /// file fails in between or gives other bytes than it did: then a part may be written.
  /// Cost  two passes over the file.
  Result<void> read(std::span<const CheckpointTensor> tensors,
                    OtherTensors others = OtherTensors::refuse);

 private:
  static constexpr Index block_bytes = Index{1} << 20;

  Checkpoint(SafetensorsFile header, SeekableFile input)
      : header_(std::move(header)), input_(std::move(input)) {}

  Result<void> read_info(std::string_view layout_digest);
  Result<void> check_tensors(std::span<const CheckpointTensor> tensors, OtherTensors others) const;
  Result<void> check_tensor(const CheckpointTensor& tensor) const;
  Result<void> check_digest();
  /// `digest`: the XXH3 of what was read.
  Result<void> read_rows(Index offset, const View<std::byte, 2>& to, XXH64_hash_t& digest);
  Result<void> read_bytes(Index offset, std::byte* to, Index bytes);

  SafetensorsFile header_;
  SeekableFile input_;
  CheckpointInfo info_;
  std::vector<std::byte> block_;       // what is read and not yet where it belongs
  XXH64_hash_t front_ = 0;             // XXH3 of what open() read
  std::vector<XXH64_hash_t> tensors_;  // of each tensor as it was checked
};

namespace checkpoint_format {
/// Keys of the metadata.
inline constexpr std::string_view reserved = "engram.", version_key = "engram.checkpoint",
                                  version = "2", step_key = "engram.step", seed_key = "engram.seed",
                                  layout_key = "engram.layout_digest";
/// The last tensor, U8 [8]: XXH3 (64 bits, no seed) of all bytes of the file before it, highest
/// byte first. It finds damage; it is no defence against forgery.
inline constexpr std::string_view digest_name = "engram.checkpoint_digest";
inline constexpr Index digest_bytes = sizeof(XXH64_canonical_t);

/// A tensor's type and shape for a sentence: "F32 [3, 4]".
inline std::string describe(DType dtype, const std::vector<Index>& shape) {
  std::string text = sentence({to_string(dtype), " ["});
  for (std::size_t d = 0; d < shape.size(); ++d) text += sentence({d == 0 ? "" : ", ", shape[d]});
  return text + "]";
}
}  // namespace checkpoint_format

inline Result<void> save_checkpoint(const std::string& path, const CheckpointInfo& info,
                                    std::span<const CheckpointTensor> tensors) {
  namespace format = checkpoint_format;
  SafetensorsFile::Metadata metadata = {
      {std::string(format::version_key), std::string(format::version)},
      {std::string(format::step_key), std::to_string(info.step)},
      {std::string(format::seed_key), std::to_string(info.seed)},
      {std::string(format::layout_key), info.layout_digest}};
  for (const auto& [key, text] : info.metadata) {
    if (key.starts_with(format::reserved))
      return fail(Code::invalid_config, {path, ": the metadata key ", quote_name(key),
                                         " is reserved: it begins with engram."});
    metadata.emplace_back(key, text);
  }
  std::vector<TensorToWrite> parts;
  for (const CheckpointTensor& tensor : tensors) {
    if (tensor.rows.data() == nullptr && tensor.rows.size() != 0)
      return fail(Code::invalid_config,
                  {path, ": tensor ", quote_name(tensor.name), " has no memory"});
    parts.push_back({tensor.name, tensor.dtype, tensor.shape, Bytes(), tensor.rows});
  }
  XXH64_canonical_t digest = {};  // filled when all that comes before it is written
  const Bytes digest_bytes(reinterpret_cast<const std::byte*>(digest.digest), format::digest_bytes);
  parts.push_back(
      {std::string(format::digest_name), DType::u8, {format::digest_bytes}, digest_bytes});
  const Result<std::string> front = safetensors_front(path, parts, metadata);
  if (!front.ok()) return front.failure();
  parts.pop_back();
  return write_file_with(path, Sync::disk, [&](OutputFile& file) {
    XXH3_state_t running;
    XXH3_64bits_reset(&running);
    const auto write = [&](Bytes piece) {
      if (file.error() != 0) return;
      XXH3_64bits_update(&running, piece.data(), static_cast<std::size_t>(piece.size()));
      file.write(piece);
    };
    write(as_bytes(front.value()));
    for (const TensorToWrite& part : parts) for_each_piece(part, write);
    XXH64_canonicalFromHash(&digest, XXH3_64bits_digest(&running));
    file.write(digest_bytes);
  });
}

inline Result<Checkpoint> Checkpoint::open(const std::string& path,
                                           std::string_view layout_digest) {
  Result<SeekableFile> input = SeekableFile::open(path);
  if (!input.ok()) return input.failure();
  // Not SafetensorsFile::open(): by then another file may have this name.
  const Result<Index> size = input.value().size();
  if (!size.ok()) return size.failure();
  std::byte first[8];
  const Result<Index> got = input.value().read(0, first, 8);
  if (!got.ok()) return got.failure();
  const Result<Index> length =
      SafetensorsFile::header_bytes(Bytes(first, got.value()), size.value(), path);
  if (!length.ok()) return length.failure();
  std::string text(static_cast<std::size_t>(length.value()), '\0');
  const Result<Index> read = input.value().read(8, text.data(), length.value());
  if (!read.ok()) return read.failure();
  text.resize(static_cast<std::size_t>(read.value()));  // shorter when the file shrinks meanwhile
  Result<SafetensorsFile> header = SafetensorsFile::parse(text, size.value(), path);
  if (!header.ok()) return header.failure();
  Checkpoint checkpoint(std::move(header).value(), std::move(input).value());
  XXH3_state_t front;
  XXH3_64bits_reset(&front);
  XXH3_64bits_update(&front, first, sizeof first);
  XXH3_64bits_update(&front, text.data(), text.size());
  checkpoint.front_ = XXH3_64bits_digest(&front);
  if (Result<void> known = checkpoint.read_info(layout_digest); !known.ok()) return known.failure();
  return checkpoint;
}

inline Result<void> Checkpoint::read_info(std::string_view layout_digest) {
  namespace format = checkpoint_format;
  const std::string& path = header_.path();
  const std::string* const version = header_.metadata(format::version_key);
  if (version == nullptr)
    return fail(Code::unsupported, {path, ": no checkpoint, its metadata lacks the key ",
                                    quote_name(format::version_key)});
  if (*version != format::version)
    return fail(Code::unsupported, {path, ": a checkpoint of format ", quote_name(*version),
                                    ", this version reads ", format::version});
  const std::string* const layout = header_.metadata(format::layout_key);
  if (layout == nullptr)
    return fail(Code::corrupt,
                {path, ": its metadata lacks the key ", quote_name(format::layout_key)});
  if (*layout != layout_digest)
    return fail(Code::mismatch, {path, ": saved for layout ", quote_name(*layout), ", expected ",
                                 quote_name(layout_digest)});
  info_.layout_digest = *layout;
  for (const auto& [key, number] :
       {std::pair(format::step_key, &info_.step), std::pair(format::seed_key, &info_.seed)}) {
    const std::string* const digits = header_.metadata(key);
    const char* const end = digits ? digits->data() + digits->size() : nullptr;
    const auto read = digits ? std::from_chars(digits->data(), end, *number)
                             : std::from_chars_result{nullptr, std::errc::invalid_argument};
    if (read.ec != std::errc() || read.ptr != end)
      return fail(Code::corrupt,
                  {path, ": ", quote_name(key), " is ", digits ? quote_name(*digits) : "missing",
                   ", expected a whole number of 64 bits"});
  }
  for (const auto& pair : header_.metadata())
    if (!pair.first.starts_with(format::reserved)) info_.metadata.push_back(pair);
  const TensorInfo* const digest = header_.find(format::digest_name);
  if (digest == nullptr || digest != &header_.tensors().back() || digest->dtype != DType::u8 ||
      digest->bytes != format::digest_bytes)
    return fail(Code::corrupt,
                {path, ": the last tensor is not ", quote_name(format::digest_name), ", U8 [8]"});
  return {};
}

inline Result<void> Checkpoint::check_tensor(const CheckpointTensor& tensor) const {
  namespace format = checkpoint_format;
  const TensorInfo* const there = header_.find(tensor.name);
  const auto differs = [&](const std::string& found) {
    return fail(Code::mismatch,
                {header_.path(), ": tensor ", quote_name(tensor.name), " is ", found, ", expected ",
                 format::describe(tensor.dtype, tensor.shape)});
  };
  if (there == nullptr) return differs("missing");
  if (there->dtype != tensor.dtype || there->shape != tensor.shape)
    return differs(format::describe(there->dtype, there->shape));
  if (tensor.rows.size() != there->bytes || (tensor.rows.data() == nullptr && there->bytes != 0))
    return fail(Code::shape_mismatch,
                {header_.path(), ": tensor ", quote_name(tensor.name), " has ", there->bytes,
                 " bytes, there is room for ", tensor.rows.data() ? tensor.rows.size() : 0},
                there->bytes);
  return {};
}

inline Result<void> Checkpoint::check_tensors(std::span<const CheckpointTensor> tensors,
                                              OtherTensors others) const {
  std::vector<std::string_view> asked = {checkpoint_format::digest_name};
  for (const CheckpointTensor& tensor : tensors) {
    if (Result<void> fits = check_tensor(tensor); !fits.ok()) return fits;
    asked.push_back(tensor.name);
  }
  std::sort(asked.begin(), asked.end());
  for (const TensorInfo& there : header_.tensors())
    if (others == OtherTensors::refuse &&
        !std::binary_search(asked.begin(), asked.end(), there.name))
      return fail(Code::mismatch, {header_.path(), ": tensor ", quote_name(there.name), ", ",
                                   checkpoint_format::describe(there.dtype, there.shape),
                                   ", is none of those expected"});
  return {};
}

inline Result<void> Checkpoint::read_bytes(Index offset, std::byte* to, Index bytes) {
  const Result<Index> got = input_.read(offset, to, bytes);
  if (!got.ok()) return got.failure();
  if (got.value() != bytes)
    return fail(Code::corrupt,
                {header_.path(), ": the file ends at byte ", offset + got.value(),
                 ", it was longer when it was opened"},
                offset + got.value());
  return {};
}

inline Result<void> Checkpoint::check_digest() {
  const auto damaged = [&] {
    return fail(Code::corrupt,
                {header_.path(), ": damaged, its XXH3 is not the one saved with it"});
  };
  XXH3_state_t running;
  XXH3_64bits_reset(&running);
  block_.resize(static_cast<std::size_t>(block_bytes));
  Index at = 0;
  const auto read_up_to = [&](Index end, XXH64_hash_t& digest) -> Result<void> {
    XXH3_state_t part;
    XXH3_64bits_reset(&part);
    for (Index bytes = 0; at < end; at += bytes) {
      bytes = std::min(block_bytes, end - at);
      if (Result<void> read = read_bytes(at, block_.data(), bytes); !read.ok()) return read;
      XXH3_64bits_update(&running, block_.data(), static_cast<std::size_t>(bytes));
      XXH3_64bits_update(&part, block_.data(), static_cast<std::size_t>(bytes));
    }
    digest = XXH3_64bits_digest(&part);
    return {};
  };
  const std::vector<TensorInfo>& tensors = header_.tensors();
  XXH64_hash_t front = 0;
  if (Result<void> read = read_up_to(tensors.front().file_offset, front); !read.ok()) return read;
  if (front != front_) return damaged();
  tensors_.assign(tensors.size(), 0);
  for (std::size_t t = 0; t + 1 < tensors.size(); ++t)
    if (Result<void> read = read_up_to(tensors[t].file_offset + tensors[t].bytes, tensors_[t]);
        !read.ok())
      return read;
  XXH64_canonical_t saved;
  Result<void> read =
      read_bytes(at, reinterpret_cast<std::byte*>(saved.digest), checkpoint_format::digest_bytes);
  if (!read.ok()) return read;
  if (XXH64_hashFromCanonical(&saved) != XXH3_64bits_digest(&running)) return damaged();
  tensors_.back() = XXH3_64bits(saved.digest, sizeof saved.digest);
  return {};
}

inline Result<void> Checkpoint::read_rows(Index offset, const View<std::byte, 2>& to,
                                          XXH64_hash_t& digest) {
  const Index row_bytes = to.extent(1);
  if (to.size() == 0 || to.extent(0) == 1 || to.stride(0) == row_bytes) {
    if (Result<void> read = read_bytes(offset, to.data(), to.size()); !read.ok()) return read;
    digest = XXH3_64bits(to.data(), static_cast<std::size_t>(to.size()));
    return {};
  }
  XXH3_state_t running;
  XXH3_64bits_reset(&running);
  const Index most = std::max<Index>(1, block_bytes / row_bytes);
  block_.resize(static_cast<std::size_t>(most * row_bytes));
  for (Index row = 0; row < to.extent(0); row += most) {
    const Index rows = std::min(most, to.extent(0) - row);
    Result<void> read = read_bytes(offset + row * row_bytes, block_.data(), rows * row_bytes);
    if (!read.ok()) return read;
    XXH3_64bits_update(&running, block_.data(), static_cast<std::size_t>(rows * row_bytes));
    for (Index i = 0; i < rows; ++i)
      std::memcpy(&to(row + i, 0), block_.data() + i * row_bytes,
                  static_cast<std::size_t>(row_bytes));
  }
  digest = XXH3_64bits_digest(&running);
  return {};
}

inline Result<void> Checkpoint::read(std::span<const CheckpointTensor> tensors,
                                     OtherTensors others) {
  if (Result<void> fits = check_tensors(tensors, others); !fits.ok()) return fits;
  if (Result<void> whole = check_digest(); !whole.ok()) return whole;
  for (const CheckpointTensor& tensor : tensors) {
    const TensorInfo* const there = header_.find(tensor.name);
    XXH64_hash_t digest = 0;
    if (Result<void> read = read_rows(there->file_offset, tensor.rows, digest); !read.ok())
      return read;
    if (digest != tensors_[static_cast<std::size_t>(there - header_.tensors().data())])
      return fail(Code::corrupt, {header_.path(), ": tensor ", quote_name(tensor.name),
                                  " was read as other bytes than those that were checked"});
  }
  return {};
}

ENGRAM_END_NAMESPACE
