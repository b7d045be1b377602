// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that turns a window into row ids: H of them for each layer.

#include <engram/core/ids.hpp>
#include <engram/ngram/window.hpp>

#include <concepts>

ENGRAM_BEGIN_NAMESPACE

/// Multi-hash addressing: an n-gram window -> the rows of one layer.
///
/// Semantics (docs/concepts.md): `address(layer, window, out)` writes num_columns() row ids, each
/// in [0, num_rows(layer)); pure, never throws, the same bits on every compiler, processor and
/// version; blocked places of the window are hashed as the layout's pad. `host_only` says that no
/// GPU can run it.
template <class A>
concept Addresser = requires(const A a, int layer, const NgramWindow& window, RowId* out) {
  { A::host_only } -> std::convertible_to<bool>;
  { a.max_ngram_size() } -> std::same_as<int>;
  { a.num_layers() } -> std::same_as<int>;
  { a.num_columns() } -> std::same_as<Index>;
  { a.num_rows(layer) } -> std::same_as<Index>;
  { a.canonical_size() } -> std::same_as<Index>;
  { a.address(layer, window, out) } -> std::same_as<void>;
};

/// One sentence for each operation that A lacks; true when A models Addresser.
template <class A>
constexpr bool check_addresser() {
  static_assert(
      requires {
        { A::host_only } -> std::convertible_to<bool>;
      },
      "engram: an Addresser needs 'static constexpr bool host_only'");
  static_assert(
      requires(const A a) {
        { a.max_ngram_size() } -> std::same_as<int>;
      },
      "engram: an Addresser needs 'int max_ngram_size() const'");
  static_assert(
      requires(const A a) {
        { a.num_layers() } -> std::same_as<int>;
      },
      "engram: an Addresser needs 'int num_layers() const'");
  static_assert(
      requires(const A a) {
        { a.num_columns() } -> std::same_as<Index>;
      },
      "engram: an Addresser needs 'Index num_columns() const'");
  static_assert(
      requires(const A a, int layer) {
        { a.num_rows(layer) } -> std::same_as<Index>;
      },
      "engram: an Addresser needs 'Index num_rows(int layer) const'");
  static_assert(
      requires(const A a) {
        { a.canonical_size() } -> std::same_as<Index>;
      },
      "engram: an Addresser needs 'Index canonical_size() const'");
  static_assert(
      requires(const A a, int l, const NgramWindow& w, RowId* o) {
        { a.address(l, w, o) } -> std::same_as<void>;
      },
      "engram: an Addresser needs 'void address(int layer, const NgramWindow&, RowId* out) const'");
  return Addresser<A>;
}

ENGRAM_END_NAMESPACE
