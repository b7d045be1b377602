// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A case of the demo's module as the golden files hold it, and the module that it describes.

#include "filler.hpp"
#include "json_values.hpp"

#include <engram/codec/plain.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/host_store.hpp>

#include <algorithm>
#include <cstring>

namespace {

using namespace engram;

/// One case of the demo's module: shapes, filled arrays, expected gates and outputs.
struct DemoCase {
  Index tokens, branches, width, inputs, taps, dilation;
  bool sigmoid = false;
  std::vector<float> e{}, hidden{}, key{}, key_bias{}, value{}, value_bias{}, norm1{}, norm2{},
      conv_gain{}, conv{};
  FusionConfig config{};
  const Value* gates = nullptr;
  const Value* output = nullptr;
};

/// A case of demo_module_torch.json.
inline DemoCase torch_case(const Value& file, const Value& f) {
  DemoCase c{f["T"].integer(), f["G"].integer(),      f["D"].integer(),
             f["M"].integer(), f["kernel"].integer(), f["dilation"].integer()};
  const std::string name = f["name"].text;
  const auto array = [&](const char* what) {
    const Value& all = f["arrays"];
    for (std::size_t i = 0; i < all.keys.size(); ++i) {
      if (all.keys[i] != what) continue;
      std::size_t count = 1;
      for (const std::int64_t n : all[i]["shape"].numbers()) count *= static_cast<std::size_t>(n);
      std::vector<float> filled =
          filler_floats("torch/" + name + "/" + what, count, all[i]["scale"].real());
      if (all[i]["plus_one"].text == "true")
        for (float& x : filled) x += 1;
      return filled;
    }
    return std::vector<float>();
  };
  c.e = array("emb");
  c.hidden = array("hidden");
  for (const std::int64_t t : f["zero_hidden"].numbers())
    std::fill_n(c.hidden.begin() + t * c.branches * c.width, c.branches * c.width, 0.0f);
  c.key = array("key.weight");
  c.key_bias = array("key.bias");
  c.value = array("value.weight");
  c.value_bias = array("value.bias");
  c.norm1 = array("norm1");
  c.norm2 = array("norm2");
  c.conv_gain = array("conv.norm");
  c.conv = array("conv.weight");
  c.config.query_eps = c.config.key_eps = static_cast<float>(file["eps_key_query"].real());
  c.config.conv_eps = static_cast<float>(file["eps_conv"].real());
  c.config.dilation = c.dilation;
  c.config.add_residual = false;
  c.gates = &f["gate"];
  c.output = &f["output"];
  c.sigmoid = f["gate_form"].text == "sigmoid";
  return c;
}

inline std::vector<float> demo_array(const std::string& name, std::initializer_list<Index> shape,
                                     double scale, double plus = 0) {
  std::size_t count = 1;
  for (const Index n : shape) count *= static_cast<std::size_t>(n);
  return filler_floats(name, count, scale, plus);
}

/// The case of demo_module_vectors.json.
inline DemoCase demo_case(const Value& f) {
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
  return c;
}

/// The case's module over its own e, as a table of one row a token.
struct DemoModule {
  using TableType = Table<HostStore, F32Codec>;

  std::vector<float> gain, conv{};
  ProjectionWeights<float> weights;
  FusionWeights fusion{};
  TableType table;
  ReferenceProjection<float> projection;

  explicit DemoModule(const DemoCase& c)
      : gain(c.norm1.size()),
        weights(weights_of(c)),
        table(table_of(c)),
        projection(ReferenceProjection<float>::make(weights).value()) {
    const Index g = c.branches, d = c.width;
    must(multiply_gains(View<const float, 2>(c.norm2.data(), g, d),
                        View<const float, 2>(c.norm1.data(), g, d),
                        View<float, 2>(gain.data(), g, d)));
    fusion.gain = View<const float, 2>(gain.data(), g, d);
    if (c.taps == 0) return;
    conv.resize(c.conv.size());
    fusion.conv_gain = View<const float, 2>(c.conv_gain.data(), g, d);
    const View<float, 3> by_tap(conv.data(), c.taps, g, d);
    must(transpose_conv(View<const float, 2>(c.conv.data(), g * d, c.taps), by_tap));
    fusion.conv = by_tap;
  }
  DemoModule(const DemoModule&) = delete;

 private:
  static void must(Status status) {
    if (status.ok()) return;
    std::printf("FAILED: %s\n", describe(status, "a weight's layout").c_str());
    std::exit(1);
  }
  static ProjectionWeights<float> weights_of(const DemoCase& c) {
    const Index g = c.branches, d = c.width, m = c.inputs;
    ProjectionWeights<float> w;
    w.key = View<const float, 3>(c.key.data(), g, d, m);
    w.value = View<const float, 2>(c.value.data(), d, m);
    if (!c.key_bias.empty()) w.key_bias = View<const float, 2>(c.key_bias.data(), g, d);
    w.value_bias = c.value_bias;
    return w;
  }
  static TableType table_of(const DemoCase& c) {
    const Index m = c.inputs;
    HostStore store = HostStore::make(c.tokens, 4 * m).value();
    for (Index i = 0; i < c.tokens; ++i)
      std::memcpy(store.mutable_ref()(i).codes, c.e.data() + i * m,
                  static_cast<std::size_t>(4 * m));
    return TableType::make(std::move(store), {}, m).value();
  }
};

}  // namespace
