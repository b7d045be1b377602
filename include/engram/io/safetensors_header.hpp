// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The header of a safetensors file. A file is eight bytes with the header's length (little-endian),
// the header in JSON, then the data. It may come from anywhere, so the header is believed only
// where it agrees with itself and with the file's size: every byte of the data belongs to exactly
// one tensor, and each tensor has the bytes that its shape and type ask for.

#include <engram/core/bytes.hpp>
#include <engram/io/dtype.hpp>
#include <engram/io/json_names.hpp>

#include <algorithm>
#include <limits>
#include <vector>

ENGRAM_BEGIN_NAMESPACE

/// One tensor of a file.
struct TensorInfo {
  std::string name;
  DType dtype = DType::u8;
  std::vector<Index> shape;  ///< empty: one element
  Index file_offset = 0;     ///< of its first byte, from the start of the file
  Index bytes = 0;
};

/// The header of a safetensors file, checked. Const calls may run concurrently.
class SafetensorsFile {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;
  /// A header may be this long, as in the reference implementation.
  static constexpr Index max_header_bytes = 100000000;

  /// Reads the header of a file and nothing else of it. Include io/safetensors.hpp.
  ///
  /// Fails with io; with corrupt when the file and its header do not agree, or a tensor does not
  /// with another (index: byte offset in the header, or the tensor's place in it, -1 when it is of
  /// the whole); with unsupported for an element type that is not in DType.
  /// Cost  n log n in the tensors; the header's tree takes some ten times the header's bytes.
  static Result<SafetensorsFile> open(const std::string& path);

  /// The same from the header's text, without the eight bytes before it. `file_size` counts all
  /// bytes of the file; `name` is the file's name.
  static Result<SafetensorsFile> parse(std::string_view header, Index file_size,
                                       const std::string& name);

  /// The header's length, which the file's first eight bytes give. `first` [up to 8] bytes.
  static Result<Index> header_bytes(Bytes first, Index file_size, const std::string& name);

  const std::string& path() const noexcept { return path_; }
  /// In the order of their data in the file.
  const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }
  /// Null when there is none of that name. Logarithmic.
  const TensorInfo* find(std::string_view name) const noexcept;
  /// The texts of `__metadata__`, in the order of the file.
  const Metadata& metadata() const noexcept { return metadata_; }
  /// One of them; null when there is none.
  const std::string* metadata(std::string_view key) const noexcept;

 private:
  friend class SafetensorsHeaderReader;
  std::string path_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::size_t> by_name_;  // places in tensors_, sorted by name
  Metadata metadata_;
};

/// Does the work of SafetensorsFile::parse(), once.
class SafetensorsHeaderReader {
 public:
  SafetensorsHeaderReader(const std::string& name, Index data_begin, Index data_bytes)
      : name_(name), data_begin_(data_begin), data_bytes_(data_bytes) {}

  Result<SafetensorsFile> read(const Json& root);

 private:
  Failure corrupt(std::initializer_list<Piece> reason) const {
    return fail(Code::corrupt, {name_, ": ", item_, sentence(reason)}, place_);
  }
  Result<void> read_metadata(const Json& value);
  Result<void> read_entry(const std::string& name, const Json& value);
  Result<void> read_dtype(const Json* value, TensorInfo& tensor) const;
  /// The bytes that shape and type ask for.
  Result<Index> read_shape(const Json* value, TensorInfo& tensor) const;
  Result<void> read_offsets(const Json* value, Index expected, TensorInfo& tensor) const;
  Result<void> check_cover();

  const std::string& name_;
  const Index data_begin_, data_bytes_;
  std::string item_;  // what the sentences are about: empty, or "tensor "x": "
  Index place_ = -1;
  SafetensorsFile out_;
};

inline Result<void> SafetensorsHeaderReader::read_metadata(const Json& value) {
  const Json::Object* object = value.as_object();
  if (object == nullptr)
    return corrupt({"__metadata__ is ", to_string(value.kind()), ", expected an object"});
  if (const std::string* key = repeated_key(*object))
    return corrupt({"__metadata__: the key ", quote_name(*key), " occurs twice"});
  for (const auto& [key, text] : *object) {
    if (text.as_string() == nullptr)
      return corrupt({"__metadata__: ", quote_name(key), " is ", to_string(text.kind()),
                      ", expected a string"});
    out_.metadata_.emplace_back(key, *text.as_string());
  }
  return {};
}

inline Result<void> SafetensorsHeaderReader::read_dtype(const Json* value,
                                                        TensorInfo& tensor) const {
  if (value == nullptr) return corrupt({"there is no dtype"});
  const std::string* text = value->as_string();
  if (text == nullptr)
    return corrupt({"the dtype is ", to_string(value->kind()), ", expected a string"});
  for (std::size_t i = 0; i < dtype_facts.size(); ++i) {
    if (*text != dtype_facts[i].name) continue;
    tensor.dtype = static_cast<DType>(i);
    return {};
  }
  return fail(Code::unsupported,
              {name_, ": ", item_, "the dtype is ", quote_name(*text),
               ", expected one of the format's, BOOL to U64"},
              place_);
}

inline Result<Index> SafetensorsHeaderReader::read_shape(const Json* value,
                                                         TensorInfo& tensor) const {
  const Json::Array* sizes = value ? value->as_array() : nullptr;
  if (sizes == nullptr)
    return corrupt({"the shape is ", value ? to_string(value->kind()) : "missing",
                    ", expected a list of sizes"});
  // Also what a size of 0 makes disappear must fit, so that the bytes of a row always do.
  Index bits = bits_of(tensor.dtype);
  bool none = false;
  for (std::size_t i = 0; i < sizes->size(); ++i) {
    const std::optional<std::uint64_t> size = (*sizes)[i].as_unsigned();
    if (!size)
      return corrupt({"shape[", i, "] is ",
                      (*sizes)[i].as_integer() ? "negative" : to_string((*sizes)[i].kind()),
                      ", expected an integer from 0 on"});
    constexpr Index most = (std::numeric_limits<Index>::max)();
    if (*size > static_cast<std::uint64_t>(most / bits))
      return corrupt({"the sizes of the shape, multiplied, go beyond 64 bits at shape[", i, "]"});
    tensor.shape.push_back(static_cast<Index>(*size));
    none = none || *size == 0;
    if (*size != 0) bits *= tensor.shape.back();
  }
  if (none) return 0;
  if (bits % 8 != 0)
    return corrupt({"its shape asks for ", bits, " bits of ", to_string(tensor.dtype),
                    ", which end inside a byte"});
  return bits / 8;
}

inline Result<void> SafetensorsHeaderReader::read_offsets(const Json* value, Index expected,
                                                          TensorInfo& tensor) const {
  const Json::Array* pair = value ? value->as_array() : nullptr;
  if (pair == nullptr || pair->size() != 2 || !(*pair)[0].as_unsigned() ||
      !(*pair)[1].as_unsigned())
    return corrupt({"data_offsets are ", value ? "not two integers from 0 on" : "missing",
                    ", expected where its data begins and ends"});
  const std::uint64_t begin = *(*pair)[0].as_unsigned();
  const std::uint64_t end = *(*pair)[1].as_unsigned();
  if (begin > end) return corrupt({"data_offsets fall, from ", begin, " to ", end});
  if (end > static_cast<std::uint64_t>(data_bytes_))
    return corrupt({"its data ends at byte ", end, " of ", data_bytes_});
  tensor.file_offset = data_begin_ + static_cast<Index>(begin);
  tensor.bytes = static_cast<Index>(end - begin);
  if (tensor.bytes != expected)
    return corrupt({"data_offsets give it ", tensor.bytes, " bytes, shape and dtype ",
                    to_string(tensor.dtype), " ask for ", expected});
  return {};
}

inline Result<void> SafetensorsHeaderReader::read_entry(const std::string& name,
                                                        const Json& value) {
  item_ = sentence({"tensor ", quote_name(name), ": "});
  const Json::Object* object = value.as_object();
  if (object == nullptr)
    return corrupt({"its entry is ", to_string(value.kind()), ", expected an object"});
  if (const std::string* key = repeated_key(*object))
    return corrupt({"the key ", quote_name(*key), " occurs twice"});
  TensorInfo tensor;
  tensor.name = name;
  if (auto read = read_dtype(value.find("dtype"), tensor); !read.ok()) return read;
  const Result<Index> bytes = read_shape(value.find("shape"), tensor);
  if (!bytes.ok()) return bytes.failure();
  if (auto read = read_offsets(value.find("data_offsets"), bytes.value(), tensor); !read.ok())
    return read;
  out_.tensors_.push_back(std::move(tensor));
  return {};
}

inline Result<void> SafetensorsHeaderReader::check_cover() {
  std::vector<TensorInfo>& tensors = out_.tensors_;
  const auto begin = [this](const TensorInfo& t) { return t.file_offset - data_begin_; };
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.file_offset, a.bytes) < std::pair(b.file_offset, b.bytes);
  });
  item_.clear();
  place_ = -1;
  Index covered = 0;
  const TensorInfo* before = nullptr;
  for (const TensorInfo& tensor : tensors) {
    if (begin(tensor) < covered)
      return corrupt({"tensor ", quote_name(tensor.name), " begins at byte ", begin(tensor),
                      " of the data, inside tensor ", quote_name(before->name),
                      ", which ends at byte ", covered});
    if (begin(tensor) > covered)
      return corrupt({"bytes ", covered, " to ", begin(tensor),
                      " of the data belong to no tensor; the next is ", quote_name(tensor.name)});
    covered += tensor.bytes;
    before = &tensor;
  }
  if (covered != data_bytes_)
    return corrupt({"the tensors end at byte ", covered, " of the data, which has ", data_bytes_});
  return {};
}

inline Result<SafetensorsFile> SafetensorsHeaderReader::read(const Json& root) {
  const Json::Object& object = *root.as_object();
  if (const std::string* key = repeated_key(object))
    return corrupt({"the name ", quote_name(*key), " occurs twice"});
  for (std::size_t i = 0; i < object.size(); ++i) {
    const auto& [name, value] = object[i];
    place_ = static_cast<Index>(i);
    item_.clear();
    const auto read = name == "__metadata__" ? read_metadata(value) : read_entry(name, value);
    if (!read.ok()) return read.failure();
  }
  if (auto checked = check_cover(); !checked.ok()) return checked.failure();
  const std::vector<TensorInfo>& tensors = out_.tensors_;
  for (std::size_t i = 0; i < tensors.size(); ++i) out_.by_name_.push_back(i);
  std::sort(out_.by_name_.begin(), out_.by_name_.end(),
            [&](std::size_t a, std::size_t b) { return tensors[a].name < tensors[b].name; });
  out_.path_ = name_;
  return std::move(out_);
}

inline Result<Index> SafetensorsFile::header_bytes(Bytes first, Index file_size,
                                                   const std::string& name) {
  if (file_size < 8 || first.size() < 8)
    return fail(Code::corrupt,
                {name, ": the file has ", std::min(file_size, first.size()),
                 " bytes, expected at least the 8 of the header's length"},
                0);
  std::uint64_t size = 0;
  for (Index i = 8; i-- > 0;) size = size << 8 | std::to_integer<std::uint64_t>(first(i));
  if (size > static_cast<std::uint64_t>(max_header_bytes))
    return fail(Code::corrupt,
                {name, ": the header's length is ", size, ", expected at most ", max_header_bytes,
                 "; this is no safetensors file"},
                0);
  if (static_cast<Index>(size) > file_size - 8)
    return fail(Code::corrupt,
                {name, ": the header's length is ", size, ", and the file has only ", file_size - 8,
                 " bytes after it"},
                0);
  return static_cast<Index>(size);
}

inline Result<SafetensorsFile> SafetensorsFile::parse(std::string_view header, Index file_size,
                                                      const std::string& name) {
  const std::string place = name + ": header";
  const auto size = static_cast<Index>(header.size());
  if (size > max_header_bytes || size > file_size - 8)
    return fail(Code::corrupt, {place, ": ", size, " bytes, the file has ", file_size});
  if (header.empty() || header[0] != '{')
    return fail(Code::corrupt,
                {place, header.empty() ? ": empty" : ": does not begin with '{'",
                 ", expected an object in JSON"},
                0);
  const Result<Json> root = parse_json(header, place);
  if (!root.ok()) return root.failure();
  return SafetensorsHeaderReader(name, 8 + size, file_size - 8 - size).read(root.value());
}

inline const TensorInfo* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto at =
      std::lower_bound(by_name_.begin(), by_name_.end(), name,
                       [this](std::size_t i, std::string_view n) { return tensors_[i].name < n; });
  return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

inline const std::string* SafetensorsFile::metadata(std::string_view key) const noexcept {
  for (const auto& [name, text] : metadata_)
    if (name == key) return &text;
  return nullptr;
}

ENGRAM_END_NAMESPACE
