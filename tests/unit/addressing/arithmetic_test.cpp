// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <engram/addressing/primes.hpp>
#include <engram/addressing/reciprocal.hpp>
#include <engram/layer/presets.hpp>
#include <engram/tokenizer/identity.hpp>

#include <catch.hpp>
#include <random.hpp>
#include <vector>

using namespace engram;

namespace {

/// Values at which an estimate of a quotient would be off by one.
std::vector<std::uint64_t> hard_values(std::uint64_t d) {
  std::vector<std::uint64_t> n = {0,
                                  1,
                                  d - 1,
                                  d,
                                  d + 1,
                                  (std::uint64_t{1} << 63) - 1,
                                  std::uint64_t{1} << 63,
                                  ~std::uint64_t{0},
                                  ~std::uint64_t{0} - 1};
  const std::uint64_t last = ~std::uint64_t{0} / d * d;  // the largest multiple
  for (const std::uint64_t x : {last, last - 1, last / 2, last - d, last - d - 1}) n.push_back(x);
  return n;
}

void check_divisor(std::uint64_t d, Random& random, int rounds) {
  const Reciprocal r = Reciprocal::of(d);
  for (const std::uint64_t n : hard_values(d)) {
    INFO(n << " mod " << d);
    REQUIRE(r.remainder(n) == n % d);
  }
  for (int i = 0; i < rounds; ++i) {
    const std::uint64_t n = random.bits() >> random.below(64);
    const std::uint64_t multiple = n / d * d;
    for (const std::uint64_t x : {n, multiple, multiple - 1, multiple + 1})
      if (r.remainder(x) != x % d) FAIL(x << " mod " << d);
  }
}

}  // namespace

TEST_CASE("remainders are exact for every modulus of every preset") {
  Random random(1);
  for (const Preset& preset : {demo_preset(), deepseek_v41_preset(), qwen38_ple_preset()}) {
    const Index size = preset.config.compressed_vocab_size;
    const IdentityCompressor ids(size != 0 ? size : 129280);
    const Layout layout = make_layout(preset.config, ids).value();
    for (const LayerLayout& layer : layout.layers)
      for (const std::uint64_t p : layer.moduli) check_divisor(p, random, 2000);
  }
}

TEST_CASE("remainders are exact for small, large and random moduli") {
  Random random(2);
  for (std::uint64_t d = 1; d < 300; ++d) check_divisor(d, random, 50);
  for (int shift = 0; shift < 64; ++shift) {
    const std::uint64_t power = std::uint64_t{1} << shift;
    for (const std::uint64_t d : {power - 1, power, power + 1})
      if (d > 0) check_divisor(d, random, 50);
  }
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t d = random.bits() >> random.below(64);
    if (d > 0) check_divisor(d, random, 20);
  }
  check_divisor(~std::uint64_t{0}, random, 50);
}

TEST_CASE("the portable 128-bit product equals the compiler's") {
  Random random(3);
  for (int i = 0; i < 100000; ++i) {
    const std::uint64_t a = random.bits() >> random.below(64);
    const std::uint64_t b = random.bits() >> random.below(64);
    if (!(multiply_wide_portable(a, b) == multiply_wide(a, b))) FAIL(a << " * " << b);
  }
  const std::uint64_t most = ~std::uint64_t{0};
  CHECK(multiply_wide_portable(most, most) == Wide{most - 1, 1});
}

TEST_CASE("multiply_mod agrees with repeated addition") {
  Random random(4);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t m = (random.bits() >> random.below(63)) | 1;
    const std::uint64_t a = random.bits() % m;
    const std::uint64_t b = random.bits() % m;
    std::uint64_t sum = 0;
    for (int bit = 63; bit >= 0; --bit) {  // double and add, each step without overflow
      sum = sum >= m - sum ? sum - (m - sum) : sum + sum;
      if ((b >> bit) & 1) sum = sum >= m - a ? sum - (m - a) : sum + a;
    }
    REQUIRE(multiply_mod(a, b, m) == sum);
  }
}

TEST_CASE("primality agrees with a sieve") {
  constexpr std::size_t limit = 200000;
  std::vector<bool> composite(limit, false);
  for (std::size_t i = 2; i < limit; ++i) {
    if (is_prime(i) == composite[i]) FAIL(i);
    for (std::size_t j = i * i; j < limit && !composite[i]; j += i) composite[j] = true;
  }
  CHECK_FALSE(is_prime(0));
  CHECK_FALSE(is_prime(1));
}

TEST_CASE("primality of large and treacherous numbers") {
  // Carmichael numbers, and products that fool Miller-Rabin with fewer bases.
  for (const std::uint64_t n : {561ull, 41041ull, 825265ull, 3215031751ull, 3474749660383ull,
                                341550071728321ull, 3825123056546413051ull, 4294967297ull})
    CHECK_FALSE(is_prime(n));
  for (const std::uint64_t p : {2147483647ull, 4294967291ull, 4294967311ull, 999999999989ull,
                                9223372036854775783ull, 18446744073709551557ull})
    CHECK(is_prime(p));
  CHECK(next_prime(0) == 2);
  CHECK(next_prime(2) == 3);
  CHECK(next_prime(15999999) == 16000057);
  CHECK(next_prime(18446744073709551556ull) == 18446744073709551557ull);
  CHECK(next_prime(18446744073709551557ull) == 0);
}
