// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Forward declarations, for headers that only name the library's types.

#include <engram/config.hpp>

#include <cstdint>

ENGRAM_BEGIN_NAMESPACE

enum class CanonicalId : std::int32_t;
enum class RowId : std::int64_t;
enum class LocalRowId : std::int64_t;
enum class HeadId : std::int32_t;
enum class Code : std::int32_t;
enum class Mark : std::uint8_t;

struct Status;
template <class T>
class Result;

class IdentityCompressor;
class TokenMap;

struct NgramState;
struct NgramWindow;
template <class Boundary>
class SuffixNgrams;

struct AddressingConfig;
struct LayerLayout;
struct Layout;
template <class Mix>
class ModularHash;

struct EngramConfig;
struct Preset;
template <class Compressor, class Extractor, class Addressing>
class FrontEnd;

ENGRAM_END_NAMESPACE
