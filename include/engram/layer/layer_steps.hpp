// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The steps behind EngramLayer, as free functions: the checks of a call's arguments, which tokens
// take part, projecting, scoring and updating.

#include <engram/core/workspace.hpp>
#include <engram/gating/short_conv.hpp>
#include <engram/layer/projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What a call keeps for each of its tokens, taken from the caller's workspace.
struct LayerScratch {
  View<Part, 1> parts;
  View<float, 2> gates;
  View<float, 2> factors;  ///< of the convolution
  TapOrder taps;
  View<Index, 1> starts;  ///< [S + 1] of the sequences, counted from the first token of the block
};

ENGRAM_BEGIN_LOOPS

inline LayerScratch take_layer_scratch(Workspace& memory, Index tokens, Index branches,
                                       Index sequences) noexcept {
  LayerScratch s;
  s.parts = View<Part, 1>(memory.take<Part>(tokens), tokens);
  s.gates = View<float, 2>(memory.take<float>(tokens * branches), tokens, branches);
  s.factors = View<float, 2>(memory.take<float>(tokens * branches), tokens, branches);
  for (View<Index, 1>* list : {&s.taps.order, &s.taps.place, &s.taps.sequence, &s.taps.document})
    *list = View<Index, 1>(memory.take<Index>(tokens), tokens);
  for (View<Index, 1>* list : {&s.taps.begins, &s.starts})
    *list = View<Index, 1>(memory.take<Index>(sequences + 1), sequences + 1);
  return s;
}
inline Index layer_scratch_bytes(Index tokens, Index branches, Index sequences) noexcept {
  return Workspace::bytes_of(
      [=](Workspace& memory) { (void)take_layer_scratch(memory, tokens, branches, sequences); });
}

inline Index sequence_count(const FusionOptions& options) noexcept {
  return options.sequence_starts.size() == 0 ? 1 : options.sequence_starts.extent(0) - 1;
}

/// The status of a call's arguments once all threads that make the call have checked theirs:
/// invalid_config when only another's are wrong, or when this thread's share is none.
template <Device Dev>
Status agree_on(Status checked, const Dev& device) noexcept {
  if constexpr (requires { device.valid(); })
    if (checked.ok() && !device.valid()) checked = {Code::invalid_config};
  return device.agree(checked.ok()) || !checked.ok() ? checked : Status{Code::invalid_config};
}

/// shape_mismatch unless keys are [T, G, D] and the value [T, D].
template <class Key, class Value>
Status check_keys(View<Key, 3> keys, View<Value, 2> value, Index tokens, Index branches,
                  Index width) noexcept {
  const Index expected[3] = {tokens, branches, width};
  for (int r = 0; r < 3; ++r)
    if (keys.extent(r) != expected[r]) return {Code::shape_mismatch, 0, expected[r]};
  if (value.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
  if (value.extent(1) != width) return {Code::shape_mismatch, 0, width};
  return {};
}

/// bad_sequence, or shape_mismatch of the convolution's states.
inline Status check_sequences(Index tokens, Index state_size, const FusionOptions& o) noexcept {
  const View<const Index, 1> starts = o.sequence_starts;
  for (Index s = 0; s < starts.extent(0); ++s)
    if (starts(s) < (s == 0 ? 0 : starts(s - 1)) || starts(s) > tokens ||
        (s == 0 && starts(s) != 0))
      return {Code::bad_sequence, 0, s};
  if (starts.extent(0) == 1) return {Code::bad_sequence, 0, 0};
  if (state_size == 0) return {};
  if (o.conv_state.extent(0) != sequence_count(o))
    return {Code::shape_mismatch, 0, sequence_count(o)};
  if (o.conv_state.extent(1) != state_size) return {Code::shape_mismatch, 0, state_size};
  return {};
}

/// The status of the streams [T, G, D] and the options of a call.
template <class Hidden, class Updated>
Status check_streams(View<Hidden, 3> hidden, View<Updated, 3> out, Index branches, Index width,
                     Index state_size, const FusionOptions& o) noexcept {
  const Index tokens = hidden.extent(0);
  const Index expected[3] = {tokens, branches, width};
  for (int r = 0; r < 3; ++r)
    if (hidden.extent(r) != expected[r] || out.extent(r) != expected[r])
      return {Code::shape_mismatch, 0, expected[r]};
  if (static_cast<const void*>(hidden.data()) == out.data() && tokens > 0)
    for (int r = 0; r < 2; ++r)
      if (hidden.stride(r) != out.stride(r) && hidden.extent(r) > 1)
        return {Code::shape_mismatch, 0, hidden.stride(r)};
  if (o.marks.size() != 0 && o.marks.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
  for (Index t = 0; t < o.marks.size(); ++t)
    if (!is_valid(o.marks(t))) return {Code::bad_mark, 0, t};
  if (o.scale.size() != 0 && o.scale.extent(0) != tokens) return {Code::shape_mismatch, 0, tokens};
  for (const View<float, 2>& watched : {o.scores, o.gates, o.norms})
    for (int r = 0; r < 2; ++r)
      if (watched.size() != 0 && watched.extent(r) != expected[r])
        return {Code::shape_mismatch, 0, expected[r]};
  return check_sequences(tokens, state_size, o);
}

/// Which of the tokens [begin, begin + count) take part. ids: their rows, or empty.
template <class Row>
void mark_parts(const LayerScratch& s, const FusionOptions& o, Index begin,
                View<const Row, 2> ids) noexcept {
  for (Index t = 0; t < s.parts.extent(0); ++t) {
    const Mark mark = o.marks.size() == 0 ? Mark::token : o.marks(begin + t);
    const bool knocked_out = o.scale.size() != 0 && o.scale(begin + t) == 0;
    const bool no_rows = ids.extent(0) != 0 && ids(t, 0) == -1;
    s.parts(t) = part_of(mark, no_rows, knocked_out);
  }
}

/// Which tokens the convolution's taps reach from the tokens [begin, begin + count).
inline void order_taps(const LayerScratch& s, const FusionOptions& o, Index begin) noexcept {
  const Index count = s.parts.extent(0);
  for (Index i = 0; i < s.starts.extent(0); ++i) {
    const Index whole = i == 0 ? 0 : begin + count;
    const Index start = (o.sequence_starts.size() == 0 ? whole : o.sequence_starts(i)) - begin;
    s.starts(i) = start < 0 ? 0 : start > count ? count : start;
  }
  s.taps.fill(s.starts, o.marks.size() == 0 ? o.marks : o.marks.slice(begin, count), s.parts);
}

template <class Row, Device Dev>
void begin_block(const LayerScratch& s, const FusionOptions& o, Index begin, View<const Row, 2> ids,
                 const Dev& device) noexcept {
  device.for_items(1, [&](const auto&, Index) {
    mark_parts(s, o, begin, ids);
    order_taps(s, o, begin);
  });
}

/// Lets the projection rewrite e, where it does that.
template <Projection P, class In, Device Dev>
void prepare_inputs(const P& projection, View<In, 2> e, const Dev& device) noexcept {
  if constexpr (requires { projection.prepare(e); })
    device.for_items(e.extent(0), [&](const auto&, Index t) { projection.prepare(e.slice(t, 1)); });
}

/// Segments first, first + 1, ... to out [T, S, D].
template <Projection P, class In, class Out, Device Dev>
void project_segments(const P& projection, View<const In, 2> e, Index first, View<Out, 3> out,
                      const Dev& device) noexcept {
  const Index tiles = projection.tiles();
  device.for_items(out.extent(1) * tiles, [&](const auto&, Index item) {
    projection.project(e, static_cast<int>(first + item / tiles), item % tiles,
                       out.template at<1>(item / tiles));
  });
}

/// The part of an optional array that belongs to the tokens of a block.
template <class T, int Rank>
View<T, Rank> block_of(View<T, Rank> all, Index begin, Index count) noexcept {
  return all.size() == 0 ? all : all.slice(begin, count);
}

/// Scores and gates of the branches first, first + 1, ... from their keys [T, S, D].
template <Gate G, class Key, class Hidden, Device Dev>
void score_keys(View<const Key, 3> keys, Index first, View<const Hidden, 3> hidden,
                const FusionWeights& weights, const FusionConfig& config, const G& gate,
                const LayerScratch& s, const FusionOptions& o, Index begin,
                const Dev& device) noexcept {
  const Index count = keys.extent(0);
  device.for_items(
      count * keys.extent(1),
      ScoreBody<Key, Hidden, G>{keys, hidden, weights.gain, config.query_eps, config.key_eps, gate,
                                first, s.parts, block_of(o.scale, begin, count),
                                block_of(o.scores, begin, count), s.gates});
}

/// The new hidden state from value and gates; moves the convolution's states on.
template <class Value, class Hidden, Device Dev>
void update_streams(View<const Value, 2> value, View<const Hidden, 3> hidden, View<Hidden, 3> out,
                    const FusionWeights& weights, const FusionConfig& config, const LayerScratch& s,
                    const FusionOptions& o, Index begin, const Dev& device) noexcept {
  const Index count = out.extent(0);
  const Index branches = out.extent(1);
  const UpdateBody<Value, Hidden> plain{
      value, hidden, s.parts, s.gates, config.add_residual, out, block_of(o.norms, begin, count)};
  if (const View<float, 2> watched = block_of(o.gates, begin, count); watched.size() != 0)
    device.for_items(count, [&](const auto&, Index t) {
      for (Index g = 0; g < branches; ++g) watched(t, g) = s.gates(t, g);
    });
  if (weights.conv.size() == 0) {
    device.for_items(count * branches, plain);
    return;
  }
  device.for_items(count * branches,
                   ConvFactorBody<Value>{value, s.parts, s.gates, config.conv_eps, s.factors});
  const ConvColumns<Value> columns{value,
                                   s.parts,
                                   s.factors,
                                   weights.conv_gain,
                                   s.taps,
                                   o.conv_state,
                                   (weights.conv.extent(0) - 1) * config.dilation,
                                   branches};
  device.for_items(count * branches,
                   ConvUpdateBody<Value, Hidden>{plain, columns, weights.conv, config.dilation});
  const Index groups = lane_groups_of(value.extent(1));
  device.for_items(sequence_count(o) * branches * groups,
                   ConvStateBody<Value>{columns, o.conv_state, s.starts, groups});
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
