// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// tests/golden/plain/ggml_blocks.cpp holds every value against the gguf package; here are the
// formats once more, walked through in double from first element to last, and rounded once at the
// end.

#include "catch.hpp"
#include "random.hpp"

#include <engram/codec/ggml_blocks.hpp>
#include <engram/core/device.hpp>

#include <vector>

namespace {

using namespace engram;
using Block = std::vector<std::uint8_t>;

double half(const Block& b, std::size_t at) {
  return static_cast<double>(to_float(F16{static_cast<std::uint16_t>(b[at] | b[at + 1] << 8)}));
}
int low_bits(int x, int bits) { return x & ((1 << bits) - 1); }

std::vector<double> q8_0(const Block& b) {
  std::vector<double> y;
  for (std::size_t i = 0; i < 32; ++i) y.push_back(half(b, 0) * static_cast<std::int8_t>(b[2 + i]));
  return y;
}

std::vector<double> q2_k(const Block& b) {
  std::vector<double> y;
  std::size_t scale = 0;
  for (std::size_t n = 0; n < 2; ++n)
    for (int shift = 0; shift < 8; shift += 2)
      for (std::size_t l = 0; l < 32; ++l) {
        const int packed = b[scale + l / 16];
        y.push_back(half(b, 80) * (packed & 15) * low_bits(b[16 + 32 * n + l] >> shift, 2) -
                    half(b, 82) * (packed >> 4));
        if (l == 31) scale += 2;
      }
  return y;
}

std::vector<double> q3_k(const Block& b) {
  // The scales as sixteen numbers of 6 bits: the reference code's masks, written out.
  int scales[16];
  for (std::size_t i = 0; i < 4; ++i) {
    scales[i] = (b[96 + i] & 15) | low_bits(b[104 + i], 2) << 4;
    scales[4 + i] = (b[100 + i] & 15) | low_bits(b[104 + i] >> 2, 2) << 4;
    scales[8 + i] = b[96 + i] >> 4 | low_bits(b[104 + i] >> 4, 2) << 4;
    scales[12 + i] = b[100 + i] >> 4 | low_bits(b[104 + i] >> 6, 2) << 4;
  }
  std::vector<double> y;
  for (std::size_t e = 0; e < 256; ++e) {
    const std::size_t l = e % 32;
    const int code = low_bits(b[32 + e / 128 * 32 + l] >> (e % 128 / 32 * 2), 2);
    const bool high = (b[l] >> (e / 32) & 1) != 0;
    y.push_back(half(b, 108) * (scales[e / 16] - 32) * (high ? code : code - 4));
  }
  return y;
}

std::vector<double> q4_k(const Block& b) {
  std::vector<double> y;
  for (std::size_t g = 0; g < 8; ++g) {
    const std::size_t s = 4;
    const int scale = g < 4 ? b[s + g] & 63 : (b[s + g + 4] & 15) | (b[s + g - 4] >> 6) << 4;
    const int least = g < 4 ? b[s + g + 4] & 63 : b[s + g + 4] >> 4 | (b[s + g] >> 6) << 4;
    for (std::size_t l = 0; l < 32; ++l) {
      const int two = b[16 + g / 2 * 32 + l];
      y.push_back(half(b, 0) * scale * (g % 2 == 0 ? two & 15 : two >> 4) - half(b, 2) * least);
    }
  }
  return y;
}

std::vector<double> q6_k(const Block& b) {
  std::vector<double> y(256);
  for (std::size_t n = 0; n < 2; ++n)
    for (std::size_t l = 0; l < 32; ++l) {
      const int a = b[64 * n + l], c = b[64 * n + 32 + l], high = b[128 + 32 * n + l];
      const int codes[4] = {
          (a & 15) | low_bits(high, 2) << 4, (c & 15) | low_bits(high >> 2, 2) << 4,
          a >> 4 | low_bits(high >> 4, 2) << 4, c >> 4 | low_bits(high >> 6, 2) << 4};
      for (std::size_t k = 0; k < 4; ++k)
        y[128 * n + 32 * k + l] = half(b, 208) *
                                  static_cast<std::int8_t>(b[192 + 8 * n + 2 * k + l / 16]) *
                                  (codes[k] - 32);
    }
  return y;
}

template <class Codec>
struct DecodeBody {
  RowBytes row;
  Index width;
  float* out;
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    decode_row(lanes, Codec(), row, width, out);
  }
};

template <class Codec>
void check(std::vector<double> (*reference)(const Block&), std::size_t bytes,
           std::initializer_list<std::size_t> halves) {
  Random random(bytes);
  for (int round = 0; round < 300; ++round) {
    Block row(3 * bytes);  // three blocks, each with finite scales
    std::vector<double> expected;
    for (std::size_t b = 0; b < 3; ++b) {
      Block block(bytes);
      for (std::uint8_t& x : block) x = static_cast<std::uint8_t>(random.below(256));
      for (const std::size_t at : halves)
        if ((block[at + 1] & 0x7C) == 0x7C) block[at + 1] ^= 0x40;
      for (const double y : reference(block)) expected.push_back(y);
      std::copy(block.begin(), block.end(), row.begin() + static_cast<std::ptrdiff_t>(b * bytes));
    }
    const auto width = static_cast<Index>(expected.size());
    const RowBytes at{reinterpret_cast<const std::byte*>(row.data()), nullptr};
    std::vector<float> out(expected.size());
    for (int loop = 0; loop < 4; ++loop) {
      const DecodeBody<Codec> body{at, width, out.data()};
      if (loop == 0) run_items(body, {0, 1});
      if (loop == 1) body(HostLanes<16>(), 0);
      if (loop == 2) body(HostLanes<32>(), 0);
      if (loop == 3) body(HostLanes<64>(), 0);
      bool same = true;
      for (std::size_t d = 0; d < expected.size(); ++d)
        same = same && out[d] == static_cast<float>(expected[d]) &&
               to_bits(out[d]) == to_bits(Codec().value(at, static_cast<Index>(d)));
      if (!same) {
        CAPTURE(bytes, round, loop);
        REQUIRE(same);
      }
    }
  }
}

}  // namespace

TEST_CASE("ggml blocks: elements are the exact numbers rounded once in every loop") {
  check<Q8_0Codec>(q8_0, 34, {0});
  check<Q2_KCodec>(q2_k, 84, {80, 82});
  check<Q3_KCodec>(q3_k, 110, {108});
  check<Q4_KCodec>(q4_k, 144, {0, 2});
  check<Q6_KCodec>(q6_k, 210, {208});
}

TEST_CASE("ggml blocks: widths") {
  CHECK(Q8_0Codec().code_bytes(64) == 68);
  CHECK(Q2_KCodec().code_bytes(256) == 84);
  CHECK(Q3_KCodec().code_bytes(512) == 220);
  CHECK(Q4_KCodec().code_bytes(256) == 144);
  CHECK(Q6_KCodec().code_bytes(768) == 630);
  for (const Index bad :
       {Index{-256}, Index{0}, Index{1}, Index{33}, Index{250}, INT64_MAX - 255}) {
    CHECK(Q8_0Codec().code_bytes(bad) == -1);
    CHECK(Q6_KCodec().code_bytes(bad) == -1);
  }
  CHECK(Q4_KCodec().code_bytes(32) == -1);
  CHECK(Q4_KCodec().scale_bytes(256) == 0);
}
