// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The layer against its formulas in double, for random geometries, types and strides.
#include "layer_case.hpp"

#include <catch.hpp>

using namespace engram;
using namespace layer_case;

namespace {

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

double rms(const double* x, Index n, double eps) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += x[i] * x[i];
  return std::sqrt(sum / static_cast<double>(n) + eps);
}

/// Half a unit in the last place of a rounding to T, relative.
template <Element T>
constexpr double half_unit = std::is_same_v<T, float> ? 0x1p-24
                             : std::is_same_v<T, F16> ? 0x1p-11
                                                      : 0x1p-8;

enum class Takes { part, is_muted, passes, is_absent };

/// Counts what is out of tolerance and keeps the first in words.
struct Report {
  int faults = 0;
  std::string first{};
  void near(double found, double expected, double tolerance, const char* what, Index t, Index g,
            Index d) {
    if (std::fabs(found - expected) <= tolerance) return;
    if (faults++ == 0)
      first = std::string(what) + " at token " + std::to_string(t) + ", branch " +
              std::to_string(g) + ", element " + std::to_string(d) + ": found " +
              std::to_string(found) + ", expected " + std::to_string(expected);
  }
};

template <class Case, Element H>
struct Check {
  const Case& c;
  const Batch<H>& batch;
  const Outcome<H>& found;
  const std::vector<float>& state_before;
  Report report{};
  std::vector<double> keys{}, values{};  // [T, G, D], [T, D]

  const Shape& s() const { return c.shape; }

  Takes part_of(Index t) const {
    const bool behind = !batch.starts.empty() && t >= batch.starts.back();
    const Mark mark = batch.marks.empty() ? Mark::token : batch.marks[at(t)];
    if (behind || has(mark, Mark::padding)) return Takes::is_absent;
    if (has(mark, Mark::dead)) return Takes::passes;
    const bool zero = !batch.scale.empty() && batch.scale[at(t)] == 0;
    if (batch.rows[at(t * s().columns)] < 0) return zero ? Takes::passes : Takes::is_absent;
    return zero ? Takes::is_muted : Takes::part;
  }

  /// Keys and values as gather() and project() give them, held against the product in double.
  template <class Out>
  void projection(const std::vector<Out>& kv) {
    const Index m = s().columns * s().row_width, d = s().width;
    for (Index t = 0; t < batch.tokens; ++t)
      for (Index g = 0; g <= s().branches; ++g)
        for (Index i = 0; i < d; ++i) {
          const bool is_value = g == s().branches;
          double sum = 0;
          for (Index k = 0; k < m; ++k) {
            const Index row = batch.rows[at(t * s().columns + k / s().row_width)];
            if (row < 0) continue;
            const auto& w = is_value ? c.value[at(i * m + k)] : c.key[at((g * d + i) * m + k)];
            sum += double{to_float(c.elements[at(row * s().row_width + k % s().row_width)])} *
                   to_float(w);
          }
          if (s().biases) sum += is_value ? c.value_bias[at(i)] : c.key_bias[at(g * d + i)];
          const double product = to_float(kv[at((t * (s().branches + 1) + g) * d + i)]);
          report.near(product, sum, 1e-5 + 1.01 * half_unit<Out> * std::fabs(sum), "projection", t,
                      g, i);
          (is_value ? values : keys).push_back(product);
        }
  }

  void scores() {
    const Index d = s().width;
    for (Index t = 0; t < batch.tokens; ++t)
      for (Index g = 0; g < s().branches; ++g) {
        const auto tg = at(t * s().branches + g);
        const Takes part = part_of(t);
        if (part != Takes::part)
          report.near(found.gates[tg], 0, 0, "gate of a token that passes", t, g, 0);
        if (part != Takes::part && part != Takes::is_muted) {
          report.near(found.scores[tg], 0, 0, "score of a token that passes", t, g, 0);
          continue;
        }
        std::vector<double> h(at(d));
        for (Index i = 0; i < d; ++i) h[at(i)] = to_float(batch.hidden(t, g, i));
        const double* k = keys.data() + (t * s().branches + g) * d;
        double dot = 0;
        for (Index i = 0; i < d; ++i)
          dot += h[at(i)] * k[i] * (s().gains ? c.gain[at(g * d + i)] : 1);
        const double score = dot / rms(h.data(), d, double{c.config.query_eps}) /
                             rms(k, d, double{c.config.key_eps}) /
                             std::sqrt(static_cast<double>(d));
        report.near(found.scores[tg], score, 2e-5, "score", t, g, 0);
        const double seen = found.scores[tg];  // the root makes a gate of 1e-4 from a score of 1e-8
        const double gate =
            sigmoid_of(std::copysign(std::sqrt(std::fmax(std::fabs(seen), 1e-6)), seen)) *
            (batch.scale.empty() ? 1 : batch.scale[at(t)]);
        report.near(found.gates[tg], gate, 5e-7, "gate", t, g, 0);
      }
  }

  void update() {
    const Index d = s().width, columns = s().taps > 1 ? (s().taps - 1) * s().dilation : 0;
    const Index column_size = s().branches * d;
    for (Index q = 0; q < batch.sequences(); ++q) {
      std::vector<std::vector<double>> history;  // normalised columns [G, D]
      for (Index i = 0; i < columns; ++i) {
        const auto first = state_before.begin() + (q * columns + i) * column_size;
        history.emplace_back(first, first + column_size);
      }
      const Index begin = batch.starts.empty() ? 0 : batch.starts[at(q)];
      const Index end = batch.starts.empty() ? batch.tokens : batch.starts[at(q + 1)];
      for (Index t = begin; t < end; ++t) token(t, history);
      for (Index i = 0; i < columns * column_size; ++i)
        report.near(
            found.state[at(q * columns * column_size + i)],
            history[history.size() - at(columns) + at(i / column_size)][at(i % column_size)], 2e-5,
            "state", q, i / column_size, i % column_size);
    }
    for (Index t = batch.starts.empty() ? batch.tokens : batch.starts.back(); t < batch.tokens; ++t)
      passes(t);
  }

  void passes(Index t) {
    for (Index g = 0; g < s().branches; ++g) {
      report.near(found.norms[at(t * s().branches + g)], 0, 0, "norm", t, g, 0);
      for (Index i = 0; i < s().width; ++i) {
        const H expected = s().residual ? batch.hidden(t, g, i) : H{};
        const H result = found.out(t, g, i);
        const bool same = std::memcmp(static_cast<const void*>(&result),
                                      static_cast<const void*>(&expected), sizeof(H)) == 0;
        report.near(same, 1, 0, "bits of a token that passes", t, g, i);
      }
    }
  }

  void token(Index t, std::vector<std::vector<double>>& history) {
    const Index d = s().width;
    const Takes part = part_of(t);
    if (!batch.marks.empty() && has(batch.marks[at(t)], Mark::start))
      for (std::vector<double>& old : history) std::fill(old.begin(), old.end(), 0.0);
    if (part == Takes::is_absent) return passes(t);
    std::vector<double> column(at(s().branches * d)), memory(column);
    if (part == Takes::part)
      for (Index g = 0; g < s().branches; ++g) {
        double* x = column.data() + g * d;
        for (Index i = 0; i < d; ++i)
          x[i] = double{found.gates[at(t * s().branches + g)]} * values[at(t * d + i)];
        std::copy(x, x + d, memory.begin() + g * d);
        const double norm = rms(x, d, double{c.config.conv_eps});
        for (Index i = 0; i < d; ++i) x[i] *= (s().gains ? c.conv_gain[at(g * d + i)] : 1) / norm;
      }
    history.push_back(column);
    if (part != Takes::part) return passes(t);
    for (Index g = 0; g < s().branches; ++g) {
      double squares = 0;
      for (Index i = 0; i < d; ++i) {
        const auto gi = at(g * d + i);
        double y = 0;
        for (Index j = 0; j < s().taps; ++j) {
          const Index back = (s().taps - 1 - j) * s().dilation;
          const double x = history[history.size() - 1 - at(back)][gi];
          y += c.conv[at(j * s().branches * d) + gi] * x;
        }
        double m = memory[gi];
        if (s().taps > 0) m += y * sigmoid_of(y);
        squares += m * m;
        const double expected = (s().residual ? double{to_float(batch.hidden(t, g, i))} : 0) + m;
        report.near(to_float(found.out(t, g, i)), expected,
                    1.01 * half_unit<H> * std::fabs(expected) + 1e-7 + 1e-5 * (1 + std::fabs(m)),
                    "output", t, g, i);
      }
      report.near(found.norms[at(t * s().branches + g)], std::sqrt(squares),
                  2e-5 * (1 + std::sqrt(squares)), "norm", t, g, 0);
    }
  }
};

/// Random calls of random layers: formulas, and the steps called one by one.
template <Element W, Element In, Element Out, Element H>
void check_random(std::uint64_t seed, int rounds) {
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    const Shape shape = random_shape(random);
    LayerCase<W, In, Out> c(shape, random.bits());
    if (random.below(4) == 0) c.config.query_eps = c.config.key_eps = 1e-6f;
    if (random.below(4) == 0) c.config.conv_eps = 1e-20f;
    const auto layer = c.layer();
    REQUIRE(layer.check().message() == "");
    REQUIRE(layer.columns() == shape.columns);
    Batch<H> batch(shape, round == 0 ? 0 : random.below(41), random, random.below(4),
                   random.below(6));
    batch.scatter(shape, random);
    if (random.below(2) == 0) {  // sequences, and slots behind the last
      batch.starts = {0};
      while (batch.starts.size() < 4)
        batch.starts.push_back(batch.starts.back() +
                               random.below(batch.tokens - batch.starts.back() + 1));
    }
    INFO("round " << round << ": T " << batch.tokens << ", G " << shape.branches << ", D "
                  << shape.width << ", H " << shape.columns << ", E " << shape.row_width
                  << ", taps " << shape.taps << ", dilation " << shape.dilation);
    Outcome<H> before(batch, layer.conv_state_size());
    for (float& x : before.state) x = random_float(random);
    const bool in_place = random.below(2) == 0;
    if (!in_place)
      for (H& x : before.out.memory) x = from_float<H>(-5.0f);
    Outcome<H> found = before;
    Scratch scratch(layer.workspace_bytes(batch.tokens, batch.sequences()));
    const View<const std::int64_t, 2> rows(batch.rows.data(), batch.tokens, shape.columns);
    const FusionOptions options = options_of(batch, found, 0, batch.tokens);
    const View<H, 3> out = found.out.view();
    const View<const H, 3> hidden = in_place ? View<const H, 3>(out) : batch.hidden.view();
    REQUIRE(layer.forward(rows, hidden, out, scratch.view(), options).ok());
    for (Index i = 0; i < static_cast<Index>(found.out.memory.size()); ++i) {  // between the rows
      const Index column = i % found.out.token_stride;
      const bool inside = column < shape.branches * found.out.branch_stride &&
                          column % found.out.branch_stride < shape.width;
      if (!inside) REQUIRE(found.out.memory[at(i)] == before.out.memory[at(i)]);
    }

    const Index d = shape.width, m = shape.columns * shape.row_width;
    std::vector<In> e(at(batch.tokens * m), from_float<In>(9.0f));
    const View<In, 2> inputs(e.data(), batch.tokens, m);
    REQUIRE(layer.gather(rows, inputs).ok());
    std::vector<Out> kv(at(batch.tokens * (shape.branches + 1) * d));
    const auto all = View<Out, 3>(kv.data(), batch.tokens, shape.branches + 1, d);
    const auto keys = View<Out, 3>(kv.data(), batch.tokens, shape.branches, d)
                          .template with_stride<0>(all.stride(0));
    const View<Out, 2> value = all.template at<1>(shape.branches);
    REQUIRE(layer.project(inputs, keys, value).ok());
    Check<LayerCase<W, In, Out>, H> check{c, batch, found, before.state};
    check.projection(kv);
    check.scores();
    check.update();
    INFO(check.report.first);
    REQUIRE(check.report.faults == 0);

    // Step by step: fuse() does not see row ids, so tokens without rows are marked.
    Outcome<H> steps = before;
    for (Index t = 0; t < batch.tokens; ++t)
      if (batch.rows[at(t * shape.columns)] < 0) batch.marks[at(t)] = Mark::padding;
    Scratch small(layer.fuse_workspace_bytes(batch.tokens, batch.sequences()));
    REQUIRE(layer
                .fuse(keys, value, batch.hidden.view(), steps.out.view(), small.view(),
                      options_of(batch, steps, 0, batch.tokens))
                .ok());
    REQUIRE(steps == found);
  }
}

}  // namespace

TEST_CASE("layer: the formulas, float throughout") {
  check_random<float, float, float, float>(1, 60);
}
TEST_CASE("layer: the formulas, float layer in a bf16 or f16 stream") {
  check_random<float, float, float, Bf16>(2, 20);
  check_random<float, float, float, F16>(3, 20);
}
TEST_CASE("layer: the formulas, bf16 and f16 throughout") {
  check_random<Bf16, Bf16, Bf16, Bf16>(4, 30);
  check_random<F16, F16, F16, F16>(5, 30);
}
TEST_CASE("layer: the formulas, mixed types") {
  check_random<Bf16, F16, float, float>(6, 20);
  check_random<float, Bf16, F16, Bf16>(7, 20);
}
