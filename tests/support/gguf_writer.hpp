// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Writes small GGUF files, right ones and, since every part is plain bytes, wrong ones.

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

/// The bytes of a value as a file has them.
template <class T>
std::string gguf_bytes(const T& value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
inline std::string gguf_text(const std::string& text) {
  return gguf_bytes<std::uint64_t>(text.size()) + text;
}

/// Type numbers of values, by the C++ type.
template <class T>
constexpr std::uint32_t gguf_number() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return 0;
  if constexpr (std::is_same_v<T, std::int8_t>) return 1;
  if constexpr (std::is_same_v<T, std::uint16_t>) return 2;
  if constexpr (std::is_same_v<T, std::int16_t>) return 3;
  if constexpr (std::is_same_v<T, std::uint32_t>) return 4;
  if constexpr (std::is_same_v<T, std::int32_t>) return 5;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, bool>) return 7;
  if constexpr (std::is_same_v<T, std::uint64_t>) return 10;
  if constexpr (std::is_same_v<T, std::int64_t>) return 11;
  if constexpr (std::is_same_v<T, double>) return 12;
}

struct GgufWriter {
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;  ///< contiguous dimension first
    std::uint32_t type;
    std::string data;
  };

  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;                           ///< what is done; the key is the caller's
  std::vector<std::pair<std::string, std::string>> keys;  ///< name; type and value
  std::vector<Tensor> tensors;

  void raw(const std::string& name, std::string type_and_value) {
    keys.emplace_back(name, std::move(type_and_value));
  }
  template <class T>
  void number(const std::string& name, T value) {
    raw(name, gguf_bytes(gguf_number<T>()) + gguf_bytes(value));
  }
  void text(const std::string& name, const std::string& value) {
    raw(name, gguf_bytes<std::uint32_t>(8) + gguf_text(value));
  }
  template <class T>
  void numbers(const std::string& name, const std::vector<T>& values) {
    std::string bytes = gguf_bytes<std::uint32_t>(9) + gguf_bytes(gguf_number<T>()) +
                        gguf_bytes<std::uint64_t>(values.size());
    for (const T value : values) bytes += gguf_bytes(value);
    raw(name, bytes);
  }
  void texts(const std::string& name, const std::vector<std::string>& values) {
    std::string bytes = gguf_bytes<std::uint32_t>(9) + gguf_bytes<std::uint32_t>(8) +
                        gguf_bytes<std::uint64_t>(values.size());
    for (const std::string& value : values) bytes += gguf_text(value);
    raw(name, bytes);
  }
  /// Takes a key away; whether it was there.
  bool remove(const std::string& name) {
    for (std::size_t i = 0; i < keys.size(); ++i)
      if (keys[i].first == name) {
        keys.erase(keys.begin() + static_cast<std::ptrdiff_t>(i));
        return true;
      }
    return false;
  }

  std::string header() const {
    std::string bytes = magic + gguf_bytes(version) + gguf_bytes<std::uint64_t>(tensors.size()) +
                        gguf_bytes<std::uint64_t>(keys.size());
    for (const auto& [name, value] : keys) bytes += gguf_text(name) + value;
    std::uint64_t offset = 0;
    for (const Tensor& tensor : tensors) {
      bytes += gguf_text(tensor.name) + gguf_bytes(static_cast<std::uint32_t>(tensor.shape.size()));
      for (const std::uint64_t size : tensor.shape) bytes += gguf_bytes(size);
      bytes += gguf_bytes(tensor.type) + gguf_bytes(offset);
      offset += padded(tensor.data).size();
    }
    return bytes;
  }
  std::string file() const {
    std::string bytes = padded(header());
    for (const Tensor& tensor : tensors) bytes += padded(tensor.data);
    return bytes;
  }
  std::string padded(std::string bytes) const {
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
    return bytes;
  }
};
