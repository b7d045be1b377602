// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The block formats of GGUF files, bit for bit as the gguf package decodes them: a few blocks
// element by element, many by the digest of all their elements. Its own main and only the floors;
// on x86 once more with subnormal numbers flushed to zero.

#include "../ggml_cases.hpp"

#include <engram/codec/ggml_blocks.hpp>
#include <engram/core/device.hpp>
#include <engram/core/sha256.hpp>

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

template <class Codec, class Out>
struct DecodeBody {
  const std::byte* row;
  Index width;
  Out* out;
  template <class Lanes>
  ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index) const noexcept {
    decode_row(lanes, Codec(), {row, nullptr}, width, out);
  }
};

std::uint32_t bits_without_payload(float x) { return is_nan(x) ? float_bits::nan : to_bits(x); }

/// The bits of a row, and that every loop and every type gives the same.
template <class Codec>
std::vector<std::uint32_t> decode(const std::vector<std::byte>& bytes, Index width,
                                  const std::string& name) {
  std::vector<std::byte> memory(bytes.size() + 1);  // rows stand at any address
  std::memcpy(memory.data() + 1, bytes.data(), bytes.size());
  const std::byte* const row = memory.data() + 1;
  std::vector<std::uint32_t> bits;
  for (Index d = 0; d < width; ++d)
    bits.push_back(bits_without_payload(Codec().value({row, nullptr}, d)));
  const auto n = static_cast<std::size_t>(width);
  std::vector<float> floats(n);
  std::vector<Bf16> bf16s(n);
  std::vector<F16> f16s(n);
  for (int loop = 0; loop < 2; ++loop) {
    if (loop == 0) {
      run_items(DecodeBody<Codec, float>{row, width, floats.data()}, {0, 1});
      run_items(DecodeBody<Codec, Bf16>{row, width, bf16s.data()}, {0, 1});
      run_items(DecodeBody<Codec, F16>{row, width, f16s.data()}, {0, 1});
    } else {
      DecodeBody<Codec, float>{row, width, floats.data()}(HostLanes<16>(), 0);
      DecodeBody<Codec, Bf16>{row, width, bf16s.data()}(HostLanes<16>(), 0);
      DecodeBody<Codec, F16>{row, width, f16s.data()}(HostLanes<16>(), 0);
    }
    bool same = true;
    for (std::size_t d = 0; d < n; ++d) {
      const float x = from_bits(bits[d]);
      same = same && bits_without_payload(floats[d]) == bits[d];
      same = same && (is_nan(x) ? is_nan(to_float(bf16s[d])) && is_nan(to_float(f16s[d]))
                                : bf16s[d] == to_bf16(x) && f16s[d] == to_f16(x));
    }
    check(same, name + ": a loop differs from value()");
  }
  return bits;
}

template <class Codec>
void check_format(const Value& golden, const std::string& name) {
  const Value& format = golden["formats"][name.c_str()];
  const Index elements = format["elements"].integer();
  const Index size = format["bytes"].integer();
  check(Codec().code_bytes(elements) == size && Codec().code_bytes(3 * elements) == 3 * size,
        name + ": bytes of a row");
  for (const Index bad :
       {Index{-1}, Index{0}, Index{1}, elements - 1, elements + 1, INT64_MAX / elements * elements})
    check(Codec().code_bytes(bad) == -1, name + ": a width that no row has");
  check(Codec().scale_bytes(elements) == 0, name + ": scales");

  for (const Value& block : format["blocks"].items) {
    const std::vector<std::byte> bytes = from_hex(block["bytes"].text);
    const std::vector<std::uint32_t> found = decode<Codec>(bytes, elements, name);
    for (std::size_t d = 0; d < found.size(); ++d) {
      const std::string bits = block["values"].text.substr(8 * d, 8);
      check(found[d] == std::strtoul(bits.c_str(), nullptr, 16),
            name + ": element " + std::to_string(d) + ", expected " + bits);
    }
  }

  // One row of all blocks.
  const Index width = format["random"].integer() * elements;
  const std::vector<std::uint32_t> found =
      decode<Codec>(random_blocks(golden, format), width, name);
  const Bytes bytes(reinterpret_cast<const std::byte*>(found.data()),
                    4 * static_cast<Index>(found.size()));
  check(sha256_hex(bytes) == format["sha256"].text, name + ": digest of all elements");
}

void everything(const std::string& folder) {
  const Value golden = read_values(folder + "/vectors/ggml_blocks.json");
  check_format<Q8_0Codec>(golden, "Q8_0");
  check_format<Q2_KCodec>(golden, "Q2_K");
  check_format<Q3_KCodec>(golden, "Q3_K");
  check_format<Q4_KCodec>(golden, "Q4_K");
  check_format<Q6_KCodec>(golden, "Q6_K");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: ggml_blocks FOLDER-OF-GOLDEN-FILES\n");
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
