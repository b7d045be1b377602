// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The lanes of every vector width and of every copy of a loop that this processor runs. Inputs are
// in blocks of just their size, so that a sanitizer sees an element too many.
#include <bit>
#include <catch.hpp>
#include <cmath>
#include <cstring>
#include <engram/core/device.hpp>
#include <random.hpp>
#include <vector>

using namespace engram;

namespace {

/// A body on each kind of lanes, by number; false when the processor has no such copy.
constexpr int copies = 6;
template <class Body>
bool run_copy(int copy, const Body& body) {
  switch (copy) {
    case 0:
      body(HostLanes<16>(), 0);
      return true;
    case 1:
      body(HostLanes<32>(), 0);
      return true;
    case 2:
      body(HostLanes<64>(), 0);
      return true;
    case 3:
      run_items(body, {0, 1});
      return true;
#if ENGRAM_X86_TARGETS
    case 4:
      if (isa_level() < IsaLevel::avx2) return false;
      run_items_avx2(body, {0, 1});
      return true;
    case 5:
      if (isa_level() < IsaLevel::avx512) return false;
      run_items_avx512(body, {0, 1});
      return true;
#endif
    default:
      return false;
  }
}

std::vector<float> random_floats(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> list(count);
  for (float& x : list) {
    const int exponent = static_cast<int>(random.below(20)) - 10;
    x = std::ldexp(static_cast<float>(random.below(1 << 20) - (1 << 19)), exponent - 19);
  }
  return list;
}

template <Element T>
struct LoadStoreBody {
  const T* in;
  Index count;
  float* lanes_seen;  // [32]
  T* out;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    const auto f = lanes.load(in, count);
    lanes.store(lanes_seen, f);
    lanes.store(out, f, count);
  }
};

template <Element T>
struct LoadBytesBody {
  const std::byte* in;
  Index count;
  float* lanes_seen;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.store(lanes_seen, lanes.template load_bytes<T>(in, count));
  }
};

struct RoundBody {
  const float* in;
  Bf16* brain;
  F16* half;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.store(brain, lanes.load(in));
    lanes.store(half, lanes.load(in));
  }
};

struct CopyBody {
  std::byte* to;
  const std::byte* from;
  Index size;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    lanes.copy(to, from, size);
  }
};

struct SumBody {
  const float* in;
  float* out;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    *out = lanes.sum(lanes.load(in));
  }
};

struct ArithmeticBody {
  const float* a;
  const float* b;
  float* out;  // [5, 32]

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    const auto x = lanes.load(a);
    const auto y = lanes.load(b);
    auto z = x;
    z += y;
    lanes.store(out, x + y);
    lanes.store(out + 32, x * y);
    lanes.store(out + 64, x / y);
    lanes.store(out + 96, z);
    lanes.store(out + 128, lanes.all(a[3]));
  }
};

struct ExpBody {
  const float* in;
  float* out;
  Index count;

  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    for (Index i = 0; i < count; i += lanes.width)
      lanes.store(out + i, lanes.exp(lanes.load(in + i)));
  }
};

constexpr std::size_t offsets[] = {0, 1, 3, 5};

/// Elements of every kind: finite, both zeros, subnormal, infinite, NaN.
template <Element T>
T element_of(std::uint64_t bits) {
  if constexpr (std::is_same_v<T, float>)
    return from_bits(static_cast<std::uint32_t>(bits));
  else
    return T{static_cast<std::uint16_t>(bits)};
}

template <Element T>
std::uint32_t bits_of(T x) {
  if constexpr (std::is_same_v<T, float>)
    return to_bits(x);
  else
    return x.bits;
}

template <Element T>
void check_load_store() {
  Random random(sizeof(T));
  for (int copy = 0; copy < copies; ++copy)
    for (Index count = 0; count <= 40; ++count)
      for (const std::size_t offset : offsets) {
        const auto some = static_cast<std::size_t>(count < 32 ? count : 32);
        std::vector<T> in(offset + some);
        for (T& x : in) x = element_of<T>(random.bits());
        const T sentinel = element_of<T>(0x5A5A5A5A);
        std::vector<T> out(offset + 48, sentinel);
        std::vector<float> seen(32, 77.0f);
        if (!run_copy(copy, LoadStoreBody<T>{in.data() + offset, count, seen.data(),
                                             out.data() + offset}))
          return;
        bool right = true;
        for (std::size_t l = 0; l < 32; ++l)
          right = right && to_bits(seen[l]) == (l < some ? to_bits(to_float(in[offset + l])) : 0);
        for (std::size_t i = 0; i < out.size(); ++i) {
          const bool written = i >= offset && i < offset + some;
          const T expected = written ? from_float<T>(to_float(in[i])) : sentinel;
          right = right && bits_of(out[i]) == bits_of(expected);
        }
        if (!right) FAIL_CHECK("copy " << copy << ", count " << count << ", offset " << offset);
      }
}

template <Element T>
void check_load_bytes() {
  Random random(7 + sizeof(T));
  for (int copy = 0; copy < copies; ++copy)
    for (Index count = 0; count <= 40; ++count)
      for (const std::size_t offset : offsets) {
        const auto some = static_cast<std::size_t>(count < 32 ? count : 32);
        std::vector<T> elements(some + 1);
        for (T& x : elements) x = element_of<T>(random.bits());
        std::vector<std::byte> in(offset + some * sizeof(T) + (some == 0 ? 1 : 0));
        std::memcpy(in.data() + offset, static_cast<const void*>(elements.data()),
                    some * sizeof(T));
        std::vector<float> seen(32, 77.0f);
        if (!run_copy(copy, LoadBytesBody<T>{in.data() + offset, count, seen.data()})) return;
        bool right = true;
        for (std::size_t l = 0; l < 32; ++l)
          right = right && to_bits(seen[l]) == (l < some ? to_bits(to_float(elements[l])) : 0);
        if (!right) FAIL_CHECK("copy " << copy << ", count " << count << ", offset " << offset);
      }
}

}  // namespace

TEST_CASE("lanes: load and store touch `count` elements, whatever their bits") {
  check_load_store<float>();
  check_load_store<Bf16>();
  check_load_store<F16>();
}

TEST_CASE("lanes: load_bytes reads from any address") {
  check_load_bytes<float>();
  check_load_bytes<Bf16>();
  check_load_bytes<F16>();
}

TEST_CASE("lanes: store rounds as the scalar conversion does") {
  std::vector<float> in;  // ties, both sides of them, overflow, NaN
  for (const std::uint32_t bits :
       {0x3F808000u, 0x3F818000u, 0x3F808001u, 0x3F807FFFu, 0x7F7FFFFFu, 0x7F800000u, 0x7F800001u,
        0xFFC00001u, 0xFF800000u, 0x80000000u, 0x00000001u, 0x477FEFFFu, 0x477FF000u, 0x33000000u,
        0x33000001u, 0x38800000u, 0x387FFFFFu, 0xB3C00000u, 0x7FFFFFFFu})
    in.push_back(from_bits(bits));
  in.resize(32, -1.00390625f);
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<Bf16> brain(32);
    std::vector<F16> half(32);
    if (!run_copy(copy, RoundBody{in.data(), brain.data(), half.data()})) continue;
    for (std::size_t l = 0; l < 32; ++l) {
      CHECK(brain[l].bits == to_bf16(in[l]).bits);
      CHECK(half[l].bits == to_f16(in[l]).bits);
    }
  }
}

TEST_CASE("lanes: copy moves bytes of any size and address, and none beside them") {
  Random random(5);
  for (int copy = 0; copy < copies; ++copy)
    for (std::size_t size = 0; size < 200; ++size) {
      const std::size_t from = size % 7, to = size % 5;
      std::vector<std::byte> in(from + size + 1), out(to + size + 9, std::byte{0xA5});
      for (std::byte& b : in) b = static_cast<std::byte>(random.bits());
      if (!run_copy(copy, CopyBody{out.data() + to, in.data() + from, static_cast<Index>(size)}))
        break;
      std::vector<std::byte> expected(out.size(), std::byte{0xA5});
      std::memcpy(expected.data() + to, in.data() + from, size);
      if (out != expected) FAIL_CHECK("copy " << copy << ", size " << size);
    }
}

TEST_CASE("lanes: a sum is taken in the documented order, bit for bit") {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const std::vector<float> in = random_floats(32, seed);
    float tree[32];
    std::memcpy(tree, in.data(), sizeof tree);
    for (const int half : {16, 8, 4, 2, 1})
      for (int l = 0; l < half; ++l) tree[l] = tree[l] + tree[l + half];
    for (int copy = 0; copy < copies; ++copy) {
      float found = 77;
      if (!run_copy(copy, SumBody{in.data(), &found})) continue;
#if defined(__FAST_MATH__)  // the order is not the compiler's to keep
      if (std::fabs(found - tree[0]) > 1e-2f) FAIL_CHECK("copy " << copy << ", seed " << seed);
#else
      if (to_bits(found) != to_bits(tree[0])) FAIL_CHECK("copy " << copy << ", seed " << seed);
#endif
    }
  }
}

TEST_CASE("lanes: arithmetic is that of floats") {
  const std::vector<float> a = random_floats(32, 1);
  std::vector<float> b = random_floats(32, 2);
  for (float& x : b) x = x == 0 ? 1.0f : x;
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<float> out(160, 77.0f);
    if (!run_copy(copy, ArithmeticBody{a.data(), b.data(), out.data()})) continue;
    for (std::size_t l = 0; l < 32; ++l) {
      CHECK(out[l] == a[l] + b[l]);
      CHECK(out[32 + l] == a[l] * b[l]);
      CHECK(out[64 + l] == Approx(a[l] / b[l]).epsilon(3e-7));
      CHECK(out[96 + l] == a[l] + b[l]);
      CHECK(out[128 + l] == a[3]);
    }
  }
}

TEST_CASE("lanes: e^x is within 2e-7 over its whole range") {
#if defined(__FAST_MATH__)  // the two steps of the range reduction may become one
  constexpr double most = 5e-6;
#else
  constexpr double most = 2e-7;
#endif
  std::vector<float> in;
  for (std::uint64_t bits = 0; bits < 0x100000000; bits += 4099)
    if (const float x = from_bits(static_cast<std::uint32_t>(bits));
        !is_nan(x) && x >= -87.33654f && x <= 88.72283f)
      in.push_back(x);
  for (float x = -87.3f; x < 88.7f; x += 0.00173f) in.push_back(x);
  for (int n = -126; n <= 127; ++n)  // where the exponent steps
    for (const float by : {-1e-4f, -1e-6f, 0.0f, 1e-6f, 1e-4f})
      in.push_back((static_cast<float>(n) + 0.5f) * 0.693147181f + by);
  in.resize((in.size() + 31) / 32 * 32, 0.0f);
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<float> out(in.size());
    if (!run_copy(copy, ExpBody{in.data(), out.data(), static_cast<Index>(in.size())})) continue;
    double worst = 0;
    float where = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const double x = std::exp(static_cast<double>(in[i]));
      const double error = std::fabs(out[i] - x) / x;
      if (!(error <= worst)) worst = error, where = in[i];
    }
    INFO("copy " << copy << ", error " << worst << " at " << where);
    CHECK(worst < most);
  }
}

TEST_CASE("lanes: e^x of NaN, infinities, zeros and beyond the range") {
  const std::uint32_t nan = 0x7FC12345, infinity = 0x7F800000;
  struct {
    std::uint32_t in, out;
  } const cases[] = {{nan, nan},
                     {0xFF800001, 0xFF800001},
                     {infinity, infinity},
                     {infinity | 0x80000000, 0},
                     {0x80000000, to_bits(1.0f)},
                     {0, to_bits(1.0f)},
                     {1, to_bits(1.0f)},
                     {to_bits(88.73f), infinity},
                     {to_bits(3e38f), infinity},
                     {to_bits(-87.34f), 0},
                     {to_bits(-3e38f), 0}};
  for (int copy = 0; copy < copies; ++copy) {
    std::vector<float> in(32, 1.0f), out(32);
    for (std::size_t i = 0; i < std::size(cases); ++i) in[i] = from_bits(cases[i].in);
    if (!run_copy(copy, ExpBody{in.data(), out.data(), 32})) continue;
    for (std::size_t i = 0; i < std::size(cases); ++i) {
      INFO("copy " << copy << ", e^ " << in[i]);
      if (is_nan(in[i]))
        CHECK(is_nan(out[i]));
      else
        CHECK(to_bits(out[i]) == cases[i].out);
    }
    CHECK(out[31] == Approx(2.718281828).epsilon(3e-7));
  }
}

TEST_CASE("lanes: run_items takes each item of the range once, in order") {
  for (const ItemRange range :
       {ItemRange{0, 0}, ItemRange{3, 3}, ItemRange{0, 1}, ItemRange{5, 70}}) {
    std::vector<Index> seen;
    run_items([&](const auto&, Index i) { seen.push_back(i); }, range);
    REQUIRE(static_cast<Index>(seen.size()) == range.end - range.begin);
    for (std::size_t i = 0; i < seen.size(); ++i)
      CHECK(seen[i] == range.begin + static_cast<Index>(i));
  }
}
