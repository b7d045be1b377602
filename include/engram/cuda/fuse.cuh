// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Keys and values to the new hidden state on the GPU: norms, score, gate and residual of a token's
// branch in one launch, by a block where rows are whole multiples of 16 bytes, else by a warp. With
// the convolution: convolve.hpp.

#include <engram/cuda/cuda_device.cuh>
#include <engram/cuda/fuse_row.hpp>
#include <engram/cuda/fusion.hpp>

ENGRAM_BEGIN_NAMESPACE

template <int Hold, class Call>
ENGRAM_HIDDEN __global__ void __launch_bounds__(threads_of_a_block, Hold <= 5 ? 5 : 3)
    fuse_rows(Index items, Call call) {
  __shared__ FuseShared shared;
  for (Index item = blockIdx.x; item < items; item += gridDim.x)
    fuse_row<Hold>(HardwareBlock(), shared, call, item);
}

/// hidden + gate * value for every token and branch, as EngramLayer::fuse() without a convolution.
///
/// keys    [T, G, D] float, Bf16 or F16.   value  [T, D].
/// hidden  [T, G, D], token and branch strides free.   out  the same shape; may be `hidden` itself.
/// gates   [T, G] written: the factor of the value, scale included.
/// parts   [T] written: which tokens take part.
/// Status  shape_mismatch (index: the extent expected); then nothing was launched.
/// Cost    one launch, and everything read once, where keys, value and streams are of one type and
///         rows begin at multiples of 16 bytes and have at most 16 KiB; else two launches, and
///         hidden read twice. No allocation, can be captured.
template <Gate G, class Key, class Value, class Hidden, class Updated, class Row>
ENGRAM_HIDDEN Status fuse(const CudaDevice& device, DeviceView<Key, 3> keys,
                          DeviceView<Value, 2> value, DeviceView<Hidden, 3> hidden,
                          DeviceView<Updated, 3> out, const FusionConfig& config, const G& gate,
                          const DeviceFusion<Row>& with, DeviceView<float, 2> gates,
                          DeviceView<Part, 1> parts) noexcept {
  using K = std::remove_const_t<Key>;
  using V = std::remove_const_t<Value>;
  static_assert(std::is_same_v<std::remove_const_t<Hidden>, Updated>,
                "engram: hidden and out have the same element type");
  if (Status s = check_fusion(keys, value, hidden, out, with, gates, parts); !s.ok()) return s;
  const Index tokens = hidden.extent(0), branches = hidden.extent(1), width = hidden.extent(2);
  if constexpr (std::is_same_v<K, Updated> && std::is_same_v<V, Updated>) {
    const FuseCall<Updated, G, Row> call{
        keys.for_body(),        value.for_body(),      hidden.for_body(),     out.for_body(),
        with.gain.for_body(),   with.marks.for_body(), with.scale.for_body(), with.rows.for_body(),
        with.scores.for_body(), with.norms.for_body(), gates.for_body(),      parts.for_body(),
        config.query_eps,       config.key_eps,        config.add_residual,   gate};
    const Index each = Index{threads_of_a_block} * Sixteen<Updated>::count;
    if (fits_sixteen(call) && width <= 8 * each) {
      const auto run = [&](auto hold) {
        device.launch(tokens * branches, 1,
                      fuse_rows<decltype(hold)::value, FuseCall<Updated, G, Row>>,
                      tokens * branches, call);
      };
      if (width <= each)
        run(std::integral_constant<int, 1>());
      else if (width <= 2 * each)
        run(std::integral_constant<int, 2>());
      else if (width <= 5 * each)
        run(std::integral_constant<int, 5>());
      else
        run(std::integral_constant<int, 8>());
      return {};
    }
  }
  fuse_by_warps(device, keys, value, hidden, out, config, gate, with, gates, parts);
  return {};
}

ENGRAM_END_NAMESPACE
