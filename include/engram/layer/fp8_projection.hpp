// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// DeepSeek-V4.1's projection from its weights as stored: e4m3 codes with one e8m0 scale for each
// 32 x 32 tile. A float copy of them would have four times the bytes, and for a few tokens the time
// goes into reading.

#include <engram/layer/fp8_kernels.hpp>
#include <engram/layer/projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// How 32 activations become codes.
struct ActivationScale {
  E8m0 scale;     ///< the power of two that codes are multiples of; 255: one is infinite or NaN
  float inverse;  ///< 1 / scale; not for 255

  ENGRAM_HD constexpr bool is_nan() const noexcept { return scale.bits == 255; }
};

ENGRAM_BEGIN_LOOPS

/// k for activations whose largest magnitude is that number: 2^k is the smallest power of two that
/// keeps max(1e-4, largest) / 2^k at about 448 or less. Source: DeepSeek-V4.1-Flash's released
/// code.
ENGRAM_HD constexpr int activation_exponent(float largest) noexcept {
  const float quotient = (largest > 1e-4f ? largest : 1e-4f) * (1.0f / 448);
  const std::uint32_t bits = to_bits(quotient);
  const bool is_power = (bits & (float_bits::implicit_one - 1)) == 0;
  return static_cast<int>(bits >> 23) - 127 + (is_power ? 0 : 1);
}

/// The scale of 32 activations.
///
/// largest  the largest magnitude of them, as bits of a float; above infinity's where one is NaN.
ENGRAM_HD constexpr ActivationScale activation_scale(std::uint32_t largest) noexcept {
  if (largest >= float_bits::infinity) return {E8m0{255}, 0};
  const int k = activation_exponent(from_bits(largest));
  return {E8m0{static_cast<std::uint8_t>(k + 127)},
          from_bits(static_cast<std::uint32_t>(127 - k) << 23)};
}

/// Quantises 32 activations: their codes, and the power of two that these are multiples of.
///
/// e      [32], host memory.
/// codes  [32]; all 0x7F, with the scale 255, when an activation is infinite or NaN.
inline E8m0 quantise_activations(View<const Bf16, 1> e, View<E4m3, 1> codes) noexcept {
  unsigned largest = 0;
  for (Index i = 0; i < 32; ++i)
    if (const unsigned magnitude = e(i).bits & 0x7FFFu; magnitude > largest) largest = magnitude;
  const ActivationScale by = activation_scale(largest << 16);
  for (Index i = 0; i < 32; ++i)
    codes(i) = by.is_nan() ? E4m3{0x7F} : to_e4m3(to_float(e(i)) * by.inverse);
  return by.scale;
}

ENGRAM_END_LOOPS

/// Replaces each 32 activations of a token by what quantise_activations makes of them, as bf16; the
/// item is the token.
struct QuantiseBody {
  View<Bf16, 2> e;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index t) const noexcept {
    using U32 = typename Lanes::U32;
    using F32 = typename Lanes::F32;
    for (Index m = 0; m < e.extent(1); m += 32) {
      Bf16* const x = e.data() + t * e.stride(0) + m;
      unsigned largest = 0;
      for (int i = 0; i < 32; ++i) {
        const unsigned magnitude = x[i].bits & 0x7FFFu;
        largest = magnitude > largest ? magnitude : largest;
      }
      const ActivationScale by = activation_scale(largest << 16);
      if (by.is_nan()) {
        for (int i = 0; i < 32; ++i) x[i] = Bf16{float_bits::nan >> 16};
        continue;
      }
      const float scale = to_float(by.scale), inverse = by.inverse;
      auto values = lanes.load(x);
      for (int i = 0; i < Lanes::vectors; ++i) {
        const U32 bits = (U32)(values.part[i] * inverse);
        U32 magnitude = bits & ~float_bits::sign;
        const U32 too_large = (U32)(magnitude > 0x43E00000);  // 448
        magnitude = (magnitude & ~too_large) | (0x43E00000 & too_large);
        // Four significant bits; below 2^-6 multiples of 2^-9, which are the units of 16384 + x.
        const U32 normal = (magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) & 0xFFF00000;
        const U32 units = (U32)((F32)magnitude + 16384.0f) - to_bits(16384.0f);
        const U32 subnormal = (U32)(__builtin_convertvector(units, F32) * (1.0f / 512));
        const U32 is_small = (U32)(magnitude < 0x3C800000);
        const U32 rounded = (subnormal & is_small) | (normal & ~is_small);
        values.part[i] = (F32)(rounded | (bits & float_bits::sign)) * scale;
      }
      lanes.store(x, values);
    }
  }
};

/// Output n for every token; the item is n. Sums in float in the order of the lanes.
struct Fp8PlainBody {
  Fp8Weights weights;
  View<const Bf16, 2> e;
  View<Bf16, 2> out;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index n) const noexcept {
    constexpr Index tokens = 16;
    constexpr Index block = 256;
    const RowBytes row = weights.row(n);
    float decoded[block];
    for (Index first = 0; first < e.extent(0); first += tokens) {
      const Index count = e.extent(0) - first < tokens ? e.extent(0) - first : tokens;
      const Bf16* const x = e.data() + first * e.stride(0);
      typename Lanes::Float sums[tokens];
      for (Index t = 0; t < count; ++t) sums[t] = lanes.all(0);
      for (Index m = 0; m < weights.inputs; m += block) {
        const Index some = weights.inputs - m < block ? weights.inputs - m : block;
        decode_row(lanes, Fp8Codec(), {row.codes + m, row.scales + m / Fp8Codec::block}, some,
                   decoded);
        for (Index t = 0; t < count; ++t)
          for (Index i = 0; i < some; i += lanes.width)
            sums[t] += lanes.load(x + t * e.stride(0) + m + i) * lanes.load(decoded + i);
      }
      for (Index t = 0; t < count; ++t) out(first + t, n) = to_bf16(lanes.sum(sums[t]));
    }
  }
};

ENGRAM_BEGIN_LOOPS

/// The outputs [outputs.begin, outputs.end), whole tiles of 32 and at most fp8_tile, by the loop
/// for this processor and these weights. Weights with scales below 2^-117 or above 2^119 (NaN) take
/// the plain one, whatever the tokens.
inline void project_fp8(const Fp8Weights& weights, ItemRange outputs, View<const Bf16, 2> e,
                        View<Bf16, 2> out) noexcept {
#if ENGRAM_X86_TARGETS
  if (has_avx512_bf16() && has_plain_scales(weights, outputs)) {
    const Index tokens = e.extent(0);
    if (tokens == 1 && project_fp8_few<1>(weights, outputs, e, out)) return;
    if (tokens == 2 && project_fp8_few<2>(weights, outputs, e, out)) return;
    if ((tokens == 3 || tokens == 4) && project_fp8_few<4>(weights, outputs, e, out)) return;
    return project_fp8_many(weights, outputs, e, out);
  }
#endif
  run_items(Fp8PlainBody{weights, e, out}, outputs);
}

/// Why codes and scales do not make the weights of a projection; empty when they do.
inline std::string fp8_weights_fault(View<const E4m3, 2> codes, View<const E8m0, 2> scales,
                                     Index branches) {
  const Index outputs = codes.extent(0);
  const Index inputs = codes.extent(1);
  const auto shape = [](Index rows, Index columns) {
    return sentence({"[", rows, ", ", columns, "]"});
  };
  if (branches < 1) return sentence({branches, " branches, expected at least 1"});
  if (outputs <= branches || inputs < 1 || outputs % (branches + 1) != 0 ||
      outputs / (branches + 1) % 32 != 0 || inputs % 32 != 0)
    return sentence({"the codes are ", shape(outputs, inputs),
                     ", expected [(G + 1) * D, M], D and M multiples of 32, for G = ", branches,
                     " branches"});
  if (scales.extent(0) != outputs / 32 || scales.extent(1) != inputs / 32)
    return sentence({"the scales are ", shape(scales.extent(0), scales.extent(1)), ", expected ",
                     shape(outputs / 32, inputs / 32), ", one for each 32 x 32 tile of codes ",
                     shape(outputs, inputs),
                     scales.extent(0) == outputs ? " (one for each 32 codes of a row is the format "
                                                   "of a table's rows)"
                                                 : ""});
  return {};
}

ENGRAM_END_LOOPS

/// fp8 weights over bf16 rows to bf16 keys and values. Holds views.
///
/// A weight is code * 2^(scale - 127) as Fp8Codec reads it; sums are taken in float, in an order
/// that the number of inputs fixes (fp8_kernels.hpp), and rounded once. So a token's outputs are
/// the same bits in any batch, on any thread. On another processor they may differ by the order of
/// the additions.
class Fp8Projection {
 public:
  using input_type = Bf16;
  using output_type = Bf16;
  static constexpr bool batch_invariant = true;

  /// codes     [(G + 1) * D, M] of the branches in order, then the value; D and M multiples of 32,
  ///           row stride free, host memory.
  /// scales    [(G + 1) * D / 32, M / 32], one for each 32 x 32 codes, row stride free.
  /// branches  G, at least 1.
  /// quantise_activations  whether prepare() quantises the rows, as the released model does.
  ///
  /// Fails with shape_mismatch.
  ENGRAM_ALWAYS_INLINE static Result<Fp8Projection> make(View<const E4m3, 2> codes,
                                                         View<const E8m0, 2> scales, Index branches,
                                                         bool quantise_activations = true) {
    if (const std::string fault = fp8_weights_fault(codes, scales, branches); !fault.empty())
      return fail(Code::shape_mismatch, {"fp8 projection: ", fault});
    return Fp8Projection(codes, scales, branches, quantise_activations);
  }

  Index input_width() const noexcept { return weights_.inputs; }
  Index output_width() const noexcept { return output_width_; }
  Index branches() const noexcept { return branches_; }
  Index tiles() const noexcept { return (output_width_ + fp8_tile - 1) / fp8_tile; }
  bool quantises_activations() const noexcept { return quantise_activations_; }

  /// Quantises rows in place: each 32 inputs become multiples of a power of two that e4m3 has. A
  /// block with an infinity or NaN becomes NaN; what exceeds the largest bf16 becomes infinite.
  ///
  /// e  [T, M], token stride free.
  ENGRAM_ALWAYS_INLINE void prepare(View<Bf16, 2> e) const noexcept {
    if (quantise_activations_) run_items(QuantiseBody{e}, {0, e.extent(0)});
  }

  /// e [T, M], out [T, D], token strides free.
  ENGRAM_ALWAYS_INLINE void project(View<const Bf16, 2> e, int segment, Index tile,
                                    View<Bf16, 2> out) const noexcept {
    const Index end = (tile + 1) * fp8_tile < output_width_ ? (tile + 1) * fp8_tile : output_width_;
    project_fp8(weights_.from_row(segment * output_width_), {tile * fp8_tile, end}, e, out);
  }

 private:
  ENGRAM_ALWAYS_INLINE Fp8Projection(View<const E4m3, 2> codes, View<const E8m0, 2> scales,
                                     Index branches, bool quantise_activations)
      : weights_{reinterpret_cast<const std::byte*>(codes.data()), codes.stride(0),
                 reinterpret_cast<const std::byte*>(scales.data()), scales.stride(0),
                 codes.extent(1)},
        output_width_(codes.extent(0) / (branches + 1)),
        branches_(branches),
        quantise_activations_(quantise_activations) {}

  Fp8Weights weights_;
  Index output_width_;
  Index branches_;
  bool quantise_activations_;
};
static_assert(check_projection<Fp8Projection>());

ENGRAM_END_NAMESPACE
