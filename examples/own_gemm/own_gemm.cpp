// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// An engine with threads and a matrix product of its own. Both threads enter each call with a share
// of the work; between gathering the rows and fusing keys and value stands the engine's product.

#include <engram/engram.hpp>

#include <cmath>
#include <cstdio>
#include <thread>

using namespace engram;

constexpr Index tokens = 64, branches = 4, width = 128;  // T, G, D
constexpr Index columns = 16, row_width = 32, inputs = columns * row_width;
constexpr Index outputs = (branches + 1) * width;  // a key for each branch, then the value

std::vector<float> numbers(Index count, float scale) {
  std::vector<float> made;
  for (std::uint32_t i = 0; std::ssize(made) < count; ++i)
    made.push_back(scale * (static_cast<float>(i * 2654435761u >> 8) / 8388608 - 1));
  return made;
}

/// The engine's product: kv [T, outputs] = e [T, inputs] * weight^T, this share of the outputs.
/// Four sums side by side, so its last bits are not those of the library's loop.
void engine_gemm(const std::vector<float>& e, const std::vector<float>& weight,
                 std::vector<float>& kv, const Share& share) {
  const ItemRange mine = share.of(outputs);
  for (Index t = 0; t < tokens; ++t)
    for (Index n = mine.begin; n < mine.end; ++n) {
      float sums[4] = {};
      for (Index m = 0; m < inputs; ++m)
        sums[m % 4] += e[std::size_t(t * inputs + m)] * weight[std::size_t(n * inputs + m)];
      kv[std::size_t(t * outputs + n)] = sums[0] + sums[1] + sums[2] + sums[3];
    }
}

int main() {
  // A table of 10000 rows, a layer over it, and rows that the front end would have chosen.
  HostStore store = HostStore::make(10000, 4 * row_width).value();
  const std::vector<float> elements = numbers(10000 * row_width, 1);
  std::memcpy(store.mutable_ref()(0).codes, elements.data(), 4 * elements.size());
  const auto table = Table<HostStore, F32Codec>::make(std::move(store), {}, row_width).value();
  const std::vector<float> weight = numbers(outputs * inputs, 0.05f);
  const View<const float, 2> matrix(weight.data(), outputs, inputs);
  const auto projection = ReferenceProjection<float>::make(fused_weights(matrix, branches)).value();
  const EngramLayer layer(table, projection, {}, {});
  std::vector<int> ids;
  for (std::uint32_t i = 0; i < tokens * columns; ++i) ids.push_back(int(i * 40503u % 10000));
  const View<const int, 2> rows(ids.data(), tokens, columns);
  const std::vector<float> hidden = numbers(tokens * branches * width, 1);
  const View<const float, 3> stream(hidden.data(), tokens, branches, width);

  // Memory of the engine's, used by both threads.
  std::vector<float> e(std::size_t(tokens * inputs)), kv(std::size_t(tokens * outputs));
  std::vector<float> out(hidden.size());
  std::vector<std::byte> workspace(std::size_t(layer.fuse_workspace_bytes(tokens)));
  const View<float, 3> keys =  // the first G * D of each token's outputs
      View<float, 3>(kv.data(), tokens, branches, width).with_stride<0>(outputs);
  const View<float, 2> value =
      View<float, 2>(kv.data() + branches * width, tokens, width).with_stride<0>(outputs);
  Barrier barrier;
  const auto worker = [&](Index thread) {
    const CpuDevice device{{thread, 2}, &barrier};
    const Status gathered = layer.gather(rows, View<float, 2>(e.data(), tokens, inputs), device);
    engine_gemm(e, weight, kv, device.share);
    device.wait();
    const Status fused =
        layer.fuse(keys, value, stream, View<float, 3>(out.data(), tokens, branches, width),
                   workspace, {}, device);
    if (!gathered.ok() || !fused.ok()) std::abort();
  };
  std::thread second(worker, 1);
  worker(0);
  second.join();

  // The same by the library alone, on one thread.
  std::vector<float> expected(hidden.size());
  workspace.resize(std::size_t(layer.workspace_bytes(tokens)));
  const Status done = layer.forward(
      rows, stream, View<float, 3>(expected.data(), tokens, branches, width), workspace);
  float largest = 0, change = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    largest = std::max(largest, std::fabs(out[i] - expected[i]));
    change = std::max(change, std::fabs(out[i] - hidden[i]));
  }
  std::printf("two threads: gather, the engine's product of [%lld, %lld] by [%lld, %lld], fuse\n",
              (long long)tokens, (long long)inputs, (long long)inputs, (long long)outputs);
  std::printf("the memory changed hidden states by up to %.3f\n", change);
  std::printf("largest difference from the library's own product: %.1e\n", largest);
  return done.ok() && change > 0.01f && largest < 1e-4f ? 0 : 1;
}
