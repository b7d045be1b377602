// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// V4.1's weights and rows for a product of bf16, by a GPU's threads: the CPU's bits.
#include "threaded_warp.hpp"

#include <catch.hpp>
#include <elements.hpp>
#include <engram/cuda/fp8_operands.hpp>

using namespace engram;
using elements::at;
using elements::same_bits;

namespace {

template <class T>
DeviceView<T, 2> on_device(T* data, Index rows, Index columns, Index stride) {
  return DeviceView<T, 2>(data, rows, columns).template with_stride<0>(stride);
}

}  // namespace

TEST_CASE("fp8 operands: rows are quantised as on the CPU, whatever their largest element") {
  constexpr Index tokens = 3, inputs = 64, stride = 67;
  Random random(6);
  const ThreadedDevice device;
  for (int exponent = 0; exponent<256; exponent += exponent> 60 && exponent < 200 ? 9 : 1) {
    std::vector<Bf16> rows(at(tokens * stride));
    for (Bf16& x : rows) {
      const std::int64_t below = random.below(24);
      const std::int64_t field = exponent > below ? exponent - below : 0;
      x.bits =
          static_cast<std::uint16_t>((random.below(2) << 15) | (field << 7) | random.below(128));
    }
    std::vector<Bf16> expected = rows;
    const auto view = View<Bf16, 2>(expected.data(), tokens, inputs).with_stride<0>(stride);
    for (Index t = 0; t < tokens; ++t) QuantiseBody{view}(HostLanes<16>(), t);
    REQUIRE(quantise_rows(device, on_device(rows.data(), tokens, inputs, stride)).ok());
    CAPTURE(exponent);
    CHECK(same_bits(rows, expected));
  }
}

TEST_CASE("fp8 operands: an infinity or NaN spoils its block and no other") {
  const ThreadedDevice device;
  for (const unsigned odd : {0x7F80U, 0xFF80U, 0x7FC1U, 0xFFFFU}) {
    std::vector<Bf16> rows(96, to_bf16(1.5f));
    rows[40].bits = static_cast<std::uint16_t>(odd);
    std::vector<Bf16> expected = rows;
    QuantiseBody{View<Bf16, 2>(expected.data(), 1, 96)}(HostLanes<16>(), 0);
    REQUIRE(quantise_rows(device, on_device(rows.data(), 1, 96, 96)).ok());
    CHECK(same_bits(rows, expected));
    CHECK(is_nan(to_float(rows[32])));
    CHECK(to_float(rows[31]) == 1.5f);
    CHECK(to_float(rows[64]) == 1.5f);
  }
}

TEST_CASE("fp8 operands: weights are decoded with the scale of their tile") {
  constexpr Index outputs = 96, inputs = 64, stride = 80;
  Random random(7);
  std::vector<E4m3> codes(at(outputs * stride));
  std::vector<E8m0> scales(at(outputs / 32 * 5));
  for (E4m3& code : codes) code.bits = static_cast<std::uint8_t>(random.below(256));
  for (E8m0& scale : scales) scale.bits = static_cast<std::uint8_t>(random.below(256));
  std::vector<Bf16> found(at(outputs * inputs)), expected = found;
  for (Index n = 0; n < outputs; ++n)
    for (Index m = 0; m < inputs; ++m)
      expected[at(n * inputs + m)] =
          to_bf16(scaled(codes[at(n * stride + m)], scales[at(n / 32 * 5 + m / 32)]));
  const auto code_view =
      DeviceView<const E4m3, 2>(codes.data(), outputs, inputs).with_stride<0>(stride);
  const auto scale_view =
      DeviceView<const E8m0, 2>(scales.data(), outputs / 32, inputs / 32).with_stride<0>(5);
  const DeviceView<Bf16, 2> out(found.data(), outputs, inputs);
  REQUIRE(decode_weights(ThreadedDevice(), code_view, scale_view, out).ok());
  CHECK(same_bits(found, expected));
}

TEST_CASE("fp8 operands: shapes that disagree are refused") {
  const ThreadedDevice device;
  CHECK(quantise_rows(device, DeviceView<Bf16, 2>(nullptr, 2, 70)) ==
        Status{Code::shape_mismatch, 0, 64});
  const auto refused = [&](Index n, Index m, Index tiles_n, Index tiles_m, Index out_n,
                           Index out_m) {
    return decode_weights(device, DeviceView<const E4m3, 2>(nullptr, n, m),
                          DeviceView<const E8m0, 2>(nullptr, tiles_n, tiles_m),
                          DeviceView<Bf16, 2>(nullptr, out_n, out_m));
  };
  CHECK(refused(64, 65, 2, 2, 64, 65) == Status{Code::shape_mismatch, 0, 64});
  CHECK(refused(64, 64, 64, 2, 64, 64) == Status{Code::shape_mismatch, 0, 2});
  CHECK(refused(64, 64, 2, 64, 64, 64) == Status{Code::shape_mismatch, 0, 2});
  CHECK(refused(64, 64, 2, 2, 63, 64) == Status{Code::shape_mismatch, 0, 64});
  CHECK(refused(64, 64, 2, 2, 64, 63) == Status{Code::shape_mismatch, 0, 64});
}
