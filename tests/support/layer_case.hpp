// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A layer with a convolution over a ragged batch: by the CPU's EngramLayer, and its weights and
// arrays in a device's memory for DeviceLayer.

#include <elements.hpp>

#include <engram/codec/plain.hpp>
#include <engram/cuda/device_layer.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/host_store.hpp>
#include <random_batch.hpp>

#include <cstring>

namespace layer_case {

using namespace engram;

using elements::at;

struct Shape {
  Index tokens, branches, width, columns, row_width, taps, sequences;

  Index inputs() const { return columns * row_width; }
  Index outputs() const { return (branches + 1) * width; }
};

/// What a call gives.
struct Results {
  std::vector<float> out, state, gates, scores, norms;
};

struct Case {
  static constexpr Index table_rows = 50;

  Shape shape;
  FusionConfig config;
  std::vector<float> table, matrix, bias, gain, conv_gain, conv, hidden, scale, state;
  std::vector<std::int32_t> rows;
  std::vector<Mark> marks;
  std::vector<std::int32_t> starts;

  Case(std::uint64_t seed, const Shape& s) : shape(s) {
    Random random(seed);
    config = {1e-6f, 1e-5f, 1e-5f, 2, true};
    const Index streams = s.branches * s.width;
    table = elements::random_elements<float>(table_rows * s.row_width, random, 1000);
    matrix = elements::random_elements<float>(s.outputs() * s.inputs(), random, 1000);
    bias = elements::random_elements<float>(s.outputs(), random, 1000);
    gain = elements::random_elements<float>(streams, random, 1000);
    conv_gain = elements::random_elements<float>(streams, random, 1000);
    conv = elements::random_elements<float>(s.taps * streams, random, 1000);
    hidden = elements::random_elements<float>(s.tokens * streams, random, 1000);
    state = elements::random_elements<float>(s.sequences * state_size(), random, 1000);
    for (Index t = 0; t < s.tokens; ++t) {
      const bool none = random.below(8) == 0;
      for (Index c = 0; c < s.columns; ++c)
        rows.push_back(none ? -1 : static_cast<std::int32_t>(random.below(table_rows)));
      const Index kind = random.below(10);
      marks.push_back(kind == 0 ? Mark::dead : kind == 1 ? Mark::start : Mark::token);
      scale.push_back(random.below(8) == 0 ? 0.0f : 1.5f);
    }
    starts = random_batches::random_starts<std::int32_t>(s.tokens, s.sequences, random);
    starts.back() = static_cast<std::int32_t>(s.tokens);
  }

  Index state_size() const {
    return conv_state_size(shape.taps, config.dilation, shape.branches, shape.width);
  }
  HostStore store() const {
    const Index each = shape.row_width * Index{sizeof(float)};
    HostStore made = HostStore::make(table_rows, each).value();
    for (Index r = 0; r < table_rows; ++r)
      std::memcpy(made.mutable_ref()(r).codes, &table[at(r * shape.row_width)], at(each));
    return made;
  }
  Results room() const {
    Results r{std::vector<float>(hidden.size(), -9.0f), state, {}, {}, {}};
    r.gates.assign(at(shape.tokens * shape.branches), -9.0f);
    r.scores = r.norms = r.gates;
    return r;
  }
};

/// By the CPU.
inline Results on_cpu(const Case& c) {
  const auto [tokens, g, d, columns, row_width, taps, sequences] = c.shape;
  const Index inputs = c.shape.inputs();
  auto table = Table<HostStore, F32Codec>::make(c.store(), {}, row_width).value();
  ProjectionWeights<float> w;
  w.key = View<const float, 3>(c.matrix.data(), g, d, inputs);
  w.value = View<const float, 2>(c.matrix.data() + g * d * inputs, d, inputs);
  w.key_bias = View<const float, 2>(c.bias.data(), g, d);
  w.value_bias = View<const float, 1>(c.bias.data() + g * d, d);
  const auto projection = ReferenceProjection<float>::make(w).value();
  FusionWeights weights{View<const float, 2>(c.gain.data(), g, d), {}, {}};
  if (taps > 0) {
    weights.conv_gain = View<const float, 2>(c.conv_gain.data(), g, d);
    weights.conv = View<const float, 3>(c.conv.data(), taps, g, d);
  }
  const EngramLayer layer(table, projection, weights, c.config);
  Results r = c.room();
  const std::vector<Index> starts(c.starts.begin(), c.starts.end());
  FusionOptions o;
  o.marks = c.marks;
  o.scale = c.scale;
  o.scores = View<float, 2>(r.scores.data(), tokens, g);
  o.gates = View<float, 2>(r.gates.data(), tokens, g);
  o.norms = View<float, 2>(r.norms.data(), tokens, g);
  o.sequence_starts = starts;
  o.conv_state = View<float, 2>(r.state.data(), sequences, c.state_size());
  std::vector<std::byte> workspace(at(layer.workspace_bytes(tokens, sequences)));
  const Status status = layer.forward(View<const std::int32_t, 2>(c.rows.data(), tokens, columns),
                                      View<const float, 3>(c.hidden.data(), tokens, g, d),
                                      View<float, 3>(r.out.data(), tokens, g, d), workspace, o);
  if (!status.ok()) r.out.clear();  // equal to nothing
  return r;
}

/// A case's arrays in a device's memory.
template <class Memory>
class OnDevice {
 public:
  DeviceReferenceProjection<float> projection;
  DeviceFusionWeights weights;
  DeviceFusionOptions<> options;
  DeviceView<std::int32_t, 2> rows;
  DeviceView<float, 3> hidden, out;
  DeviceView<float, 2> e;

  OnDevice(const Case& c, Memory& memory)
      : projection(
            DeviceReferenceProjection<float>::make(
                DeviceView<float, 2>(memory.put(c.matrix), c.shape.outputs(), c.shape.inputs()),
                DeviceView<float, 1>(memory.put(c.bias), c.shape.outputs()), c.shape.branches)
                .value()),
        case_(c),
        memory_(memory) {
    const auto [tokens, g, d, columns, row_width, taps, sequences] = c.shape;
    const Results room = c.room();
    weights.gain = DeviceView<float, 2>(memory.put(c.gain), g, d);
    if (taps > 0) {
      weights.conv_gain = DeviceView<float, 2>(memory.put(c.conv_gain), g, d);
      weights.conv = DeviceView<float, 3>(memory.put(c.conv), taps, g, d);
    }
    options.marks = DeviceView<Mark, 1>(memory.put(c.marks), tokens);
    options.scale = DeviceView<float, 1>(memory.put(c.scale), tokens);
    options.sequence_starts = DeviceView<std::int32_t, 1>(memory.put(c.starts), sequences + 1);
    options.conv_state = DeviceView<float, 2>(memory.put(c.state), sequences, c.state_size());
    options.scores = DeviceView<float, 2>(memory.put(room.scores), tokens, g);
    options.gates = DeviceView<float, 2>(memory.put(room.gates), tokens, g);
    options.norms = DeviceView<float, 2>(memory.put(room.norms), tokens, g);
    rows = DeviceView<std::int32_t, 2>(memory.put(c.rows), tokens, columns);
    hidden = DeviceView<float, 3>(memory.put(c.hidden), tokens, g, d);
    out = DeviceView<float, 3>(memory.put(room.out), tokens, g, d);
    e = DeviceView<float, 2>(memory.put(std::vector<float>(at(tokens * c.shape.inputs()))), tokens,
                             c.shape.inputs());
  }

  DeviceView<std::byte, 1> workspace(Index bytes) {
    return DeviceView<std::byte, 1>(memory_.put(std::vector<std::byte>(at(bytes))), bytes);
  }
  Results results() const {
    Results r = case_.room();
    memory_.get(out.data(), r.out);
    memory_.get(options.conv_state.data(), r.state);
    memory_.get(options.gates.data(), r.gates);
    memory_.get(options.scores.data(), r.scores);
    memory_.get(options.norms.data(), r.norms);
    return r;
  }

 private:
  const Case& case_;
  Memory& memory_;
};

}  // namespace layer_case
