// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "catch.hpp"
#include "contains.hpp"
#include "random.hpp"

#include "../../golden/json_values.hpp"

#include <engram/layer/fp8_projection.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace engram;

using Sums = void(const Fp8Weights&, ItemRange, View<const Bf16, 2>, View<Bf16, 2>);

void plain(const Fp8Weights& weights, ItemRange outputs, View<const Bf16, 2> e, View<Bf16, 2> out) {
  run_items(Fp8PlainBody{weights, e, out}, outputs);
}

/// Weights [outputs, inputs], rows `padding` bytes apart from each other, and rows e.
struct Problem {
  Index outputs;
  Index inputs;
  Index stride;
  std::vector<E4m3> codes;
  std::vector<E8m0> scales;

  Problem(Index n, Index m, Index padding = 0)
      : outputs(n),
        inputs(m),
        stride(m + padding),
        codes(static_cast<std::size_t>(n * (m + padding))),
        scales(static_cast<std::size_t>(n / 32 * (m / 32))) {}

  View<const E4m3, 2> code_view() const {
    return View<const E4m3, 2>(codes.data(), outputs, inputs).with_stride<0>(stride);
  }
  View<const E8m0, 2> scale_view() const {
    return View<const E8m0, 2>(scales.data(), outputs / 32, inputs / 32);
  }
  Fp8Weights weights() const {
    return {reinterpret_cast<const std::byte*>(codes.data()), stride,
            reinterpret_cast<const std::byte*>(scales.data()), inputs / 32, inputs};
  }
  Fp8Projection projection(Index branches, bool quantise = true) const {
    return Fp8Projection::make(code_view(), scale_view(), branches, quantise).value();
  }
  float weight(Index n, Index m) const {
    return scaled(code_view()(n, m), scale_view()(n / 32, m / 32));
  }
};

/// Codes without NaN, scales 2^-12 to 2^-5.
Problem random_problem(Random& random, Index outputs, Index inputs, Index padding = 0) {
  Problem p(outputs, inputs, padding);
  for (E4m3& code : p.codes) {
    code.bits = static_cast<std::uint8_t>(random.below(256));
    if ((code.bits & 0x7F) == 0x7F) code.bits = 0;
  }
  for (E8m0& scale : p.scales) scale.bits = static_cast<std::uint8_t>(115 + random.below(8));
  return p;
}

std::vector<Bf16> random_rows(Random& random, Index count) {
  std::vector<Bf16> e;
  for (Index i = 0; i < count; ++i)
    e.push_back(to_bf16(std::ldexp(static_cast<float>(random.below(255) - 127),
                                   static_cast<int>(random.below(12)) - 12)));
  return e;
}

std::vector<std::uint16_t> bits_of(const std::vector<Bf16>& values) {
  std::vector<std::uint16_t> bits;
  for (const Bf16 x : values) bits.push_back(x.bits);
  return bits;
}

/// Every output of every segment, tile after tile.
std::vector<Bf16> project_all(const Fp8Projection& p, View<const Bf16, 2> e) {
  const Index width = p.output_width();
  std::vector<Bf16> out(static_cast<std::size_t>(e.extent(0) * width * (p.branches() + 1)));
  for (int s = 0; s <= p.branches(); ++s)
    for (Index tile = 0; tile < p.tiles(); ++tile)
      p.project(e, s, tile,
                View<Bf16, 2>(out.data() + s * e.extent(0) * width, e.extent(0), width));
  return out;
}

/// Checks outputs of one segment [T, N] against sums in double: the nearest bf16 or its neighbour,
/// or within what additions in float may lose.
void check_close(const Problem& p, View<const Bf16, 2> e, View<const Bf16, 2> out) {
  for (Index t = 0; t < e.extent(0); ++t)
    for (Index n = 0; n < p.outputs; ++n) {
      double sum = 0;
      double magnitude = 0;
      for (Index m = 0; m < p.inputs; ++m) {
        const double product =
            static_cast<double>(to_float(e(t, m))) * static_cast<double>(p.weight(n, m));
        sum += product;
        magnitude += std::abs(product);
      }
      const double ulp = std::ldexp(1.0, std::ilogb(sum == 0 ? 1e-30 : sum) - 7);
      // Longest chain: the additions of one lane, then those of lanes and blocks.
      const double bound =
          ulp + magnitude * static_cast<double>(p.inputs / 8 + 16) * std::ldexp(1.0, -24);
      const double found = static_cast<double>(to_float(out(t, n)));
      if (!(std::abs(found - sum) <= bound)) {
        CAPTURE(t, n, found, sum);
        REQUIRE(std::abs(found - sum) <= bound);
      }
    }
}

/// The loops that this processor has: plain, and for a fast one which it is.
std::vector<std::pair<std::string, Sums*>> loops(Index tokens) {
  std::vector<std::pair<std::string, Sums*>> all{{"plain", plain}, {"chosen", project_fp8}};
#if ENGRAM_X86_TARGETS
  if (has_avx512_bf16()) {
    all.push_back({"many", project_fp8_many});
    if (tokens == 1)
      all.push_back({"few<1>", [](const Fp8Weights& w, ItemRange o, View<const Bf16, 2> e,
                                  View<Bf16, 2> out) { CHECK(project_fp8_few<1>(w, o, e, out)); }});
    if (tokens >= 1 && tokens <= 2)
      all.push_back({"few<2>", [](const Fp8Weights& w, ItemRange o, View<const Bf16, 2> e,
                                  View<Bf16, 2> out) { CHECK(project_fp8_few<2>(w, o, e, out)); }});
    if (tokens >= 1 && tokens <= 4)
      all.push_back({"few<4>", [](const Fp8Weights& w, ItemRange o, View<const Bf16, 2> e,
                                  View<Bf16, 2> out) { CHECK(project_fp8_few<4>(w, o, e, out)); }});
  }
#else
  (void)tokens;
#endif
  return all;
}

}  // namespace

TEST_CASE("fp8 projection: codes and scales that do not fit are refused with both shapes") {
  const Problem p(3 * 64, 96);
  const auto message = [&](View<const E4m3, 2> codes, View<const E8m0, 2> scales, Index branches) {
    const auto result = Fp8Projection::make(codes, scales, branches);
    CHECK(result.status().code == Code::shape_mismatch);
    return result.message();
  };
  const auto scales = [&](Index rows, Index columns) {
    return View<const E8m0, 2>(p.scales.data(), rows, columns);
  };
  CHECK(Fp8Projection::make(p.code_view(), p.scale_view(), 2).ok());

  // The scales of a table, one for each 32 codes of a row.
  const std::string table = message(p.code_view(), scales(192, 3), 2);
  CHECK(contains(table, "[192, 3]"));
  CHECK(contains(table, "[6, 3]"));
  CHECK(contains(table, "[192, 96]"));
  CHECK(contains(table, "table"));
  CHECK(contains(message(p.code_view(), scales(6, 2), 2), "[6, 2], expected [6, 3]"));
  CHECK(contains(message(p.code_view(), scales(7, 3), 2), "[7, 3], expected [6, 3]"));
  CHECK(contains(message(p.code_view(), View<const E8m0, 2>(), 2), "[0, 0], expected [6, 3]"));
  // Widths.
  CHECK(contains(message(p.code_view(), p.scale_view(), 0), "0 branches"));
  CHECK(contains(message(p.code_view(), p.scale_view(), -1), "-1 branches"));
  CHECK(Fp8Projection::make(p.code_view(), p.scale_view(), 1).ok());  // D = 96
  CHECK(
      contains(message(p.code_view(), p.scale_view(), 3), "[192, 96], expected [(G + 1) * D, M]"));
  CHECK(contains(message(p.code_view(), p.scale_view(), 4), "[192, 96]"));
  CHECK(contains(message(p.code_view(), p.scale_view(), 191), "[192, 96]"));
  CHECK(contains(message(p.code_view(), p.scale_view(), INT64_MAX), "[192, 96]"));
  CHECK(contains(message(View<const E4m3, 2>(p.codes.data(), 192, 95), p.scale_view(), 2),
                 "[192, 95]"));
  CHECK(contains(message(View<const E4m3, 2>(p.codes.data(), 192, 0), p.scale_view(), 2),
                 "[192, 0]"));
  CHECK(contains(message(View<const E4m3, 2>(), p.scale_view(), 2), "[0, 0]"));
}

TEST_CASE("fp8 projection: each loop is near the sum in double") {
  Random random(1);
  // One 32 by 32 tile; a last tile of 32; inputs beyond a block; a last block of 32; two panels.
  const std::pair<Index, Index> shapes[] = {{32, 32},   {96, 64},   {64, 1536},
                                            {32, 1568}, {64, 4800}, {32, 6144 + 96}};
  for (const auto& [outputs, inputs] : shapes) {
    const Problem p = random_problem(random, outputs, inputs, 5);
    for (const Index tokens : {1, 2, 3, 4, 5, 130}) {
      if (tokens == 130 && inputs > 1600) continue;
      const std::vector<Bf16> rows = random_rows(random, tokens * (inputs + 3));
      const auto e = View<const Bf16, 2>(rows.data(), tokens, inputs).with_stride<0>(inputs + 3);
      for (const auto& [name, sums] : loops(tokens)) {
        CAPTURE(outputs, inputs, tokens, name);
        // Two bf16 behind each row of the outputs must stay as they are.
        std::vector<Bf16> out(static_cast<std::size_t>(tokens * (outputs + 2)), Bf16{0x1234});
        const auto view = View<Bf16, 2>(out.data(), tokens, outputs).with_stride<0>(outputs + 2);
        for (Index n = 0; n < outputs; n += fp8_tile)
          sums(p.weights(), {n, std::min(n + fp8_tile, outputs)}, e, view);
        check_close(p, e, view);
        for (Index t = 0; t < tokens; ++t) {
          CHECK(out[static_cast<std::size_t>(t * (outputs + 2) + outputs)].bits == 0x1234);
          CHECK(out[static_cast<std::size_t>(t * (outputs + 2) + outputs + 1)].bits == 0x1234);
        }
      }
    }
  }
}

TEST_CASE("fp8 projection: exact where every sum is exact") {
  // Weights and activations small integers times powers of two: no addition rounds in any order.
  Random random(2);
  const Index inputs = 1600;
  const Index outputs = 64;
  Problem p(outputs, inputs);
  const std::uint8_t small[] = {0x00, 0x38, 0xB8, 0x40, 0xC0, 0x44, 0x48};  // 0, 1, -1, 2, -2, 3, 4
  for (E4m3& code : p.codes) code.bits = small[random.below(7)];
  for (E8m0& scale : p.scales) scale.bits = static_cast<std::uint8_t>(127 + random.below(3));
  std::vector<Bf16> rows;
  for (Index i = 0; i < 7 * inputs; ++i)
    rows.push_back(to_bf16(static_cast<float>(random.below(9) - 4)));
  for (const Index tokens : {1, 2, 3, 4, 7}) {
    const View<const Bf16, 2> e(rows.data(), tokens, inputs);
    std::vector<std::uint16_t> expected;
    for (Index t = 0; t < tokens; ++t)
      for (Index n = 0; n < outputs; ++n) {
        std::int64_t sum = 0;
        for (Index m = 0; m < inputs; ++m)
          sum += static_cast<std::int64_t>(to_float(e(t, m)) * p.weight(n, m));
        expected.push_back(to_bf16(static_cast<float>(sum)).bits);
      }
    for (const auto& [name, sums] : loops(tokens)) {
      CAPTURE(name, tokens);
      std::vector<Bf16> out(static_cast<std::size_t>(tokens * outputs));
      sums(p.weights(), {0, outputs}, e, View<Bf16, 2>(out.data(), tokens, outputs));
      CHECK(bits_of(out) == expected);
    }
  }
}

TEST_CASE("fp8 projection: a token's outputs are the same bits in any batch") {
  Random random(3);
  const Index inputs = 3200;
  const Index width = 96;  // a tile of 64 and one of 32
  const Index tokens = 135;
  Problem p = random_problem(random, 2 * width, inputs);
  const std::vector<Bf16> rows = random_rows(random, tokens * inputs);
  const Fp8Projection projection = p.projection(1);
  const View<const Bf16, 2> e(rows.data(), tokens, inputs);
  const auto all = bits_of(project_all(projection, e));
  for (const Index count : {1, 2, 3, 4, 5, 6, 64}) {
    for (const Index first : {Index{0}, Index{1}, Index{77}, tokens - count}) {
      if (first + count > tokens) continue;
      const auto some = bits_of(project_all(projection, e.slice(first, count)));
      bool same = true;
      for (Index s = 0; s < 2; ++s)
        same = same &&
               std::equal(some.begin() + s * count * width, some.begin() + (s + 1) * count * width,
                          all.begin() + (s * tokens + first) * width);
      CAPTURE(count, first);
      CHECK(same);
    }
  }
  // Activations too large or too small to take a weight's scale, and infinite ones: the loop for
  // few tokens hands over, the bits stay.
  for (const int odd : {0x7F00, 0xFF7F, 0x0080, 0x8001, 0x7F80, 0x7FC1}) {
    std::vector<Bf16> row(rows.begin(), rows.begin() + inputs);
    row[100].bits = static_cast<std::uint16_t>(odd);
    for (E8m0& scale : p.scales) scale.bits = odd < 0x1000 ? 20 : 140;
    std::vector<Bf16> batch(row);
    for (int i = 0; i < 5; ++i) batch.insert(batch.end(), rows.begin(), rows.begin() + inputs);
    const auto one = bits_of(project_all(projection, View<const Bf16, 2>(row.data(), 1, inputs)));
    const auto six = bits_of(project_all(projection, View<const Bf16, 2>(batch.data(), 6, inputs)));
    CAPTURE(odd);
    CHECK(std::equal(one.begin(), one.begin() + width, six.begin()));
    CHECK(std::equal(one.begin() + width, one.end(), six.begin() + 6 * width));
  }
}

TEST_CASE("fp8 projection: tiles in any order and from two threads") {
  Random random(4);
  const Index inputs = 256;
  const Index width = 224;
  const Problem p = random_problem(random, 3 * width, inputs);
  const Fp8Projection projection = p.projection(2);
  CHECK(projection.input_width() == inputs);
  CHECK(projection.output_width() == width);
  CHECK(projection.branches() == 2);
  CHECK(projection.tiles() == 4);
  for (const Index tokens : {1, 9}) {
    const std::vector<Bf16> rows = random_rows(random, tokens * inputs);
    const View<const Bf16, 2> e(rows.data(), tokens, inputs);
    const auto expected = bits_of(project_all(projection, e));
    std::vector<Bf16> out(expected.size());
    const auto run = [&](Index first) {
      for (Index i = 3 * projection.tiles() - 1 - first; i >= 0; i -= 2) {
        const Index s = i % 3;
        projection.project(e, static_cast<int>(s), i / 3,
                           View<Bf16, 2>(out.data() + s * tokens * width, tokens, width));
      }
    };
    std::thread other(run, 1);
    run(0);
    other.join();
    CHECK(bits_of(out) == expected);
  }
}

TEST_CASE("fp8 projection: no tokens") {
  const Problem p(64, 32);
  const View<const Bf16, 2> e(nullptr, 0, 32);
  for (const auto& [name, sums] : loops(0)) {
    CAPTURE(name);
    sums(p.weights(), {0, 64}, e, View<Bf16, 2>(nullptr, 0, 64));
  }
  p.projection(1).prepare(View<Bf16, 2>());
}

TEST_CASE("fp8 projection: odd codes and scales") {
  Random random(5);
  const Index inputs = 96;
  Problem p = random_problem(random, 128, inputs);
  // Output 3: a NaN weight. Outputs 32 to 63: a NaN scale. Output 70 of the other tile: nothing
  // odd.
  p.codes[static_cast<std::size_t>(3 * inputs + 50)].bits = 0xFF;
  const std::vector<Bf16> rows = random_rows(random, 6 * inputs);
  for (const int scale : {255, 0, 5, 254, 247, 120}) {
    p.scales[4].bits = static_cast<std::uint8_t>(scale);
    const Fp8Projection projection = p.projection(1, false);
    std::vector<std::uint16_t> before;
    for (const Index tokens : {6, 5, 4, 2, 1}) {
      CAPTURE(scale, tokens);
      const View<const Bf16, 2> e(rows.data(), tokens, inputs);
      std::vector<Bf16> out(static_cast<std::size_t>(tokens * 64));
      projection.project(e, 0, 0, View<Bf16, 2>(out.data(), tokens, 64));
      for (Index t = 0; t < tokens; ++t) {
        const auto nan = [&](Index n) {
          return is_nan(to_float(out[static_cast<std::size_t>(t * 64 + n)]));
        };
        bool fine = nan(3);
        for (Index n = 0; n < 64; ++n)
          if (n != 3 && scale != 254 && scale != 247)  // those may be infinite
            fine = fine && nan(n) == (n >= 32 && scale == 255);
        CHECK(fine);
      }
      const auto bits = bits_of(out);
      if (!before.empty()) CHECK(std::equal(bits.begin(), bits.end(), before.begin()));
      before = bits;
    }
  }
  // Both ends of the scales that the fast loops take, and the first beyond.
  for (const int scale : {9, 10, 246, 247}) {
    Problem edge(64, 64);
    // The smallest code where the product by its scale is a normal number: 2^-9, else 2^-6.
    for (E4m3& code : edge.codes) code.bits = scale == 9 ? 0x08 : 0x01;
    for (E8m0& s : edge.scales) s.bits = static_cast<std::uint8_t>(scale);
    const float x = scale > 127 ? 0x1p-10f : 0x1p10f;
    const std::vector<Bf16> e(64, to_bf16(x));
    std::vector<Bf16> out(64);
    edge.projection(1).project(View<const Bf16, 2>(e.data(), 1, 64), 1, 0,
                               View<Bf16, 2>(out.data(), 1, 32));
    CAPTURE(scale);
    CHECK(static_cast<double>(to_float(out[31])) ==
          std::ldexp(static_cast<double>(x), scale - 127 - (scale == 9 ? 6 : 9) + 6));
  }
}

TEST_CASE("fp8 projection: activation blocks of the golden file") {
  const Value golden =
      read_values(std::string(ENGRAM_TEST_DIR) + "/golden/vectors/fp8_vectors.json");
  const auto& blocks = golden["act_quant_blocks"].items;
  REQUIRE(blocks.size() == 12);
  const Problem p(64, 32);
  std::vector<Bf16> rows;
  std::vector<std::uint16_t> expected;
  for (const Value& block : blocks) {
    CAPTURE(block["name"].text);
    std::vector<Bf16> e;
    for (const std::int64_t bits : block["input_bf16_bits"].numbers())
      e.push_back(Bf16{static_cast<std::uint16_t>(bits)});
    std::vector<E4m3> codes(32);
    const E8m0 scale = quantise_activations(View<const Bf16, 1>(e), View<E4m3, 1>(codes));
    CHECK(scale.bits == block["scale_e8m0"].integer());
    std::vector<std::int64_t> found;
    for (const E4m3 code : codes) {
      found.push_back(code.bits);
      expected.push_back(to_bf16(scaled(code, scale)).bits);
    }
    CHECK(found == block["q_e4m3"].numbers());
    rows.insert(rows.end(), e.begin(), e.end());
  }
  std::vector<Bf16> kept = rows;
  p.projection(1).prepare(View<Bf16, 2>(rows.data(), 12, 32));
  CHECK(bits_of(rows) == expected);
  p.projection(1, false).prepare(View<Bf16, 2>(kept.data(), 12, 32));
  CHECK(bits_of(kept) != expected);
}

TEST_CASE("fp8 projection: prepare is the quantiser, bit for bit") {
  // Each exponent of bf16 as the largest of a block, with every kind of smaller neighbour; twice
  // the same rows give the same, because what was quantised once is a multiple of its scale.
  Random random(6);
  const Problem p(64, 64);
  const Fp8Projection projection = p.projection(1);
  for (int exponent = 0; exponent < 256; ++exponent) {
    std::vector<Bf16> rows(3 + 3 * 67);
    for (Bf16& x : rows) {
      const std::int64_t below = random.below(24);
      const std::int64_t field = exponent > below ? exponent - below : 0;
      x.bits =
          static_cast<std::uint16_t>((random.below(2) << 15) | (field << 7) | random.below(128));
    }
    std::vector<std::uint16_t> expected = bits_of(rows);
    for (Index t = 0; t < 3; ++t)
      for (Index m = 0; m < 64; m += 32) {
        const auto at = static_cast<std::size_t>(t * 67 + m);
        std::vector<E4m3> codes(32);
        const E8m0 scale =
            quantise_activations(View<const Bf16, 1>(&rows[at], 32), View<E4m3, 1>(codes));
        for (std::size_t i = 0; i < 32; ++i)
          expected[at + i] = to_bf16(scaled(codes[i], scale)).bits;
      }
    const auto view = View<Bf16, 2>(rows.data(), 3, 64).with_stride<0>(67);
    projection.prepare(view);
    CAPTURE(exponent);
    bool same = true;
    for (std::size_t i = 0; i < rows.size(); ++i)
      same = same && (rows[i].bits == expected[i] ||
                      (is_nan(to_float(rows[i])) && is_nan(to_float(Bf16{expected[i]}))));
    CHECK(same);
    // The loop of every instruction set.
    const std::vector<std::uint16_t> once = bits_of(rows);
    for (Index t = 0; t < 3; ++t) QuantiseBody{view}(HostLanes<16>(), t);
    CHECK(bits_of(rows) == once);
  }
}

TEST_CASE("fp8 projection: infinite and NaN activations spoil their block and their token") {
  Random random(7);
  const Index inputs = 96;
  const Problem p = random_problem(random, 64, inputs);
  const Fp8Projection projection = p.projection(1);
  for (const int odd : {0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0xFFFF}) {
    std::vector<Bf16> rows = random_rows(random, 3 * inputs);
    rows[static_cast<std::size_t>(inputs + 40)].bits = static_cast<std::uint16_t>(odd);
    projection.prepare(View<Bf16, 2>(rows.data(), 3, inputs));
    for (Index i = 0; i < 3 * inputs; ++i)
      if (is_nan(to_float(rows[static_cast<std::size_t>(i)])) !=
          (i >= inputs + 32 && i < inputs + 64))
        FAIL("index " << i);
    std::vector<Bf16> out(3 * 32);
    projection.project(View<const Bf16, 2>(rows.data(), 3, inputs), 0, 0,
                       View<Bf16, 2>(out.data(), 3, 32));
    for (std::size_t i = 0; i < out.size(); ++i)
      if (is_nan(to_float(out[i])) != (i >= 32 && i < 64)) FAIL("output " << i);
  }
}
