// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The policy family that multiplies a token's rows by the layer's weights: a key for each branch
// and one value that all branches share. What a type must offer, and the weights in their plain
// form.

#include <engram/core/scalar.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Projection: rows e [T, M] -> segments [T, D]; segment s < G is the key of branch s, segment G
/// the value.
///
/// Semantics (docs/concepts.md): `project(e, segment, tile, out)` writes the outputs of that tile,
/// one of `tiles()` disjoint sets of columns that do not depend on T or on threads; different tiles
/// may run at once; nothing throws. `batch_invariant` says whether a token's outputs are the same
/// bits whatever else is in the batch. A projection may have `prepare(View<In, 2> e)`: called once
/// for each e before it is projected, it rewrites e to what the projection sees (activation
/// quantisation).
template <class P>
concept Projection = Element<typename P::input_type> && Element<typename P::output_type> &&
    requires(const P p, View<const typename P::input_type, 2> e, int segment, Index tile,
             View<typename P::output_type, 2> out) {
  { P::batch_invariant } -> std::convertible_to<bool>;
  { p.input_width() } -> std::same_as<Index>;
  { p.output_width() } -> std::same_as<Index>;
  { p.branches() } -> std::same_as<Index>;
  { p.tiles() } -> std::same_as<Index>;
  { p.project(e, segment, tile, out) } -> std::same_as<void>;
};

/// One sentence for each operation that P lacks; true when P models Projection.
template <class P>
constexpr bool check_projection() {
  static_assert(
      requires {
        requires Element<typename P::input_type>;
        requires Element<typename P::output_type>;
      },
      "engram: a Projection needs 'using input_type' and 'using output_type': float, Bf16 or F16");
  static_assert(
      requires {
        { P::batch_invariant } -> std::convertible_to<bool>;
      },
      "engram: a Projection needs 'static constexpr bool batch_invariant'");
  static_assert(
      requires(const P p) {
        { p.input_width() } -> std::same_as<Index>;
      },
      "engram: a Projection needs 'Index input_width() const'");
  static_assert(
      requires(const P p) {
        { p.output_width() } -> std::same_as<Index>;
      },
      "engram: a Projection needs 'Index output_width() const'");
  static_assert(
      requires(const P p) {
        { p.branches() } -> std::same_as<Index>;
      },
      "engram: a Projection needs 'Index branches() const'");
  static_assert(
      requires(const P p) {
        { p.tiles() } -> std::same_as<Index>;
      },
      "engram: a Projection needs 'Index tiles() const'");
  static_assert(
      requires(const P p, View<const typename P::input_type, 2> e, int segment, Index tile,
               View<typename P::output_type, 2> out) {
        { p.project(e, segment, tile, out) } -> std::same_as<void>;
      },
      "engram: a Projection needs 'void project(View<const input_type, 2> e, int segment, Index "
      "tile, View<output_type, 2> out) const'");
  return Projection<P>;
}

/// Plain weights, not owned, host memory. Row n of a matrix makes output n.
template <Element W>
struct ProjectionWeights {
  View<const W, 3> key;             ///< [G, D, M]
  View<const W, 2> value;           ///< [D, M]
  View<const float, 2> key_bias;    ///< [G, D] or empty
  View<const float, 1> value_bias;  ///< [D] or empty
};

/// The weights of one fused matrix [(G + 1) D, M], as DeepSeek-V4.1 stores it: the keys of the
/// branches in order, then the value.
template <Element W>
ProjectionWeights<W> fused_weights(View<const W, 2> matrix, Index branches) noexcept {
  const Index width = matrix.extent(0) / (branches + 1);
  ProjectionWeights<W> weights;
  weights.key = View<const W, 3>(matrix.data(), branches, width, matrix.extent(1))
                    .template with_stride<1>(matrix.stride(0))
                    .template with_stride<0>(matrix.stride(0) * width);
  weights.value = matrix.slice(branches * width, width);
  return weights;
}

ENGRAM_BEGIN_LOOPS

/// Why plain weights do not fit together; empty when they do.
template <Element W>
std::string weights_fault(const ProjectionWeights<W>& w) {
  const Index branches = w.key.extent(0);
  const Index width = w.key.extent(1);
  const Index inputs = w.key.extent(2);
  if (branches < 1 || width < 1 || inputs < 1)
    return sentence({"the key weights are [", branches, ", ", width, ", ", inputs,
                     "], expected [G, D, M], none of them 0"});
  if (w.value.extent(0) != width || w.value.extent(1) != inputs)
    return sentence({"the value weights are [", w.value.extent(0), ", ", w.value.extent(1),
                     "], expected [", width, ", ", inputs, "] as the keys'"});
  if (w.key_bias.size() != 0 && (w.key_bias.extent(0) != branches || w.key_bias.extent(1) != width))
    return sentence({"the key bias is [", w.key_bias.extent(0), ", ", w.key_bias.extent(1),
                     "], expected [", branches, ", ", width, "]"});
  if (w.value_bias.size() != 0 && w.value_bias.extent(0) != width)
    return sentence({"the value bias is [", w.value_bias.extent(0), "], expected [", width, "]"});
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
