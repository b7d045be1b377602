// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Chunks, ragged batches, threads and states: the same bits however a text is cut up.
#include "layer_case.hpp"

#include <catch.hpp>
#include <thread>

using namespace engram;
using namespace layer_case;

namespace {

/// The call in n threads that share one workspace and one barrier; the statuses.
template <class Layer, Element H>
std::vector<Status> run_threads(const Layer& layer, Batch<H>& batch, Outcome<H>& to, Index n) {
  Scratch scratch(layer.workspace_bytes(batch.tokens, batch.sequences()));
  Barrier barrier;
  std::vector<Status> statuses(at(n));
  const FusionOptions options = options_of(batch, to, 0, batch.tokens);
  const auto work = [&](Index i) {
    statuses[at(i)] = layer.forward(
        View<const std::int64_t, 2>(batch.rows.data(), batch.tokens, layer.columns()),
        batch.hidden.view(), to.out.view(), scratch.view(), options, CpuDevice{{i, n}, &barrier});
  };
  std::vector<std::thread> threads;
  for (Index i = 1; i < n; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& t : threads) t.join();
  return statuses;
}

template <Element W, Element H>
void check_chunks(std::uint64_t seed, int rounds, Index tokens) {
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    const Shape shape = random_shape(random);
    LayerCase<W> c(shape, random.bits());
    const auto layer = c.layer();
    Batch<H> batch(shape, tokens, random);
    batch.scatter(shape, random);
    const Outcome<H> whole = run_whole(layer, batch);
    for (const Index most : {Index{1}, Index{5}, tokens - 1}) {
      Outcome<H> chunked(batch, layer.conv_state_size());
      for (Index begin = 0; begin < tokens;) {
        const Index wish = most == 5 ? random.below(6) : most;  // empty chunks too
        const Index count = wish < tokens - begin ? wish : tokens - begin;
        REQUIRE(run(layer, batch, chunked, begin, count).ok());
        begin += count;
      }
      INFO("round " << round << ", chunks of " << most);
      CHECK(chunked == whole);
    }
  }
}

}  // namespace

TEST_CASE("layer: in one call, in chunks and token by token: the same outputs and states") {
  check_chunks<float, float>(1, 25, 29);
  check_chunks<float, Bf16>(2, 10, 29);
  check_chunks<Bf16, Bf16>(3, 10, 29);
  check_chunks<F16, F16>(4, 10, 29);
}

TEST_CASE("layer: a prompt longer than a block equals smaller calls") {
  for (const Index branches : {1, 4})
    for (const Index taps : {0, 4}) {
      Random random(7);
      Shape shape;
      shape.branches = branches;
      // Blocks of 512 are projected segment by segment and those of 40 all at once.
      shape.width = branches == 1 ? 300 : 110;
      shape.taps = taps;
      shape.dilation = 3;
      LayerCase<float> c(shape, 11);
      const auto layer = c.layer();
      using Layer = std::remove_const_t<decltype(layer)>;
      REQUIRE(Layer::token_tile == 512);
      const Index tokens = 2 * Layer::token_tile + 40;
      Batch<Bf16> batch(shape, tokens, random);
      batch.scatter(shape, random);
      batch.starts = {0, 500, 512, 513, 513, tokens - 20, tokens - 7};
      const Outcome<Bf16> whole = run_whole(layer, batch);
      Outcome<Bf16> parts(batch, layer.conv_state_size());
      const Index state_size = layer.conv_state_size();
      for (std::size_t s = 0; s + 1 < batch.starts.size(); ++s) {
        Batch<Bf16> alone = batch;
        alone.starts.clear();
        Outcome<Bf16> to(alone, state_size);
        for (Index at_token = batch.starts[s]; at_token < batch.starts[s + 1]; at_token += 100)
          REQUIRE(
              run(layer, alone, to, at_token, std::min<Index>(100, batch.starts[s + 1] - at_token))
                  .ok());
        for (Index t = batch.starts[s]; t < batch.starts[s + 1]; ++t)
          for (Index g = 0; g < branches; ++g)
            for (Index d = 0; d < shape.width; ++d)
              if (!(to.out(t, g, d) == whole.out(t, g, d)))
                FAIL("token " << t << ", branch " << g << ", element " << d);
        const std::vector<float> state(
            whole.state.begin() + static_cast<Index>(s) * state_size,
            whole.state.begin() + static_cast<Index>(s + 1) * state_size);
        CHECK(same_bits(state, to.state));
      }
    }
}

TEST_CASE("layer: the workspace asked for is enough for every length, and for shorter calls") {
  // Where all segments of a short block are projected at once but not those of a long one.
  for (const Index tokens : {300, 436, 437, 500, 512, 513, 812, 1012, 1024, 1025}) {
    Random random(9);
    Shape shape;
    shape.branches = 7;
    shape.width = 75;  // 8 * 75 * 4 bytes a token: 2^20 bytes between 436 and 437 tokens
    shape.columns = shape.row_width = 1;
    LayerCase<float> c(shape, 12);
    const auto layer = c.layer();
    Batch<float> batch(shape, tokens, random);
    const Outcome<float> whole = run_whole(layer, batch);
    CHECK(whole.out.memory.back() != batch.hidden.memory.back());
    CHECK(layer.workspace_bytes(tokens) >= layer.workspace_bytes(tokens - 1));
    if (tokens > 436) CHECK(layer.workspace_bytes(tokens) >= layer.workspace_bytes(436));
  }
}

TEST_CASE("layer: a ragged batch equals one call for each sequence") {
  Random random(13);
  for (int round = 0; round < 20; ++round) {
    Shape shape = random_shape(random);
    if (round % 2 == 0) shape.taps = 4;
    LayerCase<float> c(shape, random.bits());
    const auto layer = c.layer();
    const std::vector<Index> lengths = {3, 0, 1, 17, 0, 6};
    Batch<Bf16> batch(shape, 27 + 4, random);  // four slots to spare
    batch.scatter(shape, random);
    batch.starts = {0};
    for (const Index length : lengths) batch.starts.push_back(batch.starts.back() + length);
    Outcome<Bf16> together(batch, layer.conv_state_size());
    for (float& x : together.state) x = random_float(random);
    const std::vector<float> before = together.state;
    REQUIRE(run(layer, batch, together, 0, batch.tokens).ok());

    Outcome<Bf16> alone = Outcome<Bf16>(batch, layer.conv_state_size());
    alone.state = before;
    Batch<Bf16> one = batch;
    one.starts.clear();
    const Index size = layer.conv_state_size();
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      Outcome<Bf16> to(one, size);
      const auto first = static_cast<Index>(s) * size;
      to.state.assign(before.begin() + first, before.begin() + first + size);
      REQUIRE(run(layer, one, to, batch.starts[s], lengths[s]).ok());
      std::copy(to.state.begin(), to.state.end(), alone.state.begin() + first);
      const Index g = shape.branches, begin = batch.starts[s], end = batch.starts[s + 1];
      std::copy(to.out.memory.begin() + begin * to.out.token_stride,
                to.out.memory.begin() + end * to.out.token_stride,
                alone.out.memory.begin() + begin * to.out.token_stride);
      for (auto list : {&Outcome<Bf16>::scores, &Outcome<Bf16>::gates, &Outcome<Bf16>::norms})
        std::copy((to.*list).begin() + begin * g, (to.*list).begin() + end * g,
                  (alone.*list).begin() + begin * g);
    }
    for (Index t = 27; t < 31; ++t)  // slots to spare pass through
      for (Index g = 0; g < shape.branches; ++g) {
        for (auto list : {&Outcome<Bf16>::scores, &Outcome<Bf16>::gates, &Outcome<Bf16>::norms})
          (alone.*list)[at(t * shape.branches + g)] = 0;
        if (!shape.residual)
          for (Index d = 0; d < shape.width; ++d) alone.out(t, g, d) = Bf16{};
      }
    INFO("round " << round << ", taps " << shape.taps);
    CHECK(alone == together);
  }
}

TEST_CASE("layer: padding is not of the sequence, a dead position is a zero column") {
  Random random(19);
  Shape shape;
  shape.taps = 3;
  shape.dilation = 2;
  LayerCase<float> c(shape, 14);
  const auto layer = c.layer();
  Batch<float> dense(shape, 10, random);
  const Outcome<float> expected = run_whole(layer, dense);

  // The same ten tokens with padding between them.
  Batch<float> padded(shape, 20, random);
  padded.marks.assign(20, Mark::padding);
  for (Index t = 0; t < 10; ++t) {
    padded.marks[at(2 * t)] = Mark::token;
    for (Index i = 0; i < shape.columns; ++i)
      padded.rows[at(2 * t * shape.columns + i)] = dense.rows[at(t * shape.columns + i)];
    for (Index i = 0; i < 16; ++i)
      padded.hidden(2 * t, i / 8, i % 8) = dense.hidden(t, i / 8, i % 8);
  }
  const Outcome<float> found = run_whole(layer, padded);
  CHECK(same_bits(found.state, expected.state));
  for (Index t = 0; t < 10; ++t)
    for (Index i = 0; i < 16; ++i)
      CHECK(to_bits(found.out(2 * t, i / 8, i % 8)) == to_bits(expected.out(t, i / 8, i % 8)));

  // A dead last position: the state moves on by one column, of zeros.
  Batch<float> dead = dense;
  dead.marks.assign(10, Mark::token);
  dead.marks[9] = Mark::dead;
  const Outcome<float> moved = run_whole(layer, dead);
  const Index column = 16, columns = 4;
  for (Index i = 0; i < column; ++i)
    CHECK(to_bits(moved.state[at((columns - 1) * column + i)]) == 0);
  for (Index i = 0; i < (columns - 1) * column; ++i)
    CHECK(to_bits(moved.state[at(i)]) == to_bits(expected.state[at(i)]));
}

TEST_CASE("layer: two and three threads give the bits of one, states and observers too") {
  Random random(31);
  for (int round = 0; round < 12; ++round) {
    Shape shape = random_shape(random);
    if (round < 2) {  // several blocks, segment by segment
      shape.branches = 4;
      shape.width = 110;
      shape.taps = round == 0 ? 0 : 3;
    }
    LayerCase<float> c(shape, random.bits());
    const auto layer = c.layer();
    Batch<Bf16> batch(shape, round < 2 ? 530 : random.below(30), random);
    batch.scatter(shape, random);
    const Outcome<Bf16> expected = run_whole(layer, batch);
    for (const Index n : {2, 3}) {
      Outcome<Bf16> found(batch, layer.conv_state_size());
      for (const Status& s : run_threads(layer, batch, found, n)) CHECK(s.ok());
      INFO("round " << round << ", " << n << " threads");
      CHECK(found == expected);
      batch.rows.push_back(0);  // rows that are refused are refused in every thread, and none waits
      const std::int64_t last = batch.tokens > 0 ? batch.rows[0] : 0;
      if (batch.tokens == 0) continue;
      batch.rows[0] = 31;
      Outcome<Bf16> untouched(batch, layer.conv_state_size());
      const Outcome<Bf16> before = untouched;
      for (const Status& s : run_threads(layer, batch, untouched, n))
        CHECK(s == Status{Code::bad_row, 0, 0});
      CHECK(untouched == before);
      batch.rows[0] = last;
    }
  }
}

TEST_CASE("layer: a rejected draft is undone by the copy of the state") {
  Random random(41);
  Shape shape;
  shape.taps = 4;
  shape.dilation = 3;
  LayerCase<float> c(shape, 15);
  const auto layer = c.layer();
  Batch<float> text(shape, 20, random), draft(shape, 5, random);
  const Outcome<float> expected = run_whole(layer, text);
  Outcome<float> found(text, layer.conv_state_size());
  for (Index t = 0; t < 20; ++t) {
    const std::vector<float> snapshot = found.state;
    Outcome<float> rejected(draft, layer.conv_state_size());
    rejected.state = found.state;
    REQUIRE(run(layer, draft, rejected, 0, 5).ok());
    CHECK_FALSE(same_bits(rejected.state, found.state));
    found.state = snapshot;
    REQUIRE(run(layer, text, found, t, 1).ok());
  }
  CHECK(found == expected);
}
