// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row ids and states from the GPU are the CPU's, bit for bit: presets and random geometries,
// chunks, ragged batches, marks, draft trees, roll back, and replays of a captured graph.
#include "gpu.hpp"

#include <engram/cuda/device_front_end.cuh>
#include <engram/engram.hpp>
#include <front_end_case.hpp>

using namespace engram;
using front_end_case::random_batch;
using gpu::at;

namespace {

template <class Front>
struct Both {
  Front host;
  decltype(make_device_front_end(std::declval<const Front&>()).value()) device;

  explicit Both(Front front)
      : host(std::move(front)), device(make_device_front_end(host).value()) {}
};

auto random_model(Random& random) {
  TokenMap map = front_end_case::token_map(1000, 700);
  const Layout layout = front_end_case::random_layout(random, map, 700, 8, 100'000);
  return make_front_end(layout, std::move(map)).value();
}

template <class Row, class Front>
void check_batches(const Both<Front>& both, Random& random, Index count, Index sequences) {
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  std::vector<NgramState> states(at(sequences), both.host.initial_state());
  const gpu::Array<NgramState> on_gpu(states);
  gpu::OwnStream stream;
  for (int chunk = 0; chunk < 3; ++chunk) {
    const auto batch =
        random_batch<int>(count, sequences, both.host.compressor().vocab_size(), random);
    std::vector<Row> expected(at(count * layers * columns), Row{-7});
    const gpu::Array<Row> rows(expected);
    REQUIRE(both.host
                .address_batch(batch.tokens, batch.starts, View<NgramState, 1>(states),
                               View<Row, 3>(expected.data(), count, layers, columns),
                               View<const Mark, 1>(batch.marks))
                .ok());
    const gpu::Array<int> tokens(batch.tokens), starts(batch.starts);
    const gpu::Array<Mark> marks(batch.marks);
    const CudaDevice device = stream.device(chunk == 1 ? 7 : 0);
    REQUIRE(both.device
                .address_batch(device, tokens.read(count), starts.read(sequences + 1),
                               on_gpu.view(sequences), rows.view(count, layers, columns),
                               marks.read(count))
                .ok());
    REQUIRE(device.wait().ok());
    CHECK(rows.get() == expected);
    CHECK(on_gpu.get() == states);
  }
}

auto v41() {
  const EngramConfig model = deepseek_v41_preset().config;
  const IdentityCompressor canonical(model.compressed_vocab_size);
  return make_front_end(make_layout(model, canonical).value(), canonical).value();
}

}  // namespace

TEST_CASE("cuda front end: rows and states of random geometries, chunk after chunk") {
  if (!gpu::is_here()) return;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const Both both(random_model(random));
    check_batches<int>(both, random, 1 + random.below(300), 1 + random.below(9));
    check_batches<std::int64_t>(both, random, 1 + random.below(300), 1 + random.below(9));
  }
}

TEST_CASE("cuda front end: without a GPU a sentence") {
  Random random(1);
  const auto found = cuda_device_count();
  const auto made = make_device_front_end(random_model(random));
  CHECK(made.ok() == found.ok());
  if (!found.ok()) CHECK(made.message() == found.message());
}

TEST_CASE("cuda front end: DeepSeek-V4.1's rows, 65,536 tokens of 512 sequences", "[large]") {
  if (!gpu::is_here()) return;
  Random random(1);
  const Both both(v41());
  check_batches<int>(both, random, 65536, 512);
}

TEST_CASE("cuda front end: a draft tree, and going on from an accepted node") {
  if (!gpu::is_here()) return;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const Both both(random_model(random));
    const Index count = 1 + random.below(100);
    const Index layers = both.host.num_layers(), columns = both.host.num_columns();
    const auto batch = random_batch<int>(count, 1, 1000, random);
    const std::vector<int> parents = front_end_case::random_parents(count, random);
    NgramState root = both.host.initial_state();
    REQUIRE(both.host.advance(std::vector<int>{3, 5, 7, 11, 13}, root).ok());
    std::vector<std::int64_t> expected(at(count * layers * columns));
    std::vector<NgramState> states(at(count));
    REQUIRE(both.host
                .address_tree(batch.tokens, parents, root, View<NgramState, 1>(states),
                              View<std::int64_t, 3>(expected.data(), count, layers, columns),
                              View<const Mark, 1>(batch.marks))
                .ok());
    gpu::OwnStream stream;
    const gpu::Array<int> tokens(batch.tokens), above(parents);
    const gpu::Array<Mark> marks(batch.marks);
    const gpu::Array<NgramState> from(std::vector<NgramState>{root});
    const gpu::Array<NgramState> nodes(std::vector<NgramState>(at(count), root));
    const gpu::Array<std::int64_t> rows(std::vector<std::int64_t>(expected.size(), -7));
    const CudaDevice device = stream.device();
    REQUIRE(both.device
                .address_tree(device, tokens.read(count), above.read(count), from.read(1),
                              nodes.view(count), rows.view(count, layers, columns),
                              marks.read(count))
                .ok());
    REQUIRE(device.wait().ok());
    CHECK(rows.get() == expected);
    CHECK(nodes.get() == states);
    CHECK(from.get()[0] == root);

    // Going on from an accepted node, and, rolled back, from another.
    for (const Index accepted : {count - 1, Index{0}}) {
      const auto next = random_batch<int>(5, 1, 1000, random);
      NgramState state = states[at(accepted)];
      std::vector<std::int64_t> behind(at(5 * layers * columns));
      REQUIRE(both.host
                  .address(next.tokens, state,
                           View<std::int64_t, 3>(behind.data(), 5, layers, columns),
                           View<const Mark, 1>(next.marks))
                  .ok());
      const gpu::Array<int> more(next.tokens), starts(std::vector<int>{0, 5});
      const gpu::Array<Mark> more_marks(next.marks);
      const gpu::Array<NgramState> going_on(std::vector<NgramState>{nodes.get()[at(accepted)]});
      const gpu::Array<std::int64_t> found(std::vector<std::int64_t>(behind.size(), -7));
      REQUIRE(both.device
                  .address_batch(device, more.read(5), starts.read(2), going_on.view(1),
                                 found.view(5, layers, columns), more_marks.read(5))
                  .ok());
      REQUIRE(device.wait().ok());
      CHECK(found.get() == behind);
      CHECK(going_on.get()[0] == state);
    }
  }
}

TEST_CASE("cuda front end: a captured step, replayed 72 times, moves states as the host does") {
  if (!gpu::is_here()) return;
  Random random(5);
  const Both both(v41());
  constexpr Index count = 16;  // one token of each sequence
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  std::vector<NgramState> states(count, both.host.initial_state());
  const gpu::Array<NgramState> on_gpu(states);
  std::vector<int> starts;
  for (int s = 0; s <= count; ++s) starts.push_back(s);
  const gpu::Array<int> starts_on_gpu(starts);
  gpu::Array<int> tokens(std::vector<int>(count, 0));
  std::vector<int> expected(at(count * layers * columns));
  const gpu::Array<int> rows(expected);
  gpu::OwnStream stream;
  const gpu::Graph graph = stream.captured([&](const CudaDevice& device) {
    CHECK(both.device
              .address_batch(device, tokens.read(count), starts_on_gpu.read(count + 1),
                             on_gpu.view(count), rows.view(count, layers, columns))
              .ok());
  });
  for (int replay = 0; replay < 72; ++replay) {
    std::vector<int> next;
    for (Index s = 0; s < count; ++s)
      next.push_back(static_cast<int>(random.zipf(both.host.compressor().vocab_size())));
    REQUIRE(both.host
                .address_batch(next, starts, View<NgramState, 1>(states),
                               View<int, 3>(expected.data(), count, layers, columns))
                .ok());
    tokens.set(next);
    stream.replay(graph);
    REQUIRE(stream.device().wait().ok());
    REQUIRE(rows.get() == expected);
    REQUIRE(on_gpu.get() == states);
  }
}

TEST_CASE("cuda front end: wrong tokens, marks, starts and parents are reported") {
  if (!gpu::is_here()) return;
  Random random(6);
  const Both both(random_model(random));
  constexpr Index count = 6;
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const NgramState initial = both.host.initial_state();
  const gpu::Array<NgramState> states(std::vector<NgramState>(at(count), initial));
  const gpu::Array<int> rows(std::vector<int>(at(count * layers * columns), -7));
  const auto to = rows.view(count, layers, columns);
  const gpu::Array<int> good(std::vector<int>{1, 2, 3, 4, 5, 6});

  CHECK(both.device.address(device, good.view(count), states.view(1), to).ok());
  CHECK(device.wait().ok());
  const gpu::Array<int> bad(std::vector<int>{1, 2, 1000, 4, -1, 6});
  CHECK(both.device.address(device, bad.view(count), states.view(1), to).ok());
  CHECK(device.wait() == Status{Code::bad_token, 0, 2});
  CHECK(rows.get()[at(2 * layers * columns)] == -1);
  CHECK(rows.get()[at(3 * layers * columns)] >= 0);

  std::vector<Mark> odd(at(count), Mark::token);
  odd[4] = static_cast<Mark>(99);
  const gpu::Array<Mark> marks(odd);
  CHECK(both.device.address(device, good.view(count), states.view(1), to, marks.read(count)).ok());
  CHECK(device.wait() == Status{Code::bad_mark, 0, 4});

  const gpu::Array<int> beyond(std::vector<int>{0, 3, 99});
  CHECK(
      both.device.address_batch(device, good.view(count), beyond.view(3), states.view(2), to).ok());
  CHECK(device.wait() == Status{Code::bad_sequence, 0, 2});

  const gpu::Array<int> parents(std::vector<int>{-1, 1, 0, -2, 100, 4});
  const gpu::Array<NgramState> root(std::vector<NgramState>{initial});
  CHECK(both.device
            .address_tree(device, good.view(count), parents.view(count), root.read(1),
                          states.view(count), to)
            .ok());
  CHECK(device.wait() == Status{Code::bad_parent, 0, 1});
}

TEST_CASE("cuda front end: arguments that do not fit are refused, and nothing is launched") {
  if (!gpu::is_here()) return;
  Random random(7);
  const Both both(random_model(random));
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  gpu::OwnStream stream;
  const CudaDevice device = stream.device();
  const gpu::Array<NgramState> states(std::vector<NgramState>(6, both.host.initial_state()));
  const gpu::Array<int> tokens(std::vector<int>(6, 1)), parents(std::vector<int>(6, -1));
  const gpu::Array<int> rows(std::vector<int>(at(6 * layers * columns), -7));
  const auto to = rows.view(6, layers, columns);
  CHECK(both.device.address(device, tokens.view(5), states.view(1), to) ==
        Status{Code::shape_mismatch, 0, 5});
  CHECK(both.device.address(device, tokens.view(6), states.view(2), to) ==
        Status{Code::shape_mismatch, 0, 1});
  CHECK(both.device.address(device, tokens.view(6), states.view(1),
                            rows.view(6, layers, columns - 1)) ==
        Status{Code::shape_mismatch, 0, columns});
  CHECK(both.device.address_batch(device, tokens.view(6), tokens.view(1), states.view(0), to) ==
        Status{Code::shape_mismatch, 0, 2});
  // The root among the states that are written: warps would read it while another writes.
  CHECK(both.device.address_tree(device, tokens.view(6), parents.view(6),
                                 states.read(6).slice(2, 1), states.view(6),
                                 to) == Status{Code::invalid_config});
  CHECK(device.wait().ok());
  CHECK(rows.get() == std::vector<int>(at(6 * layers * columns), -7));
}

TEST_CASE("cuda device: a stream that is captured is not disturbed by a wait") {
  if (!gpu::is_here()) return;
  Random random(8);
  const Both both(random_model(random));
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  gpu::OwnStream stream;
  const gpu::Array<NgramState> state(std::vector<NgramState>{both.host.initial_state()});
  const gpu::Array<int> tokens(std::vector<int>{3, 4}),
      rows(std::vector<int>(at(2 * layers * columns), -7));
  const gpu::Graph graph = stream.captured([&](const CudaDevice& device) {
    CHECK(both.device.address(device, tokens.view(2), state.view(1), rows.view(2, layers, columns))
              .ok());
    CHECK(device.wait() == Status{Code::busy, 0, 1});
  });
  CHECK(rows.get()[0] == -7);
  stream.replay(graph);
  CHECK(stream.device().wait().ok());
  CHECK(rows.get()[0] >= 0);
}

TEST_CASE("cuda device: what the caller's calls left behind is not taken for a failure",
          "[refused]") {
  if (!gpu::is_here()) return;
  Random random(9);
  const Both both(random_model(random));
  const Index layers = both.host.num_layers(), columns = both.host.num_columns();
  gpu::OwnStream stream;
  const gpu::Array<NgramState> state(std::vector<NgramState>{both.host.initial_state()});
  const gpu::Array<int> tokens(std::vector<int>{3, 4}),
      rows(std::vector<int>(at(2 * layers * columns), -7));
  REQUIRE(cudaSetDevice(-1) == cudaErrorInvalidDevice);  // stays behind
  CHECK(both.device
            .address(stream.device(), tokens.view(2), state.view(1), rows.view(2, layers, columns))
            .ok());
  CHECK(stream.device().wait().ok());
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
}
