// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Where the gradients of a layer's dense weights go, and the policy family that takes gradients
// through a projection.

#include <engram/layer/projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Gradients of a layer's dense weights, in the shapes of ProjectionWeights and FusionWeights.
/// Host memory of the caller. A call adds to them; an empty view is not computed.
struct LayerGradients {
  View<float, 3> key;         ///< [G, D, M]
  View<float, 2> value;       ///< [D, M]
  View<float, 2> key_bias;    ///< [G, D]
  View<float, 1> value_bias;  ///< [D]
  View<float, 2> gain;        ///< [G, D]; of the product: query's = gain's * key gain, and so on
  View<float, 2> conv_gain;   ///< [G, D]
  View<float, 3> conv;        ///< [taps, G, D]
};

/// The backward side of a Projection whose segments are s = W_s e + b_s.
///
/// Semantics (docs/concepts.md): `segments` [T, G + 1, D] are gradients of the keys, then of the
/// value. `inputs(segments, e)` writes the gradient of e [T, M]; a token's depends on its own
/// segments only. `weights(e, segments, tile, to)` adds the gradients of that tile's outputs, one
/// of `weight_tiles()` disjoint sets that do not depend on threads, to the arrays that are not
/// empty. Different tiles, and different tokens, may run at once; nothing throws.
template <class P>
concept ProjectionGradient = Element<typename P::input_type> &&
    requires(const P p, View<const typename P::input_type, 2> e, View<const float, 3> segments,
             View<float, 2> to_inputs, Index tile, const LayerGradients& to) {
  { p.input_width() } -> std::same_as<Index>;
  { p.output_width() } -> std::same_as<Index>;
  { p.branches() } -> std::same_as<Index>;
  { p.weight_tiles() } -> std::same_as<Index>;
  { p.inputs(segments, to_inputs) } -> std::same_as<void>;
  { p.weights(e, segments, tile, to) } -> std::same_as<void>;
};

/// One sentence for each operation that P lacks; true when P models ProjectionGradient.
template <class P>
constexpr bool check_projection_gradient() {
  static_assert(
      requires { requires Element<typename P::input_type>; },
      "engram: a ProjectionGradient needs 'using input_type', its projection's");
  static_assert(
      requires(const P p) {
        { p.input_width() } -> std::same_as<Index>;
        { p.output_width() } -> std::same_as<Index>;
        { p.branches() } -> std::same_as<Index>;
      },
      "engram: a ProjectionGradient needs 'Index input_width() const', 'Index output_width() "
      "const' "
      "and 'Index branches() const'");
  static_assert(
      requires(const P p) {
        { p.weight_tiles() } -> std::same_as<Index>;
      },
      "engram: a ProjectionGradient needs 'Index weight_tiles() const'");
  static_assert(
      requires(const P p, View<const float, 3> segments, View<float, 2> to) {
        { p.inputs(segments, to) } -> std::same_as<void>;
      },
      "engram: a ProjectionGradient needs 'void inputs(View<const float, 3> segments, View<float, "
      "2> "
      "to) const'");
  static_assert(
      requires(const P p, View<const typename P::input_type, 2> e, View<const float, 3> segments,
               Index tile, const LayerGradients& to) {
        { p.weights(e, segments, tile, to) } -> std::same_as<void>;
      },
      "engram: a ProjectionGradient needs 'void weights(View<const input_type, 2> e, View<const "
      "float, 3> segments, Index tile, const LayerGradients& to) const'");
  return ProjectionGradient<P>;
}

ENGRAM_END_NAMESPACE
