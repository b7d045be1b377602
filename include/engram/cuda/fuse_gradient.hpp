// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Backward of fuse() on the GPU, with or without the convolution: the bodies of training/, a warp
// for each token or each token's branch, and chunks of tokens for the weights. No atomic sums: the
// same bits each time.

#include <engram/cuda/convolve.hpp>
#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/weight_gradient.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Where the gradients of a call go; memory of the GPU. An empty view of a weight is left out.
struct DeviceFuseGradients {
  DeviceView<float, 3> segments;   ///< [T, G + 1, D] written: of the keys, then of the value
  DeviceView<float, 3> to_hidden;  ///< [T, G, D] written; may be the gradient of `out`
  DeviceView<float, 2> gain;       ///< [G, D] added to
  DeviceView<float, 2> conv_gain;  ///< [G, D] added to; empty without a convolution
  DeviceView<float, 3> conv;       ///< [taps, G, D] added to; empty without one
};

/// What backward computes on its way, in the caller's workspace.
struct FuseGradientScratch {
  View<float, 2> coefficients;
  View<float, 3> slopes, inputs;  ///< of the convolution
  float* sums = nullptr;          ///< of chunks

  static Index sum_count(Index tokens, Index branches, Index width, Index taps) noexcept {
    return TokenChunks{tokens}.count() * (taps + 1) * branches * width;
  }
  static Index bytes(Index tokens, Index branches, Index width, Index taps) noexcept {
    return Workspace::bytes_of(
        [=](Workspace& memory) { (void)take(memory, tokens, branches, width, taps); });
  }
  static FuseGradientScratch take(Workspace& memory, Index tokens, Index branches, Index width,
                                  Index taps) noexcept {
    FuseGradientScratch s;
    s.coefficients = View<float, 2>(memory.take<float>(tokens * branches), tokens, branches);
    s.sums = memory.take<float>(sum_count(tokens, branches, width, taps));
    if (taps == 0) return s;
    const Index streams = tokens * branches * width;
    s.slopes = View<float, 3>(memory.take<float>(streams), tokens, branches, width);
    s.inputs = View<float, 3>(memory.take<float>(streams), tokens, branches, width);
    return s;
  }
};

/// Bytes of workspace for fuse_backward(). taps: 0 without a convolution.
inline Index fuse_backward_workspace_bytes(Index tokens, Index branches, Index width,
                                           Index taps = 0) noexcept {
  return FuseGradientScratch::bytes(tokens, branches, width, taps);
}

/// shape_mismatch (index: the extent expected) unless a call's gradients fit its streams.
inline Status check_fuse_gradients(DeviceView<const float, 3> updated,
                                   const DeviceFuseGradients& to, Index taps, Index tokens,
                                   Index branches, Index width) noexcept {
  const Index streams[3] = {tokens, branches, width};
  for (int r = 0; r < 3; ++r) {
    const Index segments = r == 1 ? branches + 1 : streams[r];
    if (to.segments.extent(r) != segments) return {Code::shape_mismatch, 0, segments};
    if (updated.extent(r) != streams[r] || to.to_hidden.extent(r) != streams[r])
      return {Code::shape_mismatch, 0, streams[r]};
  }
  for (const DeviceView<float, 2>& of_gain : {to.gain, to.conv_gain})
    for (int r = 0; r < 2; ++r)
      if (of_gain.size() != 0 && of_gain.extent(r) != streams[r + 1])
        return {Code::shape_mismatch, 0, streams[r + 1]};
  if (taps == 0 && to.conv_gain.size() != 0) return {Code::shape_mismatch, 0, 0};
  const Index conv[3] = {taps, branches, width};
  for (int r = 0; r < 3; ++r)
    if (to.conv.size() != 0 && to.conv.extent(r) != conv[r])
      return {Code::shape_mismatch, 0, conv[r]};
  return {};
}

/// Gradient of fuse()'s `out` to those of keys, value, hidden state and weights. Formulas:
/// training/fuse_gradient.hpp and conv_gradient.hpp.
///
/// Arguments as they were for the fuse() of the same call, whose gates and parts, and what it left
/// in `conv_workspace`, are read; and:
/// hidden          as it was in front of fuse(): a call in place needs a copy.
/// updated         [T, G, D] float: gradient of `out`.
/// conv            weights empty: fuse() was called without a convolution. states: as they were in
///                 front of the call.
/// to              where the gradients go; to_hidden may be `updated`. Those of weights are summed
///                 over TokenChunks: other last bits than the CPU's, the same in every run.
/// workspace       fuse_backward_workspace_bytes() bytes of the GPU, any alignment.
/// Status          shape_mismatch (index: the extent expected), invalid_config, workspace_small
///                 (index: the bytes); then nothing was launched.
/// Cost            up to eight launches; no allocation, can be captured.
template <KernelDevice Dev, DifferentiableGate G, class Key, class Value, class Hidden, class Row,
          class Start>
ENGRAM_HIDDEN Status fuse_backward(
    const Dev& device, DeviceView<Key, 3> keys, DeviceView<Value, 2> value,
    DeviceView<Hidden, 3> hidden, std::type_identity_t<DeviceView<const float, 3>> updated,
    const FusionConfig& config, const G& gate, const DeviceFusion<Row>& with,
    const DeviceConv<Start>& conv, std::type_identity_t<DeviceView<const float, 2>> gates,
    std::type_identity_t<DeviceView<const Part, 1>> parts, DeviceView<std::byte, 1> conv_workspace,
    const DeviceFuseGradients& to, DeviceView<std::byte, 1> workspace) noexcept {
  using K = std::remove_const_t<Key>;
  using V = std::remove_const_t<Value>;
  using H = std::remove_const_t<Hidden>;
  const Index tokens = hidden.extent(0), branches = hidden.extent(1), width = hidden.extent(2);
  const Index taps = conv.weights.size() == 0 ? 0 : conv.weights.extent(0);
  if (Status s = check_fusion(keys, value, hidden, to.to_hidden, with, gates, parts); !s.ok())
    return s;
  if (Status s = check_fuse_gradients(updated, to, taps, tokens, branches, width); !s.ok())
    return s;
  if (taps > 0)
    if (Status s = check_conv(conv, config.dilation, tokens, branches, width, conv_workspace);
        !s.ok())
      return s;
  const Index needed = fuse_backward_workspace_bytes(tokens, branches, width, taps);
  if (workspace.size() < needed) return {Code::workspace_small, 0, needed};

  Workspace memory(workspace.for_body());
  const FuseGradientScratch scratch =
      FuseGradientScratch::take(memory, tokens, branches, width, taps);
  const TokenChunks chunks{tokens};
  const Index blocks = lane_groups_of(width);
  const View<const V, 2> values = value.for_body();
  View<const float, 3> to_memory = updated.for_body();
  const auto add_chunks = [&](Index sums, Index first, View<float, 3> into) {
    const View<const float, 4> all(scratch.sums, chunks.count(), sums, branches, width);
    View<const float, 4> some(scratch.sums + first * branches * width, chunks.count(),
                              into.extent(0), branches, width);
    device.for_items(into.extent(0) * branches * blocks,
                     AddChunksBody{some.template with_stride<0>(all.stride(0)), blocks, into});
  };
  const auto one = [](View<float, 2> of_gain) {
    return View<float, 3>(of_gain.data(), 1, of_gain.extent(0), of_gain.extent(1))
        .template with_stride<1>(of_gain.stride(0));
  };
  if (taps > 0) {
    Workspace kept_memory(conv_workspace.for_body());
    const ConvScratch kept = ConvScratch::take(kept_memory, tokens, branches, conv.sequences());
    const ConvColumns<V> columns = kept.columns(values, parts.for_body(), conv, config.dilation);
    const View<const float, 3> weights = conv.weights.for_body();
    with_most_taps(taps, [&](auto room) {
      constexpr int most = decltype(room)::value;
      device.for_items(tokens * branches,
                       ConvSlopeBody<V, most>{columns, weights, config.dilation, updated.for_body(),
                                              scratch.slopes});
      device.for_items(tokens * branches,
                       ConvInputGradientBody<V, most>{
                           columns, weights, config.dilation, config.conv_eps, gates.for_body(),
                           updated.for_body(), scratch.slopes, scratch.inputs});
      if (to.conv.size() != 0 || to.conv_gain.size() != 0)
        device.for_items(
            chunks.count() * branches * blocks,
            ConvWeightChunkBody<V, most>{
                {columns, weights, config.dilation, scratch.slopes},
                chunks,
                blocks,
                View<float, 4>(scratch.sums, chunks.count(), taps + 1, branches, width)});
    });
    if (to.conv.size() != 0) add_chunks(taps + 1, 0, to.conv.for_body());
    if (to.conv_gain.size() != 0) add_chunks(taps + 1, taps, one(to.conv_gain.for_body()));
    to_memory = scratch.inputs;
  }
  device.for_items(
      tokens, FuseGradientBody<K, V, H, G>{
                  keys.for_body(), values, hidden.for_body(), with.gain.for_body(),
                  config.query_eps, config.key_eps, gate, parts.for_body(), with.scale.for_body(),
                  gates.for_body(), to_memory, updated.for_body(), config.add_residual,
                  to.segments.for_body(), scratch.coefficients, to.to_hidden.for_body()});
  if (to.gain.size() != 0) {
    device.for_items(
        chunks.count() * branches * blocks,
        GainChunkBody<K, H>{{keys.for_body(), hidden.for_body(), scratch.coefficients},
                            chunks,
                            blocks,
                            View<float, 3>(scratch.sums, chunks.count(), branches, width)});
    add_chunks(1, 0, one(to.gain.for_body()));
  }
  return {};
}

ENGRAM_END_NAMESPACE
