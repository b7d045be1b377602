// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The short convolution behind the gate (the paper's section on the module; dropped by
// DeepSeek-V4.1, kept by Qwen): depthwise over the G * D channels, causal, with tap j of `taps`
// reading the token (taps - 1 - j) * dilation back in its sequence. With v' = gate * value,
//
//   x = v' / sqrt(mean(v'^2) + eps) * gain       memory = v' + SiLU(sum over j of conv[j] * x)
//
// A column x of this call is not stored: it is (a * value) * gain with one factor a for each token
// and branch. Columns of earlier calls come from the state.

#include <engram/gating/fuse.hpp>

ENGRAM_BEGIN_NAMESPACE

/// Groups of 32 elements in a row.
ENGRAM_HD constexpr Index lane_groups_of(Index width) noexcept { return (width + 31) / 32; }

/// Which earlier tokens the taps of each token reach. Arrays of the caller's workspace.
struct TapOrder {
  View<Index, 1> order;     ///< [T] the tokens that are not absent, in order
  View<Index, 1> place;     ///< [T] where a token stands in `order`; -1 for absent ones
  View<Index, 1> sequence;  ///< [T]
  View<Index, 1> document;  ///< [T] where its document begins, counted from `begins`; see `earlier`
  View<Index, 1> begins;    ///< [S + 1] where each sequence begins in `order`
  static constexpr Index earlier = INT64_MIN;  ///< in an earlier call

  /// For sequences as in FusionOptions and the marks of the tokens, or none; tokens behind the last
  /// sequence become absent.
  void fill(View<const Index, 1> starts, View<const Mark, 1> marks,
            View<Part, 1> parts) const noexcept {
    const Index sequences = begins.extent(0) - 1;
    Index count = 0;
    Index s = 0;
    Index document_begin = earlier;
    begins(0) = 0;
    for (Index t = 0; t < parts.extent(0); ++t) {
      for (; s < sequences && t >= starts(s + 1); ++s) {
        begins(s + 1) = count;
        document_begin = earlier;
      }
      if (s == sequences) parts(t) = Part::absent;
      sequence(t) = s;
      place(t) = parts(t) == Part::absent ? -1 : count;
      if (marks.size() != 0 && has(marks(t), Mark::start)) document_begin = count - begins(s);
      document(t) = document_begin;
      if (place(t) >= 0) order(count++) = t;
    }
    for (; s < sequences; ++s) begins(s + 1) = count;
  }
};

/// The factor a of each token and branch: gate / sqrt(mean((gate * value)^2) + eps); item t * G +
/// g.
template <class Value>
struct ConvFactorBody {
  View<const Value, 2> value;
  View<const Part, 1> parts;
  View<const float, 2> gates;
  float eps;
  View<float, 2> factors;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / gates.extent(1);
    const Index g = item % gates.extent(1);
    if (parts(t) != Part::full) {
      factors(t, g) = 0;
      return;
    }
    const Index width = value.extent(1);
    const Value* v = value.data() + t * value.stride(0);
    const auto gate = lanes.all(gates(t, g));
    auto squares = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      const auto x = gate * lanes.load(v + d, width - d);
      squares += x * x;
    }
    factors(t, g) =
        gates(t, g) * (1.0f / square_root(lanes.sum(squares) / static_cast<float>(width) + eps));
  }
};

/// What all loops of the convolution share.
template <class Value>
struct ConvColumns {
  View<const Value, 2> value;
  View<const Part, 1> parts;
  View<const float, 2> factors;
  View<const float, 2> gain;  ///< or empty
  TapOrder taps;
  View<const float, 2> state;
  Index columns;  ///< that the state holds
  Index branches;

  /// The normalised column of the token at that place of its sequence, counted from the sequence's
  /// begin in this call; negative: of an earlier call. Null when it is zero: of a token that takes
  /// no part, or of another document than the one that begins at `document`.
  struct Source {
    const Value* value;
    const float* stored;
    float factor;

    ENGRAM_HD ENGRAM_ALWAYS_INLINE bool is_zero() const noexcept {
      return value == nullptr && stored == nullptr;
    }
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Source at(Index sequence, Index document, Index place,
                                           Index g) const noexcept {
    if (place < document) return {nullptr, nullptr, 0};
    if (place < 0)
      return {nullptr,
              state.data() + sequence * state.stride(0) +
                  ((columns + place) * branches + g) * value.extent(1),
              0};
    const Index t = taps.order(taps.begins(sequence) + place);
    if (parts(t) != Part::full) return {nullptr, nullptr, 0};
    return {value.data() + t * value.stride(0), nullptr, factors(t, g)};
  }

  /// Elements d to d + 31 of the gain of a branch; 1 where there is none.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE auto gain_at(const Lanes& lanes, Index g, Index d) const noexcept {
    return gain.size() == 0 ? lanes.all(1)
                            : lanes.load(gain.data() + g * gain.stride(0) + d, value.extent(1) - d);
  }
  /// Elements d to d + 31 of a column that is not zero. times: gain_at() there.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE auto load(const Lanes& lanes, const Source& source, Index d,
                                           const typename Lanes::Float& times) const noexcept {
    const Index left = value.extent(1) - d;
    return source.stored != nullptr
               ? lanes.load(source.stored + d, left)
               : lanes.all(source.factor) * lanes.load(source.value + d, left) * times;
  }
};

/// What one token's taps read, in the order of the taps.
///
/// MostTaps: for how many there is room; on a GPU each thread's memory.
template <class Value, int MostTaps>
struct TapSources {
  typename ConvColumns<Value>::Source source[MostTaps];
  const float* weights[MostTaps];  ///< [D] of that tap
  Index tap[MostTaps];
  int count = 0;

  ENGRAM_HD ENGRAM_ALWAYS_INLINE TapSources(const ConvColumns<Value>& of, View<const float, 3> conv,
                                            Index dilation, Index t, Index g) noexcept {
    const Index sequence = of.taps.sequence(t);
    const Index document = of.taps.document(t);
    const Index here = of.taps.place(t) - of.taps.begins(sequence);
    for (Index j = 0; j < conv.extent(0); ++j) {
      const auto found = of.at(sequence, document, here - (conv.extent(0) - 1 - j) * dilation, g);
      if (found.is_zero()) continue;
      source[count] = found;
      weights[count] = row_of(conv, j, g);
      tap[count++] = j;
    }
  }

  /// Elements d to d + 31 of the sum over the taps. gain: gain_at() there.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE auto sum(const Lanes& lanes, const ConvColumns<Value>& of, Index d,
                                          const typename Lanes::Float& gain) const noexcept {
    auto y = lanes.all(0);
    for (int i = 0; i < count; ++i)
      y += lanes.load(weights[i] + d, of.value.extent(1) - d) * of.load(lanes, source[i], d, gain);
    return y;
  }
};

/// out = hidden + memory with the convolution; item (t * G + g) * pieces + piece.
template <class Value, class Hidden, int MostTaps = most_conv_taps>
struct ConvUpdateBody {
  UpdateBody<Value, Hidden> update;
  ConvColumns<Value> columns;
  View<const float, 3> conv;
  Index dilation;
  Index pieces = 1;  ///< of a row, each with some of its elements; 1 where norms are written

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index row = item / pieces, piece = item % pieces;
    const Index t = row / update.out.extent(1);
    const Index g = row % update.out.extent(1);
    if (update.parts(t) != Part::full) {
      if (piece == 0) update(lanes, row);
      return;
    }

    const Index width = update.out.extent(2);
    const Index whole = (lane_groups_of(width) - 1) / pieces + 1;
    const Index begin = piece * whole * lanes.width, end = begin + whole * lanes.width;
    const TapSources<Value, MostTaps> sources(columns, conv, dilation, t, g);
    const Hidden* h = row_of(update.hidden, t, g);
    Hidden* o = row_of(update.out, t, g);
    const Value* v = update.value.data() + t * update.value.stride(0);
    const auto gate = lanes.all(update.gates(t, g));
    auto squares = lanes.all(0);
    for (Index d = begin; d < (end < width ? end : width); d += lanes.width) {
      const Index left = width - d;
      const auto silu = lanes.silu(sources.sum(lanes, columns, d, columns.gain_at(lanes, g, d)));
      const auto memory = gate * lanes.load(v + d, left) + silu;
      if (update.norms.size() != 0) squares += memory * memory;
      lanes.store(o + d, update.add_residual ? lanes.load(h + d, left) + memory : memory, left);
    }
    if (update.norms.size() != 0) update.norms(t, g) = square_root(lanes.sum(squares));
  }
};

/// Moves each sequence's state behind the tokens of this call; item (s * G + g) * groups + group, a
/// group being the elements of 32 lanes.
template <class Value>
struct ConvStateBody {
  ConvColumns<Value> columns;
  View<float, 2> state;
  View<const Index, 1> starts;  ///< [S + 1] of the sequences, in tokens
  Index groups;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index s = item / groups / columns.branches;
    const Index g = item / groups % columns.branches;
    const Index d = item % groups * lanes.width;
    const Index width = columns.value.extent(1);
    if (columns.columns == 0 || starts(s + 1) == starts(s)) return;
    const Index document = columns.taps.document(starts(s + 1) - 1);
    const Index tokens = columns.taps.begins(s + 1) - columns.taps.begins(s);
    const auto gain = columns.gain_at(lanes, g, d);
    float* to = state.data() + s * state.stride(0) + g * width + d;
    for (Index c = 0; c < columns.columns; ++c, to += columns.branches * width) {
      const auto source = columns.at(s, document, tokens - columns.columns + c, g);
      lanes.store(to, source.is_zero() ? lanes.all(0) : columns.load(lanes, source, d, gain),
                  width - d);
    }
  }
};

ENGRAM_END_NAMESPACE
