// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The kernels on a GPU, each beside what the card itself does with as many bytes, in one run: its
// own copy for what lies in its memory, its copy from the host for what lies there.
//
//   kernels [GiB of the largest table in the GPU's memory, 8] [GiB of the pinned one, 4]
//
// Ids are distinct random rows, and Zipf's (rank r about as often as 1 / (r + 1)), as text gives.
#include "on_gpu.hpp"

#include <engram/codec/fp8.hpp>
#include <engram/cuda/cached_gather.cuh>
#include <engram/cuda/device_front_end.cuh>
#include <engram/cuda/device_store.hpp>
#include <engram/cuda/fuse.cuh>
#include <engram/cuda/fuse_gradient.hpp>
#include <engram/cuda/gather.cuh>
#include <engram/cuda/pinned_store.hpp>
#include <engram/cuda/plan.cuh>
#include <engram/cuda/row_gradient.hpp>
#include <engram/engram.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace engram;
using namespace cuda_bench;

namespace {

constexpr int rounds = 15;

/// Keeps the stream busy for about a millisecond, while the host launches what is behind.
__global__ void hold_back() {
  const long long begin = clock64();
  while (clock64() - begin < 2'000'000) continue;
}

/// Median seconds of what launch() puts on the stream, between events. Both are there before the
/// first begins, so that no launch by the host is timed. before_round(): what the host does between
/// two rounds.
template <class Launch, class Before>
double seconds_of(const CudaDevice& device, const Launch& launch, const Before& before_round) {
  cudaEvent_t begin = nullptr, end = nullptr;
  need(cudaEventCreate(&begin), "event");
  need(cudaEventCreate(&end), "event");
  std::vector<double> times;
  int late = 0;
  for (int round = 0; round < rounds + 3;) {
    before_round();
    hold_back<<<1, 1, 0, device.stream>>>();
    need(cudaEventRecord(begin, device.stream), "event");
    launch();
    need(cudaEventRecord(end, device.stream), "event");
    const bool in_time = cudaEventQuery(begin) == cudaErrorNotReady;
    if (in_time) (void)cudaGetLastError();  // else the next call takes it for its own error
    need(cudaEventSynchronize(end), "wait");
    if (!in_time && round >= 3) {  // such a round is taken again
      if (++late > rounds) give_up("launches take longer than hold_back()");
      continue;
    }
    float ms = 0;
    need(cudaEventElapsedTime(&ms, begin, end), "event");
    if (round++ >= 3) times.push_back(ms / 1e3);
  }
  need(device.wait(), "bench");
  (void)cudaEventDestroy(begin);
  (void)cudaEventDestroy(end);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// The same of one of `inner` calls in a captured graph.
template <class Calls, class Before>
double seconds(const CudaDevice& device, int inner, const Calls& calls,
               const Before& before_round) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  need(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeGlobal), "capture");
  for (int i = 0; i < inner; ++i) calls(i);
  need(cudaStreamEndCapture(device.stream, &graph), "capture");
  need(cudaGraphInstantiate(&exec, graph, 0), "graph");
  const double s = seconds_of(
      device, [&] { need(cudaGraphLaunch(exec, device.stream), "launch"); }, before_round);
  (void)cudaGraphExecDestroy(exec);
  (void)cudaGraphDestroy(graph);
  return s / inner;
}

template <class Calls>
double seconds(const CudaDevice& device, int inner, const Calls& calls) {
  return seconds(device, inner, calls, [] {});
}

__global__ void copy_sixteens(const uint4* from, uint4* to, Index count) {
  const Index step = Index{gridDim.x} * blockDim.x;
  for (Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step)
    __stcs(to + i, __ldcs(from + i));
}

/// Bytes a second, read plus written, of the fastest of the card's copies: the runtime's in a
/// stream and in a graph, and a kernel of 16 bytes a thread.
double copy_rate(const CudaDevice& device) {
  constexpr Index bytes = Index{2} << 30;
  const Array<std::byte> from(bytes), to(bytes);
  const auto copy = [&] {
    need(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, device.stream),
         "copy");
  };
  const double in_stream = seconds_of(device, copy, [] {});
  const double in_graph = seconds(device, 1, [&](int) { copy(); });
  const double by_kernel = seconds(device, 1, [&](int) {
    constexpr Index count = bytes / Index{sizeof(uint4)};
    copy_sixteens<<<static_cast<unsigned>(count / 1024), 256, 0, device.stream>>>(
        reinterpret_cast<const uint4*>(from.data()), reinterpret_cast<uint4*>(to.data()), count);
  });
  std::printf(
      "copies in the card's memory, GB/s read plus written: stream %.1f, graph %.1f, "
      "kernel %.1f\n",
      2e-9 * bytes / in_stream, 2e-9 * bytes / in_graph, 2e-9 * bytes / by_kernel);
  return 2.0 * bytes / std::min({in_stream, in_graph, by_kernel});
}

/// Bytes a second that arrive from page-locked memory.
double host_rate(const CudaDevice& device) {
  constexpr Index bytes = Index{1} << 30;
  const PinnedMemory from = PinnedMemory::make(bytes).value();
  const Array<std::byte> to(bytes);
  const double s = seconds(device, 1, [&](int) {
    need(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyHostToDevice, device.stream),
         "copy");
  });
  return static_cast<double>(bytes) / s;
}

/// What a ratio must reach, and what it aims at; 0: it is only told.
struct Target {
  double must = 0, aim = 0;
};

/// Rows a second and the ratio to `rate` of `moved` bytes a row.
void print(const char* what, const char* ids, Index rows, double s, double moved, double rate,
           const Target& target = {}) {
  std::printf("%-46s %-9s %9.3f us %9.1f M rows/s %8.1f GB/s %6.3f", what, ids, s * 1e6,
              static_cast<double>(rows) / s / 1e6, static_cast<double>(rows) * moved / s / 1e9,
              static_cast<double>(rows) * moved / s / rate);
  if (target.must > 0) std::printf(" (must %.2f, aim %.2f)", target.must, target.aim);
  std::printf("\n");
}

template <class Out, class Codec, class Store>
void bench_gather(const CudaDevice& device, const Store& store, const Codec& codec, Index width,
                  const char* what, double moved, double rate, const Target& target = {}) {
  constexpr int sets = 4;  // other rows each time, so that no cache holds them from before
  const Index count = std::min<Index>(Index{1} << 20, store.num_rows() / sets);
  for (const bool zipf : {false, true}) {
    const Array<int> ids(some_ids(sets * count, store.num_rows(), zipf));
    const Array<Out> out(count * width);
    const double s = seconds(device, sets, [&](int set) {
      need(gather(device, store, codec, width,
                  DeviceView<const int, 2>(ids.data() + set * count, count, 1),
                  DeviceView<Out, 2>(out.data(), count, width)),
           "gather");
    });
    print(what, zipf ? "Zipf" : "distinct", count, s, moved, rate, zipf ? Target() : target);
  }
}

/// The same ids with and without a cache in the GPU's memory for a tenth of the rows; over all
/// calls more rows than it has slots.
template <class Codec>
void bench_cache(const CudaDevice& device, const PinnedStore& store, const Codec& codec,
                 Index width, double moved, double rate) {
  constexpr int sets = 4;
  const Index count = std::min<Index>(Index{1} << 20, store.num_rows() / sets);
  const Array<int> ids(sets * count);
  // Others in each round: rows that a text asks for once are no hits the second time.
  const auto new_ids = [&] {
    const std::vector<int> next = some_ids(sets * count, store.num_rows(), true);
    need(cudaMemcpy(ids.data(), next.data(), next.size() * sizeof(int), cudaMemcpyHostToDevice),
         "ids");
  };
  const Array<Bf16> out(count * width);
  const Index slot = device_stride(store.row_bytes() + store.scale_bytes()) + 8;
  auto made = RowCache::make({store.num_rows(), store.row_bytes(), store.scale_bytes()},
                             store.num_rows() / 10 * slot);
  if (!made.ok()) give_up(made.message());
  RowCache& cache = made.value();
  const auto bench = [&](const char* what, const auto& gather_rows) {
    const double s = seconds(
        device, sets,
        [&](int set) {
          need(gather_rows(DeviceView<const int, 2>(ids.data() + set * count, count, 1),
                           DeviceView<Bf16, 2>(out.data(), count, width)),
               "gather");
        },
        new_ids);
    print(what, "Zipf", count, s, moved, rate);
  };
  bench("  zero-copy, new ids in each round",
        [&](auto rows, auto to) { return gather(device, store, codec, width, rows, to); });
  bench("  cached gather, cache of 10 % of rows", [&](auto rows, auto to) {
    return cached_gather(device, cache, store, codec, width, rows, to);
  });
  const RowCacheCounts counts = cache.counts(device.stream).value();
  const auto all = static_cast<double>(counts.hits + counts.misses);
  std::printf("    hits %.1f %%, rows read and not cached %.1f %%, the filling included\n",
              100.0 * static_cast<double>(counts.hits) / all,
              100.0 * static_cast<double>(counts.uncached) / all);
}

void bench_fuse(const CudaDevice& device, double rate) {
  constexpr Index tokens = 4096, branches = 4, width = 5120;
  const Index stream = tokens * branches * width;
  const Array<Bf16> keys(stream), value(tokens * width), hidden(stream), out(stream);
  const Array<float> gain(branches * width), gates(tokens * branches);
  const Array<Part> parts(tokens);
  for (const Array<Bf16>* array : {&keys, &value, &hidden}) fill(*array);
  fill(gain);
  DeviceFusion<> with;
  with.gain = DeviceView<const float, 2>(gain.data(), branches, width);
  const double s = seconds(device, 4, [&](int) {
    need(fuse(device, DeviceView<const Bf16, 3>(keys.data(), tokens, branches, width),
              DeviceView<const Bf16, 2>(value.data(), tokens, width),
              DeviceView<const Bf16, 3>(hidden.data(), tokens, branches, width),
              DeviceView<Bf16, 3>(out.data(), tokens, branches, width), FusionConfig(),
              SignedSqrtGate(), with, DeviceView<float, 2>(gates.data(), tokens, branches),
              DeviceView<Part, 1>(parts.data(), tokens)),
         "fuse");
  });
  print("gate and residual, 4 x 5120 bf16, of copy rate", "", tokens, s,
        (3.0 * branches + 1) * width * 2, rate, {0.80, 0.92});
}

/// The gate with the convolution, forward and backward, of a prompt and of one token.
void bench_conv(const CudaDevice& device, double rate) {
  constexpr Index branches = 4, width = 2560, taps = 4, dilation = 3;
  for (const Index tokens : {4096, 1}) {
    const Index stream = tokens * branches * width;
    const Array<Bf16> keys(stream), value(tokens * width), hidden(stream), out(stream);
    const Array<float> gain(branches * width), conv_gain(branches * width),
        weights(taps * branches * width), states((taps - 1) * dilation * branches * width),
        gates(tokens * branches), updated(stream), segments(stream + tokens * width),
        to_hidden(stream), to_weights(taps * branches * width);
    const Array<Part> parts(tokens);
    const Array<std::byte> tape(conv_workspace_bytes(tokens, branches)),
        scratch(fuse_backward_workspace_bytes(tokens, branches, width, taps));
    for (const Array<Bf16>* array : {&keys, &value, &hidden}) fill(*array);
    for (const Array<float>* array : {&gain, &conv_gain, &weights, &states, &updated, &to_weights})
      fill(*array);
    using Bytes = DeviceView<std::byte, 1>;
    const auto streams = [&](const auto& array) {
      return DeviceView<std::remove_reference_t<decltype(*array.data())>, 3>(array.data(), tokens,
                                                                             branches, width);
    };
    const auto taps_of = [&](const Array<float>& array) {
      return DeviceView<float, 3>(array.data(), taps, branches, width);
    };
    const DeviceView<Bf16, 2> v(value.data(), tokens, width);
    const DeviceView<float, 2> g(gates.data(), tokens, branches);
    const DeviceView<Part, 1> p(parts.data(), tokens);
    DeviceFusion<> with;
    with.gain = DeviceView<const float, 2>(gain.data(), branches, width);
    DeviceConv<> conv;
    conv.weights = taps_of(weights);
    conv.gain = DeviceView<const float, 2>(conv_gain.data(), branches, width);
    conv.states = DeviceView<float, 2>(states.data(), 1, states.count);
    FusionConfig config;
    config.dilation = dilation;
    DeviceFuseGradients to;
    to.segments = DeviceView<float, 3>(segments.data(), tokens, branches + 1, width);
    to.to_hidden = streams(to_hidden);
    to.conv = taps_of(to_weights);
    const Bytes kept(tape.data(), tape.count), memory(scratch.data(), scratch.count);
    // For one token the weights, which are not counted, are most of what is read.
    const std::string size =
        sentence({tokens, " x 4 x 2560 bf16", tokens == 1 ? "" : ", of copy rate"});
    const double forward = seconds(device, 4, [&](int) {
      need(fuse(device, streams(keys), v, streams(hidden), streams(out), config, SignedSqrtGate(),
                with, conv, g, p, kept),
           "convolution");
    });
    print(("convolution, " + size).c_str(), "", tokens, forward, (3.0 * branches + 1) * width * 2,
          rate);
    const double backward = seconds(device, 4, [&](int) {
      need(fuse_backward(device, streams(keys), v, streams(hidden), streams(updated), config,
                         SignedSqrtGate(), with, conv, g, p, kept, to, memory),
           "backward");
    });
    print(("its backward, " + size).c_str(), "", tokens, backward,
          (2.0 * branches + 1) * width * 2 + (3.0 * branches + 1) * width * 4, rate);
  }
}

/// The other way to train rows: every place adds its part by itself, in any order, four floats at
/// once where the card can. width: 4 times a power of two, or a multiple of 128.
__global__ void atomic_sgd(const int* ids, Index count, const float* gradients, Index width,
                           float rate, float* table) {
#if __CUDA_ARCH__ >= 900
  const int lanes = width < 32 * 4 ? static_cast<int>(width / 4) : 32;
#else
  const int lanes = 32;
#endif
  const Index groups = Index{gridDim.x} * (blockDim.x / lanes);
  const int lane = threadIdx.x % lanes;
  for (Index i = Index{blockIdx.x} * (blockDim.x / lanes) + threadIdx.x / lanes; i < count;
       i += groups) {
    const float* const from = gradients + i * width;
    float* const to = table + ids[i] * width;
#if __CUDA_ARCH__ >= 900
    for (Index d = lane * 4; d < width; d += lanes * 4) {
      const auto g = *reinterpret_cast<const float4*>(from + d);
      atomicAdd(reinterpret_cast<float4*>(to + d),
                float4{-rate * g.x, -rate * g.y, -rate * g.z, -rate * g.w});
    }
#else
    for (Index d = lane; d < width; d += lanes) atomicAdd(to + d, -rate * from[d]);
#endif
  }
}

/// Plan, sums and steps of rows against atomic sums into the table, on ids as words are.
void bench_backward(const CudaDevice& device) {
  constexpr Index tokens = 8192, columns = 16, count = tokens * columns, num_rows = 4'000'000;
  for (const Index width : {64, 256}) {
    auto table = Table<DeviceStore, F32Codec>::make(DeviceStore::make(num_rows, width * 4).value(),
                                                    F32Codec(), width)
                     .value();
    float* const rows = reinterpret_cast<float*>(table.store().mutable_ref().base);
    need(cudaMemset(rows, 0, static_cast<std::size_t>(num_rows * width * 4)), "table");
    constexpr int sets = 4;  // other ids and gradients each time, so that no cache holds them
    const Array<int> ids(some_ids(sets * count, num_rows, true)), unique(sets * count);
    const Array<float> gradients(sets * count * width), sums(count * width), state(num_rows);
    fill(gradients);
    need(cudaMemset(state.data(), 0, static_cast<std::size_t>(num_rows * 4)), "state");
    const RowPlanner planner = RowPlanner::make(count).value();
    const Array<std::byte> memory(sets * planner.workspace_bytes()),
        partials(row_sums_workspace_bytes(count, width));
    using Bytes = DeviceView<std::byte, 1>;
    const RowStep step{1e-3f, 0, 0, 0, NonFinite::skip};
    DeviceRowPlan<int> plans[sets];
    const auto make_plan = [&](int set) {
      const Index bytes = planner.workspace_bytes();
      need(planner.plan(device, DeviceView<const int, 2>(ids.data() + set * count, tokens, columns),
                        num_rows, DeviceView<int, 1>(unique.data() + set * count, count), {},
                        plans[set], Bytes(memory.data() + set * bytes, bytes)),
           "plan");
    };
    const auto update = [&](int set, const auto& optimizer) {
      need(update_rows(device, table, plans[set],
                       DeviceView<const float, 2>(gradients.data() + set * count * width, tokens,
                                                  columns * width),
                       DeviceView<float, 2>(sums.data(), count, width),
                       DeviceView<float, 2>(state.data(), num_rows, optimizer.state_width(width)),
                       optimizer, step, Bytes(partials.data(), partials.count)),
           "update");
    };
    const double atomic = seconds(device, sets, [&](int set) {
      atomic_sgd<<<4096, 128, 0, device.stream>>>(ids.data() + set * count, count,
                                                  gradients.data() + set * count * width, width,
                                                  step.rate, rows);
    });
    const double planned = seconds(device, sets, [&](int set) { make_plan(set); });
    // Ids are known before the forward pass, and so may the plans be, which are there now.
    const double alone = seconds(device, sets, [&](int set) { update(set, Sgd()); });
    const double sgd = seconds(device, sets, [&](int set) {
      make_plan(set);
      update(set, Sgd());
    });
    const double adagrad = seconds(device, sets, [&](int set) {
      make_plan(set);
      update(set, RowAdagrad());
    });
    std::printf(
        "rows of %3d floats, 8,192 x 16 Zipf ids: atomic SGD %8.1f us; plan %8.1f us, with SGD "
        "%8.1f us, %5.2f of atomic (must 1.15, aim 1.0), with Adagrad %8.1f us; SGD with the plan "
        "made before %8.1f us, %5.2f of atomic\n",
        static_cast<int>(width), atomic * 1e6, planned * 1e6, sgd * 1e6, sgd / atomic,
        adagrad * 1e6, alone * 1e6, alone / atomic);
  }
}

void bench_address(const CudaDevice& device) {
  constexpr Index tokens = 65536;
  const EngramConfig model = deepseek_v41_preset().config;
  const IdentityCompressor canonical(model.compressed_vocab_size);
  const auto host = make_front_end(make_layout(model, canonical).value(), canonical).value();
  const auto front = make_device_front_end(host).value();
  const Array<int> ids(some_ids(tokens, model.compressed_vocab_size, true));
  const Array<int> rows(tokens * 48);
  for (const Index sequences : {1, 512}) {
    std::vector<int> starts;
    for (Index s = 0; s <= sequences; ++s)
      starts.push_back(static_cast<int>(s * tokens / sequences));
    const Array<int> begins(starts);
    const Array<NgramState> states(
        std::vector<NgramState>(static_cast<std::size_t>(sequences), front.initial_state()));
    const double s = seconds(device, 20, [&](int) {
      need(front.address_batch(device, DeviceView<const int, 1>(ids.data(), tokens),
                               DeviceView<const int, 1>(begins.data(), sequences + 1),
                               DeviceView<NgramState, 1>(states.data(), sequences),
                               DeviceView<int, 3>(rows.data(), tokens, 2, 24)),
           "address");
    });
    std::printf("row ids of 65,536 tokens x 48, %3d sequences   %9.3f us (must 25, aim 12)\n",
                static_cast<int>(sequences), s * 1e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Index table_bytes = (argc > 1 ? std::atoll(argv[1]) : 8) << 30;
  const Index pinned_bytes = (argc > 2 ? std::atoll(argv[2]) : 4) << 30;
  if (const auto found = cuda_device_count(); !found.ok()) {
    std::printf("[skipped] %s\n", found.message().c_str());
    return 0;
  }
  cudaDeviceProp card{};
  need(cudaGetDeviceProperties(&card, 0), "device");
  DeviceErrors errors = DeviceErrors::make().value();
  cudaStream_t stream = nullptr;
  need(cudaStreamCreate(&stream), "stream");
  const CudaDevice device(stream, errors);
  const double copy = copy_rate(device), from_host = host_rate(device);
  std::printf("%s, compute %d.%d, %d multiprocessors\n", card.name, card.major, card.minor,
              card.multiProcessorCount);
  std::printf("copy in its memory, read plus written: %.1f GB/s; copy from the host: %.1f GB/s\n\n",
              copy / 1e9, from_host / 1e9);

  const auto bench_rows = [&](Index bytes, const Target& target) {
    DeviceStore store = DeviceStore::make(table_bytes / bytes, bytes).value();
    fill(store);
    const std::string name = sentence({"gather of ", bytes, " bytes, of copy rate"});
    bench_gather<Bf16>(device, store, Bf16Codec(), bytes / 2, name.c_str(),
                       2.0 * static_cast<double>(bytes), copy, target);
  };
  bench_rows(128, {0.60, 0.75});
  bench_rows(256, {0.75, 0.85});
  bench_rows(512, {0.85, 0.92});
  bench_rows(1024, {0.90, 0.95});
  bench_rows(2560, {0.92, 0.96});
  for (const Index stride : {272, 264}) {
    DeviceStore store = DeviceStore::make(table_bytes / stride, 256, 8, stride).value();
    fill(store);
    const std::string name = sentence({"fp8 rows of 264 bytes in ", stride, ", of copy rate"});
    bench_gather<Bf16>(device, store, Fp8Codec(), 256, name.c_str(), 264.0 + 512.0, copy,
                       {0.75, 0.90});
  }
  for (const Index stride : {272, 264}) {
    DeviceStore store = DeviceStore::make(table_bytes / stride, 264, 0, stride).value();
    fill(store);
    const std::string name = sentence({"264 bytes in ", stride, " as they are, of copy rate"});
    bench_gather<Bf16>(device, store, Bf16Codec(), 132, name.c_str(), 2 * 264.0, copy,
                       {0.65, 0.80});
  }
  const auto bench_pinned = [&](const auto& codec, Index width, Index stride, bool with_cache,
                                const Target& target) {
    const Index bytes = codec.code_bytes(width), scales = codec.scale_bytes(width);
    HostStoreOptions options;
    options.stride = stride;
    auto pinned =
        PinnedStore::make(HostStore::make(pinned_bytes / stride, bytes, scales, options).value());
    if (!pinned.ok()) {
      std::printf("[skipped] %s\n", pinned.message().c_str());
      return;
    }
    fill(pinned.value());
    const auto moved = static_cast<double>(bytes + scales);
    const std::string name =
        sentence({"zero-copy, ", bytes + scales, " bytes in ", stride, ", of host rate"});
    bench_gather<Bf16>(device, pinned.value(), codec, width, name.c_str(), moved, from_host,
                       target);
    if (with_cache) bench_cache(device, pinned.value(), codec, width, moved, from_host);
  };
  // fp8 rows as a file has them, and in whole units of 16 bytes, of 64, and of the 128 that a GPU
  // asks for.
  for (const Index stride : {264, 272, 320, 384})
    bench_pinned(Fp8Codec(), 256, stride, stride == 320, {0.60, 0.75});
  bench_pinned(Bf16Codec(), 256, 512, true, {0.80, 0.90});
  bench_fuse(device, copy);
  bench_conv(device, copy);
  bench_backward(device);
  bench_address(device);
  (void)cudaStreamDestroy(stream);
  return 0;
}
