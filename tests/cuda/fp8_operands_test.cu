// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// V4.1's weights and rows for a product of bf16, on the GPU: the CPU's bits.
#include "gpu.hpp"

#include <engram/cuda/fp8_operands.hpp>

#include <algorithm>

using namespace engram;
using gpu::at;

TEST_CASE("cuda fp8 operands: rows are quantised and weights decoded to the CPU's bits") {
  if (!gpu::is_here()) return;
  constexpr Index tokens = 300, inputs = 6144, outputs = 96;
  Random random(1);
  std::vector<Bf16> rows(at(tokens * inputs));
  for (Index i = 0; i < tokens * inputs; ++i) {
    // Each token of another magnitude, subnormals and infinities included.
    const Index field = std::min<Index>(255, i / inputs) - random.below(24);
    rows[at(i)].bits = static_cast<std::uint16_t>(
        (random.below(2) << 15) | ((field < 0 ? 0 : field) << 7) | random.below(128));
  }
  std::vector<E4m3> codes(at(outputs * inputs));
  std::vector<E8m0> scales(at(outputs / 32 * inputs / 32));
  for (E4m3& code : codes) code.bits = static_cast<std::uint8_t>(random.below(256));
  for (E8m0& scale : scales) scale.bits = static_cast<std::uint8_t>(random.below(256));
  const gpu::Array<Bf16> e(rows), weights(std::vector<Bf16>(at(outputs * inputs)));
  const gpu::Array<E4m3> stored(codes);
  const gpu::Array<E8m0> tiles(scales);
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  REQUIRE(quantise_rows(device, e.view(tokens, inputs)).ok());
  REQUIRE(decode_weights(device, stored.read(outputs, inputs),
                         tiles.read(outputs / 32, inputs / 32), weights.view(outputs, inputs))
              .ok());
  REQUIRE(device.wait().ok());

  for (Index t = 0; t < tokens; ++t)
    QuantiseBody{View<Bf16, 2>(rows.data(), tokens, inputs)}(HostLanes<16>(), t);
  std::vector<Bf16> decoded(at(outputs * inputs));
  for (Index n = 0; n < outputs; ++n)
    for (Index m = 0; m < inputs; ++m)
      decoded[at(n * inputs + m)] =
          to_bf16(scaled(codes[at(n * inputs + m)], scales[at(n / 32 * (inputs / 32) + m / 32)]));
  CHECK(gpu::same_bits(e.get(), rows));
  CHECK(gpu::same_bits(weights.get(), decoded));
}
