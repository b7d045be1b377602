// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The module's published values: gates, the demo's form with its convolution, DeepSeek-V4.1's form
// to the bf16 bit. Its own main and only the floors, so that it runs wherever the library compiles.

#include "../demo_case.hpp"
#include "../v41_case.hpp"

#include <engram/engram.hpp>
#include <engram/layer/fp8_projection.hpp>

#include <cmath>

namespace {

using namespace engram;

int failures = 0;
int checks = 0;

void check(bool good, const std::string& what) {
  ++checks;
  if (good) return;
  if (++failures <= 20) std::printf("FAILED: %s\n", what.c_str());
}

void check_near(double found, double expected, double tolerance, const std::string& what) {
  check(std::fabs(found - expected) <= tolerance,
        what + ": expected " + std::to_string(expected) + ", found " + std::to_string(found));
}

void check_gates(const Value& file) {
  const Value& cases = file["cases"];
  for (std::size_t i = 0; i < cases.items.size(); ++i) {
    const auto dot = cases[i]["dot_is_negative_zero"].text == "true"
                         ? -0.0f
                         : static_cast<float>(cases[i]["dot"].real());
    check_near(SignedSqrtGate{}(dot), cases[i]["v41_gate"].real(), 2e-7, "V4.1's gate");
    check_near(SignedSqrtGate{ZeroScore::sign}(dot), cases[i]["demo_gate"].real(), 2e-7,
               "the demo's gate");
  }
}

/// The case's module over its own e, as a table of one row a token.
template <class GateType>
void check_demo(const DemoCase& c, GateType gate, const std::string& name) {
  const Index t = c.tokens, g = c.branches, d = c.width;
  const DemoModule module(c);
  const EngramLayer layer(module.table, module.projection, module.fusion, c.config, gate);
  check(layer.check().ok(), name + ": " + layer.check().message());

  std::vector<int> rows(static_cast<std::size_t>(t));
  for (Index i = 0; i < t; ++i) rows[static_cast<std::size_t>(i)] = static_cast<int>(i);
  // In one call, and token by token with the convolution's state carried.
  for (const Index step : {t, Index{1}, Index{3}}) {
    std::vector<float> out(c.hidden.size()), gates(static_cast<std::size_t>(t * g));
    std::vector<float> state(static_cast<std::size_t>(layer.conv_state_size()));
    std::vector<std::byte> workspace(static_cast<std::size_t>(layer.workspace_bytes(t)));
    for (Index at = 0; at < t; at += step) {
      const Index n = step < t - at ? step : t - at;
      FusionOptions options;
      options.gates = View<float, 2>(gates.data() + at * g, n, g);
      options.conv_state = View<float, 2>(state.data(), 1, layer.conv_state_size());
      const Status status =
          layer.forward(View<const int, 2>(rows.data() + at, n, 1),
                        View<const float, 3>(c.hidden.data() + at * g * d, n, g, d),
                        View<float, 3>(out.data() + at * g * d, n, g, d), workspace, options);
      check(status.ok(), name + ": " + describe(status, "forward"));
    }
    for (Index i = 0; i < t; ++i)
      for (Index b = 0; b < g; ++b) {
        const auto it = static_cast<std::size_t>(i);
        const auto ib = static_cast<std::size_t>(b);
        check_near(gates[static_cast<std::size_t>(i * g + b)], (*c.gates)[it][ib].real(), 1e-5,
                   name + ": gate");
        for (Index k = 0; k < d; ++k)
          check_near(out[static_cast<std::size_t>((i * g + b) * d + k)],
                     (*c.output)[it][ib][static_cast<std::size_t>(k)].real(), 1e-5,
                     name + ": output");
      }
  }
}

void check_torch_module(const Value& file) {
  for (const Value& f : file["cases"].items) {
    const DemoCase c = torch_case(file, f);
    if (c.sigmoid)
      check_demo(c, SigmoidGate{}, f["name"].text);
    else
      check_demo(c, SignedSqrtGate{ZeroScore::sign}, f["name"].text);
  }
}

void check_v41_module(const V41Case& c) {
  const Index branches = c.branches, dim = c.width, inputs = c.inputs, tokens = c.tokens();
  const Index outputs = dim * (branches + 1);
  check(c.front.num_rows(c.layer) == c.file["table_rows"].integer(), "rows of the table");
  const View<const int, 2> layer_rows = c.layer_rows();

  const auto run = [&](const auto& projection, const std::string& name) {
    const EngramLayer layer(c.table, projection, c.fusion(), c.config, SignedSqrtGate{});
    check(layer.check().ok(), layer.check().message());
    std::vector<Bf16> e(static_cast<std::size_t>(tokens * inputs));
    std::vector<Bf16> kv(static_cast<std::size_t>(tokens * outputs));
    std::vector<Bf16> stream = c.hidden;  // in place
    std::vector<float> gates(static_cast<std::size_t>(tokens * branches)), scores(gates.size());
    std::vector<std::byte> workspace(static_cast<std::size_t>(layer.workspace_bytes(tokens)));
    check(layer.gather(layer_rows, View<Bf16, 2>(e.data(), tokens, inputs)).ok(), "gather");
    const std::vector<Bf16> gathered = e;
    const View<Bf16, 3> keys_value(kv.data(), tokens, branches + 1, dim);
    check(layer
              .project(View<Bf16, 2>(e.data(), tokens, inputs),
                       View<Bf16, 3>(kv.data(), tokens, branches, dim).with_stride<0>(outputs),
                       keys_value.at<1>(branches))
              .ok(),
          "project");
    FusionOptions options;
    options.marks = c.marks;
    options.gates = View<float, 2>(gates.data(), tokens, branches);
    options.scores = View<float, 2>(scores.data(), tokens, branches);
    const View<Bf16, 3> in_place(stream.data(), tokens, branches, dim);
    check(layer.forward(layer_rows, in_place, in_place, workspace, options).ok(), "forward");

    for (Index t = 0; t < tokens; ++t) {
      const Value& token = c.file["tokens"][static_cast<std::size_t>(t)];
      const auto part = [t](const std::vector<Bf16>& all, Index size) {
        return std::vector<Bf16>(all.begin() + t * size, all.begin() + (t + 1) * size);
      };
      const std::string where = name + ", token " + std::to_string(t);
      std::vector<std::int64_t> found_rows;
      for (Index i = 0; i < layer_rows.extent(1); ++i) found_rows.push_back(layer_rows(t, i));
      check(found_rows == token["rows"].numbers(), where + ": rows");
      check(part(gathered, inputs) == bf16_bits(token["embed_bf16_bits"]), where + ": elements");
      check(part(kv, outputs) == bf16_bits(token["kv_bf16_bits"]), where + ": keys and value");
      check(part(stream, branches * dim) == bf16_bits(token["out_bf16_bits"]), where + ": output");
      for (Index g = 0; g < branches; ++g) {
        const auto i = static_cast<std::size_t>(g);
        const auto at = static_cast<std::size_t>(t * branches + g);
        check_near(gates[at], token["gate"][i].real(), 4e-6, where + ": gate");
        if (c.marks[static_cast<std::size_t>(t)] == Mark::token)
          check_near(scores[at], token["dot"][i].real(), 1e-5, where + ": score");
      }
    }
  };
  run(ReferenceProjection<float, Bf16>::make(
          fused_weights(View<const float, 2>(c.matrix.data(), outputs, inputs), branches))
          .value(),
      "dequantised");
  run(Fp8Projection::make(View<const E4m3, 2>(c.codes.data(), outputs, inputs),
                          View<const E8m0, 2>(c.scales.data(), outputs / 32, inputs / 32), branches)
          .value(),
      "as stored");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = std::string(argc > 1 ? argv[1] : ".") + "/vectors/";
  check_gates(read_values(folder + "gate_edge_cases.json"));
  const Value demo = read_values(folder + "demo_module_vectors.json");
  check_demo(demo_case(demo), SignedSqrtGate{ZeroScore::sign}, "demo_module_vectors");
  check_torch_module(read_values(folder + "demo_module_torch.json"));
  check_v41_module(V41Case(read_values(folder + "module_vectors.json")));
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 && checks > 1000 ? 0 : 1;
}
