// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Keys of a GGUF file that must be there and must be integers in a range. Converters write the same
// number as u32, i32 or u64, so any width counts; what is out of range is refused by name.

#include <engram/io/gguf.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Reads keys whose names share a prefix. Keeps the first failure; after it, what it gives means
/// nothing.
class GgufKeys {
 public:
  /// `prefix`: up to the last dot. The file must outlive this.
  GgufKeys(const GgufFile& file, std::string prefix) : file_(&file), prefix_(std::move(prefix)) {}

  const GgufFile& file() const noexcept { return *file_; }
  std::string full(std::string_view name) const { return sentence({prefix_, name}); }
  const GgufValue* find(std::string_view name) const { return file_->key(full(name)); }
  bool has(std::string_view name) const { return find(name) != nullptr; }

  /// A number of [least, most].
  Index integer(std::string_view name, Index least, Index most) {
    const GgufValue* value = wanted(name, false, "an integer");
    if (value == nullptr) return least;
    const std::optional<std::int64_t> n = value->integer();
    if (n && *n >= least && *n <= most) return *n;
    refuse({full(name), " is ", number(*value, 0), ", expected an integer from ", least, " to ",
            most});
    return least;
  }

  /// An array of `count` numbers of [least, most]; -1: of any number of them from 1 on.
  std::vector<Index> integers(std::string_view name, Index count, Index least, Index most) {
    const GgufValue* value = wanted(name, true, "an array of integers");
    if (value == nullptr) return {};
    if (count < 0 ? value->size() == 0 : value->size() != count) {
      const Piece expected = count < 0 ? Piece("at least 1") : Piece(count);
      refuse({full(name), " has ", value->size(), " entries, expected ", expected.text()});
      return {};
    }
    std::vector<Index> numbers;
    for (Index i = 0; i < value->size(); ++i) {
      const std::optional<std::int64_t> n = value->integer(i);
      if (!n || *n < least || *n > most) {
        refuse({full(name), ": entry ", i, " is ", number(*value, i), ", expected an integer from ",
                least, " to ", most});
        return {};
      }
      numbers.push_back(*n);
    }
    return numbers;
  }

  std::string text(std::string_view name) {
    const GgufValue* value = wanted(name, false, "a string");
    const std::optional<std::string_view> words = value ? value->text() : std::nullopt;
    if (value != nullptr && !words)
      refuse({full(name), " is ", value->describe(), ", expected a string"});
    return std::string(words.value_or(""));
  }

  /// Keeps what is wrong with the file, unless something was before.
  void refuse(std::initializer_list<Piece> why, Code code = Code::corrupt) {
    if (!failure_) failure_ = fail(code, {file_->path(), ": ", sentence(why)});
  }
  const std::optional<Failure>& failure() const noexcept { return failure_; }

 private:
  const GgufValue* wanted(std::string_view name, bool array, const char* expected) {
    const GgufValue* value = find(name);
    if (value == nullptr)
      refuse({full(name), " is missing"});
    else if (value->is_array() != array)
      refuse({full(name), " is ", value->describe(), ", expected ", expected});
    return value != nullptr && value->is_array() == array ? value : nullptr;
  }
  static std::string number(const GgufValue& value, Index i) {
    if (const auto n = value.integer(i)) return std::to_string(*n);
    if (const auto n = value.natural(i)) return std::to_string(*n);
    return to_string(value.type());
  }

  const GgufFile* file_;
  std::string prefix_;
  std::optional<Failure> failure_;
};

ENGRAM_END_NAMESPACE
