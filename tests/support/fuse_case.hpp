// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// Keys, value and hidden states of a ragged batch through gate and convolution, forward and
// backward: by the CPU's loops, and by a device that runs what a GPU runs.

#include <elements.hpp>
#include <engram/cuda/fuse_gradient.hpp>
#include <engram/layer/layer_steps.hpp>

#include <algorithm>
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
    conv_gain = random_elements<float>(s.branches * s.width, random);
    conv = random_elements<float>(s.taps * s.branches * s.width, random);
    states = random_elements<float>(s.sequences * state_size(), random);
    upstream = random_elements<float>(streams, random);
    for (Index t = 0; t < s.tokens; ++t) {
      scale.push_back(random.below(9) == 0 ? 0.0f : 0.5f + static_cast<float>(random.below(3)));
      const Index kind = random.below(12);
      marks.push_back(kind == 0   ? Mark::dead
                      : kind == 1 ? Mark::padding
                      : kind == 2 ? Mark::start
                                  : Mark::token);
      rows.push_back(random.below(9) == 0 ? -1 : 3);
    }
    for (Index i = 0; i <= s.sequences; ++i)
      starts.push_back(static_cast<std::int32_t>(random.below(s.tokens + 1)));
    starts.front() = 0;
    std::sort(starts.begin(), starts.end());
    if (s.taps == 0) starts = {0, static_cast<std::int32_t>(s.tokens)};
  }

  Index state_size() const {
    return conv_state_size(shape.taps, shape.dilation, shape.branches, shape.width);
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

/// Forward and backward by the CPU, as EngramLayer and LayerTraining do it.
template <class T>
Results<T> on_cpu(const Case<T>& c) {
  const auto [tokens, branches, width, taps, dilation, sequences, residual] = c.shape;
  Results<T> r = c.room();
  const std::vector<Index> starts(c.starts.begin(), c.starts.end());
  std::vector<std::byte> bytes(at(layer_scratch_bytes(tokens, branches, sequences)));
  Workspace memory{View<std::byte, 1>(bytes)};
  LayerScratch s = take_layer_scratch(memory, tokens, branches, sequences);
  const CpuDevice device;
  const auto of_gain = [&, b = branches, w = width](const std::vector<float>& v) {
    return View<const float, 2>(v.data(), b, w);
  };
  const View<const float, 3> conv(taps == 0 ? nullptr : c.conv.data(), taps, branches, width);
  const FusionWeights weights{of_gain(c.gain), of_gain(c.conv_gain), conv};
  FusionOptions o;
  o.marks = c.marks;
  o.scale = c.scale;
  o.scores = View<float, 2>(r.scores.data(), tokens, branches);
  o.gates = View<float, 2>(r.gates.data(), tokens, branches);
  o.norms = View<float, 2>(r.norms.data(), tokens, branches);
  o.sequence_starts = starts;
  o.conv_state = View<float, 2>(r.states.data(), sequences, c.state_size());
  const View<const T, 3> keys(c.keys.data(), tokens, branches, width);
  const View<const T, 3> hidden(c.hidden.data(), tokens, branches, width);
  const View<const T, 2> value(c.value.data(), tokens, width);
  begin_block(s, o, 0, View<const std::int32_t, 2>(c.rows.data(), tokens, 1), device);
  score_keys(keys, 0, hidden, weights, c.config, SignedSqrtGate(), s, o, 0, device);
  update_streams(value, hidden, View<T, 3>(r.out.data(), tokens, branches, width), weights,
                 c.config, s, o, 0, device);

  const View<const float, 3> updated(c.upstream.data(), tokens, branches, width);
  const Index blocks = (width + 31) / 32;
  std::vector<float> slopes(c.hidden.size()), inputs(c.hidden.size()),
      coefficients(at(tokens * branches));
  View<const float, 3> to_memory = updated;
  if (taps > 0) {
    const ConvColumns<T> columns{value,
                                 s.parts,
                                 s.factors,
                                 weights.conv_gain,
                                 s.taps,
                                 View<const float, 2>(c.states.data(), sequences, c.state_size()),
                                 (taps - 1) * dilation,
                                 branches};
    const View<float, 3> slope(slopes.data(), tokens, branches, width);
    const View<float, 3> input(inputs.data(), tokens, branches, width);
    device.for_items(tokens * branches, ConvSlopeBody<T>{columns, conv, dilation, updated, slope});
    device.for_items(tokens * branches,
                     ConvInputGradientBody<T>{columns, conv, dilation, c.config.conv_eps, s.gates,
                                              updated, slope, input});
    device.for_items(branches * blocks, ConvWeightGradientBody<T>{
                                            {columns, conv, dilation, slope},
                                            blocks,
                                            View<float, 3>(r.conv.data(), taps, branches, width),
                                            View<float, 2>(r.conv_gain.data(), branches, width)});
    to_memory = input;
  }
  const View<float, 2> factors(coefficients.data(), tokens, branches);
  device.for_items(tokens, FuseGradientBody<T, T, T, SignedSqrtGate>{
                               keys,
                               value,
                               hidden,
                               weights.gain,
                               c.config.query_eps,
                               c.config.key_eps,
                               {},
                               s.parts,
                               o.scale,
                               s.gates,
                               to_memory,
                               updated,
                               residual,
                               View<float, 3>(r.segments.data(), tokens, branches + 1, width),
                               factors,
                               View<float, 3>(r.to_hidden.data(), tokens, branches, width)});
  device.for_items(
      branches * blocks,
      GainGradientBody<T, T>{
          {keys, hidden, factors}, blocks, View<float, 2>(r.gain.data(), branches, width)});
  return r;
}

/// The arrays of a case in a device's memory, and its calls.
template <class T, class Memory>
class OnDevice {
  template <class E, int Rank>
  using Seen = View<E, Rank, DeviceSpace>;

 public:
  OnDevice(const Case<T>& c, Memory& memory, bool in_place)
      : case_(c), memory_(memory), room_(c.room()) {
    const auto [tokens, branches, width, taps, dilation, sequences, residual] = c.shape;
    hidden_ = Seen<T, 3>(memory.put(c.hidden), tokens, branches, width);
    // Backward reads the hidden states that were there before.
    before_ = Seen<T, 3>(memory.put(c.hidden), tokens, branches, width);
    out_ = in_place ? hidden_ : Seen<T, 3>(memory.put(room_.out), tokens, branches, width);
    keys_ = Seen<T, 3>(memory.put(c.keys), tokens, branches, width);
    value_ = Seen<T, 2>(memory.put(c.value), tokens, width);
    updated_ = Seen<float, 3>(memory.put(c.upstream), tokens, branches, width);
    with_.gain = Seen<float, 2>(memory.put(c.gain), branches, width);
    with_.marks = Seen<Mark, 1>(memory.put(c.marks), tokens);
    with_.scale = Seen<float, 1>(memory.put(c.scale), tokens);
    with_.rows = Seen<std::int32_t, 2>(memory.put(c.rows), tokens, 1);
    scores_ = Seen<float, 2>(memory.put(room_.scores), tokens, branches);
    norms_ = Seen<float, 2>(memory.put(room_.norms), tokens, branches);
    gates_ = Seen<float, 2>(memory.put(room_.gates), tokens, branches);
    with_.scores = scores_;
    with_.norms = norms_;
    parts_ = Seen<Part, 1>(memory.put(std::vector<Part>(at(tokens))), tokens);
    if (taps > 0) {
      conv_.weights = Seen<float, 3>(memory.put(c.conv), taps, branches, width);
      conv_.gain = Seen<float, 2>(memory.put(c.conv_gain), branches, width);
      conv_.starts = Seen<std::int32_t, 1>(memory.put(c.starts), sequences + 1);
      conv_.states = Seen<float, 2>(memory.put(c.states), sequences, c.state_size());
    }
    conv_before_ = conv_;
    conv_before_.states = Seen<float, 2>(memory.put(c.states), sequences, c.state_size());
    tape_ = bytes(conv_workspace_bytes(tokens, branches, sequences));
    workspace_ = bytes(fuse_backward_workspace_bytes(tokens, branches, width, taps));
    to_.segments = Seen<float, 3>(memory.put(room_.segments), tokens, branches + 1, width);
    to_.to_hidden = Seen<float, 3>(memory.put(room_.to_hidden), tokens, branches, width);
    to_.gain = Seen<float, 2>(memory.put(room_.gain), branches, width);
    if (taps > 0) {
      to_.conv_gain = Seen<float, 2>(memory.put(room_.conv_gain), branches, width);
      to_.conv = Seen<float, 3>(memory.put(room_.conv), taps, branches, width);
    }
  }

  template <class Dev>
  Status forward(const Dev& device) const {
    if (conv_.weights.size() == 0) return forward_without_conv(device);
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
  /// Other hidden states, at the same place.
  void set_hidden(const std::vector<T>& hidden) { memory_.set(hidden_.data(), hidden); }
  DeviceConv<>& conv() { return conv_; }
  DeviceConv<>& conv_before() { return conv_before_; }
  DeviceFuseGradients& to() { return to_; }
  Seen<std::byte, 1>& tape() { return tape_; }
  Seen<std::byte, 1>& workspace() { return workspace_; }

 private:
  template <class Dev>
  Status forward_without_conv(const Dev& device) const {
    device.for_items(PartsBody<std::int32_t>::items(parts_.extent(0)),
                     PartsBody<std::int32_t>{with_.marks.for_body(), with_.scale.for_body(),
                                             with_.rows.for_body(), parts_.for_body()});
    const ScoreBody<T, T, SignedSqrtGate> score{keys_.for_body(),
                                                hidden_.for_body(),
                                                with_.gain.for_body(),
                                                case_.config.query_eps,
                                                case_.config.key_eps,
                                                {},
                                                0,
                                                parts_.for_body(),
                                                with_.scale.for_body(),
                                                scores_.for_body(),
                                                gates_.for_body()};
    const UpdateBody<T, T> update{value_.for_body(), hidden_.for_body(),        parts_.for_body(),
                                  gates_.for_body(), case_.config.add_residual, out_.for_body(),
                                  norms_.for_body()};
    device.for_items(gates_.size(), ScoreAndUpdateBody<T, T, T, SignedSqrtGate>{score, update});
    return {};
  }
  Seen<std::byte, 1> bytes(Index count) {
    return Seen<std::byte, 1>(memory_.put(std::vector<std::byte>(at(count))), count);
  }

  const Case<T>& case_;
  Memory& memory_;
  Results<T> room_;
  Seen<T, 3> hidden_, before_, out_, keys_;
  Seen<T, 2> value_;
  Seen<float, 3> updated_;
  Seen<float, 2> scores_, norms_, gates_;
  Seen<Part, 1> parts_;
  DeviceFusion<> with_;
  DeviceConv<> conv_, conv_before_;
  Seen<std::byte, 1> tape_, workspace_;
  DeviceFuseGradients to_;
};

}  // namespace fuse_case
