// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// fuse() with the short convolution behind the gate: the bodies of gating/short_conv.hpp, a warp
// for each token's branch.

#include <engram/core/workspace.hpp>
#include <engram/cuda/fusion.hpp>
#include <engram/cuda/kernel_device.hpp>
#include <engram/cuda/order_taps.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The convolution of a call; memory of the GPU.
///
/// Start: of `starts`, int32 or int64.
template <class Start = std::int32_t>
struct DeviceConv {
  DeviceView<const float, 3> weights;  ///< [taps, G, D] (transpose_conv); at most 64 taps
  DeviceView<const float, 2> gain;     ///< [G, D] of the norm in front of it, or empty: 1
  DeviceView<const Start, 1> starts;   ///< [S + 1] as in address_batch; empty: one sequence
  DeviceView<float, 2> states;         ///< [S, conv_state_size]; fuse() moves them on

  Index sequences() const noexcept { return starts.extent(0) == 0 ? 1 : starts.extent(0) - 1; }
};

/// What the convolution knows of the tokens of a call, in the caller's workspace.
struct ConvScratch {
  View<float, 2> factors;
  TapOrder taps;
  View<Index, 1> starts;
  View<Index, 1> before;
  View<TapTally, 1> tiles;

  static Index bytes(Index tokens, Index branches, Index sequences) noexcept {
    return Workspace::bytes_of(
        [=](Workspace& memory) { (void)take(memory, tokens, branches, sequences); });
  }
  static ConvScratch take(Workspace& memory, Index tokens, Index branches,
                          Index sequences) noexcept {
    ConvScratch s;
    s.factors = View<float, 2>(memory.take<float>(tokens * branches), tokens, branches);
    for (View<Index, 1>* list : {&s.taps.order, &s.taps.place, &s.taps.sequence, &s.taps.document})
      *list = View<Index, 1>(memory.take<Index>(tokens), tokens);
    s.before = View<Index, 1>(memory.take<Index>(tokens + 1), tokens + 1);
    for (View<Index, 1>* list : {&s.taps.begins, &s.starts})
      *list = View<Index, 1>(memory.take<Index>(sequences + 1), sequences + 1);
    const Index count = tap_tiles(tokens);
    s.tiles = View<TapTally, 1>(memory.take<TapTally>(count), count);
    return s;
  }

  /// For bodies over the values of these tokens. states: in front of them.
  template <class Value, class Start>
  ConvColumns<Value> columns(View<const Value, 2> value, View<const Part, 1> parts,
                             const DeviceConv<Start>& conv, Index dilation) const noexcept {
    return {value,
            parts,
            factors,
            conv.gain.for_body(),
            taps,
            conv.states.for_body(),
            (conv.weights.extent(0) - 1) * dilation,
            factors.extent(1)};
  }
};

/// Calls f with the number of taps that a thread needs room for, as a constant.
template <class F>
void with_most_taps(Index taps, const F& f) noexcept {
  if (taps <= 8)
    f(std::integral_constant<int, 8>());
  else
    f(std::integral_constant<int, static_cast<int>(most_conv_taps)>());
}

/// Warps that share a row of a call of few rows, which would leave most of a GPU idle: each has 8
/// groups of 32 elements or more.
constexpr Index conv_pieces(Index rows, Index groups) noexcept {
  constexpr Index many_warps = 8192;  // about what an H200 runs at once: 132 times 64
  const Index wanted = rows == 0 ? 1 : many_warps / rows, most = groups / 8;
  const Index pieces = wanted < most ? wanted : most;
  return pieces < 1 ? 1 : pieces;
}

/// Bytes of workspace for fuse() with a convolution.
inline Index conv_workspace_bytes(Index tokens, Index branches, Index sequences = 1) noexcept {
  return ConvScratch::bytes(tokens, branches, sequences);
}

/// shape_mismatch (index: the extent expected), invalid_config (more than 64 taps; a dilation below
/// 1) or workspace_small (index: the bytes), unless a convolution fits a call.
template <class Start>
Status check_conv(const DeviceConv<Start>& conv, Index dilation, Index tokens, Index branches,
                  Index width, DeviceView<const std::byte, 1> workspace) noexcept {
  const Index taps = conv.weights.extent(0);
  if (taps < 1 || taps > most_conv_taps || dilation < 1) return {Code::invalid_config};
  if (conv.weights.extent(1) != branches) return {Code::shape_mismatch, 0, branches};
  if (conv.weights.extent(2) != width) return {Code::shape_mismatch, 0, width};
  if (conv.gain.size() != 0 && (conv.gain.extent(0) != branches || conv.gain.extent(1) != width))
    return {Code::shape_mismatch, 0, conv.gain.extent(0) != branches ? branches : width};
  if (conv.starts.extent(0) == 1) return {Code::shape_mismatch, 0, 2};
  const Index sequences = conv.sequences();
  const Index state = conv_state_size(taps, dilation, branches, width);
  if (state > 0 && conv.states.extent(0) != sequences) return {Code::shape_mismatch, 0, sequences};
  if (state > 0 && conv.states.extent(1) != state) return {Code::shape_mismatch, 0, state};
  const Index needed = conv_workspace_bytes(tokens, branches, sequences);
  return workspace.size() < needed ? Status{Code::workspace_small, 0, needed} : Status{};
}

/// As EngramLayer::fuse() with a convolution. Arguments as of the other fuse(), and:
///
/// conv       taps at config.dilation; its states are moved behind the tokens of the call.
/// workspace  conv_workspace_bytes() bytes of the GPU, any alignment. fuse_backward() of the same
///            call reads it.
/// Status     also invalid_config, workspace_small; then nothing was launched. device.wait() says
///            bad_sequence (index: the entry of starts): then every token passes through and the
///            states stay.
/// Cost       six launches, two more above a tile of tokens (order_taps.hpp); a warp for each
///            token's branch, or for a part of it where there are few, which reads D gains, and D
///            weights and values for each tap, mostly from a cache. No allocation, can be captured.
template <KernelDevice Dev, Gate G, class Key, class Value, class Hidden, class Updated, class Row,
          class Start>
ENGRAM_HIDDEN Status fuse(const Dev& device, DeviceView<Key, 3> keys, DeviceView<Value, 2> value,
                          DeviceView<Hidden, 3> hidden, DeviceView<Updated, 3> out,
                          const FusionConfig& config, const G& gate, const DeviceFusion<Row>& with,
                          const DeviceConv<Start>& conv, DeviceView<float, 2> gates,
                          DeviceView<Part, 1> parts, DeviceView<std::byte, 1> workspace) noexcept {
  using K = std::remove_const_t<Key>;
  using V = std::remove_const_t<Value>;
  static_assert(std::is_same_v<std::remove_const_t<Hidden>, Updated>,
                "engram: hidden and out have the same element type");
  const Index tokens = hidden.extent(0), branches = hidden.extent(1), width = hidden.extent(2);
  if (Status s = check_fusion(keys, value, hidden, out, with, gates, parts); !s.ok()) return s;
  if (Status s = check_conv(conv, config.dilation, tokens, branches, width, workspace); !s.ok())
    return s;

  const View<Part, 1> part = parts.for_body();
  const View<const float, 2> factor = gates.for_body();
  const View<const V, 2> values = value.for_body();
  Workspace memory(workspace.for_body());
  const ConvScratch scratch = ConvScratch::take(memory, tokens, branches, conv.sequences());
  const ConvColumns<V> columns = scratch.columns(values, part, conv, config.dilation);
  device.for_items(
      PartsBody<Row>::items(tokens),
      PartsBody<Row>{with.marks.for_body(), with.scale.for_body(), with.rows.for_body(), part});
  order_taps(device, TapSearch<Start, decltype(device.error_word())>{{conv.starts.for_body()},
                                                                     with.marks.for_body(),
                                                                     part,
                                                                     scratch.taps,
                                                                     scratch.starts,
                                                                     scratch.before,
                                                                     scratch.tiles,
                                                                     device.error_word()});
  device.for_items(
      tokens * branches,
      ScoreBody<K, Updated, G>{keys.for_body(), hidden.for_body(), with.gain.for_body(),
                               config.query_eps, config.key_eps, gate, 0, part,
                               with.scale.for_body(), with.scores.for_body(), gates.for_body()});
  device.for_items(tokens * branches,
                   ConvFactorBody<V>{values, part, factor, config.conv_eps, scratch.factors});
  const Index groups = lane_groups_of(width);
  const Index pieces = with.norms.size() != 0 ? 1 : conv_pieces(tokens * branches, groups);
  with_most_taps(conv.weights.extent(0), [&](auto most) {
    device.for_items(tokens * branches * pieces,
                     ConvUpdateBody<V, Updated, decltype(most)::value>{
                         {values, hidden.for_body(), part, factor, config.add_residual,
                          out.for_body(), with.norms.for_body()},
                         columns,
                         conv.weights.for_body(),
                         config.dilation,
                         pieces});
  });
  device.for_items(conv.sequences() * branches * groups,
                   ConvStateBody<V>{columns, conv.states.for_body(), scratch.starts, groups});
  return {};
}

ENGRAM_END_NAMESPACE
