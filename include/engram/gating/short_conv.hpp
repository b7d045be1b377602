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
    const Value* value = nullptr;
    const float* stored = nullptr;
    float factor = 0;
  };
  ENGRAM_HD ENGRAM_ALWAYS_INLINE Source at(Index sequence, Index document, Index place,
                                           Index g) const noexcept {
    if (place < document) return {};
    if (place < 0)
      return {nullptr,
              state.data() + sequence * state.stride(0) +
                  ((columns + place) * branches + g) * value.extent(1),
              0};
    const Index t = taps.order(taps.begins(sequence) + place);
    if (parts(t) != Part::full) return {};
    return {value.data() + t * value.stride(0), nullptr, factors(t, g)};
  }

  /// Elements d to d + 31 of a column that is not zero.
  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE auto load(const Lanes& lanes, const Source& source, Index g,
                                           Index d) const noexcept {
    const Index left = value.extent(1) - d;
    if (source.stored != nullptr) return lanes.load(source.stored + d, left);
    const auto normalised = lanes.all(source.factor) * lanes.load(source.value + d, left);
    if (gain.size() == 0) return normalised;
    return normalised * lanes.load(gain.data() + g * gain.stride(0) + d, left);
  }
};

/// out = hidden + memory with the convolution; item t * G + g.
template <class Value, class Hidden>
struct ConvUpdateBody {
  static constexpr Index most_taps = 64;

  UpdateBody<Value, Hidden> update;
  ConvColumns<Value> columns;
  View<const float, 3> conv;
  Index dilation;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index t = item / update.out.extent(1);
    const Index g = item % update.out.extent(1);
    if (update.parts(t) != Part::full) return update(lanes, item);

    const Index width = update.out.extent(2);
    typename ConvColumns<Value>::Source source[most_taps];
    const float* weights[most_taps];
    int reached = 0;
    const Index sequence = columns.taps.sequence(t);
    const Index document = columns.taps.document(t);
    const Index here = columns.taps.place(t) - columns.taps.begins(sequence);
    for (Index j = 0; j < conv.extent(0); ++j) {
      source[reached] =
          columns.at(sequence, document, here - (conv.extent(0) - 1 - j) * dilation, g);
      weights[reached] = conv.data() + j * conv.stride(0) + g * conv.stride(1);
      if (source[reached].value != nullptr || source[reached].stored != nullptr) ++reached;
    }

    const Hidden* h = row_of(update.hidden, t, g);
    Hidden* o = row_of(update.out, t, g);
    const Value* v = update.value.data() + t * update.value.stride(0);
    const auto gate = lanes.all(update.gates(t, g));
    auto squares = lanes.all(0);
    for (Index d = 0; d < width; d += lanes.width) {
      const Index left = width - d;
      auto y = lanes.all(0);
      for (int j = 0; j < reached; ++j)
        y += lanes.load(weights[j] + d, left) * columns.load(lanes, source[j], g, d);
      const auto silu = lanes.silu(y);
      const auto memory = gate * lanes.load(v + d, left) + silu;
      if (update.norms.size() != 0) squares += memory * memory;
      lanes.store(o + d, update.add_residual ? lanes.load(h + d, left) + memory : memory, left);
    }
    if (update.norms.size() != 0) update.norms(t, g) = square_root(lanes.sum(squares));
  }
};

/// Moves each sequence's state behind the tokens of this call; item s * G + g.
template <class Value>
struct ConvStateBody {
  ConvColumns<Value> columns;
  View<float, 2> state;
  View<const Index, 1> starts;  ///< [S + 1] of the sequences, in tokens

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index s = item / columns.branches;
    const Index g = item % columns.branches;
    const Index width = columns.value.extent(1);
    if (starts(s + 1) == starts(s)) return;
    const Index document = columns.taps.document(starts(s + 1) - 1);
    const Index tokens = columns.taps.begins(s + 1) - columns.taps.begins(s);
    for (Index c = 0; c < columns.columns; ++c) {
      float* to = state.data() + s * state.stride(0) + (c * columns.branches + g) * width;
      const auto source = columns.at(s, document, tokens - columns.columns + c, g);
      const bool zero = source.value == nullptr && source.stored == nullptr;
      for (Index d = 0; d < width; d += lanes.width)
        lanes.store(to + d, zero ? lanes.all(0) : columns.load(lanes, source, g, d), width - d);
    }
  }
};

ENGRAM_END_NAMESPACE
