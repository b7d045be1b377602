// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// What calls that fuse norms, gate and residual on the GPU share: their options, the checks of
// their shapes, and the loops that only they need.

#include <engram/cuda/kernel_device.hpp>
#include <engram/gating/fuse.hpp>

ENGRAM_BEGIN_NAMESPACE

/// What a call takes besides keys, value and streams. Memory of the GPU; an empty view is left out.
///
/// Row: of the row ids, int32 or int64.
template <class Row = std::int32_t>
struct DeviceFusion {
  DeviceView<const float, 2> gain;   ///< [G, D] query gain times key gain (multiply_gains)
  DeviceView<const Mark, 1> marks;   ///< [T] dead and padding positions pass through
  DeviceView<const float, 1> scale;  ///< [T] factor of each token's gates; 0 knocks it out
  DeviceView<const Row, 2> rows;     ///< [T, H] tokens with row -1 pass through
  DeviceView<float, 2> scores;       ///< [T, G] written: the score before the gate
  DeviceView<float, 2> norms;        ///< [T, G] written: norm of what was added
};

/// The parts of 32 tokens.
template <class Row>
struct PartsBody {
  View<const Mark, 1> marks;
  View<const float, 1> scale;
  View<const Row, 2> rows;
  View<Part, 1> parts;

  static constexpr Index items(Index tokens) noexcept { return (tokens + 31) / 32; }

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index first = item * 32, left = parts.extent(0) - first;
    lanes.each(left < 32 ? left : 32, [&](Index l) {
      const Index t = first + l;
      parts(t) = part_of(marks.size() == 0 ? Mark::token : marks(t),
                         rows.size() != 0 && rows(t, 0) == -1, scale.size() != 0 && scale(t) == 0);
    });
  }
};

/// ScoreBody, then UpdateBody of the same token and branch, whose hidden state may still be in a
/// cache.
template <class Key, class Value, class Hidden, class GateFunction>
struct ScoreAndUpdateBody {
  ScoreBody<Key, Hidden, GateFunction> score;
  UpdateBody<Value, Hidden> update;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    score(lanes, item);
    update(lanes, item);
  }
};

/// shape_mismatch (index: the extent expected, or the stride where a call is in place) unless all
/// arrays of a call fit together.
template <class Key, class Value, class Hidden, class Updated, class Row>
Status check_fusion(DeviceView<Key, 3> keys, DeviceView<Value, 2> value,
                    DeviceView<Hidden, 3> hidden, DeviceView<Updated, 3> out,
                    const DeviceFusion<Row>& with, DeviceView<const float, 2> gates,
                    DeviceView<const Part, 1> parts) noexcept {
  const Index tokens = hidden.extent(0), branches = hidden.extent(1), width = hidden.extent(2);
  for (int r = 0; r < 3; ++r)
    if (keys.extent(r) != hidden.extent(r) || out.extent(r) != hidden.extent(r))
      return {Code::shape_mismatch, 0, hidden.extent(r)};
  if (static_cast<const void*>(hidden.data()) == out.data() && tokens > 0)
    for (int r = 0; r < 2; ++r)
      if (hidden.stride(r) != out.stride(r) && hidden.extent(r) > 1)
        return {Code::shape_mismatch, 0, hidden.stride(r)};
  const auto is = [](const auto& view, Index first, Index second) {
    return view.size() == 0 || (view.extent(0) == first && view.extent(1) == second);
  };
  if (value.extent(1) != width || !is(with.gain, branches, width))
    return {Code::shape_mismatch, 0, width};
  if (value.extent(0) != tokens || parts.extent(0) != tokens || gates.extent(0) != tokens ||
      (with.marks.size() != 0 && with.marks.extent(0) != tokens) ||
      (with.scale.size() != 0 && with.scale.extent(0) != tokens) ||
      (with.rows.size() != 0 && with.rows.extent(0) != tokens))
    return {Code::shape_mismatch, 0, tokens};
  if (gates.extent(1) != branches || !is(with.scores, tokens, branches) ||
      !is(with.norms, tokens, branches))
    return {Code::shape_mismatch, 0, branches};
  return {};
}

/// fuse() of arguments that check_fusion() has let pass, in two launches: for any types and
/// strides.
template <KernelDevice Dev, Gate G, class Key, class Value, class Hidden, class Updated, class Row>
ENGRAM_HIDDEN void fuse_by_warps(const Dev& device, DeviceView<Key, 3> keys,
                                 DeviceView<Value, 2> value, DeviceView<Hidden, 3> hidden,
                                 DeviceView<Updated, 3> out, const FusionConfig& config,
                                 const G& gate, const DeviceFusion<Row>& with,
                                 DeviceView<float, 2> gates, DeviceView<Part, 1> parts) noexcept {
  using K = std::remove_const_t<Key>;
  using V = std::remove_const_t<Value>;
  device.for_items(PartsBody<Row>::items(parts.extent(0)),
                   PartsBody<Row>{with.marks.for_body(), with.scale.for_body(),
                                  with.rows.for_body(), parts.for_body()});
  device.for_items(gates.size(),
                   ScoreAndUpdateBody<K, V, Updated, G>{
                       {keys.for_body(), hidden.for_body(), with.gain.for_body(), config.query_eps,
                        config.key_eps, gate, 0, parts.for_body(), with.scale.for_body(),
                        with.scores.for_body(), gates.for_body()},
                       {value.for_body(), hidden.for_body(), parts.for_body(), gates.for_body(),
                        config.add_residual, out.for_body(), with.norms.for_body()}});
}

ENGRAM_END_NAMESPACE
