// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The module's published values: gates, the demo's form with its convolution, DeepSeek-V4.1's form
// to the bf16 bit. Its own main and only the floors, so that it runs wherever the library compiles.

#include "../demo_case.hpp"

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

std::vector<float> demo_array(const std::string& name, std::initializer_list<Index> shape,
                              double scale, double plus = 0) {
  std::size_t count = 1;
  for (const Index n : shape) count *= static_cast<std::size_t>(n);
  return filler_floats(name, count, scale, plus);
}

void check_demo_module(const Value& f) {
  DemoCase c{f["T"].integer(),      f["hc_mult"].integer(),
             f["hidden"].integer(), f["engram_hidden"].integer(),
             f["kernel"].integer(), f["dilation"].integer()};
  const Index t = c.tokens, g = c.branches, d = c.width, m = c.inputs;
  c.e = demo_array("demo/emb", {t, m}, 0.5);
  c.hidden = demo_array("demo/hidden", {t, g, d}, 0.5);
  c.key = demo_array("demo/key.weight", {g, d, m}, 0.5);
  c.key_bias = demo_array("demo/key.bias", {g, d}, 0.5);
  c.value = demo_array("demo/value.weight", {d, m}, 0.5);
  c.value_bias = demo_array("demo/value.bias", {d}, 0.5);
  c.norm1 = demo_array("demo/norm1", {g, d}, 0.5, 1);
  c.norm2 = demo_array("demo/norm2", {g, d}, 0.5, 1);
  c.conv_gain = demo_array("demo/conv.norm", {g, d}, 0.5, 1);
  c.conv = demo_array("demo/conv.weight", {g * d, c.taps}, 0.5);
  c.config.query_eps = c.config.key_eps = static_cast<float>(f["rms_eps_key_query"].real());
  c.config.conv_eps = static_cast<float>(f["rms_eps_conv"].real());
  c.config.dilation = c.dilation;
  c.config.add_residual = false;
  c.gates = &f["gate"];
  c.output = &f["engram_output"];
  check_demo(c, SignedSqrtGate{ZeroScore::sign}, "demo_module_vectors");
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

E4m3 filler_code(const std::string& name, std::uint64_t i) {
  const std::uint64_t r = filler_word(name, i);
  return {static_cast<std::uint8_t>((r & 1) << 7 | (6 + (r >> 1) % 3) << 3 | ((r >> 8) & 7))};
}

std::vector<Bf16> bf16_bits(const Value& list) {
  std::vector<Bf16> values;
  for (const std::int64_t bits : list.numbers())
    values.push_back({static_cast<std::uint16_t>(bits)});
  return values;
}

void check_v41_module(const Value& f) {
  const std::string tag = f["tag"].text;
  const Index width = f["head_dim"].integer(), dim = f["dim"].integer();
  const Index branches = f["hc_mult"].integer();

  EngramConfig config;
  config.engram_vocab_size = f["size_per_order"].numbers();
  config.n_head_per_ngram = static_cast<std::int32_t>(f["heads"].integer());
  config.max_ngram_size = static_cast<std::int32_t>(f["max_ngram"].integer());
  for (const std::int64_t id : f["layer_ids"].numbers())
    config.layer_ids.push_back(static_cast<std::int32_t>(id));
  config.pad_id = static_cast<std::int32_t>(f["pad"].integer());
  const IdentityCompressor canonical(f["compressed_vocab"].integer());
  const Layout layout = make_layout(config, canonical).value();
  const auto front = make_front_end(layout, canonical).value();
  const auto layer_index = static_cast<int>(f["layer_hash_index"].integer());
  const Index columns = layout.columns();
  check(front.num_rows(layer_index) == f["table_rows"].integer(), "rows of the table");

  HostStore store = HostStore::make(front.num_rows(layer_index), width, width / 32).value();
  for (Index r = 0; r < store.num_rows(); ++r) {
    const MutableRowBytes row = store.mutable_ref()(r);
    for (Index k = 0; k < width; ++k)
      row.codes[k] = std::byte{
          filler_code(tag + "/embed.weight", static_cast<std::uint64_t>(r * width + k)).bits};
    for (Index b = 0; b < width / 32; ++b)
      row.scales[b] = std::byte(
          127 +
          filler_word(tag + "/embed.scale", static_cast<std::uint64_t>(r * (width / 32) + b)) % 2);
  }
  auto table = Table<HostStore, Fp8Codec>::make(std::move(store), {}, width).value();

  const Index inputs = columns * width, outputs = dim * (branches + 1);
  std::vector<E4m3> codes(static_cast<std::size_t>(outputs * inputs));
  std::vector<E8m0> scales(static_cast<std::size_t>(outputs / 32 * (inputs / 32)));
  std::vector<float> matrix(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = filler_code(tag + "/wkv.weight", i);
  for (std::size_t i = 0; i < scales.size(); ++i)
    scales[i].bits = static_cast<std::uint8_t>(126 + filler_word(tag + "/wkv.scale", i) % 2);
  for (Index n = 0; n < outputs; ++n)
    for (Index k = 0; k < inputs; ++k)
      matrix[static_cast<std::size_t>(n * inputs + k)] =
          scaled(codes[static_cast<std::size_t>(n * inputs + k)],
                 scales[static_cast<std::size_t>(n / 32 * (inputs / 32) + k / 32)]);

  std::vector<float> gain(static_cast<std::size_t>(branches * dim));
  for (std::size_t i = 0; i < gain.size(); ++i) {
    float product = 1;
    for (const char* name : {"/q_weight", "/k_weight"})
      product *=
          to_float(to_bf16(static_cast<float>(1 + (2 * filler_uniform(tag + name, i) - 1) / 4)));
    gain[i] = product;
  }
  FusionWeights fusion;
  fusion.gain = View<const float, 2>(gain.data(), branches, dim);
  FusionConfig fusion_config;
  fusion_config.query_eps = fusion_config.key_eps = static_cast<float>(f["eps"].real());

  const std::vector<std::int64_t> ids = f["compressed_ids"].numbers();
  const auto tokens = static_cast<Index>(ids.size());
  std::vector<Mark> marks;
  for (const std::int64_t id : ids) marks.push_back(id < 0 ? Mark::dead : Mark::token);
  std::vector<int> rows(static_cast<std::size_t>(tokens * 2 * columns));
  NgramState state = front.initial_state();
  check(front.address(ids, state, View<int, 3>(rows.data(), tokens, 2, columns), marks).ok(),
        "address");
  const View<const int, 2> layer_rows =
      View<const int, 3>(rows.data(), tokens, 2, columns).at<1>(layer_index);
  const std::vector<Bf16> x = bf16_bits(f["x_bf16_bits"]);

  const auto run = [&](const auto& projection, const std::string& name) {
    const EngramLayer layer(table, projection, fusion, fusion_config, SignedSqrtGate{});
    check(layer.check().ok(), layer.check().message());
    std::vector<Bf16> e(static_cast<std::size_t>(tokens * inputs));
    std::vector<Bf16> kv(static_cast<std::size_t>(tokens * outputs));
    std::vector<Bf16> stream = x;  // in place
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
    options.marks = marks;
    options.gates = View<float, 2>(gates.data(), tokens, branches);
    options.scores = View<float, 2>(scores.data(), tokens, branches);
    const View<Bf16, 3> in_place(stream.data(), tokens, branches, dim);
    check(layer.forward(layer_rows, in_place, in_place, workspace, options).ok(), "forward");

    for (Index t = 0; t < tokens; ++t) {
      const Value& token = f["tokens"][static_cast<std::size_t>(t)];
      const auto part = [t](const std::vector<Bf16>& all, Index size) {
        return std::vector<Bf16>(all.begin() + t * size, all.begin() + (t + 1) * size);
      };
      const std::string where = name + ", token " + std::to_string(t);
      std::vector<std::int64_t> found_rows;
      for (Index c = 0; c < columns; ++c) found_rows.push_back(layer_rows(t, c));
      check(found_rows == token["rows"].numbers(), where + ": rows");
      check(part(gathered, inputs) == bf16_bits(token["embed_bf16_bits"]), where + ": elements");
      check(part(kv, outputs) == bf16_bits(token["kv_bf16_bits"]), where + ": keys and value");
      check(part(stream, branches * dim) == bf16_bits(token["out_bf16_bits"]), where + ": output");
      for (Index g = 0; g < branches; ++g) {
        const auto i = static_cast<std::size_t>(g);
        const auto at = static_cast<std::size_t>(t * branches + g);
        check_near(gates[at], token["gate"][i].real(), 4e-6, where + ": gate");
        if (marks[static_cast<std::size_t>(t)] == Mark::token)
          check_near(scores[at], token["dot"][i].real(), 1e-5, where + ": score");
      }
    }
  };
  run(ReferenceProjection<float, Bf16>::make(
          fused_weights(View<const float, 2>(matrix.data(), outputs, inputs), branches))
          .value(),
      "dequantised");
  run(Fp8Projection::make(View<const E4m3, 2>(codes.data(), outputs, inputs),
                          View<const E8m0, 2>(scales.data(), outputs / 32, inputs / 32), branches)
          .value(),
      "as stored");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder = std::string(argc > 1 ? argv[1] : ".") + "/vectors/";
  check_gates(read_values(folder + "gate_edge_cases.json"));
  check_demo_module(read_values(folder + "demo_module_vectors.json"));
  check_torch_module(read_values(folder + "demo_module_torch.json"));
  check_v41_module(read_values(folder + "module_vectors.json"));
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 && checks > 1000 ? 0 : 1;
}
