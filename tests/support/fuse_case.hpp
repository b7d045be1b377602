// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Keys, value and hidden states of a ragged batch through gate and convolution, forward and
// backward: by the CPU's loops, and by a device that runs what a GPU runs.

#include <catch.hpp>
#include <elements.hpp>
#include <engram/codec/plain.hpp>
#include <engram/cuda/fuse_gradient.hpp>
#include <engram/storage/host_store.hpp>
#include <engram/storage/table.hpp>
#include <engram/training/layer_training.hpp>
#include <random_batch.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fuse_case {

using namespace engram;

using elements::at;
using elements::random_elements;

struct Shape {
  Index tokens, branches, width, taps, dilation, sequences;  ///< taps 0: no convolution
  bool residual = true;
};

/// What comes out, forward and backward.
template <class T>
struct Results {
  std::vector<T> out;
  std::vector<float> gates, scores, norms, states;
  std::vector<float> segments, to_hidden, gain, conv_gain, conv;
};

template <class T>
struct Case {
  Shape shape;
  FusionConfig config;
  std::vector<T> hidden, keys, value;
  std::vector<float> gain, conv_gain, conv, states, scale, upstream;
  std::vector<Mark> marks;
  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> starts;

  Case(std::uint64_t seed, const Shape& s) : shape(s) {
    Random random(seed);
    const Index streams = s.tokens * s.branches * s.width;
    config = {1e-6f, 1e-5f, 1e-5f, s.dilation, s.residual};
    hidden = random_elements<T>(streams, random);
    keys = random_elements<T>(streams, random);
    value = random_elements<T>(s.tokens * s.width, random);
    gain = random_elements<float>(s.branches * s.width, random);
    // Near a score of 0 the gate's slope has no bound, and the order of a sum decides about it.
    for (Index i = 0; i < s.tokens * s.branches; ++i)
      for (int draws = 0; std::abs(score(i)) < 0.05 && draws < 20; ++draws) {
        const std::vector<T> key = random_elements<T>(s.width, random);
        std::copy(key.begin(), key.end(), keys.begin() + i * s.width);
      }
    conv_gain = random_elements<float>(s.branches * s.width, random);
    conv = random_elements<float>(s.taps * s.branches * s.width, random);
    states = random_elements<float>(s.sequences * state_size(), random);
    upstream = random_elements<float>(streams, random);
    for (Index t = 0; t < s.tokens; ++t) {
      scale.push_back(random.below(9) == 0 ? 0.0f : 0.5f + static_cast<float>(random.below(3)));
      marks.push_back(random_batches::random_mark(random));
      rows.push_back(random.below(9) == 0 ? -1 : 3);
    }
    starts = random_batches::random_starts<std::int32_t>(s.tokens, s.sequences, random);
    if (s.taps == 0) starts = {0, static_cast<std::int32_t>(s.tokens)};
  }

  Index state_size() const {
    return conv_state_size(shape.taps, shape.dilation, shape.branches, shape.width);
  }

  /// The score of a token's branch, i of them before it, but for the epsilons.
  double score(Index i) const {
    double dot = 0, hidden_squares = 0, key_squares = 0;
    for (Index d = 0; d < shape.width; ++d) {
      const double h = to_float(hidden[at(i * shape.width + d)]);
      const double k = to_float(keys[at(i * shape.width + d)]);
      dot += h * k * gain[at(i % shape.branches * shape.width + d)];
      hidden_squares += h * h;
      key_squares += k * k;
    }
    return std::sqrt(static_cast<double>(shape.width)) * dot /
           std::sqrt(hidden_squares * key_squares + 1e-30);
  }

  /// Room for the results; gradients of weights begin with 0.25, because they are added to.
  Results<T> room() const {
    Results<T> r;
    r.out.assign(hidden.size(), from_float<T>(-9));
    r.gates.assign(at(shape.tokens * shape.branches), -9);
    r.scores = r.norms = r.gates;
    r.states = states;
    r.segments.assign(at(shape.tokens * (shape.branches + 1) * shape.width), -9);
    r.to_hidden.assign(upstream.size(), -9);
    r.gain.assign(gain.size(), 0.25f);
    r.conv_gain = r.gain;
    r.conv.assign(conv.size(), 0.25f);
    return r;
  }
};

/// A projection, and its gradient, of rows that are a token's keys and value as they are.
template <class T>
struct RowsAreSegments {
  using input_type = T;
  using output_type = T;
  static constexpr bool batch_invariant = true;

  Index count, width;

  Index input_width() const { return (count + 1) * width; }
  Index output_width() const { return width; }
  Index branches() const { return count; }
  Index tiles() const { return 1; }
  Index weight_tiles() const { return 0; }

  void project(View<const T, 2> e, int segment, Index, View<T, 2> out) const {
    for (Index t = 0; t < e.extent(0); ++t)
      for (Index d = 0; d < width; ++d) out(t, d) = e(t, segment * width + d);
  }
  void inputs(View<const float, 3> segments, View<float, 2> to) const {
    std::copy_n(segments.data(), segments.size(), to.data());
  }
  void weights(View<const T, 2>, View<const float, 3>, Index, const LayerGradients&) const {}
};

/// Forward and backward by a layer whose table has a row for each token.
template <class T>
Results<T> on_cpu(const Case<T>& c) {
  const auto [tokens, branches, width, taps, dilation, sequences, residual] = c.shape;
  Results<T> r = c.room();
  const RowsAreSegments<T> segments{branches, width};
  HostStore rows = HostStore::make(tokens, segments.input_width() * Index{sizeof(T)}).value();
  std::vector<std::int32_t> ids = c.rows;
  for (Index t = 0; t < tokens; ++t) {
    T* const row = reinterpret_cast<T*>(rows.mutable_ref()(t).codes);
    std::copy_n(&c.keys[at(t * branches * width)], branches * width, row);
    std::copy_n(&c.value[at(t * width)], width, row + branches * width);
    if (ids[at(t)] >= 0) ids[at(t)] = static_cast<std::int32_t>(t);
  }
  auto table = Table<HostStore, PlainCodec<T>>::make(std::move(rows), PlainCodec<T>(),
                                                     segments.input_width())
                   .value();
  const FusionWeights weights{View<const float, 2>(c.gain.data(), branches, width),
                              View<const float, 2>(c.conv_gain.data(), branches, width),
                              View<const float, 3>(c.conv.data(), taps, branches, width)};
  const EngramLayer layer(table, segments, weights, c.config);
  const LayerTraining training(layer, segments);
  const std::vector<Index> starts(c.starts.begin(), c.starts.end());
  FusionOptions o;
  o.marks = c.marks;
  o.scale = c.scale;
  o.scores = View<float, 2>(r.scores.data(), tokens, branches);
  o.gates = View<float, 2>(r.gates.data(), tokens, branches);
  o.norms = View<float, 2>(r.norms.data(), tokens, branches);
  o.sequence_starts = starts;
  o.conv_state = View<float, 2>(r.states.data(), sequences, c.state_size());
  const View<const T, 3> hidden(c.hidden.data(), tokens, branches, width);
  std::vector<std::byte> tape(at(training.tape_bytes(tokens, sequences)));
  std::vector<std::byte> workspace(at(training.workspace_bytes(tokens)));
  REQUIRE(training
              .forward(View<const std::int32_t, 2>(ids.data(), tokens, 1), hidden,
                       View<T, 3>(r.out.data(), tokens, branches, width), View<std::byte, 1>(tape),
                       o)
              .ok());
  LayerGradients to;
  to.gain = View<float, 2>(r.gain.data(), branches, width);
  if (taps > 0) {
    to.conv_gain = View<float, 2>(r.conv_gain.data(), branches, width);
    to.conv = View<float, 3>(r.conv.data(), taps, branches, width);
  }
  REQUIRE(training
              .backward(hidden, View<const float, 3>(c.upstream.data(), tokens, branches, width),
                        View<float, 3>(r.to_hidden.data(), tokens, branches, width),
                        View<float, 2>(r.segments.data(), tokens, segments.input_width()), to,
                        View<std::byte, 1>(tape), View<std::byte, 1>(workspace), o)
              .ok());
  return r;
}

/// The arrays of a case in a device's memory, and its calls.
template <class T, class Memory>
class OnDevice {
 public:
  OnDevice(const Case<T>& c, Memory& memory, bool in_place)
      : case_(c), memory_(memory), room_(c.room()) {
    const auto [tokens, branches, width, taps, dilation, sequences, residual] = c.shape;
    hidden_ = DeviceView<T, 3>(memory.put(c.hidden), tokens, branches, width);
    // Backward reads the hidden states that were there before.
    before_ = DeviceView<T, 3>(memory.put(c.hidden), tokens, branches, width);
    out_ = in_place ? hidden_ : DeviceView<T, 3>(memory.put(room_.out), tokens, branches, width);
    keys_ = DeviceView<T, 3>(memory.put(c.keys), tokens, branches, width);
    value_ = DeviceView<T, 2>(memory.put(c.value), tokens, width);
    updated_ = DeviceView<float, 3>(memory.put(c.upstream), tokens, branches, width);
    with_.gain = DeviceView<float, 2>(memory.put(c.gain), branches, width);
    with_.marks = DeviceView<Mark, 1>(memory.put(c.marks), tokens);
    with_.scale = DeviceView<float, 1>(memory.put(c.scale), tokens);
    with_.rows = DeviceView<std::int32_t, 2>(memory.put(c.rows), tokens, 1);
    scores_ = DeviceView<float, 2>(memory.put(room_.scores), tokens, branches);
    norms_ = DeviceView<float, 2>(memory.put(room_.norms), tokens, branches);
    gates_ = DeviceView<float, 2>(memory.put(room_.gates), tokens, branches);
    with_.scores = scores_;
    with_.norms = norms_;
    parts_ = DeviceView<Part, 1>(memory.put(std::vector<Part>(at(tokens))), tokens);
    if (taps > 0) {
      conv_.weights = DeviceView<float, 3>(memory.put(c.conv), taps, branches, width);
      conv_.gain = DeviceView<float, 2>(memory.put(c.conv_gain), branches, width);
      conv_.starts = DeviceView<std::int32_t, 1>(memory.put(c.starts), sequences + 1);
      conv_.states = DeviceView<float, 2>(memory.put(c.states), sequences, c.state_size());
    }
    conv_before_ = conv_;
    conv_before_.states = DeviceView<float, 2>(memory.put(c.states), sequences, c.state_size());
    tape_ = bytes(conv_workspace_bytes(tokens, branches, sequences));
    workspace_ = bytes(fuse_backward_workspace_bytes(tokens, branches, width, taps));
    to_.segments = DeviceView<float, 3>(memory.put(room_.segments), tokens, branches + 1, width);
    to_.to_hidden = DeviceView<float, 3>(memory.put(room_.to_hidden), tokens, branches, width);
    to_.gain = DeviceView<float, 2>(memory.put(room_.gain), branches, width);
    if (taps > 0) {
      to_.conv_gain = DeviceView<float, 2>(memory.put(room_.conv_gain), branches, width);
      to_.conv = DeviceView<float, 3>(memory.put(room_.conv), taps, branches, width);
    }
  }

  template <class Dev>
  Status forward(const Dev& device) const {
    if (conv_.weights.size() == 0) {
      fuse_by_warps(device, keys_, value_, hidden_, out_, case_.config, SignedSqrtGate(), with_,
                    gates_, parts_);
      return {};
    }
    return fuse(device, keys_, value_, hidden_, out_, case_.config, SignedSqrtGate(), with_, conv_,
                gates_, parts_, tape_);
  }
  /// The call without a convolution, which only CudaDevice has.
  template <class Dev>
  Status fuse_alone(const Dev& device) const {
    return fuse(device, keys_, value_, hidden_, out_, case_.config, SignedSqrtGate(), with_, gates_,
                parts_);
  }
  template <class Dev>
  Status backward(const Dev& device) const {
    return fuse_backward(device, keys_, value_, before_, updated_, case_.config, SignedSqrtGate(),
                         with_, conv_before_, gates_, parts_, tape_, to_, workspace_);
  }
  Results<T> results() const {
    Results<T> r = room_;
    memory_.get(out_.data(), r.out);
    memory_.get(gates_.data(), r.gates);
    memory_.get(scores_.data(), r.scores);
    memory_.get(norms_.data(), r.norms);
    memory_.get(to_.segments.data(), r.segments);
    memory_.get(to_.to_hidden.data(), r.to_hidden);
    memory_.get(to_.gain.data(), r.gain);
    if (case_.shape.taps == 0) return r;
    memory_.get(conv_.states.data(), r.states);
    memory_.get(to_.conv_gain.data(), r.conv_gain);
    memory_.get(to_.conv.data(), r.conv);
    return r;
  }

  /// Without anything that is optional.
  void leave_out_options() { with_ = {}; }
  void leave_out_norms() { with_.norms = {}; }
  /// Other hidden states, at the same place.
  void set_hidden(const std::vector<T>& hidden) { memory_.set(hidden_.data(), hidden); }
  DeviceConv<>& conv() { return conv_; }
  DeviceConv<>& conv_before() { return conv_before_; }
  DeviceFuseGradients& to() { return to_; }
  DeviceView<std::byte, 1>& tape() { return tape_; }
  DeviceView<std::byte, 1>& workspace() { return workspace_; }

 private:
  DeviceView<std::byte, 1> bytes(Index count) {
    return DeviceView<std::byte, 1>(memory_.put(std::vector<std::byte>(at(count))), count);
  }

  const Case<T>& case_;
  Memory& memory_;
  Results<T> room_;
  DeviceView<T, 3> hidden_, before_, out_, keys_;
  DeviceView<T, 2> value_;
  DeviceView<float, 3> updated_;
  DeviceView<float, 2> scores_, norms_, gates_;
  DeviceView<Part, 1> parts_;
  DeviceFusion<> with_;
  DeviceConv<> conv_, conv_before_;
  DeviceView<std::byte, 1> tape_, workspace_;
  DeviceFuseGradients to_;
};

}  // namespace fuse_case
