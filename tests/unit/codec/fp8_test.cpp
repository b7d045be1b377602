// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// tests/golden/plain/fp8_codec.cpp holds every value against arithmetic of its own; here are the
// shapes, places and mixtures.

#include "catch.hpp"
#include "random.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/core/device.hpp>

#include <cstring>
#include <vector>

namespace {

using namespace engram;

/// Decodes rows that lie `stride` bytes apart with the lanes of the running loop.
template <class Out>
struct DecodeBody {
  RowBytes rows;
  Index code_stride;
  Index scale_stride;
  Index width;
  Out* out;
  Index out_stride;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index row) const noexcept {
    decode_row(lanes, Fp8Codec(),
               {rows.codes + row * code_stride, rows.scales + row * scale_stride}, width,
               out + row * out_stride);
  }
};

template <class Out>
bool same_bits(const Out& a, const Out& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// A row by every loop of this processor against element by element; the elements behind it stay.
template <class Out>
void check_row(const std::byte* codes, const std::byte* scales, Index width,
               std::size_t misalignment = 0) {
  std::vector<std::byte> memory(static_cast<std::size_t>(width + 8) * sizeof(Out) + 64);
  std::vector<Out> expected;
  for (Index d = 0; d < width; ++d)
    expected.push_back(from_float<Out>(Fp8Codec().value({codes, scales}, d)));
  // As far from the alignment of a register as the type allows.
  Out* const out = reinterpret_cast<Out*>(memory.data()) + misalignment;
  const DecodeBody<Out> body{{codes, scales}, 0, 0, width, out, 0};
  for (int loop = 0; loop < 4; ++loop) {
    Out sentinel[8];
    std::memset(static_cast<void*>(sentinel), 0x5A, sizeof sentinel);
    std::memset(static_cast<void*>(out), 0x77, static_cast<std::size_t>(width) * sizeof(Out));
    std::memcpy(static_cast<void*>(out + width), sentinel, sizeof sentinel);
    if (loop == 0) run_items(body, {0, 1});
    if (loop == 1) body(HostLanes<16>(), 0);
    if (loop == 2) body(HostLanes<32>(), 0);
    if (loop == 3) body(HostLanes<64>(), 0);
    bool same = std::memcmp(out + width, sentinel, sizeof sentinel) == 0;
    for (Index d = 0; d < width; ++d)
      same = same && same_bits(out[d], expected[static_cast<std::size_t>(d)]);
    if (!same) {
      CAPTURE(width, loop, sizeof(Out));
      REQUIRE(same);
    }
  }
}

void check_all(const std::vector<std::byte>& codes, const std::vector<std::byte>& scales) {
  const auto width = static_cast<Index>(codes.size());
  check_row<Bf16>(codes.data(), scales.data(), width);
  check_row<float>(codes.data(), scales.data(), width);
  check_row<F16>(codes.data(), scales.data(), width);
}

std::byte byte(std::int64_t x) { return static_cast<std::byte>(x); }

}  // namespace

TEST_CASE("fp8 codec: widths") {
  const Fp8Codec codec;
  for (const Index bad : {Index{-32}, Index{0}, Index{1}, Index{31}, Index{33}, Index{250}}) {
    CHECK(codec.code_bytes(bad) == -1);
    CHECK(codec.scale_bytes(bad) == -1);
  }
  CHECK(codec.code_bytes(256) == 256);
  CHECK(codec.scale_bytes(256) == 8);
  CHECK(codec.scale_bytes(32) == 1);
}

TEST_CASE("fp8 codec: every code under every scale, in every loop and type") {
  for (int scale = 0; scale < 256; ++scale) {
    std::vector<std::byte> codes(256);
    const std::vector<std::byte> scales(8, byte(scale));
    for (int i = 0; i < 256; ++i) codes[static_cast<std::size_t>(i)] = byte(i);
    check_all(codes, scales);  // with NaN: the slow way
    codes[0x7F] = byte(0);
    codes[0xFF] = byte(0x80);
    check_all(codes, scales);
    // One NaN in each block of 64.
    for (std::size_t nan = 3; nan < 256; nan += 70) {
      std::vector<std::byte> one = codes;
      one[nan] = byte(nan % 2 == 0 ? 0x7F : 0xFF);
      check_all(one, scales);
    }
  }
}

TEST_CASE("fp8 codec: each code at each place") {
  for (int first = 0; first < 256; ++first) {
    std::vector<std::byte> codes(64);
    for (int i = 0; i < 64; ++i) {
      const int code = (first + i) % 256;
      codes[static_cast<std::size_t>(i)] = byte((code & 0x7F) == 0x7F ? 0 : code);
    }
    check_all(codes, {byte(130), byte(100)});
    std::vector<std::byte> row;
    for (int i = 0; i < 4; ++i) row.insert(row.end(), codes.begin(), codes.end());
    check_all(row, std::vector<std::byte>{byte(130), byte(100), byte(10), byte(246), byte(127),
                                          byte(128), byte(11), byte(245)});
  }
}

TEST_CASE("fp8 codec: one odd scale among plain ones") {
  Random random(1);
  for (const int odd : {0, 1, 9, 10, 246, 247, 254, 255}) {
    for (std::size_t place = 0; place < 18; ++place) {
      std::vector<std::byte> codes;
      for (int i = 0; i < 18 * 32; ++i)
        codes.push_back(byte(random.below(127) | (random.below(2) << 7)));
      std::vector<std::byte> scales;
      for (int i = 0; i < 18; ++i) scales.push_back(byte(100 + random.below(50)));
      scales[place] = byte(odd);
      check_all(codes, scales);
    }
  }
}

TEST_CASE("fp8 codec: all widths, rows and outputs at any address") {
  Random random(2);
  std::vector<std::byte> memory(2048);
  for (Index width = 32; width <= 640; width += 32) {
    for (std::size_t offset = 0; offset < 67; offset += 11) {
      for (std::byte& b : memory) b = byte(random.below(127) | (random.below(2) << 7));
      // Scales behind the codes, as rows of 264 bytes have them; exactly as long as they must be,
      // so that a sanitizer sees a read beyond.
      const auto size = static_cast<std::size_t>(width + width / 32);
      std::vector<std::byte> row(memory.begin(),
                                 memory.begin() + static_cast<std::ptrdiff_t>(offset + size));
      for (std::size_t i = offset + static_cast<std::size_t>(width); i < row.size(); ++i)
        row[i] = byte(90 + random.below(60));
      const std::byte* const codes = row.data() + offset;
      check_row<Bf16>(codes, codes + width, width, offset % 8);
      check_row<float>(codes, codes + width, width, offset % 8);
      check_row<F16>(codes, codes + width, width, offset % 8);
    }
  }
}
