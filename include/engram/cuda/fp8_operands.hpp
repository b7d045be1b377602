// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// DeepSeek-V4.1's projection for a product of bf16 on the GPU: its fp8 weights decoded, once, and
// its rows quantised, in each call. Both are exact where bf16 has them as normal numbers, so that
// the product is the released code's but for the order of its sums; the weights take twice the
// bytes.

#include <engram/cuda/kernel_device.hpp>
#include <engram/layer/fp8_projection.hpp>

ENGRAM_BEGIN_NAMESPACE

/// A row of weights, decoded; the item is the output.
struct DecodeWeightsBody {
  Fp8Weights weights;
  View<Bf16, 2> out;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index n) const noexcept {
    const RowBytes row = weights.row(n);
    Bf16* const to = out.data() + n * out.stride(0);
    lanes.each(weights.inputs,
               [&](Index d) { to[d] = from_float<Bf16>(Fp8Codec().value(row, d)); });
  }
};

/// QuantiseBody for one block of 32; item t * M / 32 + block.
struct QuantiseBlockBody {
  View<Bf16, 2> e;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    const Index blocks = e.extent(1) / 32;
    Bf16* const x = e.data() + item / blocks * e.stride(0) + item % blocks * 32;
    const ActivationScale by = activation_scale(lanes.largest_magnitude(lanes.load(x)));
    lanes.each(32, [&](Index i) {
      x[i] = by.is_nan() ? Bf16{float_bits::nan >> 16}
                         : from_float<Bf16>(to_float(to_e4m3(to_float(x[i]) * by.inverse)) *
                                            to_float(by.scale));
    });
  }
};

/// Weights as stored to bf16, for BlasProjection. Once, after loading.
///
/// codes   [N, M] e4m3, memory of the GPU, row stride free.
/// scales  [N / 32 rounded up, M / 32] e8m0, one for each 32 x 32 codes, row stride free.
/// out     [N, M] bf16, written, row stride free. Smaller than bf16's normal numbers they are
///         rounded.
/// Status  shape_mismatch (index: the extent expected); then nothing was launched.
/// Cost    one launch, which writes 2 N M bytes. No allocation, can be captured.
template <KernelDevice Dev>
ENGRAM_HIDDEN Status decode_weights(const Dev& device, DeviceView<const E4m3, 2> codes,
                                    DeviceView<const E8m0, 2> scales,
                                    DeviceView<Bf16, 2> out) noexcept {
  const Index outputs = codes.extent(0), inputs = codes.extent(1);
  if (inputs % 32 != 0) return {Code::shape_mismatch, 0, inputs / 32 * 32};
  if (scales.extent(0) != (outputs + 31) / 32)
    return {Code::shape_mismatch, 0, (outputs + 31) / 32};
  if (scales.extent(1) != inputs / 32) return {Code::shape_mismatch, 0, inputs / 32};
  if (out.extent(0) != outputs) return {Code::shape_mismatch, 0, outputs};
  if (out.extent(1) != inputs) return {Code::shape_mismatch, 0, inputs};
  device.for_items(
      outputs, DecodeWeightsBody{
                   {reinterpret_cast<const std::byte*>(codes.data()), codes.stride(0),
                    reinterpret_cast<const std::byte*>(scales.data()), scales.stride(0), inputs},
                   out.for_body()});
  return {};
}

/// Fp8Projection::prepare() on the GPU: each 32 inputs become multiples of a power of two that e4m3
/// has. A block with an infinity or NaN becomes NaN.
///
/// e       [T, M] bf16, read and written, memory of the GPU, M a multiple of 32, token stride free.
/// Status  shape_mismatch (index: the extent expected); then nothing was launched.
/// Cost    one launch, one read and write of e. No allocation, can be captured.
template <KernelDevice Dev>
ENGRAM_HIDDEN Status quantise_rows(const Dev& device, DeviceView<Bf16, 2> e) noexcept {
  if (e.extent(1) % 32 != 0) return {Code::shape_mismatch, 0, e.extent(1) / 32 * 32};
  device.for_items(e.extent(0) * (e.extent(1) / 32), QuantiseBlockBody{e.for_body()});
  return {};
}

/// A projection of bf16 rows that quantises them first, as DeepSeek-V4.1 does: over BlasProjection
/// with decode_weights(), its product as released but for the order of sums. Refers to the
/// projection.
template <class ProjectionType>
class QuantisedProjection {
 public:
  using input_type = Bf16;
  using output_type = typename ProjectionType::output_type;
  static constexpr bool batch_invariant = ProjectionType::batch_invariant;

  explicit QuantisedProjection(const ProjectionType& products) noexcept : products_(&products) {}
  QuantisedProjection(const ProjectionType&&) = delete;

  Index input_width() const noexcept { return products_->input_width(); }
  Index output_width() const noexcept { return products_->output_width(); }
  Index branches() const noexcept { return products_->branches(); }
  Index workspace_bytes() const noexcept { return products_->workspace_bytes(); }

  /// As the projection's; e becomes what quantise_rows() makes of it, also where the product is
  /// refused.
  template <KernelDevice Dev>
  ENGRAM_HIDDEN Status project(const Dev& device, DeviceView<Bf16, 2> e,
                               DeviceView<output_type, 3> segments,
                               DeviceView<std::byte, 1> workspace) const noexcept {
    if (Status s = quantise_rows(device, e); !s.ok()) return s;
    return products_->project(device, e, segments, workspace);
  }

 private:
  const ProjectionType* products_;
};

ENGRAM_END_NAMESPACE
