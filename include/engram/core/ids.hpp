// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Ids that must not be mixed up. A row id of the whole table handed to one shard of it reads a
// wrong row without any error, so each kind of id is a type of its own and none converts to
// another. Arrays of ids cross the library's border as plain integers; these types live inside.

#include <engram/config.hpp>

#include <cstdint>
#include <type_traits>

ENGRAM_BEGIN_NAMESPACE

/// Sizes, positions and strides, in elements unless a name says bytes.
using Index = std::int64_t;

/// A token after tokenizer compression, in [0, canonical_size).
enum class CanonicalId : std::int32_t {};

/// A row of a layer's whole table, in [0, rows). `no_row` means that nothing is read.
enum class RowId : std::int64_t {};

/// A row of the part of a table that one rank owns, in [0, local rows of the rank).
enum class LocalRowId : std::int64_t {};

/// A column of a layer, in [0, H): (order - 2) * heads + head.
enum class HeadId : std::int32_t {};

/// A position that takes no part: before the sequence, masked, or cut off by a boundary.
inline constexpr CanonicalId dead_id{-1};

/// No row: the slot is padding, nothing is read and the position passes through.
inline constexpr RowId no_row{-1};

/// The plain integer of an id.
template <class Id>
  requires(std::is_enum_v<Id>)
ENGRAM_HD constexpr std::underlying_type_t<Id> to_integer(Id id) noexcept {
  return static_cast<std::underlying_type_t<Id>>(id);
}

ENGRAM_END_NAMESPACE
