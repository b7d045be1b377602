// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// fp8 rows and activations, bit for bit: all 65,536 pairs of code and scale against arithmetic of
// its own, and the golden file. Its own main and only the floors, so that it runs wherever the
// library compiles; on x86 once more with subnormal numbers flushed to zero.

#include "../json_values.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/core/device.hpp>
#include <engram/layer/fp8_projection.hpp>

#include <cmath>
#include <cstring>

namespace {

using namespace engram;

int failures = 0;
int checks = 0;

void check(bool good, const std::string& what) {
  ++checks;
  if (good) return;
  ++failures;
  if (failures < 50) std::printf("FAILED: %s\n", what.c_str());
}

/// |value| of a code that is a number times 2^(scale - 127), in double: never subnormal there.
double magnitude_of(int code, int scale) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  return exponent == 0 ? std::ldexp(mantissa, -9 + scale - 127)
                       : std::ldexp(8 + mantissa, exponent - 10 + scale - 127);
}

/// A non-negative double as a float type's bits: `exponents` exponent bits, `fraction` below them.
/// To nearest, ties to even; nothing here is subnormal as a double.
std::uint32_t round_to(double x, int exponents, int fraction) {
  const int bias = (1 << (exponents - 1)) - 1;
  const double smallest = std::ldexp(1.0, 1 - bias - fraction);  // the unit of subnormal numbers
  if (x < std::ldexp(1.0, 1 - bias)) return static_cast<std::uint32_t>(std::lrint(x / smallest));
  int exponent = 0;
  const double half_to_one = std::frexp(x, &exponent);
  const auto significand =
      static_cast<std::uint32_t>(std::lrint(std::ldexp(half_to_one, fraction + 1)));
  // A significand that rounded up to the next power of two carries into the exponent.
  const int field = exponent - 1 + bias;
  const auto infinity = static_cast<std::uint32_t>((1 << exponents) - 1) << fraction;
  if (field >= (1 << exponents) - 1) return infinity;
  const std::uint32_t bits = (static_cast<std::uint32_t>(field) << fraction) +
                             (significand - (std::uint32_t{1} << fraction));
  return bits < infinity ? bits : infinity;
}

template <class Out>
struct DecodeBody {
  const std::byte* codes;
  const std::byte* scales;
  Out* out;
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    decode_row(lanes, Fp8Codec(), {codes, scales}, 256, out);
  }
};

template <class Out>
std::uint32_t bits_of(Out x) {
  if constexpr (sizeof(Out) == 2)
    return x.bits;
  else
    return to_bits(x);
}

/// Row by row the 256 codes under one scale; once more without the NaN codes, because those make
/// the fast loop step aside.
template <class Out>
void all_pairs(int exponents, int fraction, const std::string& name) {
  const std::uint32_t infinity = static_cast<std::uint32_t>((1 << exponents) - 1) << fraction;
  const int sign_shift = static_cast<int>(8 * sizeof(Out)) - 8;
  for (int scale = 0; scale < 256; ++scale) {
    for (const bool with_nan : {true, false}) {
      std::byte codes[256];
      std::byte scales[8];
      Out out[256];
      for (int i = 0; i < 256; ++i)
        codes[i] = static_cast<std::byte>(!with_nan && (i & 0x7F) == 0x7F ? i - 1 : i);
      std::memset(scales, scale, 8);
      run_items(DecodeBody<Out>{codes, scales, out}, {0, 1});
      for (int i = 0; i < 256; ++i) {
        const int code = static_cast<int>(codes[i]);
        const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80) << sign_shift;
        const std::uint32_t found = bits_of(out[i]);
        const bool is_nan = scale == 255 || (code & 0x7F) == 0x7F;
        const bool good =
            is_nan
                ? (found & ~(sign | 0x80u << sign_shift)) > infinity
                : found == (sign | round_to(magnitude_of(code & 0x7F, scale), exponents, fraction));
        check(good, name + ": code " + std::to_string(code) + ", scale " + std::to_string(scale));
      }
    }
  }
}

void golden_file(const std::string& folder) {
  const Value golden = read_values(folder + "/vectors/fp8_vectors.json");
  const auto& table = golden["e4m3fn_to_f32_bits"].items;
  check(table.size() == 256, "256 codes");
  for (std::size_t code = 0; code < 256; ++code) {
    const float x = to_float(E4m3{static_cast<std::uint8_t>(code)});
    const bool is_nan_code = (code & 0x7F) == 0x7F;
    check(is_nan_code ? is_nan(x) : to_bits(x) == table[code].natural(),
          "table: code " + std::to_string(code));
  }
  for (const Value& row : golden["rows"].items) {
    std::byte codes[256];
    std::byte scales[8];
    Bf16 out[256];
    for (std::size_t i = 0; i < 256; ++i)
      codes[i] = static_cast<std::byte>(row["e4m3"][i].integer());
    for (std::size_t i = 0; i < 8; ++i)
      scales[i] = static_cast<std::byte>(row["e8m0"][i].integer());
    run_items(DecodeBody<Bf16>{codes, scales, out}, {0, 1});
    for (std::size_t i = 0; i < 256; ++i)
      check(out[i].bits == row["bf16_bits"][i].integer(), "row: element " + std::to_string(i));
  }
  for (const Value& block : golden["act_quant_blocks"].items) {
    const std::string name = "activations, " + block["name"].text;
    Bf16 e[32];
    E4m3 codes[32];
    for (std::size_t i = 0; i < 32; ++i)
      e[i].bits = static_cast<std::uint16_t>(block["input_bf16_bits"][i].integer());
    const E8m0 scale = quantise_activations(View<const Bf16, 1>(e, 32), View<E4m3, 1>(codes, 32));
    check(scale.bits == block["scale_e8m0"].integer(), name + ": scale");
    run_items(QuantiseBody{View<Bf16, 2>(e, 1, 32)}, {0, 1});
    for (std::size_t i = 0; i < 32; ++i) {
      check(codes[i].bits == block["q_e4m3"][i].integer(), name + ": codes");
      check(e[i] == to_bf16(scaled(codes[i], scale)), name + ": in place");
    }
  }
}

void everything(const std::string& folder) {
  all_pairs<Bf16>(8, 7, "bf16");
  all_pairs<F16>(5, 10, "f16");
  all_pairs<float>(8, 23, "float");
  golden_file(folder);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fp8_codec FOLDER-OF-GOLDEN-FILES\n");
    return 2;
  }
  everything(argv[1]);
#if defined(__SSE__) && defined(__GNUC__)
  unsigned control = 0;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  control |= 0x8040;  // flush to zero, denormals are zero
  __asm__ volatile("ldmxcsr %0" : : "m"(control));
  everything(argv[1]);
#endif
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
