// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The header of a GGUF file, versions 2 and 3, little-endian: keys with typed values, then where
// each tensor lies. Nothing says how long the header is, so it is read piece by piece; and as it
// may come from anywhere, every count, length and offset is held against the file's size before
// memory is taken for it.

#include <engram/core/bytes.hpp>
#include <engram/core/status.hpp>
#include <engram/io/gguf_types.hpp>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// The value of a key: a number, a string, or an array of either.
class GgufValue {
 public:
  /// Of the value, or of the elements of an array.
  GgufType type() const noexcept { return type_; }
  bool is_array() const noexcept { return is_array_; }
  /// Elements; 1 when it is no array.
  Index size() const noexcept { return size_; }

  // Element i, from 0 on; empty beyond the end, and when it is of another kind.
  /// An integer of any width that fits.
  std::optional<std::int64_t> integer(Index i = 0) const noexcept;
  /// The same from 0 on.
  std::optional<std::uint64_t> natural(Index i = 0) const noexcept;
  /// An f32 or f64.
  std::optional<double> real(Index i = 0) const noexcept;
  std::optional<bool> boolean(Index i = 0) const noexcept;
  /// Any bytes. Valid as long as the value.
  std::optional<std::string_view> text(Index i = 0) const noexcept;

  /// "u32" or "an array of 3 i32", for sentences.
  std::string describe() const;

 private:
  friend class GgufHeaderReader;
  std::uint64_t bits(Index i) const noexcept;

  GgufType type_ = GgufType::u8;
  bool is_array_ = false;
  Index size_ = 1;
  std::string bytes_;              // numbers little-endian, texts, one behind the other
  std::vector<std::size_t> ends_;  // of strings, in bytes_
};

/// One tensor of a file.
struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::f32;
  std::vector<Index> shape;  ///< as the file has it, the dimension that is contiguous first
  Index file_offset = 0;     ///< of its first byte, from the start of the file
  Index bytes = 0;           ///< -1: nobody here knows the type's size
};

/// The header of a GGUF file, checked. Const calls may run concurrently.
class GgufFile {
 public:
  using Keys = std::vector<std::pair<std::string, GgufValue>>;
  /// A header may be this long: ten times that of a model with a large tokenizer.
  static constexpr Index max_header_bytes = Index{1} << 28;
  /// Longest names, as in the reference implementation.
  static constexpr Index max_key_bytes = 65535, max_name_bytes = 64, max_dimensions = 4;

  /// Reads the header of a file and nothing else of it. Include io/gguf.hpp.
  ///
  /// Fails with io; with unsupported for another kind of file, byte order or version; with corrupt
  /// for a header that contradicts itself or the file's size (index: a byte offset).
  /// Cost  n log n in keys and tensors; memory some ten times the header's bytes at most.
  static Result<GgufFile> open(const std::string& path);

  /// The same of a header that is in memory. `start`: the file's first bytes; `file_size` counts
  /// all of them; `name` is the file's name.
  static Result<GgufFile> parse(Bytes start, Index file_size, const std::string& name);

  const std::string& path() const noexcept { return path_; }
  std::uint32_t version() const noexcept { return version_; }
  Index file_size() const noexcept { return file_size_; }
  /// In the order of the file.
  const Keys& keys() const noexcept { return keys_; }
  /// Null when there is none of that name. Logarithmic.
  const GgufValue* key(std::string_view name) const noexcept;
  /// In the order of their data in the file.
  const std::vector<GgufTensor>& tensors() const noexcept { return tensors_; }
  /// Null when there is none of that name. Logarithmic.
  const GgufTensor* find(std::string_view name) const noexcept;

 private:
  friend class GgufHeaderReader;
  std::string path_;
  std::uint32_t version_ = 0;
  Index file_size_ = 0;
  Keys keys_;
  std::vector<GgufTensor> tensors_;
  std::vector<std::size_t> keys_by_name_, tensors_by_name_;  // places, sorted by name
};

inline std::uint64_t GgufValue::bits(Index i) const noexcept {
  const Index width = bytes_of(type_);
  std::uint64_t value = 0;
  for (Index b = width; b-- > 0;)
    value =
        value << 8 | static_cast<unsigned char>(bytes_[static_cast<std::size_t>(i * width + b)]);
  return value;
}

inline std::optional<std::int64_t> GgufValue::integer(Index i) const noexcept {
  if (i >= size_) return std::nullopt;
  const std::uint64_t value = bits(i);
  switch (type_) {
    case GgufType::i8:
      return static_cast<std::int8_t>(value);
    case GgufType::i16:
      return static_cast<std::int16_t>(value);
    case GgufType::i32:
      return static_cast<std::int32_t>(value);
    case GgufType::u8:
    case GgufType::u16:
    case GgufType::u32:
    case GgufType::i64:
      return static_cast<std::int64_t>(value);
    case GgufType::u64:
      if (value <= INT64_MAX) return static_cast<std::int64_t>(value);
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

inline std::optional<std::uint64_t> GgufValue::natural(Index i) const noexcept {
  if (type_ == GgufType::u64 && i < size_) return bits(i);
  const std::optional<std::int64_t> value = integer(i);
  return value && *value >= 0 ? std::optional(static_cast<std::uint64_t>(*value)) : std::nullopt;
}

inline std::optional<double> GgufValue::real(Index i) const noexcept {
  if (i >= size_) return std::nullopt;
  if (type_ == GgufType::f32)
    return static_cast<double>(__builtin_bit_cast(float, static_cast<std::uint32_t>(bits(i))));
  if (type_ == GgufType::f64) return __builtin_bit_cast(double, bits(i));
  return std::nullopt;
}

inline std::optional<bool> GgufValue::boolean(Index i) const noexcept {
  return type_ == GgufType::boolean && i < size_ ? std::optional(bits(i) != 0) : std::nullopt;
}

inline std::optional<std::string_view> GgufValue::text(Index i) const noexcept {
  if (type_ != GgufType::string || i >= size_) return std::nullopt;
  const auto at = static_cast<std::size_t>(i);
  const std::size_t begin = at == 0 ? 0 : ends_[at - 1];
  return std::string_view(bytes_).substr(begin, ends_[at] - begin);
}

inline std::string GgufValue::describe() const {
  if (!is_array_) return to_string(type_);
  return sentence({"an array of ", size_, " ", to_string(type_)});
}

ENGRAM_END_NAMESPACE
