// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What happens between keys and values on one side and the residual stream on the other, as data:
// the weights of the norms and the short convolution, the settings, and what a caller may watch.

#include <engram/core/mark.hpp>
#include <engram/core/scalar.hpp>
#include <engram/core/status.hpp>
#include <engram/core/view.hpp>

ENGRAM_BEGIN_NAMESPACE

/// The weights beside the projection's. Views of host memory, not owned.
struct FusionWeights {
  View<const float, 2> gain;  ///< [G, D] query gain times key gain (multiply_gains), or empty: 1
  View<const float, 2>
      conv_gain;              ///< [G, D] gain of the norm in front of the convolution, or empty
  View<const float, 3> conv;  ///< [taps, G, D] (transpose_conv), or empty: no convolution
};

/// Settings that a model file decides.
struct FusionConfig {
  float query_eps = 1e-20f;  ///< epsilon of the hidden state's RMSNorm
  float key_eps = 1e-20f;    ///< epsilon of the key's RMSNorm
  float conv_eps = 1e-5f;    ///< epsilon of the RMSNorm in front of the convolution
  Index dilation = 1;        ///< tokens between two taps of the convolution
  bool add_residual = true;  ///< out = hidden + memory; false: out = memory
};

/// Optional inputs and outputs of a call; an empty view is left out.
struct FusionOptions {
  View<const Mark, 1> marks;   ///< [T] dead and padding positions pass through bit for bit
  View<const float, 1> scale;  ///< [T] factor of each token's gates; 0 knocks the memory out
  View<float, 2> scores;       ///< [T, G] written: the score before the gate
  View<float, 2> gates;        ///< [T, G] written: the factor of the value, scale included
  View<float, 2> norms;        ///< [T, G] written: Euclidean norm of what was added
  View<const Index, 1> sequence_starts;  ///< [S + 1] as in FrontEnd::address_batch; empty: one
  View<float, 2> conv_state;  ///< [S, conv_state_size] moved on; needed with a convolution
};

/// Taps of a convolution, at most.
inline constexpr Index most_conv_taps = 64;

/// Floats that the convolution of one sequence remembers: the last (taps - 1) * dilation normalised
/// columns [G, D], oldest first; zeros before the sequence. Copy it to fork or roll back.
constexpr Index conv_state_size(Index taps, Index dilation, Index branches, Index width) noexcept {
  return taps > 1 ? (taps - 1) * dilation * branches * width : 0;
}

ENGRAM_BEGIN_LOOPS

/// gain = query * key, [G, D] each: the two norms' gains enter the score as a product only.
inline Status multiply_gains(View<const float, 2> query, View<const float, 2> key,
                             View<float, 2> gain) noexcept {
  for (int r = 0; r < 2; ++r)
    if (query.extent(r) != gain.extent(r) || key.extent(r) != gain.extent(r))
      return {Code::shape_mismatch, 0, gain.extent(r)};
  for (Index g = 0; g < gain.extent(0); ++g)
    for (Index d = 0; d < gain.extent(1); ++d) gain(g, d) = query(g, d) * key(g, d);
  return {};
}

/// Convolution weights as checkpoints store them, [G * D, taps] with the channels of branch g at
/// g * D, to [taps, G, D].
inline Status transpose_conv(View<const float, 2> stored, View<float, 3> conv) noexcept {
  if (stored.extent(1) != conv.extent(0)) return {Code::shape_mismatch, 0, conv.extent(0)};
  if (stored.extent(0) != conv.extent(1) * conv.extent(2))
    return {Code::shape_mismatch, 0, conv.extent(1) * conv.extent(2)};
  for (Index j = 0; j < conv.extent(0); ++j)
    for (Index g = 0; g < conv.extent(1); ++g)
      for (Index d = 0; d < conv.extent(2); ++d) conv(j, g, d) = stored(g * conv.extent(2) + d, j);
  return {};
}

/// Why weights and settings do not fit G branches of width D; empty when they do.
inline std::string fusion_fault(const FusionWeights& w, const FusionConfig& c, Index branches,
                                Index width) {
  const auto wrong = [&](const char* what, View<const float, 2> v) {
    return sentence({what, " is [", v.extent(0), ", ", v.extent(1), "], expected [", branches, ", ",
                     width, "]"});
  };
  const auto fits = [&](View<const float, 2> v) {
    return v.size() == 0 || (v.extent(0) == branches && v.extent(1) == width);
  };
  if (!fits(w.gain)) return wrong("the norms' gain", w.gain);
  if (!fits(w.conv_gain)) return wrong("the convolution's gain", w.conv_gain);
  const auto is_epsilon = [](float eps) { return eps >= 0 && !is_nan(eps); };
  if (!is_epsilon(c.query_eps) || !is_epsilon(c.key_eps) ||
      (w.conv.size() != 0 && !is_epsilon(c.conv_eps)))
    return "an epsilon is negative (in a configuration: not stated) or not a number";
  if (w.conv.size() == 0) return {};
  if (w.conv.extent(1) != branches || w.conv.extent(2) != width)
    return sentence({"the convolution is [", w.conv.extent(0), ", ", w.conv.extent(1), ", ",
                     w.conv.extent(2), "], expected [taps, ", branches, ", ", width, "]"});
  if (w.conv.extent(0) > most_conv_taps)
    return sentence(
        {"the convolution has ", w.conv.extent(0), " taps, expected at most ", most_conv_taps});
  if (c.dilation < 1 || c.dilation > 4096)
    return sentence({"the dilation is ", c.dilation, ", expected 1 to 4096"});
  return {};
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
