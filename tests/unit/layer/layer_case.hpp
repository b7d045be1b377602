// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

// A layer with random weights, calls of it, and the same module in double, written from its
// formulas and sharing nothing with the library's loops.

#include <cmath>
#include <cstring>
#include <engram/codec/plain.hpp>
#include <engram/layer/engram_layer.hpp>
#include <engram/layer/reference_projection.hpp>
#include <engram/storage/host_store.hpp>
#include <random.hpp>
#include <string>
#include <utility>
#include <vector>

namespace layer_case {

using namespace engram;

inline std::size_t at(Index i) { return static_cast<std::size_t>(i); }

inline float random_float(Random& random) {  // in [-1, 1)
  return static_cast<float>(static_cast<double>(random.bits() >> 11) * 0x1p-52 - 1);
}

template <Element T>
std::vector<T> random_elements(Random& random, Index count) {
  std::vector<T> list(at(count));
  for (T& x : list) x = from_float<T>(random_float(random));
  return list;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(static_cast<const void*>(a.data()),
                                   static_cast<const void*>(b.data()), a.size() * sizeof(T)) == 0);
}

struct Shape {
  Index branches = 2, width = 8, columns = 2, row_width = 4;
  Index taps = 0, dilation = 1;
  bool gains = true, biases = true, residual = true;
};

inline Shape random_shape(Random& random) {
  Shape s;
  s.branches = 1 + random.below(8);
  s.width = 1 + random.below(70);
  s.columns = 1 + random.below(6);
  s.row_width = 1 + random.below(20);
  s.taps = random.below(6);
  s.dilation = 1 + random.below(4);
  s.gains = random.below(3) != 0;
  s.biases = random.below(2) == 0;
  s.residual = random.below(3) != 0;
  return s;
}

template <Element W, Element In = W, Element Out = In, class GateType = SignedSqrtGate>
struct LayerCase {
  using Hidden = In;
  using TableType = Table<HostStore, PlainCodec<In>>;
  static constexpr Index table_rows = 31;

  Shape shape;
  std::vector<In> elements;  ///< of the table, [rows, E]
  std::vector<W> key, value;
  std::vector<float> key_bias, value_bias, gain, conv_gain, conv;
  FusionWeights weights;
  FusionConfig config;
  GateType gate;
  TableType table;
  ReferenceProjection<W, In, Out> projection;

  LayerCase(const Shape& s, std::uint64_t seed) : LayerCase(s, Random(seed)) {}
  LayerCase(const LayerCase&) = delete;

  auto layer() const { return EngramLayer(table, projection, weights, config, gate); }

 private:
  LayerCase(const Shape& s, Random random)
      : shape(s),
        elements(random_elements<In>(random, table_rows * s.row_width)),
        table(make_table()),
        projection(make_projection(random)) {
    const Index outputs = s.branches * s.width;
    if (s.gains) {
      gain = random_elements<float>(random, outputs);
      conv_gain = random_elements<float>(random, outputs);
      weights.gain = View<const float, 2>(gain.data(), s.branches, s.width);
      weights.conv_gain = View<const float, 2>(conv_gain.data(), s.branches, s.width);
    }
    conv = random_elements<float>(random, s.taps * outputs);
    if (s.taps > 0) weights.conv = View<const float, 3>(conv.data(), s.taps, s.branches, s.width);
    config.dilation = s.dilation;
    config.add_residual = s.residual;
  }
  TableType make_table() const {
    const auto bytes = shape.row_width * Index{sizeof(In)};
    HostStore store = HostStore::make(table_rows, bytes).value();
    for (Index r = 0; r < table_rows; ++r)
      std::memcpy(store.mutable_ref()(r).codes,
                  static_cast<const void*>(elements.data() + r * shape.row_width), at(bytes));
    return TableType::make(std::move(store), {}, shape.row_width).value();
  }
  ReferenceProjection<W, In, Out> make_projection(Random& random) {
    const Index g = shape.branches, d = shape.width, m = shape.columns * shape.row_width;
    key = random_elements<W>(random, g * d * m);
    value = random_elements<W>(random, d * m);
    ProjectionWeights<W> w;
    w.key = View<const W, 3>(key.data(), g, d, m);
    w.value = View<const W, 2>(value.data(), d, m);
    if (shape.biases) {
      key_bias = random_elements<float>(random, g * d);
      value_bias = random_elements<float>(random, d);
      w.key_bias = View<const float, 2>(key_bias.data(), g, d);
      w.value_bias = value_bias;
    }
    return ReferenceProjection<W, In, Out>::make(w).value();
  }
};

/// A hidden state [T, G, D] inside of memory with other strides; all of it random.
template <Element H>
struct Stream {
  Index tokens, branches, width, branch_stride, token_stride;
  std::vector<H> memory;

  Stream(const Shape& s, Index count, Index branch_gap, Index token_gap, Random& random)
      : tokens(count),
        branches(s.branches),
        width(s.width),
        branch_stride(s.width + branch_gap),
        token_stride(branch_stride * s.branches + token_gap),
        memory(random_elements<H>(random, tokens * token_stride)) {}

  View<H, 3> view() {
    return View<H, 3>(memory.data(), tokens, branches, width)
        .template with_stride<1>(branch_stride)
        .template with_stride<0>(token_stride);
  }
  const H& operator()(Index t, Index g, Index d) const {
    return memory[at(t * token_stride + g * branch_stride + d)];
  }
  H& operator()(Index t, Index g, Index d) {
    return memory[at(t * token_stride + g * branch_stride + d)];
  }
};

/// The inputs of a call.
template <Element H>
struct Batch {
  Index tokens;
  std::vector<std::int64_t> rows;  ///< [T, H]
  Stream<H> hidden;
  std::vector<Mark> marks{};
  std::vector<float> scale{};
  std::vector<Index> starts{};

  Batch(const Shape& s, Index count, Random& random, Index branch_gap = 0, Index token_gap = 0)
      : tokens(count), hidden(s, count, branch_gap, token_gap, random) {
    for (Index i = 0; i < count * s.columns; ++i) rows.push_back(random.below(31));
  }
  /// Every kind of position there is.
  void scatter(const Shape& s, Random& random) {
    marks.assign(at(tokens), Mark::token);
    scale.assign(at(tokens), 1.0f);
    for (Index t = 0; t < tokens; ++t) {
      const Index kind = random.below(16);
      marks[at(t)] = kind == 0   ? Mark::dead
                     : kind == 1 ? Mark::padding
                     : kind == 2 ? Mark::start
                     : kind == 3 ? Mark::dead | Mark::start
                                 : Mark::token;
      if (kind == 4) scale[at(t)] = random.below(2) == 0 ? 0.0f : -0.0f;
      if (kind == 5) scale[at(t)] = 2 * random_float(random);
      if (kind == 6)
        for (Index c = 0; c < s.columns; ++c) rows[at(t * s.columns + c)] = -1;
      if (kind == 7)
        for (Index g = 0; g < s.branches; ++g)
          for (Index d = 0; d < s.width; ++d) hidden(t, g, d) = H{};
    }
  }
  Index sequences() const { return starts.empty() ? 1 : static_cast<Index>(starts.size()) - 1; }
};

/// What a call writes.
template <Element H>
struct Outcome {
  Stream<H> out;
  std::vector<float> scores, gates, norms, state;  ///< state: [S, size], zero at first

  Outcome(const Batch<H>& batch, Index state_size)
      : out(batch.hidden),
        scores(at(batch.tokens * batch.hidden.branches), 77.0f),
        gates(scores),
        norms(scores),
        state(at(batch.sequences() * state_size)) {}
  bool operator==(const Outcome& other) const {
    return same_bits(out.memory, other.out.memory) && same_bits(scores, other.scores) &&
           same_bits(gates, other.gates) && same_bits(norms, other.norms) &&
           same_bits(state, other.state);
  }
};

/// Options for the tokens [begin, begin + count) of a call, everything watched.
template <Element H>
FusionOptions options_of(const Batch<H>& batch, Outcome<H>& to, Index begin, Index count) {
  const Index g = batch.hidden.branches;
  FusionOptions o;
  if (!batch.marks.empty()) o.marks = View<const Mark, 1>(batch.marks).slice(begin, count);
  if (!batch.scale.empty()) o.scale = View<const float, 1>(batch.scale).slice(begin, count);
  o.scores = View<float, 2>(to.scores.data() + begin * g, count, g);
  o.gates = View<float, 2>(to.gates.data() + begin * g, count, g);
  o.norms = View<float, 2>(to.norms.data() + begin * g, count, g);
  o.sequence_starts = batch.starts;
  o.conv_state = View<float, 2>(to.state.data(), batch.sequences(),
                                static_cast<Index>(to.state.size()) / batch.sequences());
  return o;
}

/// Bytes of just that size, at an odd address.
struct Scratch {
  std::vector<std::byte> memory;
  explicit Scratch(Index bytes) : memory(at(bytes + 1), std::byte{0xCD}) {}
  View<std::byte, 1> view() {
    return View<std::byte, 1>(memory.data() + 1, static_cast<Index>(memory.size()) - 1);
  }
};

/// forward() over the tokens [begin, begin + count), reading batch.hidden, writing to.out.
template <class Layer, Element H>
Status run(const Layer& layer, Batch<H>& batch, Outcome<H>& to, Index begin, Index count) {
  const Index h = layer.columns();
  Scratch scratch(layer.workspace_bytes(count, batch.sequences()));
  return layer.forward(View<const std::int64_t, 2>(batch.rows.data() + begin * h, count, h),
                       batch.hidden.view().slice(begin, count), to.out.view().slice(begin, count),
                       scratch.view(), options_of(batch, to, begin, count));
}
template <class Layer, Element H>
Outcome<H> run_whole(const Layer& layer, Batch<H>& batch) {
  Outcome<H> to(batch, layer.conv_state_size());
  const Status status = run(layer, batch, to, 0, batch.tokens);
  if (!status.ok()) throw describe(status, "forward");
  return to;
}

}  // namespace layer_case
