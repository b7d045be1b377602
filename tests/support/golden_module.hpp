// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// The published modules of the golden files through DeviceLayer, on a device and in its memory.

#include "elements.hpp"

#include "../golden/demo_case.hpp"
#include "../golden/v41_case.hpp"

#include <catch.hpp>
#include <engram/cuda/device_layer.hpp>
#include <engram/cuda/fp8_operands.hpp>
#include <engram/cuda/fuse_gradient.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/store_view.hpp>

#include <cmath>

namespace golden_module {

using namespace engram;

using elements::at;

/// A host table's rows, copied to a device.
template <class Codec, class Memory>
Table<StoreView<DeviceSpace>, Codec> copied(const Table<HostStore, Codec>& table, Memory& memory) {
  const HostStore& host = table.store();
  const Index codes = host.row_bytes(), scales = host.scale_bytes(), each = codes + scales;
  std::vector<std::byte> bytes(at(host.num_rows() * each));
  for (Index r = 0; r < host.num_rows(); ++r) {
    const RowBytes row = host.ref()(r);
    std::memcpy(&bytes[at(r * each)], row.codes, at(codes));
    if (scales > 0) std::memcpy(&bytes[at(r * each + codes)], row.scales, at(scales));
  }
  const auto store =
      StoreView<DeviceSpace>::make(memory.put(bytes), {host.num_rows(), codes, scales}).value();
  return Table<StoreView<DeviceSpace>, Codec>::make(store, table.codec(), table.row_width())
      .value();
}

/// The demo's module over its own e, in a device's memory.
template <class Memory>
struct DemoOnDevice {
  DemoModule host;
  Table<StoreView<DeviceSpace>, F32Codec> table;
  DeviceReferenceProjection<float> projection;
  DeviceFusionWeights weights{};

  DemoOnDevice(const DemoCase& c, Memory& memory)
      : host(c), table(copied(host.table, memory)), projection(projection_of(c, memory)) {
    const Index g = c.branches, d = c.width;
    weights.gain = DeviceView<float, 2>(memory.put(host.gain), g, d);
    if (c.taps == 0) return;
    weights.conv_gain = DeviceView<float, 2>(memory.put(c.conv_gain), g, d);
    weights.conv = DeviceView<float, 3>(memory.put(host.conv), c.taps, g, d);
  }

 private:
  static DeviceReferenceProjection<float> projection_of(const DemoCase& c, Memory& memory) {
    const Index outputs = (c.branches + 1) * c.width;
    std::vector<float> matrix = c.key, bias = c.key_bias;
    matrix.insert(matrix.end(), c.value.begin(), c.value.end());
    bias.insert(bias.end(), c.value_bias.begin(), c.value_bias.end());
    const DeviceView<const float, 1> biases(memory.put(bias), static_cast<Index>(bias.size()));
    return DeviceReferenceProjection<float>::make(
               DeviceView<float, 2>(memory.put(matrix), outputs, c.inputs), biases, c.branches)
        .value();
  }
};

/// The demo's module, `step` tokens in a call, its convolution's state carried on.
template <class Dev, class Memory, class GateType>
void check_demo(const Dev& device, Memory& memory, const DemoCase& c, GateType gate, Index step) {
  const Index tokens = c.tokens, g = c.branches, d = c.width;
  INFO(tokens << " tokens, " << step << " a call, " << c.taps << " taps");
  const DemoOnDevice<Memory> demo(c, memory);
  const DeviceLayer layer(demo.table, demo.projection, demo.weights, c.config, gate);
  REQUIRE(layer.check().ok());

  std::vector<int> ids(at(tokens));
  for (Index t = 0; t < tokens; ++t) ids[at(t)] = static_cast<int>(t);
  std::vector<float> out(c.hidden.size()), gates(at(tokens * g));
  int* const rows = memory.put(ids);
  float* const hidden = memory.put(c.hidden);
  float* const updated = memory.put(out);
  float* const factors = memory.put(gates);
  const DeviceView<float, 2> state(memory.put(std::vector<float>(at(layer.conv_state_size()))), 1,
                                   layer.conv_state_size());
  const Index size = layer.workspace_bytes(step);
  const DeviceView<std::byte, 1> workspace(memory.put(std::vector<std::byte>(at(size))), size);
  for (Index t = 0; t < tokens; t += step) {
    const Index n = std::min(step, tokens - t);
    DeviceFusionOptions<> options;
    options.gates = DeviceView<float, 2>(factors + t * g, n, g);
    options.conv_state = state;
    REQUIRE(layer
                .forward(device, DeviceView<int, 2>(rows + t, n, 1),
                         DeviceView<float, 3>(hidden + t * g * d, n, g, d),
                         DeviceView<float, 3>(updated + t * g * d, n, g, d), workspace, options)
                .ok());
  }
  REQUIRE(device.wait().ok());
  memory.get(updated, out);
  memory.get(factors, gates);
  Index far = 0;
  for (Index t = 0; t < tokens; ++t)
    for (Index b = 0; b < g; ++b) {
      far += !(std::fabs(gates[at(t * g + b)] - (*c.gates)[at(t)][at(b)].real()) <= 1e-5);
      for (Index k = 0; k < d; ++k)
        far += !(std::fabs(out[at((t * g + b) * d + k)] -
                           (*c.output)[at(t)][at(b)][at(k)].real()) <= 1e-5);
    }
  CHECK(far == 0);
}

/// DeepSeek-V4.1's module from its fp8 weights, in place: gates and, to the bf16 bit, the output.
template <class Dev, class Memory>
void check_v41(const Dev& device, Memory& memory, const V41Case& c) {
  const Index tokens = c.tokens(), g = c.branches, d = c.width, m = c.inputs;
  const Index outputs = (g + 1) * d;
  const auto table = copied(c.table, memory);
  const DeviceView<Bf16, 2> weight(memory.put(std::vector<Bf16>(at(outputs * m))), outputs, m);
  REQUIRE(decode_weights(device, DeviceView<const E4m3, 2>(memory.put(c.codes), outputs, m),
                         DeviceView<const E8m0, 2>(memory.put(c.scales), outputs / 32, m / 32),
                         weight)
              .ok());
  const auto product = DeviceReferenceProjection<Bf16>::make(weight, {}, g).value();
  const QuantisedProjection projection(product);
  DeviceFusionWeights weights;
  weights.gain = DeviceView<float, 2>(memory.put(c.gain), g, d);
  const DeviceLayer layer(table, projection, weights, c.config);
  REQUIRE(layer.check().ok());

  std::vector<int> ids;
  for (Index t = 0; t < tokens; ++t)
    for (Index h = 0; h < c.layer_rows().extent(1); ++h) ids.push_back(c.layer_rows()(t, h));
  const DeviceView<int, 2> rows(memory.put(ids), tokens, c.layer_rows().extent(1));
  const DeviceView<Bf16, 3> stream(memory.put(c.hidden), tokens, g, d);
  std::vector<float> gates(at(tokens * g)), scores(gates);
  DeviceFusionOptions<> options;
  options.marks = DeviceView<Mark, 1>(memory.put(c.marks), tokens);
  options.gates = DeviceView<float, 2>(memory.put(gates), tokens, g);
  options.scores = DeviceView<float, 2>(memory.put(scores), tokens, g);
  const Index size = layer.workspace_bytes(tokens);
  const DeviceView<std::byte, 1> workspace(memory.put(std::vector<std::byte>(at(size))), size);
  REQUIRE(layer.forward(device, rows, stream, stream, workspace, options).ok());
  REQUIRE(device.wait().ok());
  std::vector<Bf16> out(c.hidden.size());
  memory.get(stream.data(), out);
  memory.get(options.gates.data(), gates);
  memory.get(options.scores.data(), scores);
  for (Index t = 0; t < tokens; ++t) {
    INFO("token " << t);
    const Value& token = c.file["tokens"][at(t)];
    CHECK(std::vector<Bf16>(out.begin() + t * g * d, out.begin() + (t + 1) * g * d) ==
          bf16_bits(token["out_bf16_bits"]));
    for (Index b = 0; b < g; ++b) {
      CHECK(std::fabs(gates[at(t * g + b)] - token["gate"][at(b)].real()) <= 4e-6);
      if (c.marks[at(t)] == Mark::token)
        CHECK(std::fabs(scores[at(t * g + b)] - token["dot"][at(b)].real()) <= 1e-5);
    }
  }
}

/// Relative to the largest of the array: an element is a sum of such terms.
inline void check_gradient(const std::vector<float>& found, const Value& expected,
                           const char* what) {
  INFO(what);
  REQUIRE(found.size() == expected.items.size());
  double largest = 0;
  for (const Value& x : expected.items) largest = std::fmax(largest, std::fabs(x.real()));
  Index far = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    far += !(std::fabs(found[i] - expected[i].real()) <= 2e-5 * largest + 1e-9);
  CHECK(far == 0);
}

/// Backward of gate and convolution against PyTorch's gradients.
template <class Dev, class Memory, class GateType>
void check_gradients(const Dev& device, Memory& memory, const DemoCase& c, GateType gate,
                     const Value& f) {
  const Index tokens = c.tokens, g = c.branches, d = c.width, m = c.inputs;
  const DemoOnDevice<Memory> demo(c, memory);
  const auto floats = [&](Index count) { return memory.put(std::vector<float>(at(count))); };
  const auto bytes = [&](Index count) {
    return DeviceView<std::byte, 1>(memory.put(std::vector<std::byte>(at(count))), count);
  };
  const DeviceView<float, 3> segments(floats(tokens * (g + 1) * d), tokens, g + 1, d);
  const DeviceView<float, 3> hidden(memory.put(c.hidden), tokens, g, d);
  const DeviceView<float, 3> out(floats(tokens * g * d), tokens, g, d);
  const DeviceView<float, 2> gates(floats(tokens * g), tokens, g);
  const DeviceView<Part, 1> parts(memory.put(std::vector<Part>(at(tokens))), tokens);
  REQUIRE(
      demo.projection.project(device, DeviceView<float, 2>(memory.put(c.e), tokens, m), segments)
          .ok());
  DeviceFusion<> with;
  with.gain = demo.weights.gain;
  DeviceConv<> conv;
  const Index state = conv_state_size(c.taps, c.dilation, g, d);
  const DeviceView<std::byte, 1> tape = bytes(conv_workspace_bytes(tokens, g));
  if (c.taps > 0) {
    conv.weights = demo.weights.conv;
    conv.gain = demo.weights.conv_gain;
    conv.states = DeviceView<float, 2>(floats(state), 1, state);
    REQUIRE(fuse(device, keys_of(segments), value_of(segments), hidden, out, c.config, gate, with,
                 conv, gates, parts, tape)
                .ok());
    conv.states = DeviceView<float, 2>(floats(state), 1, state);  // in front of the tokens
  } else {
    REQUIRE(fuse(device, keys_of(segments), value_of(segments), hidden, out, c.config, gate, with,
                 gates, parts)
                .ok());
  }
  const std::vector<float> upstream =
      filler_floats("torch/" + f["name"].text + "/upstream", c.hidden.size(), 1);
  DeviceFuseGradients to;
  to.segments = DeviceView<float, 3>(floats(tokens * (g + 1) * d), tokens, g + 1, d);
  to.to_hidden = DeviceView<float, 3>(floats(tokens * g * d), tokens, g, d);
  to.gain = DeviceView<float, 2>(floats(g * d), g, d);
  if (c.taps > 0) {
    to.conv_gain = DeviceView<float, 2>(floats(g * d), g, d);
    to.conv = DeviceView<float, 3>(floats(c.taps * g * d), c.taps, g, d);
  }
  REQUIRE(fuse_backward(device, keys_of(segments), value_of(segments), hidden,
                        DeviceView<float, 3>(memory.put(upstream), tokens, g, d), c.config, gate,
                        with, conv, gates, parts, tape, to,
                        bytes(fuse_backward_workspace_bytes(tokens, g, d, c.taps)))
              .ok());
  REQUIRE(device.wait().ok());

  const Value& expected = f["gradients"];
  const auto read = [&](const float* from, Index count) {
    std::vector<float> all(at(count));
    memory.get(from, all);
    return all;
  };
  check_gradient(read(to.to_hidden.data(), tokens * g * d), expected["hidden"], "hidden");
  std::vector<float> norm1 = read(to.gain.data(), g * d), norm2 = norm1;
  for (std::size_t i = 0; i < norm1.size(); ++i) {  // the two gains enter as a product
    norm1[i] *= c.norm2[i];
    norm2[i] *= c.norm1[i];
  }
  check_gradient(norm1, expected["norm1"], "norm1");
  check_gradient(norm2, expected["norm2"], "norm2");
  // Keys and value take part in e's gradient through the projection's weights.
  const std::vector<float> to_segments = read(to.segments.data(), tokens * (g + 1) * d);
  std::vector<float> to_rows(at(tokens * m));
  for (Index t = 0; t < tokens; ++t)
    for (Index n = 0; n < (g + 1) * d; ++n)
      for (Index k = 0; k < m; ++k)
        to_rows[at(t * m + k)] +=
            to_segments[at(t * (g + 1) * d + n)] *
            (n < g * d ? c.key[at(n * m + k)] : c.value[at((n - g * d) * m + k)]);
  check_gradient(to_rows, expected["emb"], "emb");
  if (c.taps == 0) return;
  check_gradient(read(to.conv_gain.data(), g * d), expected["conv.norm"], "conv.norm");
  const std::vector<float> by_tap = read(to.conv.data(), c.taps * g * d);
  std::vector<float> stored(by_tap.size());  // [G D, taps], as the demo has it
  for (Index j = 0; j < c.taps; ++j)
    for (Index i = 0; i < g * d; ++i) stored[at(i * c.taps + j)] = by_tap[at(j * g * d + i)];
  check_gradient(stored, expected["conv.weight"], "conv.weight");
}

/// A score's gate; item: which.
template <class G>
struct GateBody {
  G gate;
  const float* scores;
  float* gates;

  ENGRAM_ANY_LANES
  template <class Lanes>
  ENGRAM_HD ENGRAM_ALWAYS_INLINE void operator()(const Lanes& lanes, Index item) const noexcept {
    lanes.each(1, [&](Index) { gates[item] = gate(scores[item]); });
  }
};

/// The gates at zero, at its two signs and around the clamp.
template <class Dev, class Memory>
void check_gates(const Dev& device, Memory& memory, const Value& file) {
  const std::vector<Value>& cases = file["cases"].items;
  std::vector<float> scores;
  for (const Value& c : cases)
    scores.push_back(
        c["dot_is_negative_zero"].text == "true" ? -0.0f : static_cast<float>(c["dot"].real()));
  const auto check = [&](SignedSqrtGate gate, const char* name) {
    std::vector<float> found(scores.size(), -9);
    float* const gates = memory.put(found);
    device.for_items(static_cast<Index>(scores.size()),
                     GateBody<SignedSqrtGate>{gate, memory.put(scores), gates});
    REQUIRE(Status(device.wait()).ok());
    memory.get(gates, found);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      INFO(name << " of " << scores[i]);
      CHECK(std::abs(found[i] - cases[i][name].real()) <= 2e-7);
    }
  };
  CHECK(cases.size() > 10);
  check(SignedSqrtGate{}, "v41_gate");
  check(SignedSqrtGate{ZeroScore::sign}, "demo_gate");
}

/// All modules of the golden files, forward and, where a file has gradients, backward.
template <class Dev, class Memory>
void check_all(const Dev& device, Memory& memory) {
  const std::string folder = std::string(ENGRAM_TEST_DIR) + "/golden/vectors/";
  check_gates(device, memory, read_values(folder + "gate_edge_cases.json"));
  const SignedSqrtGate of_the_demo{ZeroScore::sign};
  const Value demo = read_values(folder + "demo_module_vectors.json");
  const DemoCase published = demo_case(demo);
  for (const Index step : {published.tokens, Index{1}, Index{3}})
    check_demo(device, memory, published, of_the_demo, step);
  const Value torch = read_values(folder + "demo_module_torch.json");
  for (const Value& f : torch["cases"].items) {
    INFO(f["name"].text);
    const DemoCase c = torch_case(torch, f);
    const auto check = [&](auto gate) {
      check_demo(device, memory, c, gate, c.tokens);
      check_gradients(device, memory, c, gate, f);
    };
    if (c.sigmoid)
      check(SigmoidGate{});
    else
      check(of_the_demo);
  }
  const V41Case v41(read_values(folder + "module_vectors.json"));
  check_v41(device, memory, v41);
}

}  // namespace golden_module
