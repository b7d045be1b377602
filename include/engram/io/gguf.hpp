// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Reads the headers of GGUF files: their keys, and where their tensors lie.
//
//   const auto file = GgufFile::open("model.gguf");
//   const GgufTensor* table = file.value().find("blk.1.engram_embd.weight");
//   const GgufValue* pad = file.value().key("deepseek41.engram.pad_id");

#include <engram/io/gguf_header.hpp>
#include <engram/io/json_names.hpp>
#include <engram/io/seekable_file.hpp>

#include <algorithm>

ENGRAM_BEGIN_NAMESPACE

/// A name from a GGUF file, which may be any bytes, for a sentence.
inline std::string quote_gguf_name(std::string_view name) {
  std::string quoted = quote_name(name);
  for (char& c : quoted)
    if (static_cast<unsigned char>(c) >= 0x7F) c = '?';
  return quoted;
}

/// Does the work of GgufFile::parse() and open(), once. After the first failure everything it reads
/// is 0.
class GgufHeaderReader {
 public:
  /// `file`: null, or where what comes behind `start` is read from.
  GgufHeaderReader(Bytes start, Index file_size, const std::string& name, SeekableFile* file)
      : window_(start), file_(file) {
    out_.path_ = name;
    out_.file_size_ = file_size;
  }

  Result<GgufFile> read();

 private:
  Failure failure(Code code, std::initializer_list<Piece> reason) const {
    return fail(code, {out_.path_, ": ", item_, sentence(reason)}, at_);
  }
  void corrupt(std::initializer_list<Piece> reason) {
    if (!failed_) failed_ = failure(Code::corrupt, reason);
  }

  Index left() const noexcept {
    return std::min(out_.file_size_, GgufFile::max_header_bytes) - at_;
  }
  /// The next bytes, until more are asked for; null after a failure.
  const std::byte* take(Index bytes, const char* what);
  std::uint64_t number(Index width, const char* what);
  /// A number of things of at least `least` bytes each that are still to come.
  Index count(Index width, Index least, const char* what);
  std::string text(Index most, const char* what);

  void read_start();
  void read_value(GgufValue& value);
  void read_elements(GgufValue& value);
  void read_keys(Index keys);
  void read_tensor();
  void read_alignment();
  void place_tensors();
  template <class Items, class NameOf>
  std::vector<std::size_t> sort_names(const Items& items, const char* what, const NameOf& name_of);

  GgufFile out_;
  Bytes window_;  // bytes of the file from window_begin_ on
  Index window_begin_ = 0;
  Index at_ = 0;  // the next byte to read
  SeekableFile* file_;
  std::vector<std::byte> buffer_;  // what window_ shows, when it came from file_
  std::string item_;               // what the sentences are about: empty, or "key "x": "
  Index alignment_ = 32;
  Index tensors_ = 0;
  std::optional<Failure> failed_;
};

inline const std::byte* GgufHeaderReader::take(Index bytes, const char* what) {
  if (failed_) return nullptr;
  if (bytes > out_.file_size_ - at_) {
    corrupt({what, " of ", bytes, " bytes at byte ", at_, ", the file has ", out_.file_size_});
    return nullptr;
  }
  if (bytes > left()) {
    corrupt({"the header goes on beyond ", GgufFile::max_header_bytes, " bytes"});
    return nullptr;
  }
  if (at_ + bytes > window_begin_ + window_.size()) {
    Index got = 0;
    if (file_ != nullptr) {
      const Index wanted = std::max(bytes, std::min<Index>(left(), 65536));
      buffer_.resize(static_cast<std::size_t>(wanted));
      const Result<Index> read = file_->read(at_, buffer_.data(), wanted);
      if (!read.ok()) {
        failed_ = read.failure();
        return nullptr;
      }
      got = read.value();
      window_ = Bytes(buffer_.data(), got);
      window_begin_ = at_;
    }
    if (got < bytes) {
      corrupt({what, " of ", bytes, " bytes at byte ", at_, " is cut off"});
      return nullptr;
    }
  }
  const std::byte* const from = window_.data() + (at_ - window_begin_);
  at_ += bytes;
  return from;
}

inline std::uint64_t GgufHeaderReader::number(Index width, const char* what) {
  const std::byte* const from = take(width, what);
  std::uint64_t value = 0;
  for (Index b = width; from != nullptr && b-- > 0;)
    value = value << 8 | std::to_integer<std::uint64_t>(from[b]);
  return value;
}

inline Index GgufHeaderReader::count(Index width, Index least, const char* what) {
  const std::uint64_t found = number(width, what);
  if (failed_) return 0;
  if (found > static_cast<std::uint64_t>((out_.file_size_ - at_) / least)) {
    corrupt({what, " is ", found, ", too many for the ", out_.file_size_ - at_,
             " bytes that the file has behind it"});
    return 0;
  }
  return static_cast<Index>(found);
}

inline std::string GgufHeaderReader::text(Index most, const char* what) {
  const Index bytes = count(8, 1, what);
  if (bytes > most) corrupt({what, " is ", bytes, ", expected at most ", most});
  const std::byte* const from = take(bytes, what);
  if (from == nullptr) return {};
  return std::string(reinterpret_cast<const char*>(from), static_cast<std::size_t>(bytes));
}

inline void GgufHeaderReader::read_elements(GgufValue& value) {
  const Index width = bytes_of(value.type_);
  if (width == 0) {
    for (Index i = 0; i < value.size_ && !failed_; ++i) {
      value.bytes_ += text(GgufFile::max_header_bytes, "the length of a string");
      value.ends_.push_back(value.bytes_.size());
    }
    return;
  }
  // No more than a piece at a time, so that memory is only taken for what was really there.
  for (Index done = 0; done < value.size_ && !failed_;) {
    const Index some = std::min<Index>(value.size_ - done, 1 << 16);
    const std::byte* const from = take(some * width, "its value");
    if (from == nullptr) return;
    for (Index i = 0; i < some && value.type_ == GgufType::boolean; ++i)
      if (const auto b = std::to_integer<unsigned>(from[i]); b > 1)
        return corrupt({"a bool is ", b, ", expected 0 or 1"});
    value.bytes_.append(reinterpret_cast<const char*>(from),
                        static_cast<std::size_t>(some * width));
    done += some;
  }
}

inline void GgufHeaderReader::read_value(GgufValue& value) {
  const auto read_type = [&](const char* what) {
    const std::uint64_t type = number(4, what);
    if (type >= num_gguf_types)
      corrupt({what, " is ", type, ", expected 0 to ", num_gguf_types - 1});
    return failed_ ? GgufType::u8 : static_cast<GgufType>(type);
  };
  value.type_ = read_type("the type of its value");
  if (value.type_ == GgufType::array) {
    value.is_array_ = true;
    value.type_ = read_type("the type of its array's elements");
    if (value.type_ == GgufType::array) {
      if (!failed_) failed_ = failure(Code::unsupported, {"an array of arrays"});
      return;
    }
    const Index least = value.type_ == GgufType::string ? 8 : bytes_of(value.type_);
    value.size_ = count(8, least, "the number of its array's elements");
  }
  read_elements(value);
}

inline void GgufHeaderReader::read_keys(Index keys) {
  for (Index i = 0; i < keys && !failed_; ++i) {
    item_ = sentence({"key number ", i, ": "});
    std::string name = text(GgufFile::max_key_bytes, "the length of its name");
    if (failed_) return;
    item_ = sentence({"key ", quote_gguf_name(name), ": "});
    if (name.empty()) return corrupt({"its name is empty"});
    out_.keys_.emplace_back(std::move(name), GgufValue());
    read_value(out_.keys_.back().second);
  }
}

inline void GgufHeaderReader::read_tensor() {
  GgufTensor tensor;
  tensor.name = text(GgufFile::max_name_bytes, "the length of its name");
  if (failed_) return;
  item_ = sentence({"tensor ", quote_gguf_name(tensor.name), ": "});
  const std::uint64_t dimensions = number(4, "its number of dimensions");
  if (dimensions > static_cast<std::uint64_t>(GgufFile::max_dimensions))
    return corrupt({dimensions, " dimensions, expected at most ", GgufFile::max_dimensions});
  // Also what a size of 0 makes disappear must fit, so that the bytes of a row always do.
  Index product = 1;
  bool none = false;
  for (std::uint64_t d = 0; d < dimensions; ++d) {
    const std::uint64_t size = number(8, "a size");
    if (failed_) return;
    if (size > static_cast<std::uint64_t>(INT64_MAX / product))
      return corrupt({"the sizes, multiplied, go beyond 64 bits at size ", d, ", ", size});
    tensor.shape.push_back(static_cast<Index>(size));
    none = none || size == 0;
    if (size != 0) product *= tensor.shape.back();
  }
  tensor.type = static_cast<GgmlType>(number(4, "its type"));
  const std::uint64_t offset = number(8, "its offset");
  if (failed_) return;
  tensor.bytes = -1;
  if (const GgmlTypeFacts* facts = find_facts(tensor.type)) {
    const Index first = tensor.shape.empty() ? 1 : tensor.shape[0];
    if (first % facts->elements != 0)
      return corrupt({"rows of ", first, " elements, expected a multiple of the ", facts->elements,
                      " of a block of ", facts->name});
    if (product / facts->elements > INT64_MAX / facts->bytes)
      return corrupt({"its bytes go beyond 64 bits"});
    tensor.bytes = none ? 0 : product / facts->elements * facts->bytes;
  }
  if (offset > static_cast<std::uint64_t>(out_.file_size_))
    return corrupt({"its offset is ", offset, ", the file has ", out_.file_size_, " bytes"});
  tensor.file_offset = static_cast<Index>(offset);
  out_.tensors_.push_back(std::move(tensor));
}

template <class Items, class NameOf>
std::vector<std::size_t> GgufHeaderReader::sort_names(const Items& items, const char* what,
                                                      const NameOf& name_of) {
  std::vector<std::size_t> places(items.size());
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = i;
  std::sort(places.begin(), places.end(),
            [&](std::size_t a, std::size_t b) { return name_of(items[a]) < name_of(items[b]); });
  for (std::size_t i = 0; i + 1 < places.size(); ++i)
    if (const std::string& name = name_of(items[places[i]]); name == name_of(items[places[i + 1]]))
      corrupt({what, " ", quote_gguf_name(name), " occurs twice"});
  return places;
}

inline void GgufHeaderReader::read_alignment() {
  const GgufValue* value = out_.key("general.alignment");
  if (value == nullptr) return;
  const std::optional<std::int64_t> bytes = value->integer();
  if (value->is_array() || value->type() != GgufType::u32)
    return corrupt({"general.alignment is ", value->describe(), ", expected u32"});
  if (*bytes < 8 || (*bytes & (*bytes - 1)) != 0)
    return corrupt({"general.alignment is ", *bytes, ", expected a power of two from 8 on"});
  alignment_ = *bytes;
}

/// Makes file offsets of the offsets in the data, which begins at the next multiple of the
/// alignment.
inline void GgufHeaderReader::place_tensors() {
  std::vector<GgufTensor>& tensors = out_.tensors_;
  const Index file_size = out_.file_size_;
  const Index data = at_ + (alignment_ - at_ % alignment_) % alignment_;
  if (!tensors.empty() && data > file_size)
    return corrupt({"the data begins at byte ", data, ", the file has ", file_size});
  for (GgufTensor& tensor : tensors) {
    item_ = sentence({"tensor ", quote_gguf_name(tensor.name), ": "});
    const Index offset = tensor.file_offset;
    if (offset % alignment_ != 0)
      return corrupt(
          {"its offset is ", offset, ", expected a multiple of the alignment, ", alignment_});
    const Index bytes = tensor.bytes < 0 ? 0 : tensor.bytes;
    if (offset > file_size - data || bytes > file_size - data - offset)
      return corrupt(
          {bytes, " bytes at byte ", offset, " of the data, which has ", file_size - data});
    tensor.file_offset = data + offset;
  }
  item_.clear();
  std::stable_sort(tensors.begin(), tensors.end(), [](const GgufTensor& a, const GgufTensor& b) {
    return std::pair(a.file_offset, a.bytes) < std::pair(b.file_offset, b.bytes);
  });
  for (std::size_t i = 0; i + 1 < tensors.size(); ++i)
    if (tensors[i].bytes > tensors[i + 1].file_offset - tensors[i].file_offset)
      return corrupt({"tensor ", quote_gguf_name(tensors[i + 1].name), " begins inside tensor ",
                      quote_gguf_name(tensors[i].name)});
}

inline void GgufHeaderReader::read_start() {
  const std::byte* const magic = take(4, "the magic");
  if (magic != nullptr && std::string_view(reinterpret_cast<const char*>(magic), 4) != "GGUF") {
    failed_ = failure(Code::unsupported, {"no GGUF file, it does not begin with \"GGUF\""});
    return;
  }
  const std::uint64_t version = number(4, "the version");
  if (failed_) return;
  if ((version & 0xFFFF) == 0 && version != 0)
    failed_ = failure(Code::unsupported, {"a big-endian GGUF file; little-endian ones are read"});
  else if (version != 2 && version != 3)
    failed_ = failure(Code::unsupported, {"GGUF version ", version, "; 2 and 3 are read"});
  out_.version_ = static_cast<std::uint32_t>(version);
  // A name's length, number of dimensions, type, offset; its name may be empty.
  tensors_ = count(8, 24, "the number of tensors");
}

inline Result<GgufFile> GgufHeaderReader::read() {
  read_start();
  // A name's length and first byte, a type, a byte.
  read_keys(count(8, 14, "the number of keys"));
  item_.clear();
  if (!failed_)
    out_.keys_by_name_ = sort_names(out_.keys_, "the key",
                                    [](const auto& k) -> const std::string& { return k.first; });
  if (!failed_) read_alignment();
  for (Index i = 0; i < tensors_ && !failed_; ++i) {
    item_ = sentence({"tensor number ", i, ": "});
    read_tensor();
  }
  item_.clear();
  if (!failed_) place_tensors();
  if (!failed_)
    out_.tensors_by_name_ =
        sort_names(out_.tensors_, "the tensor",
                   [](const GgufTensor& t) -> const std::string& { return t.name; });
  if (failed_) return *failed_;
  return std::move(out_);
}

inline Result<GgufFile> GgufFile::parse(Bytes start, Index file_size, const std::string& name) {
  return GgufHeaderReader(start, file_size, name, nullptr).read();
}

inline Result<GgufFile> GgufFile::open(const std::string& path) {
  Result<SeekableFile> file = SeekableFile::open(path);
  if (!file.ok()) return file.failure();
  const Result<Index> size = file.value().size();
  if (!size.ok()) return size.failure();
  return GgufHeaderReader(Bytes(), size.value(), path, &file.value()).read();
}

inline const GgufValue* GgufFile::key(std::string_view name) const noexcept {
  const auto at =
      std::lower_bound(keys_by_name_.begin(), keys_by_name_.end(), name,
                       [this](std::size_t i, std::string_view n) { return keys_[i].first < n; });
  return at != keys_by_name_.end() && keys_[*at].first == name ? &keys_[*at].second : nullptr;
}

inline const GgufTensor* GgufFile::find(std::string_view name) const noexcept {
  const auto at =
      std::lower_bound(tensors_by_name_.begin(), tensors_by_name_.end(), name,
                       [this](std::size_t i, std::string_view n) { return tensors_[i].name < n; });
  return at != tensors_by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
}

ENGRAM_END_NAMESPACE
