// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A layer in training: forward that keeps what backward needs in memory of the caller, and backward
// to the hidden state, the dense weights and the rows.
//
// Rows are concatenated and decoded exactly, so the gradient of a row is the gradient of its part
// of e; for rows of bf16 or f16 it is taken as if they were float.

#include <engram/layer/engram_layer.hpp>
#include <engram/training/conv_gradient.hpp>
#include <engram/training/fuse_gradient.hpp>
#include <engram/training/gradients.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What forward leaves for backward, in the caller's bytes.
template <class In, class Out>
struct LayerTape {
  View<In, 2> e;               ///< [T, M]
  View<Out, 3> keys;           ///< [T, G, D]
  View<Out, 2> value;          ///< [T, D]
  View<float, 2> state;        ///< [S, conv_state_size] of the convolution before the call
  View<float, 2> moved_state;  ///< the same, moved on, for callers that do not keep one
  LayerScratch scratch;        ///< who took part, gates, the convolution's factors and order
};

ENGRAM_BEGIN_LOOPS

/// Keeps the convolution's states as they are before the call; zeros where the caller has none.
template <Device Dev>
void keep_states(View<const float, 2> states, View<float, 2> kept, View<float, 2> moved,
                 const Dev& device) noexcept {
  device.for_items(kept.extent(0), [&](const auto&, Index s) {
    for (Index i = 0; i < kept.extent(1); ++i) {
      kept(s, i) = states.size() == 0 ? 0 : states(s, i);
      if (states.size() == 0) moved(s, i) = 0;
    }
  });
}

/// The gradients of a projection's weights and, for `tile` tokens an item, of its inputs.
template <ProjectionGradient P, class In, Device Dev>
void project_gradients(const P& gradient, View<const In, 2> e, View<const float, 3> segments,
                       Index tile, const LayerGradients& to, View<float, 2> to_inputs,
                       const Dev& device) noexcept {
  device.for_items(gradient.weight_tiles(),
                   [&](const auto&, Index t) { gradient.weights(e, segments, t, to); });
  const Index tokens = e.extent(0);
  device.for_items((tokens + tile - 1) / tile, [&](const auto&, Index t) {
    const Index count = tokens - t * tile < tile ? tokens - t * tile : tile;
    gradient.inputs(segments.slice(t * tile, count), to_inputs.slice(t * tile, count));
  });
}

/// Whether a view is neither empty nor of those extents; `expected`: the first that it has not.
template <class T, int Rank>
bool is_other_shape(View<T, Rank> view, const Index (&extents)[Rank], Index& expected) noexcept {
  if (view.size() == 0) return false;
  for (int r = 0; r < Rank; ++r)
    if (view.extent(r) != extents[r]) {
      expected = extents[r];
      return true;
    }
  return false;
}

ENGRAM_END_LOOPS

/// Forward and backward of an EngramLayer. Holds the layer and the projection's gradient by value,
/// which hold views; const calls may run concurrently where the table's may.
///
/// Arguments as of EngramLayer::forward, and:
///   tape       tape_bytes(T, S) bytes: written by forward, read by the backward of the same call,
///              at the same address, with the same hidden state and options. hidden must be kept
///              until then (so out is other memory, or the caller's copy is given to backward).
///   options    conv_state may be left out: then every sequence begins with zeros.
///   device     bits do not depend on the number of threads.
template <class Layer, class ProjectionGradientType>
class LayerTraining {
  using Gate = typename Layer::gate_type;
  using In = typename Layer::projection_type::input_type;
  using Out = typename Layer::projection_type::output_type;
  static_assert(check_differentiable_gate<Gate>());
  static_assert(check_projection_gradient<ProjectionGradientType>());
  static_assert(std::is_same_v<In, typename ProjectionGradientType::input_type>,
                "engram: projection and its gradient take elements of the same type");

 public:
  /// Tokens of one item of the gradient of e.
  static constexpr Index token_tile = 256;

  LayerTraining(const Layer& layer, const ProjectionGradientType& gradient) noexcept
      : layer_(layer), gradient_(gradient) {}

  const Layer& layer() const noexcept { return layer_; }

  /// ok, or invalid_config and why the parts do not fit together.
  ENGRAM_ALWAYS_INLINE Result<void> check() const {
    if (Result<void> parts = layer_.check(); !parts.ok()) return parts;
    if (!gradient_fits())
      return fail(
          Code::invalid_config,
          {"layer training: the gradient is of a projection [", gradient_.branches(), ", ",
           gradient_.output_width(), ", ", gradient_.input_width(), "], the layer's is [",
           layer_.branches(), ", ", layer_.width(), ", ", layer_.projection().input_width(), "]"});
    return {};
  }

  /// Bytes that a call of `tokens` tokens in `sequences` sequences keeps for its backward.
  ENGRAM_ALWAYS_INLINE Index tape_bytes(Index tokens, Index sequences = 1) const noexcept {
    const Index outputs = tokens * layer_.width();
    return static_cast<Index>(
               Workspace::bytes_for<In>(tokens * layer_.projection().input_width()) +
               Workspace::bytes_for<Out>(outputs * layer_.branches()) +
               Workspace::bytes_for<Out>(outputs) +
               2 * Workspace::bytes_for<float>(sequences * layer_.conv_state_size())) +
           layer_scratch_bytes(tokens, layer_.branches(), sequences);
  }
  /// Bytes of workspace for a backward of up to `tokens` tokens.
  ENGRAM_ALWAYS_INLINE Index workspace_bytes(Index tokens) const noexcept {
    const Index streams = tokens * layer_.branches() * layer_.width();
    return static_cast<Index>(Workspace::bytes_for<float>(streams + tokens * layer_.width()) +
                              Workspace::bytes_for<float>(tokens * layer_.branches()) +
                              (has_conv() ? 2 * Workspace::bytes_for<float>(streams) : 0));
  }

  /// Rows to the new hidden state, as EngramLayer::forward but all tokens at once, with its
  /// statuses; workspace_small is the tape's.
  template <class Row, class Hidden, class Updated, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status forward(View<Row, 2> rows, View<Hidden, 3> hidden,
                                      View<Updated, 3> out, View<std::byte, 1> tape,
                                      const FusionOptions& options = {},
                                      const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(std::is_same_v<H, Updated>, "engram: hidden and out have the same element type");
    static_assert(check_device<Dev>());
    const View<const std::remove_const_t<Row>, 2> ids = rows;
    const Index tokens = hidden.extent(0);
    Status checked = check_call(hidden, out, tape, options);
    if (checked.ok() && ids.extent(0) != tokens) checked = {Code::shape_mismatch, 0, tokens};
    if (checked.ok() && ids.extent(1) != layer_.columns())
      checked = {Code::shape_mismatch, 0, layer_.columns()};
    if (checked.ok()) checked = check_row_ids(ids, layer_.table().num_rows());
    if (Status s = agree_on(checked, device); !s.ok()) return s;

    const LayerTape<In, Out> kept = take_tape(tape, tokens, sequence_count(options));
    const FusionOptions used = begin(kept, options, ids, device);
    if (Status s = layer_.gather(ids, kept.e, device); !s.ok()) return s;
    if (Status s = layer_.project(kept.e, kept.keys, kept.value, device); !s.ok()) return s;
    score_keys(View<const Out, 3>(kept.keys), 0, View<const H, 3>(hidden), layer_.weights(),
               layer_.config(), layer_.gate(), kept.scratch, used, 0, device);
    update_streams(View<const Out, 2>(kept.value), View<const H, 3>(hidden), out, layer_.weights(),
                   layer_.config(), kept.scratch, used, 0, device);
    device.wait();
    return {};
  }

  /// Gradient of the new hidden state to those of everything in front of it.
  ///
  /// updated    [T, G, D] float: gradient of forward's `out`.
  /// to_hidden  [T, G, D] float, written; may be `updated`.
  /// to_rows    [T, M] float, written: the gradient of column c's row at [t, c E]; 0 for a token
  ///            without rows. reduce_row_gradients() sums them.
  /// to         added to, tokens in ascending order, so a batch cut into the same slices, their
  ///            sums added in order, gives the same bits.
  /// Status     shape_mismatch (index: the extent expected), workspace_small, bad_mark,
  ///            bad_sequence, invalid_config; then nothing has been written.
  /// Cost       about twice the products of forward; no allocation beyond the products'.
  template <class Hidden, class Dev = CpuDevice>
  ENGRAM_ALWAYS_INLINE Status backward(View<Hidden, 3> hidden,
                                       std::type_identity_t<View<const float, 3>> updated,
                                       View<float, 3> to_hidden, View<float, 2> to_rows,
                                       const LayerGradients& to, View<std::byte, 1> tape,
                                       View<std::byte, 1> workspace,
                                       const FusionOptions& options = {},
                                       const Dev& device = {}) const noexcept {
    using H = std::remove_const_t<Hidden>;
    static_assert(check_device<Dev>());
    const Index tokens = hidden.extent(0);
    Status checked = check_call(hidden, to_hidden, tape, options);
    if (checked.ok()) checked = check_gradients(updated, to_rows, to, tokens);
    if (checked.ok() && workspace.size() < workspace_bytes(tokens))
      checked = {Code::workspace_small, 0, workspace_bytes(tokens)};
    if (Status s = agree_on(checked, device); !s.ok()) return s;

    const Index branches = layer_.branches();
    const Index width = layer_.width();
    const FusionWeights& w = layer_.weights();
    const FusionConfig& config = layer_.config();
    const LayerTape<In, Out> kept = take_tape(tape, tokens, sequence_count(options));
    Workspace memory(workspace);
    const View<float, 3> segments(memory.take<float>(tokens * (branches + 1) * width), tokens,
                                  branches + 1, width);
    const View<float, 2> coefficients(memory.take<float>(tokens * branches), tokens, branches);
    const Index blocks = (width + lanes_width - 1) / lanes_width;

    View<const float, 3> to_memory = updated;
    if (has_conv()) {
      const Index streams = tokens * branches * width;
      const View<float, 3> slopes(memory.take<float>(streams), tokens, branches, width);
      const View<float, 3> inputs(memory.take<float>(streams), tokens, branches, width);
      const View<const Out, 2> value = kept.value;
      const ConvColumns<Out> columns{value,
                                     kept.scratch.parts,
                                     kept.scratch.factors,
                                     w.conv_gain,
                                     kept.scratch.taps,
                                     kept.state,
                                     (w.conv.extent(0) - 1) * config.dilation,
                                     branches};
      device.for_items(tokens * branches,
                       ConvSlopeBody<Out>{columns, w.conv, config.dilation, updated, slopes});
      device.for_items(tokens * branches,
                       ConvInputGradientBody<Out>{columns, w.conv, config.dilation, config.conv_eps,
                                                  kept.scratch.gates, updated, slopes, inputs});
      if (to.conv.size() != 0 || to.conv_gain.size() != 0)
        device.for_items(
            branches * blocks,
            ConvWeightGradientBody<Out>{
                {columns, w.conv, config.dilation, slopes}, blocks, to.conv, to.conv_gain});
      to_memory = inputs;
    }
    device.for_items(
        tokens, FuseGradientBody<Out, Out, H, Gate>{
                    kept.keys, kept.value, hidden, w.gain, config.query_eps, config.key_eps,
                    layer_.gate(), kept.scratch.parts, options.scale, kept.scratch.gates, to_memory,
                    updated, config.add_residual, segments, coefficients, to_hidden});
    if (to.gain.size() != 0)
      device.for_items(branches * blocks, GainGradientBody<Out, H>{
                                              {kept.keys, hidden, coefficients}, blocks, to.gain});
    project_gradients(gradient_, View<const In, 2>(kept.e), View<const float, 3>(segments),
                      token_tile, to, to_rows, device);
    device.wait();
    return {};
  }

 private:
  static constexpr Index lanes_width = HostLanes<16>::width;

  bool has_conv() const noexcept { return layer_.weights().conv.size() != 0; }

  bool gradient_fits() const noexcept {
    return gradient_.branches() == layer_.branches() &&
           gradient_.output_width() == layer_.width() &&
           gradient_.input_width() == layer_.projection().input_width();
  }

  /// The arguments that forward and backward share.
  template <class Hidden, class Updated>
  ENGRAM_ALWAYS_INLINE Status check_call(View<Hidden, 3> hidden, View<Updated, 3> out,
                                         View<std::byte, 1> tape,
                                         const FusionOptions& options) const noexcept {
    const Index tokens = hidden.extent(0);
    if (!layer_.check().ok() || !gradient_fits()) return {Code::invalid_config};
    const Index state_size = options.conv_state.size() == 0 ? 0 : layer_.conv_state_size();
    if (Status s =
            check_streams(hidden, out, layer_.branches(), layer_.width(), state_size, options);
        !s.ok())
      return s;
    const Index needed = tape_bytes(tokens, sequence_count(options));
    return tape.size() < needed ? Status{Code::workspace_small, 0, needed} : Status{};
  }

  /// shape_mismatch unless the gradients have the shapes of what they are gradients of.
  ENGRAM_ALWAYS_INLINE Status check_gradients(View<const float, 3> updated, View<float, 2> to_rows,
                                              const LayerGradients& to,
                                              Index tokens) const noexcept {
    const Index g = layer_.branches(), d = layer_.width(), m = gradient_.input_width();
    const Index taps = layer_.weights().conv.extent(0);
    Index expected = 0;
    for (int r = 0; r < 3; ++r) {
      const Index extents[3] = {tokens, g, d};
      if (updated.extent(r) != extents[r]) return {Code::shape_mismatch, 0, extents[r]};
    }
    if (to_rows.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
    if (to_rows.extent(1) != m) return {Code::shape_mismatch, 0, m};
    if (is_other_shape(to.key, {g, d, m}, expected) || is_other_shape(to.value, {d, m}, expected) ||
        is_other_shape(to.key_bias, {g, d}, expected) ||
        is_other_shape(to.value_bias, {d}, expected) || is_other_shape(to.gain, {g, d}, expected) ||
        is_other_shape(to.conv_gain, {g, d}, expected) ||
        is_other_shape(to.conv, {taps, g, d}, expected))
      return {Code::shape_mismatch, 0, expected};
    return {};
  }

  ENGRAM_ALWAYS_INLINE LayerTape<In, Out> take_tape(View<std::byte, 1> bytes, Index tokens,
                                                    Index sequences) const noexcept {
    const Index g = layer_.branches(), d = layer_.width();
    const Index m = layer_.projection().input_width();
    const Index state = layer_.conv_state_size();
    Workspace memory(bytes);
    LayerTape<In, Out> tape;
    tape.e = View<In, 2>(memory.take<In>(tokens * m), tokens, m);
    tape.keys = View<Out, 3>(memory.take<Out>(tokens * g * d), tokens, g, d);
    tape.value = View<Out, 2>(memory.take<Out>(tokens * d), tokens, d);
    for (View<float, 2>* kept : {&tape.state, &tape.moved_state})
      *kept = View<float, 2>(memory.take<float>(sequences * state), sequences, state);
    tape.scratch = take_layer_scratch(memory, tokens, g, sequences);
    return tape;
  }

  /// Which tokens take part, and the convolution's states as the tape keeps them; the options with
  /// a state to move on.
  template <class Row, class Dev>
  ENGRAM_ALWAYS_INLINE FusionOptions begin(const LayerTape<In, Out>& tape,
                                           const FusionOptions& options, View<const Row, 2> ids,
                                           const Dev& device) const noexcept {
    begin_block(tape.scratch, options, 0, ids, device);
    FusionOptions used = options;
    if (options.conv_state.size() == 0) used.conv_state = tape.moved_state;
    keep_states(options.conv_state, tape.state, tape.moved_state, device);
    return used;
  }

  Layer layer_;
  ProjectionGradientType gradient_;
};

ENGRAM_END_NAMESPACE
