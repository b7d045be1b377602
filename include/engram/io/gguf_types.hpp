// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The numbers by which GGUF files name types: those of a key's value, and those of a tensor, which
// come in blocks of elements. Source of names and sizes: the format's specification and the gguf
// package for Python, version 0.19.

#include <engram/core/ids.hpp>
#include <engram/core/sentence.hpp>

#include <array>
#include <cstdint>
#include <string>

ENGRAM_BEGIN_NAMESPACE

/// The type of a key's value, or of an array's elements.
enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};
inline constexpr std::uint32_t num_gguf_types = 13;

/// "u32", for sentences. Precondition: one of the enumerators.
constexpr const char* to_string(GgufType type) noexcept {
  constexpr std::array<const char*, num_gguf_types> names = {
      "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
      "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<std::size_t>(type)];
}

/// Bytes of one value; 0 of a string and an array, which say so themselves.
constexpr Index bytes_of(GgufType type) noexcept {
  constexpr std::array<Index, num_gguf_types> bytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return bytes[static_cast<std::size_t>(type)];
}

/// The type of a tensor. Files may hold any number; those that this library does something with
/// have a name here.
enum class GgmlType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q6_k = 14,
  i8 = 24,
  bf16 = 30,
};

/// A tensor type's spelling, and the elements and bytes of one block.
struct GgmlTypeFacts {
  std::uint32_t number;
  const char* name;
  Index elements, bytes;
};

/// The types that have a name.
inline constexpr std::array<GgmlTypeFacts, 34> ggml_type_facts = {{
    {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 40},      {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
    {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
    {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
    {41, "Q1_0", 128, 18},
}};

/// Null for a number that has no name here.
constexpr const GgmlTypeFacts* find_facts(GgmlType type) noexcept {
  for (const GgmlTypeFacts& facts : ggml_type_facts)
    if (facts.number == static_cast<std::uint32_t>(type)) return &facts;
  return nullptr;
}

/// "Q4_K", or "#99".
inline std::string to_string(GgmlType type) {
  const GgmlTypeFacts* facts = find_facts(type);
  if (facts != nullptr) return facts->name;
  return sentence({"#", static_cast<std::uint32_t>(type)});
}

ENGRAM_END_NAMESPACE
