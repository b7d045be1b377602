// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The element types that safetensors files name. Others of this library's files use the same names.

#include <engram/config.hpp>

#include <array>
#include <cstddef>

ENGRAM_BEGIN_NAMESPACE

/// The element types of the format, all of them.
enum class DType {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64,
};

/// A type's spelling and size.
struct DTypeFacts {
  const char* name;
  int bits;
};

/// In the order of DType.
inline constexpr std::array<DTypeFacts, 22> dtype_facts = {
    {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
     {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
     {"I64", 64},        {"U64", 64}}};

/// The type as the file spells it: "BF16".
constexpr const char* to_string(DType dtype) noexcept {
  return dtype_facts[static_cast<std::size_t>(dtype)].name;
}

/// Bits of one element.
constexpr int bits_of(DType dtype) noexcept {
  return dtype_facts[static_cast<std::size_t>(dtype)].bits;
}

/// Bytes of one element; 0 for F4 and F6, of which several share a byte: see bits_of().
constexpr int bytes_of(DType dtype) noexcept { return bits_of(dtype) / 8; }

ENGRAM_END_NAMESPACE
