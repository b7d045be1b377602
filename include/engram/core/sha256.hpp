// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// SHA-256 (FIPS 180-4). Layouts, token maps and tables are recognised by it, in the same form in
// which the maps of released models were published. Not a hot path: about 0.3 GB/s.

#include <engram/core/bytes.hpp>

#include <string>

ENGRAM_BEGIN_NAMESPACE

/// Running SHA-256. Feed bytes in any pieces, then read the digest once.
class Sha256 {
 public:
  void update(Bytes bytes) noexcept;
  /// Lower-case hexadecimal, 64 characters. The object is spent afterwards.
  std::string hex() noexcept;

 private:
  std::uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::byte block_[64] = {};
  std::uint64_t length_ = 0;  // bytes seen
};

ENGRAM_BEGIN_LOOPS
inline void sha256_block(std::uint32_t (&state)[8], const std::byte* block) noexcept {
  static constexpr std::uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
      0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
      0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
      0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
      0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
      0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
      0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
      0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
      0xc67178f2};
  const auto rotr = [](std::uint32_t x, int n) { return (x >> n) | (x << (32 - n)); };
  std::uint32_t w[64];
  for (int i = 0; i < 16; ++i) {
    w[i] = 0;
    for (int b = 0; b < 4; ++b)
      w[i] = (w[i] << 8) | std::to_integer<std::uint32_t>(block[4 * i + b]);
  }
  for (int i = 16; i < 64; ++i) {
    const std::uint32_t s0 = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const std::uint32_t s1 = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  std::uint32_t v[8];
  for (int i = 0; i < 8; ++i) v[i] = state[i];
  for (int i = 0; i < 64; ++i) {
    const std::uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
    const std::uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
    const std::uint32_t t1 = v[7] + s1 + choice + k[i] + w[i];
    const std::uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
    const std::uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    for (int j = 7; j > 0; --j) v[j] = v[j - 1];
    v[4] += t1;
    v[0] = t1 + s0 + majority;
  }
  for (int i = 0; i < 8; ++i) state[i] += v[i];
}
ENGRAM_END_LOOPS

ENGRAM_ALWAYS_INLINE void Sha256::update(Bytes bytes) noexcept {
  for (Index i = 0; i < bytes.size(); ++i) {
    block_[length_++ % 64] = bytes(i);
    if (length_ % 64 == 0) sha256_block(state_, block_);
  }
}

ENGRAM_ALWAYS_INLINE std::string Sha256::hex() noexcept {
  const std::uint64_t bits = length_ * 8;
  const std::byte one{0x80};
  const std::byte zero{0};
  update(Bytes(&one, 1));
  while (length_ % 64 != 56) update(Bytes(&zero, 1));
  for (int shift = 56; shift >= 0; shift -= 8) {
    const std::byte b{static_cast<unsigned char>(bits >> shift)};
    update(Bytes(&b, 1));
  }
  std::string text;
  for (const std::uint32_t word : state_)
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
  return text;
}

ENGRAM_BEGIN_LOOPS

/// SHA-256 of the bytes, lower-case hexadecimal.
inline std::string sha256_hex(Bytes bytes) {
  Sha256 sha;
  sha.update(bytes);
  return sha.hex();
}

ENGRAM_END_LOOPS
ENGRAM_END_NAMESPACE
