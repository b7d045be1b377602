// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Documents and masked positions in the convolution, and threads whose calls do not agree.

#include <thread>

#include "catch.hpp"
#include "layer_case.hpp"

using namespace layer_case;

namespace {

/// A layer with a convolution of 4 taps, 2 tokens apart, over tokens that all have rows.
struct ConvCase {
  static constexpr Index tokens = 9;
  LayerCase<float> layer_case{{2, 12, 2, 4, 4, 2}, 5};
  std::vector<int> rows;
  std::vector<float> hidden;

  ConvCase() {
    Random random(7);
    for (Index i = 0; i < tokens * 2; ++i) rows.push_back(static_cast<int>(random.below(31)));
    hidden = random_elements<float>(random, tokens * 2 * 12);
  }

  /// Tokens [begin, begin + count) of the hidden state after the call; state is carried.
  std::vector<float> run(Index begin, Index count, std::vector<float>& state,
                         const std::vector<Mark>& marks = {}, const std::vector<float>& scale = {},
                         View<float, 2> scores = {}) const {
    const auto layer = layer_case.layer();
    state.resize(at(layer.conv_state_size()));
    std::vector<float> out(at(count * 2 * 12));
    std::vector<std::byte> workspace(at(layer.workspace_bytes(count)));
    FusionOptions options;
    options.marks = marks;
    options.scale = scale;
    options.scores = scores;
    options.conv_state = View<float, 2>(state.data(), 1, layer.conv_state_size());
    const Status status =
        layer.forward(View<const int, 2>(rows.data() + begin * 2, count, 2),
                      View<const float, 3>(hidden.data() + begin * 24, count, 2, 12),
                      View<float, 3>(out.data(), count, 2, 12), workspace, options);
    CHECK(status == Status{});
    return out;
  }
};

std::vector<float> tail(const std::vector<float>& all, Index from) {
  return {all.begin() + from, all.end()};
}

}  // namespace

TEST_CASE("layer: a document that starts inside a sequence equals a sequence of its own") {
  const ConvCase c;
  for (Index start = 0; start < ConvCase::tokens; ++start) {
    std::vector<float> packed_state(0), own_state(0);
    std::vector<Mark> marks(at(ConvCase::tokens), Mark::token);
    marks[at(start)] = Mark::start;
    const std::vector<float> packed = c.run(0, ConvCase::tokens, packed_state, marks);
    const std::vector<float> own = c.run(start, ConvCase::tokens - start, own_state);
    CHECK(same_bits(tail(packed, start * 24), own));
    CHECK(same_bits(packed_state, own_state));

    // The same when the document starts in a later call, whose state is another document's.
    std::vector<float> carried(0);
    (void)c.run(0, start, carried);
    const std::vector<Mark> rest(marks.begin() + start, marks.end());
    CHECK(same_bits(c.run(start, ConvCase::tokens - start, carried, rest), own));
    CHECK(same_bits(carried, own_state));
  }
}

TEST_CASE("layer: a dead position is the same with its rows and without them") {
  ConvCase c;
  std::vector<Mark> marks(at(ConvCase::tokens), Mark::token);
  marks[3] = Mark::dead;
  std::vector<float> with_state(0), without_state(0);
  const std::vector<float> with = c.run(0, ConvCase::tokens, with_state, marks);
  c.rows[6] = c.rows[7] = -1;
  CHECK(same_bits(c.run(0, ConvCase::tokens, without_state, marks), with));
  CHECK(same_bits(without_state, with_state));
}

TEST_CASE("layer: a token that is knocked out keeps its score") {
  const ConvCase c;
  std::vector<float> scores(18), muted(18), state(0), scale(at(ConvCase::tokens), 1.0f);
  (void)c.run(0, ConvCase::tokens, state, {}, scale, View<float, 2>(scores.data(), 9, 2));
  scale[4] = 0;
  state.clear();
  (void)c.run(0, ConvCase::tokens, state, {}, scale, View<float, 2>(muted.data(), 9, 2));
  CHECK(same_bits(muted, scores));
}

TEST_CASE("layer: a convolution far from zero gives no NaN") {
  ConvCase c;
  for (const float far : {-1000.0f, 1000.0f}) {
    for (float& w : c.layer_case.conv) w = far;
    std::vector<float> state(0);
    for (const float x : c.run(0, ConvCase::tokens, state)) CHECK_FALSE(is_nan(x));
  }
}

TEST_CASE("layer: a share that is none, or has no barrier, is refused") {
  const ConvCase c;
  const auto layer = c.layer_case.layer();
  std::vector<float> out(c.hidden.size(), 3), state(at(layer.conv_state_size()));
  std::vector<std::byte> workspace(at(layer.workspace_bytes(ConvCase::tokens)));
  FusionOptions options;
  options.conv_state = View<float, 2>(state.data(), 1, layer.conv_state_size());
  Barrier barrier;
  for (const CpuDevice& device : {CpuDevice{{0, 2}, nullptr}, CpuDevice{{1, 1}, &barrier},
                                  CpuDevice{{0, 0}, nullptr}, CpuDevice{{-1, 1}, nullptr}}) {
    const Status status = layer.forward(
        View<const int, 2>(c.rows.data(), ConvCase::tokens, 2),
        View<const float, 3>(c.hidden.data(), ConvCase::tokens, 2, 12),
        View<float, 3>(out.data(), ConvCase::tokens, 2, 12), workspace, options, device);
    CHECK(status == Status{Code::invalid_config});
  }
  CHECK(out == std::vector<float>(out.size(), 3));
}

TEST_CASE("layer: when one thread's arguments are refused, all threads return") {
  const ConvCase c;
  const auto layer = c.layer_case.layer();
  std::vector<float> out(c.hidden.size(), 3), state(at(layer.conv_state_size()));
  std::vector<std::byte> workspace(at(layer.workspace_bytes(ConvCase::tokens)));
  Barrier barrier;
  Status statuses[2];
  const auto worker = [&](Index thread) {
    FusionOptions options;
    options.conv_state = View<float, 2>(state.data(), 1, layer.conv_state_size());
    const View<std::byte, 1> memory(workspace.data(), std::ssize(workspace) - thread);
    statuses[thread] = layer.forward(View<const int, 2>(c.rows.data(), ConvCase::tokens, 2),
                                     View<const float, 3>(c.hidden.data(), ConvCase::tokens, 2, 12),
                                     View<float, 3>(out.data(), ConvCase::tokens, 2, 12), memory,
                                     options, CpuDevice{{thread, 2}, &barrier});
  };
  std::thread second(worker, 1);
  worker(0);
  second.join();
  CHECK(statuses[0].code == Code::invalid_config);
  CHECK(statuses[1].code == Code::workspace_small);
  CHECK(out == std::vector<float>(out.size(), 3));
}
